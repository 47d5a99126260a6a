//! Cases are made from one node: `lo`, an uplink `eth0`, a pod's veth, a bridge with a pod's veth as a
//! port, a wireguard device, and one of InfiniBand.

use super::*;

const LO: u32 = 1;
const ETH0: u32 = 2;
const ETH1: u32 = 3;
const VETH_A: u32 = 4;
const CNI0: u32 = 5;
const VETH_B: u32 = 6;
const WG0: u32 = 7;
const IB0: u32 = 8;

fn address(ip: &str) -> Address {
    let ip: IpAddr = ip.parse().expect("an address");
    Address {
        ip,
        prefix_length: if ip.is_ipv4() { 24 } else { 64 },
        peer: None,
        global: true,
        tentative: false,
        deprecated: false,
        secondary: false,
        created: 0,
    }
}

fn link(index: u32, name: &str, kind: Option<&str>, addresses: &[&str]) -> Link {
    Link {
        index,
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        is_ethernet: true,
        up: true,
        mtu: 1500,
        addresses: addresses.iter().map(|ip| address(ip)).collect(),
        ..Link::default()
    }
}

fn node() -> Devices {
    let lo = Link {
        is_ethernet: false,
        is_loopback: true,
        addresses: vec![Address { global: false, ..address("127.0.0.1") }, address("192.0.2.99")],
        ..link(LO, "lo", None, &[])
    };
    let links = [
        lo,
        link(ETH0, "eth0", None, &["192.0.2.1", "192.0.2.200", "2001:db8::1"]),
        link(ETH1, "eth1", Some("vlan"), &["198.51.100.1"]),
        Link { mtu: 1450, ..link(VETH_A, "veth-a", Some("veth"), &["203.0.113.7"]) },
        link(CNI0, "cni0", Some("bridge"), &["10.1.0.1"]),
        Link { master: Some(CNI0), ..link(VETH_B, "veth-b", Some("veth"), &[]) },
        Link {
            is_ethernet: false,
            is_bare: true,
            ..link(WG0, "wg0", Some("wireguard"), &["10.9.0.1"])
        },
        Link { is_ethernet: false, ..link(IB0, "ib0", Some("ipoib"), &[]) },
    ];
    let links = links.into_iter().map(|link| (link.index, link)).collect();
    Devices { links, ..Devices::default() }
}

fn selection(uplinks: &[&str], workloads: Option<&[&str]>) -> Selection {
    let pattern = |text: &&str| Pattern::new(text).expect("a pattern");
    Selection {
        uplinks: uplinks.iter().map(|&name| name.to_owned()).collect(),
        workloads: workloads.map(|patterns| patterns.iter().map(pattern).collect()),
    }
}

fn classified(devices: &Devices, uplinks: &[&str], workloads: Option<&[&str]>) -> Classified {
    classify(devices, &selection(uplinks, workloads)).expect("a selection that fits")
}

fn ips(list: &[&str]) -> BTreeSet<IpAddr> {
    list.iter().map(|ip| ip.parse().expect("an address")).collect()
}

fn keys<T>(map: &BTreeMap<u32, T>) -> Vec<u32> {
    map.keys().copied().collect()
}

/// The SNAT sources of `eth0` and `eth1`, in that order, where they have these addresses.
fn sources(eth0: &[Address], eth1: &[Address]) -> Vec<(Option<String>, Option<String>)> {
    let mut devices = node();
    for (index, addresses) in [(ETH0, eth0), (ETH1, eth1)] {
        devices.links.get_mut(&index).expect("an uplink").addresses = addresses.to_vec();
    }
    let found = classified(&devices, &["eth0", "eth1"], None);
    let text = |uplink: &Uplink| {
        (uplink.snat_v4.map(|ip| ip.to_string()), uplink.snat_v6.map(|ip| ip.to_string()))
    };
    found.uplinks.values().map(text).collect()
}

fn source(v4: Option<&str>, v6: Option<&str>) -> (Option<String>, Option<String>) {
    (v4.map(str::to_owned), v6.map(str::to_owned))
}

