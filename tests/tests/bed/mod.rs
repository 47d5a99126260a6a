//! The test-run bed: the real programs, loaded but attached where nothing comes by, inside a namespace with real
//! interfaces and routes; packets are put through them one at a time by `BPF_PROG_TEST_RUN`.
//!
//! [`world`] is who there is, [`network`] and [`services`] make it so; [`run`] puts a packet through a
//! program; [`shared`] lets tests take turns; [`sent`] says what became of it; [`mirror`] copies the tables to the host's pipeline.
//! What ought to become of a packet does not belong here.

#![allow(dead_code, unused_imports, reason = "each suite uses its part")]

pub mod mirror;
pub mod network;
pub mod run;
pub mod sent;
pub mod services;
pub mod shared;
pub mod world;

use std::{
    io::{self, Write as _},
    ops::{Deref, DerefMut},
    path::Path,
    sync::{Arc, Mutex, Once},
};

use anyhow::{Context as _, Result};
use aya::programs::XdpMode;
use lb_common::{
    addr::{Ipv4, Ipv6},
    tables::{AddressRange, SnatPorts},
};
use lb_tests::{
    lab::{Entered, Lab, Namespace},
    process::fresh_instance,
};
use lb_userspace::{
    compile::{Desired, Touched},
    dataplane::{Events, Pins, Programs, Settings, Sizes, Tables, Writer},
};

pub use run::{At, Point, Ran};
pub use sent::Sent;
pub use shared::in_shared_bed;
pub use world::{Backend, Devices, Front, Ruled, World};

pub const BPFFS: &str = "/sys/fs/bpf";
const NODE: &str = "node1";

/// The interface where XDP is attached, and no packet is.
const IDLE: &str = "eth4";

/// Where test-run has XDP if it is told nothing: a namespace's first device.
const LOOPBACK: u32 = 1;

/// Room for everything that the suites put in.
pub const SIZES: Sizes = Sizes {
    services: 512,
    frontends: 1024,
    backends: 512,
    slots: 1 << 14,
    new_flows: 1 << 12,
    flows: 1 << 12,
    clients: 1 << 10,
    source_ranges: 64,
    sockets: 1 << 8,
    talks: 1 << 8,
    devices: 64,
    held: 1 << 8,
    events: 1 << 16,
};

/// Time plays no part: no flow's age is ever renewed.
pub const SETTINGS: Settings = Settings {
    snat_ports: SnatPorts { first: 61_000, count: 500 },
    reply_ports: SnatPorts { first: 61_000, count: 500 },
    sample_events: 0,
    graduate_udp: true,
    touch_interval: u32::MAX / 2,
    answers: u32::MAX / 2,
    hash_key: [0x5eed, 0xfeed],
    hz: 1_000,
    // 10.96.0.0/16 and fd00:96::/112, the cast's service networks.
    service_range_v4: AddressRange {
        base: Ipv4::from_wire(0x0a60_0000_u32.to_be()),
        mask: Ipv4::from_wire(0xffff_0000_u32.to_be()),
    },
    service_range_v6: AddressRange {
        base: Ipv6::from_wire([0xfd00_0096_0000_0000_u64.to_be(), 0]),
        mask: Ipv6::from_wire([u64::MAX, (u64::MAX << 16).to_be()]),
    },
};

/// Loaded programs and filled tables. What looks at the network has to be done inside their namespace.
pub struct Bed {
    // In the order in which they have to go.
    pub tables: Tables,
    writer: Writer,
    programs: Programs,
    pins: Pinned,
    pub world: World,
    lab: Lab,
}

/// A bed, and this thread inside its namespace.
pub struct Entry {
    // Out of the namespace before it goes.
    _inside: Entered,
    bed: Bed,
    _shared: Option<Arc<Mutex<Bed>>>,
}

impl Deref for Entry {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        &self.bed
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut Bed {
        &mut self.bed
    }
}

/// Pins that go away, also when a test panics.
struct Pinned(Pins);

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("pins stay behind: {error}");
        }
    }
}

/// Says on stdout, past libtest, which would keep it to itself, what this kernel can't be tested for.
fn tell_once(what: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        // Nobody listens: nobody is told.
        let _ = writeln!(io::stdout(), "\nnot tested: {what}");
    });
}

impl Bed {
    /// A bed whose tables have other sizes, or other maps: `prepare` is given the directory of the
    /// pins before the programs are loaded, which take what is pinned there.
    pub fn with(sizes: &Sizes, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Entry> {
        let shared = shared::keep_shared();
        let bed = Self::make(sizes, prepare)?;
        Ok(Entry { _inside: bed.namespace().enter()?, bed, _shared: shared })
    }

    fn make(sizes: &Sizes, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let mut lab = Lab::start()?;
        network::wire(&mut lab, NODE)?;
        let _inside = lab.namespace(NODE)?.enter()?;
        let mut world = World { devices: Devices::find()? };

        let mut pins = Pinned(Pins::of(Path::new(BPFFS), &fresh_instance()));
        pins.0.lock()?;
        prepare(&pins.0.maps())?;
        let mut programs = Programs::load(&pins.0, sizes).context("loading the programs")?;
        // Where nobody sends anything. Kernels before 5.15 rewrite code of their own for each test-run
        // of an XDP program that isn't attached, which takes them milliseconds when emulated.
        programs.xdp()?.attach(IDLE, XdpMode::Driver).context("attaching XDP")?;
        if !run::takes_xdp_context(&programs)? {
            world.devices.xdp = LOOPBACK;
            tell_once(
                "XDP_TX: this kernel's test-run takes no XDP context, so XDP is run at the \
                 loopback device, which sends nothing out",
            );
        }
        let tables = Tables::open(&pins.0)?;
        tables.set_settings(SETTINGS);
        tables.devices.update(&world.devices.table())?;
        let writer = Writer::new(&tables, std::collections::BTreeMap::new())?;
        let mut bed = Self { tables, writer, programs, pins, world, lab };
        bed.apply(&services::desired(Backend::hosts))?;
        Ok(bed)
    }

    /// Makes the tables say what is desired.
    pub fn apply(&mut self, desired: &Desired) -> Result<()> {
        self.writer.apply(&mut self.tables, desired, &Touched::Everything)?;
        Ok(())
    }

    /// Services and their numbers.
    pub fn services(&self) -> impl Iterator<Item = u32> {
        self.writer.services().map(|(_, number)| number)
    }

    /// The namespace, to change routes and settings.
    pub fn namespace(&self) -> &Namespace {
        self.lab.namespace(NODE).expect("the bed made it")
    }

    /// The loaded programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The reading end of what is told of packets.
    pub fn events(&self) -> Result<Events> {
        Ok(Events::open(&self.pins.0)?)
    }

    /// The directory of the pinned maps.
    pub fn maps(&self) -> std::path::PathBuf {
        self.pins.0.maps()
    }
}
