//! The test stand: the programs with their tables, and the rig that puts frames through them. Whatever is put
//! through is checked against the programs' own counters: a packet that took another way than the one that
//! is measured makes the benchmark fail.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use lb_common::{tables::SnatPorts, verdict::Verdict};
use lb_tests::{lab::cast::Family, packet::checksums_ok};
use lb_userspace::dataplane::{Settings, Sizes};

use super::{
    bed::{At, Bed, Entry, Point, SETTINGS, sent::named},
    frames::{FIRST_SNAT_PORT, Frames, SNAT_PORTS},
    services,
};
use crate::rig::{Hook, Rig, Run};

/// Counted for what goes through the stack.
pub const STACK: u32 = Verdict::Stack.counter();
/// Counted for what is sent on.
pub const TRANSMIT: u32 = Verdict::Transmit(0).counter();

/// The programs, their tables, and the rig.
pub struct Stand<'a> {
    /// The programs and tables.
    pub bed: Entry,
    rig: &'a mut Rig,
}

/// What a packet took by some calls, in nanoseconds: the mean without the lowest and the highest, which are whoever
/// else's on the machine. The kernel tells whole nanoseconds of each call.
pub fn middle(mut calls: Vec<f64>) -> Result<f64> {
    ensure!(!calls.is_empty(), "nothing was measured");
    calls.sort_by(f64::total_cmp);
    let outer = usize::from(calls.len() > 2);
    let inner = &calls[outer..calls.len() - outer];
    Ok(inner.iter().sum::<f64>() / f64::from(u32::try_from(inner.len())?))
}

/// How many entries the four flow tables have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// IPv4 and IPv6 flows that can be evicted.
    pub new: usize,
    /// IPv4 flows that can't.
    pub v4: usize,
    /// IPv6 flows that can't.
    pub v6: usize,
}

impl<'a> Stand<'a> {
    /// With the services that are measured, and no flows.
    pub fn new(rig: &'a mut Rig, sizes: &Sizes) -> Result<Self> {
        let mut bed = Bed::with(sizes, |_| Ok(()))?;
        bed.namespace().ip(&services::routes()?)?;
        bed.apply(&services::desired()?)?;
        let stand = Self { bed, rig };
        stand.set_snat_ports(FIRST_SNAT_PORT, SNAT_PORTS);
        Ok(stand)
    }

    /// Says which ports SNAT may use.
    pub fn set_snat_ports(&self, first: u16, count: u16) {
        let snat_ports = SnatPorts { first, count };
        self.bed.tables.set_settings(Settings {
            snat_ports,
            reply_ports: SnatPorts { first: FIRST_SNAT_PORT, count: SNAT_PORTS },
            ..SETTINGS
        });
    }

    /// The program of `lb` at a place.
    pub fn lb(&self, at: At) -> Result<ProgramFd> {
        let name = at.point.program();
        let program = self.bed.programs().program(name).with_context(|| format!("no {name}"))?;
        Ok(program.fd()?.try_clone()?)
    }

    /// A program of the rig's.
    pub fn of_rig(&self, name: &str) -> Result<ProgramFd> {
        self.rig.program(name)
    }

    /// Puts the frames of `times` flows through a program, from flow `from` on. Fails unless the programs count
    /// exactly `expected` meanwhile, and nothing else.
    pub fn put(
        &mut self,
        at: At,
        program: &ProgramFd,
        frames: &Frames,
        (from, times): (u64, u32),
        expected: &[(u32, u64)],
    ) -> Result<Run> {
        let hook = hook(at.point);
        self.rig.measure(hook, program)?;
        self.rig.set_plan(&frames.plan)?;
        self.rig.go_on_from(from)?;
        let before = self.bed.counters()?;
        let run = self.rig.run(hook, at.ifindex, &frames.frame, times)?;
        let counted: BTreeMap<u32, u64> = self
            .bed
            .counters()?
            .into_iter()
            .map(|(counter, now)| (counter, now - before.get(&counter).unwrap_or(&0)))
            .filter(|(_, more)| *more > 0)
            .collect();
        let expected: BTreeMap<u32, u64> = expected.iter().copied().collect();
        ensure!(
            counted == expected,
            "packets took another way than the one that is measured: counted {:?} instead of {:?}",
            named(&counted),
            named(&expected)
        );
        Ok(run)
    }

    /// The same, and what one packet took, in nanoseconds. Fails also if the answer, or the last packet, isn't
    /// as it should be.
    pub fn time(
        &mut self,
        at: At,
        program: &ProgramFd,
        frames: &Frames,
        range: (u64, u32),
        (action, expected): (i32, &[(u32, u64)]),
    ) -> Result<f64> {
        let run = self.put(at, program, frames, range, expected)?;
        ensure!(run.action == action, "the program answers {}, not {action}", run.action);
        ensure!(checksums_ok(&run.frame), "the packet's checksums are wrong afterwards");
        Ok(run.mean.as_secs_f64() * 1e9)
    }

    /// How many entries the tables have now.
    pub fn entries(&self) -> Result<Entries> {
        let tables = &self.bed.tables;
        let mut entries = Entries::default();
        tables.new_flows_v4.for_each(|_, _| entries.new += 1)?;
        tables.new_flows_v6.for_each(|_, _| entries.new += 1)?;
        tables.flows_v4.for_each(|_, _| entries.v4 += 1)?;
        tables.flows_v6.for_each(|_, _| entries.v6 += 1)?;
        Ok(entries)
    }

    /// Removes all flows that can be evicted, and returns how many entries that were.
    pub fn remove_new(&self, family: Family) -> Result<usize> {
        macro_rules! emptied {
            ($table:ident) => {{
                let mut keys = Vec::new();
                self.bed.tables.$table.for_each(|key, _| keys.push(*key))?;
                self.bed.tables.$table.remove(&keys)?
            }};
        }
        Ok(match family {
            Family::V4 => emptied!(new_flows_v4),
            Family::V6 => emptied!(new_flows_v6),
        })
    }
}

/// The harness for a place.
pub const fn hook(point: Point) -> Hook {
    match point {
        Point::Xdp => Hook::Xdp,
        Point::Tc(_) => Hook::Tc,
    }
}
