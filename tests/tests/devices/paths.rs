//! What makes a cached next hop stale, and what does not.

use anyhow::{Result, ensure};

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
