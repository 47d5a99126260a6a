//! Nothing is missed: not when news are lost, not when nobody waits, not in a crowd.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_userspace::devices::{Change, DeviceWatch};
use tokio::time::timeout;

use crate::watching::{DEADLINE, on_host, repeat};

#[test]
fn news_that_were_lost_are_made_up_for_by_reading_all_again() -> Result<()> {
    on_host(async |w| {
        let with_mac = "neighbour replace 192.0.2.7 dev eth0 lladdr 02:00:00:00:00:07 nud";
        assert!(w.moved_by(&format!("{with_mac} reachable\n")).await?);
        // Nobody listens meanwhile: more than the queue holds. None of this moves paths by itself.
        w.host.ip(&repeat(40_000, with_mac, &["stale", "reachable"]))?;
        let lost = "address add 198.51.100.7/32 dev lo\n";
        assert!(w.moved_by(lost).await?, "paths count as moved when news were lost");
        assert_eq!(w.devices, DeviceWatch::open().await?.0);
        assert!(!w.moved_by(&repeat(10, with_mac, &["stale", "reachable"])).await?, "all is known");
        assert!(w.moved_by("link set veth-pod mtu 1200\n").await?, "and it goes on");
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
        assert_eq!(told.await?, Change { devices: None, paths_moved: true });
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
                // Down meanwhile: before Linux 6.2 an interface that is up can't be renamed.
                2 => writeln!(
                    script,
                    "link set b{n} down\nlink set b{n} name c{n}\nlink set c{n} up"
                )?,
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
            w.next().await.with_context(|| format!("{:#?}\nand not\n{fresh:#?}", w.devices))?;
        }
    })
}
