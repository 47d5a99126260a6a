//! What makes a cached next hop stale, and what does not.

use anyhow::{Context as _, Result, ensure};
use lb_userspace::devices::{DeviceWatch, Devices};

use crate::watching::{on_host, repeat};

#[test]
fn neighbours_are_told_by_appearance_another_mac_failure_and_deletion() -> Result<()> {
    on_host(async |w| {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let set = |rest: &str| format!("neighbour replace {ip} dev eth0 {rest}\n");
            for (script, why) in [
                (set("lladdr 02:00:00:00:00:07 nud reachable"), "appeared"),
                (set("lladdr 02:00:00:00:00:08 nud reachable"), "another MAC"),
                (set("nud failed"), "failed"),
                (set("lladdr 02:00:00:00:00:08 nud permanent"), "valid again"),
                (format!("neighbour del {ip} dev eth0\n"), "deleted"),
            ] {
                ensure!(w.moved_by(&script).await?, "{ip}: {why} was not told");
            }
        }
        Ok(())
    })
}

#[test]
fn a_thousand_changes_of_neighbours_states_are_not_told() -> Result<()> {
    on_host(async |w| {
        let with_mac = "neighbour replace 192.0.2.7 dev eth0 lladdr 02:00:00:00:00:07 nud";
        assert!(w.moved_by(&format!("{with_mac} reachable\n")).await?);
        let states = ["stale", "delay", "probe", "reachable", "permanent"];
        assert!(!w.moved_by(&repeat(1000, with_mac, &states)).await?);
        Ok(())
    })
}

#[test]
fn routes_rules_and_next_hops_are_told_in_every_table() -> Result<()> {
    on_host(async |w| {
        for script in [
            "route add 10.9.0.0/16 via 192.0.2.7\n",
            "route replace 10.9.0.0/16 via 192.0.2.8\n",
            "route del 10.9.0.0/16\n",
            "route add 10.9.0.0/16 via 192.0.2.7 table 77\n",
            "route add blackhole 10.10.0.0/16\n",
            "route add 2001:db8:9::/48 via 2001:db8::7\n",
            "route del 2001:db8:9::/48\n",
            "rule add from 10.8.0.0/16 table 77\n",
            "nexthop add id 5 via 192.0.2.7 dev eth0\n",
            "nexthop replace id 5 via 192.0.2.8 dev eth0\n",
        ] {
            ensure!(w.moved_by(script).await?, "not told: {script}");
        }
        w.host.output("ip", &["-6", "rule", "add", "from", "2001:db8:8::/48", "table", "77"])?;
        ensure!(w.told_with_a_marker().await?, "not told: an IPv6 rule");
        Ok(())
    })
}

/// Where default routes lead, as `eth0 IPv4`.
fn defaults(devices: &Devices) -> Result<Vec<String>> {
    let all = devices.defaults.iter().map(|route| {
        let link = devices.links.get(&route.ifindex).context("a route over no interface")?;
        Ok(format!("{} {}", link.name, if route.is_ipv6 { "IPv6" } else { "IPv4" }))
    });
    let mut all = all.collect::<Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

#[test]
fn default_routes_are_known_however_they_come_and_go() -> Result<()> {
    on_host(async |w| {
        let steps: [(&str, &[&str]); 9] = [
            ("route add default via 192.0.2.7\n", &["eth0 IPv4"]),
            ("route replace default dev veth-pod\n", &["veth-pod IPv4"]),
            ("route add default via 2001:db8::7\n", &["eth0 IPv6", "veth-pod IPv4"]),
            (
                "route append default via fe80::99 dev veth-pod\n",
                &["eth0 IPv6", "veth-pod IPv4", "veth-pod IPv6"],
            ),
            ("route del default via fe80::99 dev veth-pod\n", &["eth0 IPv6", "veth-pod IPv4"]),
            (
                "route add default via 192.0.2.8 table 77\n",
                &["eth0 IPv4", "eth0 IPv6", "veth-pod IPv4"],
            ),
            ("route del default via 2001:db8::7\n", &["eth0 IPv4", "veth-pod IPv4"]),
            // These go without a word from the kernel: with the link, and with the last address.
            ("link set veth-pod down\n", &["eth0 IPv4"]),
            ("address del 192.0.2.1/24 dev eth0\n", &[]),
        ];
        for (script, expected) in steps {
            w.moved_by(script).await?;
            assert_eq!(defaults(&w.devices)?, expected, "{script}");
            assert_eq!(w.devices.defaults, DeviceWatch::open().await?.0.defaults, "{script}");
        }
        Ok(())
    })
}
