//! What `lb` sees of interfaces, addresses, neighbours and routes, in real network namespaces.
//!
//! Every test has a host with an uplink `eth0` and a pod behind the veth `veth-pod`. What must *not* be
//! told is followed by something that must be: if that comes first and alone, the other was not told.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lb_tests::lab::{End, Lab, Namespace, Veth};
use lb_userspace::devices::{
    Change, DeviceError, DeviceWatch, Devices, Forwarding, Link, Selection, Sysctls, classify,
};
use tokio::time::timeout;

/// Far beyond the 100 ms within which a change is told.
const DEADLINE: Duration = Duration::from_secs(10);

/// The host's and the pod's namespaces, wired, addressed and up, and a second neighbour-to-be.
fn lab() -> Result<Lab> {
    let mut lab = Lab::start()?;
    lab.add(&["host", "pod", "router"])?;
    let pod = End::anonymous("pod", "eth0");
    let router = End::anonymous("router", "eth0");
    lab.connect(&[
        Veth {
            a: End::anonymous("host", "veth-pod"),
            b: pod,
            mtu: 1450,
        },
        Veth {
            a: End::anonymous("host", "eth0"),
            b: router,
            mtu: 1500,
        },
    ])?;
    for other in ["pod", "router"] {
        lab.namespace(other)?.ip("link set eth0 up\n")?;
    }
    lab.namespace("host")?.ip("link set eth0 up\n\
         link set veth-pod up\n\
         address add 192.0.2.1/24 dev eth0\n\
         address add 2001:db8::1/64 dev eth0\n")?;
    lab.wait_until_running()?;
    Ok(lab)
}

/// A watch whose news of how the lab came up have all been told.
struct Watching<'a> {
    host: &'a Namespace,
    watch: DeviceWatch,
    devices: Devices,
    markers: u8,
}

impl<'a> Watching<'a> {
    async fn start(host: &'a Namespace) -> Result<Self> {
        let (devices, watch) = DeviceWatch::open().await?;
        let mut watching = Self {
            host,
            watch,
            devices,
            markers: 0,
        };
        // The kernel adds link-local addresses and their routes when it has the time.
        while !watching.has_link_local_wherever_up() {
            watching.next().await?;
        }
        watching.told_with_a_marker().await?;
        Ok(watching)
    }

    fn has_link_local_wherever_up(&self) -> bool {
        let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let has_one = |link: &Link| {
            link.addresses
                .iter()
                .any(|a| !a.tentative && link_local(a.ip))
        };
        self.devices
            .links
            .values()
            .filter(|link| link.is_ethernet && link.up)
            .all(has_one)
    }

    async fn next(&mut self) -> Result<Change> {
        let change = timeout(DEADLINE, self.watch.changed())
            .await
            .context("nothing was told")?;
        if let Some(devices) = &change.devices {
            self.devices = devices.clone();
        }
        Ok(change)
    }

    /// Whether paths have moved in all that is told until something harmless happens, which is done
    /// here and is told, too: an address on `lo`.
    async fn told_with_a_marker(&mut self) -> Result<bool> {
        self.markers += 1;
        let marker = IpAddr::from([203, 0, 113, self.markers]);
        self.host.ip(&format!("address add {marker}/32 dev lo\n"))?;
        let mut moved = false;
        loop {
            moved |= self.next().await?.paths_moved;
            if self.has("lo", marker)? {
                return Ok(moved);
            }
        }
    }

    /// Does as told and says whether paths moved.
    async fn moved_by(&mut self, script: &str) -> Result<bool> {
        self.host.ip(script)?;
        self.told_with_a_marker().await
    }

    fn has(&self, name: &str, ip: IpAddr) -> Result<bool> {
        Ok(self
            .link(name)?
            .addresses
            .iter()
            .any(|address| address.ip == ip))
    }

    fn link(&self, name: &str) -> Result<&Link> {
        self.devices
            .by_name(name)
            .with_context(|| format!("no {name}"))
    }
}

