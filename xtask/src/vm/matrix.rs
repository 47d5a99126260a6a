//! The suites that need root, on several kernels: machines side by side as far as this one carries
//! them. What came out is `results`'s.

use std::{
    env, fs,
    io::{self, Write as _},
    num::NonZero,
    path::Path,
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    Guest, LB,
    guest::MEMORY,
    quoted,
    results::{MARK, Row, conclude},
};
use crate::workspace::Executable;

/// What the tests are told about where they are: emulated processors are slow, so everything may
/// take eight times as long, and what is many is fewer (`lb_tests::patience`).
const SURROUNDINGS: &str = "export LB_BINARY=/usr/bin/lb LB_PATIENCE=8 \
                            LB_CONNECTIONS=${LB_CONNECTIONS:-2000} \
                            LB_MEGABYTES=${LB_MEGABYTES:-2} \
                            LB_AGREEMENT_PACKETS=${LB_AGREEMENT_PACKETS:-2000}";

/// What of our environment the tests are to know.
const HANDED_ON: [&str; 6] = [
    "RUST_BACKTRACE",
    "RUST_LOG",
    "PROPTEST_CASES",
    "LB_CONNECTIONS",
    "LB_MEGABYTES",
    "LB_AGREEMENT_PACKETS",
];

/// What QEMU takes beside the machine's memory, and what is left to others, in MiB for each machine.
const HEADROOM: u32 = 512;

/// What runs on one kernel.
pub struct Plan<'a> {
    /// The kernel's release line.
    pub line: String,
    /// The suites, in their order.
    pub suites: Vec<&'a Executable>,
}

/// How the machines are run.
pub struct Manner<'a> {
    /// How many at the same time; as many as this machine carries, if nobody says.
    pub at_once: Option<usize>,
    /// How long each suite may take.
    pub limit: Duration,
    /// Handed to every suite.
    pub filter: &'a [String],
}

/// Runs every plan in a machine of its own, and shows what came out.
pub fn run(plans: &[Plan<'_>], lb: &Path, manner: &Manner<'_>) -> Result<()> {
    let at_once = manner.at_once.map_or_else(carried, Ok)?.clamp(1, plans.len().max(1));
    let mut guests = Vec::new();
    for plan in plans {
        // One after the other, because kernels may have to be fetched.
        guests.push((plan, guest(plan, lb, manner)));
    }
    eprintln!("vm: {at_once} of {} machines at a time", plans.len());
    let waiting = Mutex::new(guests.into_iter().enumerate());
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    // Bound to a name, the lock would be held while the machine runs.
                    let next = waiting.lock().expect("no machine panics").next();
                    let Some((number, (plan, guest))) = next else { return };
                    let row = attend(plan, guest, manner, at_once > 1);
                    rows.lock().expect("no machine panics").push((number, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no machine panics");
    rows.sort_by_key(|(number, _)| *number);
    conclude(&rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}

/// How many machines this one carries: each takes memory; and its processors are threads here.
fn carried() -> Result<usize> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let available = available(&text).context("/proc/meminfo tells no available memory")?;
    let by_memory = available / u64::from(MEMORY + HEADROOM);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    Ok(usize::try_from(by_memory)?.min(cores))
}

/// MiB that could be used.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

fn guest(plan: &Plan<'_>, lb: &Path, manner: &Manner<'_>) -> Result<Guest> {
    let mut guest = Guest::new(&plan.line)?;
    guest.add(lb, LB)?;
    for suite in &plan.suites {
        guest.add(&suite.path, &format!("suites/{}", suite.name))?;
    }
    guest.initramfs.script("command", &script(&plan.suites, manner));
    Ok(guest)
}

/// Runs one machine to its end, whatever that is.
fn attend(plan: &Plan<'_>, guest: Result<Guest>, manner: &Manner<'_>, among_others: bool) -> Row {
    let planned = plan.suites.iter().map(|suite| suite.name.clone()).collect();
    let mut row = Row::new(plan.line.clone(), planned);
    let ended = guest.and_then(|guest| {
        row.release.clone_from(&guest.kernel.release);
        let prefix = if among_others { format!("[{}] ", plan.line) } else { String::new() };
        show(&prefix, format!("=== Linux {}", row.release).as_bytes());
        // The suites are ended one by one; a machine that doesn't do that, here.
        let suites = u32::try_from(plan.suites.len())?;
        let limit = manner.limit * suites + Duration::from_mins(5);
        guest.boot(limit, &mut |line| show(&prefix, &row.attend(line)))
    });
    row.broken = ended.err().map(|error| format!("{error:#}"));
    row
}

/// A line as a whole, so that machines don't talk into each other's.
fn show(prefix: &str, line: &[u8]) {
    let line = [prefix.as_bytes(), line, b"\n"].concat();
    // Whoever doesn't listen any more doesn't want to hear of it.
    let _ = io::stdout().lock().write_all(&line);
}

/// What the machine runs: the suites, one after the other, each between two marks.
fn script(suites: &[&Executable], manner: &Manner<'_>) -> String {
    let filter: Vec<_> = manner.filter.iter().map(|word| quoted(word)).collect();
    let filter = filter.join(" ");
    let limit = manner.limit.as_secs();
    let mut lines = vec!["#!/bin/sh".to_owned()];
    for name in HANDED_ON {
        lines.extend(env::var(name).map(|value| format!("export {name}={}", quoted(&value))));
    }
    lines.push(SURROUNDINGS.to_owned());
    lines.push("cd /suites".to_owned());
    for Executable { name, .. } in suites {
        lines.push(format!("echo '{MARK}begin {name}'"));
        lines.push(format!("timeout -s KILL {limit} ./{name} {filter}"));
        // The status first: the line break before the mark must not replace it.
        lines.push(format!("status=$?; echo; echo \"{MARK}end $status\""));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_mebibytes() {
        let text = "MemTotal:       24683016 kB\nMemFree: 1 kB\nMemAvailable:   2097152 kB\n";
        assert_eq!(available(text), Some(2048));
    }
}