#[test]
fn by_default_every_veth_is_a_workload_and_bridges_with_such_ports_are_found() {
    let found = classified(&node(), &["eth0"], None);
    assert_eq!(keys(&found.uplinks), [ETH0]);
    assert_eq!(keys(&found.workloads), [VETH_A, VETH_B]);
    assert_eq!(found.workloads[&VETH_A].name, "veth-a");
    assert_eq!(found.workloads[&VETH_A].mtu, 1450);
    assert_eq!(found.workloads[&VETH_A].bridge, None);
    assert_eq!(found.workloads[&VETH_B].bridge, Some(CNI0));
    assert_eq!(found.bridges[&CNI0].name, "cni0");
    assert_eq!(keys(&found.bridges), [CNI0]);
    assert!(found.unsupported.is_empty());
}

#[test]
fn a_veth_that_is_named_as_uplink_is_an_uplink_even_if_a_pattern_matches_it() {
    for patterns in [None, Some(&["veth*"][..])] {
        let found = classified(&node(), &["veth-a"], patterns);
        assert_eq!(keys(&found.uplinks), [VETH_A]);
        assert_eq!(keys(&found.workloads), [VETH_B]);
    }
}

#[test]
fn patterns_replace_the_default_and_never_mean_lo_nor_a_device_without_ethernet() {
    assert_eq!(
        keys(&classified(&node(), &["eth0"], Some(&["veth-?"])).workloads),
        [VETH_A, VETH_B]
    );
    let found = classified(&node(), &["eth0"], Some(&["veth-[ax]", "none*"]));
    assert_eq!(keys(&found.workloads), [VETH_A]);
    assert_eq!(keys(&found.bridges), [0; 0]);
    let found = classified(&node(), &["eth0"], Some(&["*"]));
    assert_eq!(keys(&found.workloads), [ETH1, VETH_A, CNI0, VETH_B]);
    let unsupported = [(WG0, "wg0".to_owned()), (IB0, "ib0".to_owned())];
    assert_eq!(found.unsupported, BTreeMap::from(unsupported));
}

#[test]
fn a_port_of_something_else_than_a_bridge_makes_no_bridge() {
    let mut devices = node();
    devices.links.get_mut(&CNI0).expect("cni0").kind = Some("bond".to_owned());
    assert_eq!(keys(&classified(&devices, &["eth0"], None).bridges), [0; 0]);
}

#[test]
fn node_addresses_are_those_of_all_devices_but_workloads() {
    let all = [
        "192.0.2.1",
        "192.0.2.200",
        "2001:db8::1",
        "198.51.100.1",
        "10.1.0.1",
        "10.9.0.1",
        "192.0.2.99",
    ];
    assert_eq!(classified(&node(), &["eth0"], None).node_addresses, ips(&all));
}