/// Runs a test in the host's namespace, on one thread: those of a pool would be elsewhere.
fn on_host(test: impl AsyncFnOnce(&mut Watching<'_>) -> Result<()>) -> Result<()> {
    let lab = lab()?;
    let host = lab.namespace("host")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _inside = host.enter()?;
    runtime.block_on(async { test(&mut Watching::start(host).await?).await })
}

/// `lines` times the same command with another end each time.
fn repeat(lines: usize, command: &str, ends: &[&str]) -> String {
    let mut script = String::new();
    for end in ends.iter().cycle().take(lines) {
        writeln!(script, "{command} {end}").expect("strings can be written to");
    }
    script
}

#[test]
fn the_host_is_seen_as_it_is_and_classified() -> Result<()> {
    on_host(async |w| {
        let eth0 = w.link("eth0")?;
        assert_eq!(
            (eth0.kind.as_deref(), eth0.mtu, eth0.up),
            (Some("veth"), 1500, true)
        );
        assert!(eth0.is_ethernet && eth0.peer_is_elsewhere && eth0.mac.is_some());
        let global: Vec<_> = eth0
            .addresses
            .iter()
            .filter(|address| address.global)
            .collect();
        let ips: Vec<_> = global
            .iter()
            .map(|address| address.ip.to_string())
            .collect();
        assert_eq!(ips, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!((global[0].prefix_length, global[1].prefix_length), (24, 64));
        let lo = w.link("lo")?;
        assert!(lo.is_loopback && !lo.is_ethernet && lo.kind.is_none());

        let selection = Selection {
            uplinks: vec!["eth0".to_owned()],
            workloads: None,
        };
        let found = classify(&w.devices, &selection)?;
        let uplinks: Vec<_> = found.uplinks.values().collect();
        ensure!(
            uplinks.len() == 1 && found.workloads.len() == 1,
            "{found:?}"
        );
        assert_eq!(
            uplinks[0].snat_v4.map(|ip| ip.to_string()).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            uplinks[0].snat_v6.map(|ip| ip.to_string()).as_deref(),
            Some("2001:db8::1")
        );
        assert!(
            found
                .workloads
                .values()
                .all(|w| w.name == "veth-pod" && w.mtu == 1450)
        );
        let marker = IpAddr::from([203, 0, 113, 1]);
        let own = [global[0].ip, global[1].ip, marker];
        assert_eq!(found.node_addresses, BTreeSet::from(own));

        let selection = Selection {
            uplinks: vec!["eth9".to_owned()],
            workloads: None,
        };
        let error = classify(&w.devices, &selection).expect_err("there is no eth9");
        assert!(
            matches!(error, DeviceError::UnknownUplink { .. }),
            "{error}"
        );
        Ok(())
    })
}

#[test]
fn links_that_come_and_go_are_told() -> Result<()> {
    on_host(async |w| {
        let moved = w
            .moved_by("link add veth-new type veth peer name veth-peer\n")
            .await?;
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
        assert!(
            w.moved_by("link set eth0 address 02:00:00:00:00:77\n")
                .await?
        );
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
        let selection = Selection {
            uplinks: vec!["eth0".to_owned()],
            workloads: None,
        };
        let bridges = classify(&w.devices, &selection)?.bridges;
        assert_eq!(
            bridges.keys().copied().collect::<Vec<_>>(),
            [w.link("cni0")?.index]
        );
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
            w.moved_by(&format!("address add {address} dev eth0\n"))
                .await?;
            ensure!(w.has("eth0", ip)?, "{address} was not told");
            w.moved_by(&format!("address del {address} dev eth0\n"))
                .await?;
            ensure!(!w.has("eth0", ip)?, "{address} is still there");
        }
        Ok(())
    })
}

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
        w.host.output(
            "ip",
            &[
                "-6",
                "rule",
                "add",
                "from",
                "2001:db8:8::/48",
                "table",
                "77",
            ],
        )?;
        ensure!(w.told_with_a_marker().await?, "not told: an IPv6 rule");
        Ok(())
    })
}

