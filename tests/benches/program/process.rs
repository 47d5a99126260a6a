//! A real `lb run`: how long it takes from its start to its first packet, how long a change takes from a file to the
//! map, and how much memory it has.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_common::{addr::Port, tables::FrontendKey, wire::Protocol};
use lb_tests::{
    bench::Context, lab::Cluster, manifests::Manifests, patience::patient, process::LoadBalancer,
};
use lb_userspace::dataplane::{Pins, Tables};

use super::{
    change::Times,
    data::{PORT, Size},
    maps::{self, BPFFS},
};

/// How often the map is looked at.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// How long a change may take.
const CHANGED_WITHIN: Duration = Duration::from_secs(20);
/// The manifests of the service that changes.
const CHANGING: &str = "changing.json";

/// `lb` on a node of its own, with services from manifests: one in a file of its own, the others in another.
pub struct Process {
    // In the order in which they have to go.
    lb: LoadBalancer,
    manifests: Manifests,
    _cluster: Cluster,
    size: Size,
    /// From its start until it was up.
    pub start: Duration,
}

/// Resident memory, in bytes.
pub struct Resident {
    /// Its own.
    pub own: u64,
    /// The binary's and the libraries' pages that it has used.
    pub code: u64,
    /// Maps, which are in its memory as a whole and have been counted as the kernel's.
    pub maps: u64,
}

impl Process {
    /// Starts it, and waits until it serves.
    pub fn start(size: Size) -> Result<Self> {
        let binary =
            env::var_os("LB_BINARY").context("LB_BINARY names no lb; run: cargo xtask bench")?;
        let cluster = Cluster::builder().nodes(1).pods(0).start()?;
        let manifests = Manifests::new()?;
        manifests.write(CHANGING, &size.setup(0..1, 0).manifests())?;
        if size.services > 1 {
            manifests.write("others.json", &size.setup(1..size.services, 0).manifests())?;
        }
        let directory = manifests.path().to_str().context("a path of plain characters")?;
        let mut arguments = vec!["--manifests".to_owned(), directory.to_owned()];
        arguments.extend(["--uplink", "eth0"].map(str::to_owned));
        arguments.extend(larger_than_usual(size));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let began = SystemTime::now();
        let lb = LoadBalancer::start(cluster.node(1), &PathBuf::from(binary), &arguments)?;
        let start = up_since(&lb.log())?.duration_since(began)?;
        Ok(Self { lb, manifests, _cluster: cluster, size, start })
    }

    /// Changes one endpoint by writing its service's manifest, again and again; the times from just before that until
    /// the service's selection table is the new one.
    pub fn change(&self, context: &Context, wanted: u32) -> Result<Times> {
        let tables = Tables::open(&Pins::of(Path::new(BPFFS), self.lb.instance()))?;
        let key = FrontendKey::new(Size::address(0).into(), Port::from_host(PORT), Protocol::TCP);
        let id = tables.frontends_v4.get(&key)?.context("the service is not in the map")?.service;
        let mut times = Vec::new();
        for change in 0..wanted {
            context.check()?;
            let without = 1 - change % 2;
            let manifest = self.size.setup(0..1, without).manifests();
            let began = Instant::now();
            self.manifests.write(CHANGING, &manifest)?;
            while tables.service(id).all.len() != self.size.endpoints - without {
                ensure!(
                    began.elapsed() < patient(CHANGED_WITHIN),
                    "a change didn't come to the map; lb wrote:\n{}",
                    self.lb.log()
                );
                thread::sleep(LOOK_AGAIN); // tidy: polls with a deadline
            }
            times.push(began.elapsed());
        }
        Times::of(times)
    }

    /// What it has now.
    pub fn resident(&self) -> Result<Resident> {
        let mappings = fs::read_to_string(format!("/proc/{}/smaps", self.lb.pid()))?;
        let (mut resident, mut is_map) = (Resident { own: 0, code: 0, maps: 0 }, false);
        for line in mappings.lines() {
            let mut words = line.split_whitespace();
            let bytes = |word: Option<&str>| -> Result<u64> {
                Ok(word.with_context(|| line.to_owned())?.parse::<u64>()? << 10)
            };
            match words.next() {
                Some("Rss:") if is_map => resident.maps += bytes(words.next())?,
                Some("Rss:") => resident.code += bytes(words.next())?,
                Some("Anonymous:") if !is_map => resident.own += bytes(words.next())?,
                // What begins a mapping: its addresses. Everything else is `Name:`.
                Some(word) if !word.ends_with(':') => is_map = line.ends_with("anon_inode:bpf-map"),
                _ => {}
            }
        }
        ensure!(resident.maps > 0, "no maps are in lb's memory");
        // A private page that was written to is its own, whatever it was read from.
        resident.code = resident.code.saturating_sub(resident.own);
        Ok(resident)
    }
}

impl Resident {
    /// All of it.
    pub const fn all(&self) -> u64 {
        self.own + self.code + self.maps
    }
}

/// Options for more than usually fits.
fn larger_than_usual(size: Size) -> Vec<String> {
    let (sizes, usual) = (maps::sizes(size), lb_userspace::dataplane::Sizes::default());
    let options = [
        ("--max-services", sizes.services, usual.services),
        ("--max-backends", sizes.backends, usual.backends),
        ("--max-slots", sizes.slots, usual.slots),
    ];
    let larger = options.into_iter().filter(|(_, wanted, usual)| wanted > usual);
    larger.flat_map(|(option, wanted, _)| [option.to_owned(), wanted.to_string()]).collect()
}

/// When it wrote that it is up. Asking it until it answers would add what asking takes.
fn up_since(log: &str) -> Result<SystemTime> {
    for line in log.lines() {
        if let Some((time, "INFO up takes_over=false")) = line.split_once("  ") {
            return humantime::parse_rfc3339(time).context("the time in lb's log");
        }
    }
    bail!("lb didn't write when it was up:\n{log}")
}