#[test]
fn the_primary_addresses_are_those_of_the_first_uplink_named_that_has_one() {
    let mut devices = node();
    let primary = |devices: &Devices, uplinks: &[&str]| classified(devices, uplinks, None).primary;
    assert_eq!(primary(&devices, &["eth0"]), ips(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(primary(&devices, &["eth1", "eth0"]), ips(&["198.51.100.1", "2001:db8::1"]));
    devices.links.get_mut(&ETH0).expect("eth0").addresses.clear();
    assert_eq!(primary(&devices, &["eth0"]), ips(&[]));
}

#[test]
fn addresses_that_others_cannot_use_are_neither_node_addresses_nor_sources() {
    let mut devices = node();
    devices.links.retain(|&index, _| index == ETH0);
    devices.links.get_mut(&ETH0).expect("eth0").addresses = vec![
        Address { global: false, ..address("192.0.2.1") },
        address("169.254.20.10"),
        address("127.0.0.2"),
        address("fe80::1"),
        Address { tentative: true, ..address("2001:db8::1") },
    ];
    let found = classified(&devices, &["eth0"], None);
    assert_eq!(found.node_addresses, ips(&[]));
    assert_eq!((found.uplinks[&ETH0].snat_v4, found.uplinks[&ETH0].snat_v6), (None, None));
}

#[test]
fn the_snat_source_is_the_first_address_that_is_primary_and_not_deprecated() {
    let eth0 = [
        Address { secondary: true, ..address("192.0.2.9") },
        Address { deprecated: true, ..address("2001:db8::9") },
        address("192.0.2.2"),
        address("192.0.2.1"),
        address("2001:db8::2"),
    ];
    let own = source(Some("192.0.2.2"), Some("2001:db8::2"));
    let other = source(Some("198.51.100.1"), Some("2001:db8::2"));
    assert_eq!(sources(&eth0, &[address("198.51.100.1")]), [own, other]);
}

#[test]
fn an_uplink_without_address_borrows_from_the_first_uplink_that_has_one() {
    let (v4, v6) = ([address("198.51.100.1")], [address("2001:db8::1")]);
    let both = source(Some("198.51.100.1"), Some("2001:db8::1"));
    assert_eq!(sources(&v6, &v4), [both.clone(), both]);
    let v4_only = source(Some("198.51.100.1"), None);
    assert_eq!(sources(&[], &v4), [v4_only.clone(), v4_only]);
}

#[test]
fn an_unknown_uplink_is_refused_with_the_names_that_exist() {
    let error = classify(&node(), &selection(&["eth0", "ens3"], None)).expect_err("no ens3");
    assert!(matches!(&error, DeviceError::UnknownUplink { name, .. } if name == "ens3"), "{error}");
    assert!(
        error.to_string().contains("cni0, eth0, eth1, ib0, lo, veth-a, veth-b, wg0"),
        "{error}"
    );
}

#[test]
fn an_uplink_of_plain_ip_packets_is_one_and_is_known_as_such() {
    let found = classified(&node(), &["eth0", "wg0"], None);
    assert!(!found.uplinks[&ETH0].is_bare && found.uplinks[&WG0].is_bare);
    assert_eq!(found.uplinks[&WG0].snat_v4, Some(Ipv4Addr::new(10, 9, 0, 1)), "its own");
}

#[test]
fn an_uplink_with_neither_ethernet_nor_plain_ip_is_refused_with_its_kind() {
    for (name, kind) in [("ib0", "ipoib"), ("lo", "loopback")] {
        let error = classify(&node(), &selection(&[name], None)).expect_err("neither");
        assert!(matches!(&error, DeviceError::UplinkOfStrangeKind { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{name} ({kind})")), "{error}");
    }
}

#[test]
fn without_names_uplinks_are_detected_and_told_from_workloads() {
    let mut devices = node();
    let reasons = |devices: &Devices, patterns| {
        let found = classified(devices, &[], patterns);
        let reasons = found.uplinks.values();
        let reasons = reasons.map(|uplink| format!("{} {}", uplink.name, uplink.reason));
        (reasons.collect::<Vec<_>>(), keys(&found.workloads), found.unsupported)
    };
    let by_address =
        ["eth0 address 192.0.2.1", "eth1 address 198.51.100.1", "wg0 address 10.9.0.1"];
    let none = BTreeMap::new();
    assert_eq!(
        reasons(&devices, None),
        (by_address.map(str::to_owned).into(), vec![VETH_A, VETH_B], none)
    );
    let over = |ifindex| super::super::snapshot::DefaultRoute { ifindex, is_ipv6: false };
    devices.defaults = [over(VETH_A), over(IB0)].into();
    let (uplinks, workloads, strange) = reasons(&devices, None);
    assert!(uplinks.contains(&"veth-a IPv4 default route".to_owned()), "{uplinks:?}");
    assert_eq!(workloads, [VETH_B]);
    assert_eq!(strange, [(IB0, "ib0".to_owned())].into(), "told, not served");
    let (uplinks, workloads, _) = reasons(&devices, Some(&["veth*"]));
    assert_eq!(uplinks.len(), 3, "the operator's patterns win: {uplinks:?}");
    assert_eq!(workloads, [VETH_A, VETH_B]);
}

#[test]
fn where_nothing_leads_out_there_is_no_uplink() {
    let mut devices = node();
    devices.links.retain(|index, _| [LO, VETH_A, CNI0, VETH_B].contains(index));
    assert_eq!(keys(&classified(&devices, &[], None).uplinks), [0; 0]);
}
