//! Real maps of a loaded object, which go away with it, and how much memory they take.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use lb_tests::process::fresh_instance;
use lb_userspace::{
    compile::{Compiler, Touched},
    dataplane::{Changes, Pins, Programs, Sizes, Tables, Writer},
};

use super::data::Size;

pub const BPFFS: &str = "/sys/fs/bpf";

/// Slots for each backend, as there are by default: what is replaced keeps its room for a second.
const SLOTS_A_BACKEND: u32 = 4;
/// Numbers of backends that may be resting.
const RESTING: u32 = 1 << 12;

/// The maps of an instance and what writes them. No program is attached to anything.
pub struct Maps {
    // In the order in which they have to go.
    pub tables: Tables,
    writer: Writer,
    pins: Pinned,
}

struct Pinned(Pins);

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("pins stay behind: {error}");
        }
    }
}

/// Tables with room for so many services and endpoints.
pub fn sizes(size: Size) -> Sizes {
    let backends = size.all_endpoints() + RESTING;
    Sizes {
        services: size.services,
        frontends: size.services,
        backends,
        slots: backends * SLOTS_A_BACKEND,
        ..Sizes::default()
    }
}

impl Maps {
    /// Loads the object and makes its maps.
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let mut pins = Pinned(Pins::of(Path::new(BPFFS), &fresh_instance()));
        pins.0.lock()?;
        Programs::load(&pins.0, sizes).context("loading the programs")?;
        let tables = Tables::open(&pins.0)?;
        let writer = Writer::new(&tables, BTreeMap::new())?;
        Ok(Self { tables, writer, pins })
    }

    /// Makes the maps say what a compiler found.
    pub fn apply(&mut self, compiler: &Compiler, touched: &Touched) -> Result<Changes> {
        Ok(self.writer.apply(&mut self.tables, compiler.desired(), touched)?)
    }

    /// What the kernel says that these maps take, in bytes.
    pub fn memory(&self, maps: &[&str]) -> Result<u64> {
        let each =
            maps.iter().map(|map| memory(&self.pins.0.maps().join(map)).context((*map).to_owned()));
        each.sum()
    }
}

fn memory(pin: &Path) -> Result<u64> {
    let map = MapData::from_pin(pin)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    let bytes = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(bytes.context("the kernel doesn't tell the memory of maps")?.trim().parse()?)
}
