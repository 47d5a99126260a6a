//! What `lb` sees of interfaces, addresses, neighbours and routes, in real network namespaces.
//!
//! Every test has a host with an uplink `eth0` and a pod behind the veth `veth-pod`. What must *not* be
//! told is followed by something that must be: if that comes first and alone, the other was not told.

mod complete;
mod paths;
mod watching;

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use lb_userspace::devices::{DeviceError, Forwarding, Selection, Sysctls, classify};
use watching::on_host;

#[test]
fn the_host_is_seen_as_it_is_and_classified() -> Result<()> {
    on_host(async |w| {
        let eth0 = w.link("eth0")?;
        assert_eq!((eth0.kind.as_deref(), eth0.mtu, eth0.up), (Some("veth"), 1500, true));
        assert!(eth0.is_ethernet && eth0.peer_is_elsewhere && eth0.mac.is_some());
        let global: Vec<_> = eth0.addresses.iter().filter(|address| address.global).collect();
        let ips: Vec<_> = global.iter().map(|address| address.ip.to_string()).collect();
        assert_eq!(ips, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!((global[0].prefix_length, global[1].prefix_length), (24, 64));
        let lo = w.link("lo")?;
        assert!(lo.is_loopback && !lo.is_ethernet && lo.kind.is_none());

        let selection = Selection { uplinks: vec!["eth0".to_owned()], workloads: None };
        let found = classify(&w.devices, &selection)?;
        let uplinks: Vec<_> = found.uplinks.values().collect();
        ensure!(uplinks.len() == 1 && found.workloads.len() == 1, "{found:?}");
        assert_eq!(uplinks[0].snat_v4.map(|ip| ip.to_string()).as_deref(), Some("192.0.2.1"));
        assert_eq!(uplinks[0].snat_v6.map(|ip| ip.to_string()).as_deref(), Some("2001:db8::1"));
        assert!(found.workloads.values().all(|w| w.name == "veth-pod" && w.mtu == 1450));
        let marker = IpAddr::from([203, 0, 113, 1]);
        let own = [global[0].ip, global[1].ip, marker];
        assert_eq!(found.node_addresses, BTreeSet::from(own));

        let selection = Selection { uplinks: vec!["eth9".to_owned()], workloads: None };
        let error = classify(&w.devices, &selection).expect_err("there is no eth9");
        assert!(matches!(error, DeviceError::UnknownUplink { .. }), "{error}");
        Ok(())
    })
}

#[test]
fn links_that_come_and_go_are_told() -> Result<()> {
    on_host(async |w| {
        let moved = w.moved_by("link add veth-new type veth peer name veth-peer\n").await?;
        assert!(!moved, "a link that is down leads nowhere");
        assert_eq!(w.link("veth-new")?.kind.as_deref(), Some("veth"));
        assert!(!w.link("veth-new")?.peer_is_elsewhere);
        assert!(w.moved_by("link set veth-new up\n").await?);
        assert!(w.link("veth-new")?.up);
        assert!(w.moved_by("link del veth-new\n").await?);
        assert!(
            w.devices.by_name("veth-new").is_none() && w.devices.by_name("veth-peer").is_none()
        );
        Ok(())
    })
}

#[test]
fn what_changes_about_a_link_is_told() -> Result<()> {
    on_host(async |w| {
        assert!(w.moved_by("link set eth0 mtu 1400\n").await?);
        assert_eq!(w.link("eth0")?.mtu, 1400);
        assert!(w.moved_by("link set eth0 address 02:00:00:00:00:77\n").await?);
        assert_eq!(w.link("eth0")?.mac, Some([2, 0, 0, 0, 0, 0x77]));
        assert!(w.moved_by("link set eth0 down\n").await?);
        assert!(!w.link("eth0")?.up);
        Ok(())
    })
}

#[test]
fn a_pod_behind_a_bridge_is_found_there_and_gone_from_it_when_it_leaves() -> Result<()> {
    on_host(async |w| {
        w.moved_by(
            "address add 10.1.1.1/32 dev veth-pod\n\
             link add cni0 type bridge\n\
             link set veth-pod master cni0\n",
        )
        .await?;
        let selection = Selection { uplinks: vec!["eth0".to_owned()], workloads: None };
        let bridges = classify(&w.devices, &selection)?.bridges;
        assert_eq!(bridges.keys().copied().collect::<Vec<_>>(), [w.link("cni0")?.index]);
        assert!(w.moved_by("link set veth-pod nomaster\n").await?);
        assert!(classify(&w.devices, &selection)?.bridges.is_empty());
        let global: Vec<_> = w
            .link("veth-pod")?
            .addresses
            .iter()
            .filter(|address| address.global)
            .map(|address| address.ip.to_string())
            .collect();
        assert_eq!(global, ["10.1.1.1"], "it left the bridge, not the host");
        Ok(())
    })
}

#[test]
fn addresses_that_come_and_go_are_told() -> Result<()> {
    on_host(async |w| {
        for address in ["198.51.100.7", "2001:db8:7::7"] {
            let ip: IpAddr = address.parse()?;
            w.moved_by(&format!("address add {address} dev eth0\n")).await?;
            ensure!(w.has("eth0", ip)?, "{address} was not told");
            w.moved_by(&format!("address del {address} dev eth0\n")).await?;
            ensure!(!w.has("eth0", ip)?, "{address} is still there");
        }
        Ok(())
    })
}

#[test]
fn the_settings_read_are_those_of_the_namespace() -> Result<()> {
    on_host(async |w| {
        let (before, uplink) = (Sysctls::read()?, Forwarding::read("eth0")?);
        w.host.sysctl(&[
            ("net/ipv4/ip_local_port_range", "40000 41000"),
            ("net/ipv4/ip_local_reserved_ports", "8080,9000-9100"),
            ("net/ipv4/ip_forward", if before.forwards_v4 { "0" } else { "1" }),
            ("net/ipv6/conf/eth0/forwarding", if uplink.v6 == Some(true) { "0" } else { "1" }),
        ])?;
        let after = Sysctls::read()?;
        assert_eq!(after.local_ports, (40_000, 41_000));
        assert_eq!(after.reserved_ports, [8080..=8080, 9000..=9100]);
        assert_eq!(after.forwards_v4, !before.forwards_v4);
        assert_eq!(Forwarding::read("eth0")?.v4, Some(after.forwards_v4));
        assert_eq!(Forwarding::read("eth0")?.v6, uplink.v6.map(|forwards| !forwards));
        Ok(())
    })
}
