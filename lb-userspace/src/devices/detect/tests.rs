//! Nodes as they are found, as tables: one interface of interest beside `eth0`, which has an address and the
//! default route of IPv4.

use super::*;

const ETH0: u32 = 2;
const IT: u32 = 7;
const PORT: u32 = 8;

fn address(text: &str) -> Address {
    let (ip, bits) = text.split_once('/').expect("address and bits");
    Address {
        ip: ip.parse().expect("an address"),
        prefix_length: bits.parse().expect("bits"),
        peer: None,
        global: true,
        tentative: false,
        deprecated: false,
        secondary: false,
        created: 0,
    }
}

fn link(index: u32, kind: &str, addresses: &[&str]) -> Link {
    Link {
        index,
        name: format!("if{index}"),
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        is_ethernet: true,
        up: true,
        mtu: 1500,
        addresses: addresses.iter().map(|text| address(text)).collect(),
        ..Link::default()
    }
}

fn node(others: impl IntoIterator<Item = Link>) -> Devices {
    let eth0 = link(ETH0, "", &["192.0.2.1/24"]);
    let links = others.into_iter().chain([eth0]).map(|link| (link.index, link));
    let defaults = [DefaultRoute { ifindex: ETH0, is_ipv6: false }];
    Devices { links: links.collect(), defaults: defaults.into() }
}

/// Why `IT` is an uplink beside `eth0`, which is always one.
fn why(devices: &Devices) -> Option<String> {
    let veth = |link: &Link| link.kind.as_deref() == Some("veth");
    let found = detect(devices, veth);
    assert_eq!(found.get(&ETH0), Some(&Reason::DefaultRoute { v4: true, v6: false }));
    found.get(&IT).map(ToString::to_string)
}

#[track_caller]
fn check(link: Link, expected: Option<&str>) {
    let said = format!("{link:?}");
    assert_eq!(why(&node([link])).as_deref(), expected, "{said}");
}

#[test]
fn an_interface_with_a_subnet_of_other_machines_is_one() {
    check(link(IT, "", &["198.51.100.1/24"]), Some("address 198.51.100.1"));
    check(link(IT, "", &["2001:db8::1/64"]), Some("address 2001:db8::1"));
    for kind in ["vlan", "bond", "team", "macvlan"] {
        check(link(IT, kind, &["198.51.100.1/24"]), Some("address 198.51.100.1"));
    }
}

#[test]
fn an_interface_without_an_address_that_leads_to_others_is_none() {
    check(link(IT, "", &[]), None);
    check(link(IT, "", &["198.51.100.1/32"]), None);
    check(link(IT, "", &["2001:db8::1/128"]), None);
    check(link(IT, "", &["169.254.1.1/16"]), None);
    check(link(IT, "", &["fe80::1/64"]), None);
    let down = Link { up: false, ..link(IT, "", &["198.51.100.1/24"]) };
    check(down, None);
    let lo = Link { is_loopback: true, is_ethernet: false, ..link(IT, "", &["198.51.100.1/24"]) };
    check(lo, None);
}

#[test]
fn overlays_and_ends_of_point_to_point_links_need_no_subnet() {
    for kind in ["vxlan", "geneve", "tun"] {
        check(link(IT, kind, &["10.244.1.0/32"]), Some("address 10.244.1.0"));
        check(link(IT, kind, &[]), None);
    }
    for kind in ["wireguard", "tun", "ipip", "sit", "gre"] {
        let bare = Link { is_ethernet: false, is_bare: true, ..link(IT, kind, &["10.244.1.0/32"]) };
        check(bare, Some("address 10.244.1.0"));
    }
    let peer = Some(IpAddr::from([198, 51, 100, 2]));
    let addresses = vec![Address { peer, ..address("198.51.100.1/32") }];
    check(Link { addresses, ..link(IT, "", &[]) }, Some("address 198.51.100.1"));
}

#[test]
fn what_leads_to_pods_or_nowhere_is_none_whatever_its_address() {
    for kind in ["netkit", "dummy", "ifb", "vrf"] {
        check(link(IT, kind, &["10.244.1.1/24"]), None);
    }
}

#[test]
fn a_veth_with_a_subnet_leads_to_other_machines_and_one_without_to_a_pod() {
    let veth = |address| Link { peer_is_elsewhere: true, ..link(IT, "veth", &[address]) };
    check(veth("198.51.100.1/24"), Some("address 198.51.100.1"));
    check(veth("10.244.1.1/32"), None);
    check(veth("fd00::1/128"), None);
    check(Link { peer_is_elsewhere: false, ..veth("198.51.100.1/24") }, None);
    let addresses =
        vec![Address { peer: Some([10, 244, 1, 7].into()), ..address("10.244.1.1/32") }];
    check(Link { addresses, ..veth("10.244.1.1/32") }, None);
}

#[test]
fn a_default_route_makes_an_uplink_of_any_kind() {
    for (v4, v6, expected) in [
        (true, true, "default routes"),
        (true, false, "IPv4 default route"),
        (false, true, "IPv6 default route"),
    ] {
        for kind in ["", "veth", "wireguard", "bridge"] {
            let mut devices = node([link(IT, kind, &["198.51.100.1/24"])]);
            for (is_there, is_ipv6) in [(v4, false), (v6, true)] {
                if is_there {
                    devices.defaults.insert(DefaultRoute { ifindex: IT, is_ipv6 });
                }
            }
            assert_eq!(why(&devices).as_deref(), Some(expected), "{kind}");
        }
    }
}

#[test]
fn a_bridge_is_one_if_something_but_pods_is_behind_it() {
    let with = |ports: &[&str]| {
        let ports = (PORT..).zip(ports);
        let ports = ports.map(|(index, kind)| Link { master: Some(IT), ..link(index, kind, &[]) });
        why(&node(ports.chain([link(IT, "bridge", &["10.88.0.1/16"])])))
    };
    assert_eq!(with(&[]), None, "docker0 before there is a container");
    assert_eq!(with(&["veth", "veth"]), None, "cni0");
    assert_eq!(with(&["", "veth"]), None, "pods on the machine's own link");
    assert_eq!(with(&["veth", "vxlan"]), None, "pods of several nodes on one link");
    assert_eq!(with(&[""]).as_deref(), Some("address 10.88.0.1"));
    assert_eq!(with(&["tun"]).as_deref(), Some("address 10.88.0.1"), "virtual machines");
    let down = Link { master: Some(IT), up: false, ..link(PORT, "tun", &[]) };
    assert_eq!(why(&node([down, link(IT, "bridge", &["10.88.0.1/16"])])), None, "virbr0-nic");
}

#[test]
fn ports_of_bonds_and_bridges_are_none_and_those_of_vrfs_are() {
    let under = |kind: &str| {
        let master = link(9, kind, &[]);
        let port = Link { master: Some(9), ..link(IT, "", &["198.51.100.1/24"]) };
        let mut devices = node([master, port]);
        let by_address = why(&devices);
        devices.defaults.insert(DefaultRoute { ifindex: IT, is_ipv6: true });
        (by_address, why(&devices))
    };
    for kind in ["bond", "team", "bridge", "openvswitch"] {
        assert_eq!(under(kind), (None, None), "{kind}");
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(under("vrf"), (text("address 198.51.100.1"), text("IPv6 default route")));
}
