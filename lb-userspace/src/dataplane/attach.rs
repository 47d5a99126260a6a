//! Programs at interfaces. XDP and TCX are links, pinned, so that they outlive the control program
//! and are replaced in place by the next one; before Linux 6.6 TC programs are netlink filters,
//! which outlive it by themselves.

mod error;
mod kernel;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{TcAttachType, links::PinnedLink, tc::SchedClassifierLink};
use serde::{Deserialize, Serialize};

use super::{Pins, Programs};
pub use error::AttachError;
use error::{attach_error, pin_error};
use kernel::{attach_filter, new_tcx, new_xdp, pinned, replace_tcx, replace_xdp, taken_over};

/// Where a program sits at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// XDP of an uplink.
    UplinkXdp,
    /// TC ingress of an uplink.
    UplinkIn,
    /// TC egress of an uplink.
    UplinkOut,
    /// TC ingress of a pod's interface.
    WorkloadIn,
    /// TC egress of a pod's interface.
    WorkloadOut,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By the driver.
    XdpNative,
    /// By the kernel, after the driver.
    XdpGeneric,
    /// A TCX link.
    Tcx,
    /// A netlink filter.
    Filter,
}

/// How XDP is to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum XdpMode {
    /// By the driver; where the driver can't, TC does the work alone.
    #[default]
    Native,
    /// By the kernel: slower than TC alone; for trying things out.
    Generic,
    /// Not at all.
    Off,
}

/// How TC programs are to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TcMode {
    /// TCX links where the kernel has them, else netlink filters.
    #[default]
    Auto,
    /// Netlink filters.
    Filter,
}

/// What is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The interface's index.
    pub ifindex: u32,
    /// Its name.
    pub interface: String,
    /// Where.
    pub point: Point,
    /// How.
    pub mode: Mode,
}

#[derive(Debug)]
enum Held {
    Link(PinnedLink),
    Filter(SchedClassifierLink),
}

/// The programs that are attached, and by what they hold.
#[derive(Debug)]
pub struct Hookup {
    links: PathBuf,
    tc: TcMode,
    held: BTreeMap<(u32, Point), (Attached, Held)>,
}

impl Point {
    /// The program for this place; `bare`: at a device without link layer, which is an uplink.
    const fn program(self, bare: bool) -> &'static str {
        match self {
            Self::UplinkIn if bare => "lb_bare_in",
            Self::UplinkOut if bare => "lb_bare_out",
            Self::UplinkXdp => "lb_xdp",
            Self::UplinkIn => "lb_uplink_in",
            Self::UplinkOut => "lb_uplink_out",
            Self::WorkloadIn => "lb_workload_in",
            Self::WorkloadOut => "lb_workload_out",
        }
    }

    const fn direction(self) -> TcAttachType {
        match self {
            Self::UplinkXdp | Self::UplinkIn | Self::WorkloadIn => TcAttachType::Ingress,
            Self::UplinkOut | Self::WorkloadOut => TcAttachType::Egress,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UplinkXdp => "xdp",
            Self::UplinkIn | Self::WorkloadIn => "tc ingress",
            Self::UplinkOut | Self::WorkloadOut => "tc egress",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XdpNative => "native",
            Self::XdpGeneric => "generic",
            Self::Tcx => "tcx",
            Self::Filter => "filter",
        })
    }
}

impl Hookup {
    /// Nothing attached yet by this run.
    pub fn new(pins: &Pins, tc: TcMode) -> Self {
        Self { links: pins.links(), tc, held: BTreeMap::new() }
    }