#[test]
fn news_that_were_lost_are_made_up_for_by_reading_all_again() -> Result<()> {
    on_host(async |w| {
        let with_mac = "neighbour replace 192.0.2.7 dev eth0 lladdr 02:00:00:00:00:07 nud";
        assert!(w.moved_by(&format!("{with_mac} reachable\n")).await?);
        // Nobody listens meanwhile: more than the queue holds. None of this moves paths by itself.
        w.host
            .ip(&repeat(40_000, with_mac, &["stale", "reachable"]))?;
        let lost = "address add 198.51.100.7/32 dev lo\n";
        assert!(
            w.moved_by(lost).await?,
            "paths count as moved when news were lost"
        );
        assert_eq!(w.devices, DeviceWatch::open().await?.0);
        assert!(
            !w.moved_by(&repeat(10, with_mac, &["stale", "reachable"]))
                .await?,
            "all is known"
        );
        assert!(
            w.moved_by("link set veth-pod mtu 1200\n").await?,
            "and it goes on"
        );
        assert_eq!(w.link("veth-pod")?.mtu, 1200);
        Ok(())
    })
}

#[test]
fn a_wait_that_is_cancelled_again_and_again_misses_nothing() -> Result<()> {
    on_host(async |w| {
        w.host
            .ip("neighbour replace 192.0.2.7 dev eth0 lladdr 02:00:00:00:00:07 nud reachable\n")?;
        let told = timeout(DEADLINE, async {
            loop {
                if let Ok(change) = timeout(Duration::from_millis(1), w.watch.changed()).await {
                    return change;
                }
            }
        });
        assert_eq!(
            told.await?,
            Change {
                devices: None,
                paths_moved: true
            }
        );
        Ok(())
    })
}

#[test]
fn what_was_put_together_from_news_is_what_a_fresh_look_sees() -> Result<()> {
    on_host(async |w| {
        let mut script = String::new();
        for n in 1..=20 {
            write!(
                script,
                "link add a{n} mtu 14{n:02} type veth peer b{n}\n\
                 link set a{n} up\nlink set b{n} up\n\
                 address add 10.{n}.0.1/24 dev a{n}\naddress add 10.{n}.0.2/24 dev a{n}\n\
                 address add 2001:db8:{n}::2/64 dev a{n}\naddress add 2001:db8:{n}::1/64 dev a{n}\n\
                 address add 10.{n}.1.1 peer 10.{n}.2.1/32 dev b{n}\n"
            )?;
            match n % 4 {
                0 => writeln!(script, "link del a{n}")?,
                1 => writeln!(script, "address del 10.{n}.0.1/24 dev a{n}")?,
                2 => writeln!(script, "link set b{n} name c{n}")?,
                _ => writeln!(script, "link set a{n} down")?,
            }
        }
        w.moved_by(&script).await?;
        // Link-local addresses follow in the kernel's own time.
        loop {
            let fresh = DeviceWatch::open().await?.0;
            if w.devices == fresh && w.has_link_local_wherever_up() {
                return Ok(());
            }
            w.next()
                .await
                .with_context(|| format!("{:#?}\nand not\n{fresh:#?}", w.devices))?;
        }
    })
}

#[test]
fn the_settings_read_are_those_of_the_namespace() -> Result<()> {
    on_host(async |w| {
        let (before, uplink) = (Sysctls::read()?, Forwarding::read("eth0")?);
        w.host.sysctl(&[
            ("net/ipv4/ip_local_port_range", "40000 41000"),
            ("net/ipv4/ip_local_reserved_ports", "8080,9000-9100"),
            (
                "net/ipv4/ip_forward",
                if before.forwards_v4 { "0" } else { "1" },
            ),
            (
                "net/ipv6/conf/eth0/forwarding",
                if uplink.v6 == Some(true) { "0" } else { "1" },
            ),
        ])?;
        let after = Sysctls::read()?;
        assert_eq!(after.local_ports, (40_000, 41_000));
        assert_eq!(after.reserved_ports, [8080..=8080, 9000..=9100]);
        assert_eq!(after.forwards_v4, !before.forwards_v4);
        assert_eq!(Forwarding::read("eth0")?.v4, Some(after.forwards_v4));
        assert_eq!(
            Forwarding::read("eth0")?.v6,
            uplink.v6.map(|forwards| !forwards)
        );
        Ok(())
    })
}
