//! A host that is watched, and the ways to do something to it and learn what was told.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_tests::lab::{End, Lab, Namespace, Veth};
use lb_userspace::devices::{Change, DeviceWatch, Devices, Link};
use tokio::time::timeout;

/// Far beyond the 100 ms within which a change is told.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The host's and the pod's namespaces, wired, addressed and up, and a second neighbour-to-be.
fn lab() -> Result<Lab> {
    let mut lab = Lab::start()?;
    lab.add(&["host", "pod", "router"])?;
    let pod = End::anonymous("pod", "eth0");
    let router = End::anonymous("router", "eth0");
    lab.connect(&[
        Veth { a: End::anonymous("host", "veth-pod"), b: pod, mtu: 1450 },
        Veth { a: End::anonymous("host", "eth0"), b: router, mtu: 1500 },
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
pub struct Watching<'a> {
    /// Where everything happens.
    pub host: &'a Namespace,
    /// What is tested.
    pub watch: DeviceWatch,
    /// As last told.
    pub devices: Devices,
    markers: u8,
}

impl<'a> Watching<'a> {
    async fn start(host: &'a Namespace) -> Result<Self> {
        let (devices, watch) = DeviceWatch::open().await?;
        let mut watching = Self { host, watch, devices, markers: 0 };
        // The kernel adds link-local addresses and their routes when it has the time.
        while !watching.has_link_local_wherever_up() {
            watching.next().await?;
        }
        watching.told_with_a_marker().await?;
        Ok(watching)
    }

    /// Whether the kernel is done with link-local addresses.
    pub fn has_link_local_wherever_up(&self) -> bool {
        let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let has_one = |link: &Link| link.addresses.iter().any(|a| !a.tentative && link_local(a.ip));
        self.devices.links.values().filter(|link| link.is_ethernet && link.up).all(has_one)
    }

    /// The next change.
    pub async fn next(&mut self) -> Result<Change> {
        let change = timeout(DEADLINE, self.watch.changed()).await.context("nothing was told")?;
        if let Some(devices) = &change.devices {
            self.devices = devices.clone();
        }
        Ok(change)
    }

    /// Whether paths have moved in all that is told until something harmless happens, which is done
    /// here and is told, too: an address on `lo`.
    pub async fn told_with_a_marker(&mut self) -> Result<bool> {
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
    pub async fn moved_by(&mut self, script: &str) -> Result<bool> {
        self.host.ip(script)?;
        self.told_with_a_marker().await
    }

    /// Whether an interface has an address.
    pub fn has(&self, name: &str, ip: IpAddr) -> Result<bool> {
        Ok(self.link(name)?.addresses.iter().any(|address| address.ip == ip))
    }

    /// The interface of a name.
    pub fn link(&self, name: &str) -> Result<&Link> {
        self.devices.by_name(name).with_context(|| format!("no {name}"))
    }
}

/// Runs a test in the host's namespace, on one thread: those of a pool would be elsewhere.
pub fn on_host(test: impl AsyncFnOnce(&mut Watching<'_>) -> Result<()>) -> Result<()> {
    let lab = lab()?;
    let host = lab.namespace("host")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = host.enter()?;
    runtime.block_on(async { test(&mut Watching::start(host).await?).await })
}

/// `lines` times the same command with another end each time.
pub fn repeat(lines: usize, command: &str, ends: &[&str]) -> String {
    let mut script = String::new();
    for end in ends.iter().cycle().take(lines) {
        writeln!(script, "{command} {end}").expect("strings can be written to");
    }
    script
}