    /// What is attached.
    pub fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.held.values().map(|(attached, _)| attached)
    }

    /// Whether something is attached there.
    pub fn is_attached(&self, ifindex: u32, point: Point) -> bool {
        self.held.contains_key(&(ifindex, point))
    }

    /// Attaches XDP to an uplink.
    pub fn attach_xdp(
        &mut self,
        programs: &mut Programs,
        ifindex: u32,
        interface: &str,
        mode: XdpMode,
    ) -> Result<(), AttachError> {
        let (kernel_mode, mode, other) = match mode {
            XdpMode::Off => return Ok(()),
            XdpMode::Native => (aya::programs::XdpMode::Driver, Mode::XdpNative, Mode::XdpGeneric),
            XdpMode::Generic => (aya::programs::XdpMode::Skb, Mode::XdpGeneric, Mode::XdpNative),
        };
        let point = Point::UplinkXdp;
        let failed = |source| attach_error(point, interface, source);
        let program = programs.xdp().map_err(failed)?;
        // A link keeps its mode: one that an earlier run made in the other mode has to go.
        remove(&self.pin(ifindex, point, other))
            .map_err(|source| pin_error(point, interface, source.into()))?;
        let pin = self.pin(ifindex, point, mode);
        let link = match taken_over(&pin, |link| replace_xdp(program, link)) {
            Some(link) => link,
            None => new_xdp(program, ifindex, kernel_mode).map_err(failed)?,
        };
        let link = pinned(link, &pin).map_err(|source| pin_error(point, interface, source))?;
        self.hold(ifindex, interface, point, mode, Held::Link(link));
        Ok(())
    }

    /// Attaches a TC program; `bare`: one for devices without link layer, which are loaded then.
    pub fn attach_tc(
        &mut self,
        programs: &mut Programs,
        ifindex: u32,
        interface: &str,
        point: Point,
        bare: bool,
    ) -> Result<(), AttachError> {
        let failed = |source| attach_error(point, interface, source);
        let program = programs.classifier(point.program(bare)).map_err(failed)?;
        let pin = self.pin(ifindex, point, Mode::Tcx);
        if self.tc == TcMode::Auto {
            let link = match taken_over(&pin, |link| replace_tcx(program, link)) {
                Some(link) => Some(link),
                None => new_tcx(program, interface, point).map_err(failed)?,
            };
            if let Some(link) = link {
                let link =
                    pinned(link, &pin).map_err(|source| pin_error(point, interface, source))?;
                self.hold(ifindex, interface, point, Mode::Tcx, Held::Link(link));
                return Ok(());
            }
        }
        let filter = attach_filter(program, interface, point).map_err(failed)?;
        self.hold(ifindex, interface, point, Mode::Filter, Held::Filter(filter));
        Ok(())
    }

    /// Detaches whatever `keep` doesn't name, and links that an earlier run left behind.
    pub fn retain(&mut self, keep: impl Fn(u32, Point) -> bool) -> io::Result<()> {
        let gone: Vec<_> =
            self.held.keys().filter(|(index, point)| !keep(*index, *point)).copied().collect();
        for key in gone {
            self.detach(key)?;
        }
        for entry in fs::read_dir(&self.links)? {
            let path = entry?.path();
            if !self.attached().any(|one| self.pin(one.ifindex, one.point, one.mode) == path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Detaches everything.
    pub fn detach_all(&mut self) -> io::Result<()> {
        self.retain(|_, _| false)
    }

    fn detach(&mut self, key: (u32, Point)) -> io::Result<()> {
        match self.held.remove(&key) {
            // With its pin gone and the handle dropped, the link ends.
            Some((_, Held::Link(link))) => drop(link.unpin()?),
            // A filter goes when its handle is dropped; on an interface that is gone it went with it.
            Some((_, Held::Filter(filter))) => drop(filter),
            None => {}
        }
        Ok(())
    }

    /// Where a link is pinned; filters have none.
    fn pin(&self, ifindex: u32, point: Point, mode: Mode) -> PathBuf {
        let point = match point {
            Point::UplinkXdp if mode == Mode::XdpGeneric => "uplink-xdp-generic",
            Point::UplinkXdp => "uplink-xdp-native",
            Point::UplinkIn => "uplink-in",
            Point::UplinkOut => "uplink-out",
            Point::WorkloadIn => "workload-in",
            Point::WorkloadOut => "workload-out",
        };
        self.links.join(format!("{ifindex}-{point}"))
    }

    fn hold(&mut self, ifindex: u32, interface: &str, point: Point, mode: Mode, held: Held) {
        let attached = Attached { ifindex, interface: interface.to_owned(), point, mode };
        self.held.insert((ifindex, point), (attached, held));
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
