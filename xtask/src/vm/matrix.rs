//! The suites that need root, on several kernels, and one table of what came out.

use std::{
    env, fmt,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Result, bail};
use comfy_table::{Table, presets};

use super::{Bench, Choice, LB, kernel, lines_of, quoted};
use crate::{tally::Counts, workspace::Executable};

/// What the tests are told about where they are: emulated processors are slow, so everything may
/// take five times as long, and many connections are fewer (`lb_tests::patience`).
const SURROUNDINGS: &str =
    "export LB_BINARY=/usr/bin/lb LB_PATIENCE=5 LB_CONNECTIONS=${LB_CONNECTIONS:-2000}";

/// Marks what belongs to the table in a machine's output. No test prints this.
const MARK: &str = "@@lb-vm ";

/// What became of a suite on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    suite: String,
    counts: Counts,
    /// `None`: it never ended.
    status: Option<u8>,
}

impl Cell {
    fn is_success(&self) -> bool {
        self.status == Some(0) && self.counts.failed == 0
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { passed, failed } = self.counts;
        match self.status {
            _ if self.is_success() => write!(f, "{passed} passed"),
            Some(_) if failed > 0 => write!(f, "{failed} FAILED, {passed} passed"),
            Some(status) => write!(f, "{passed} passed, ended with {status}"),
            None => write!(f, "{passed} passed, did not end"),
        }
    }
}

/// One kernel's results.
#[derive(Debug)]
struct Row {
    release: String,
    cells: Vec<Cell>,
    /// Why there are no more.
    broken: Option<String>,
}

/// Runs the suites on the chosen kernels, all if none was chosen.
pub fn run(choice: &Choice, lb: &Path, suites: &[Executable], filter: &[String]) -> Result<()> {
    let all: Vec<_> = kernel::lines().collect();
    let mut rows = Vec::new();
    for line in lines_of(choice, &all) {
        let mut bench = Bench::new(&line)?;
        bench.add(lb, LB)?;
        for suite in suites {
            bench.add(&suite.path, &format!("suites/{}", suite.name))?;
        }
        bench.initramfs.script("command", &script(suites, filter, choice.limit()));
        println!("\n=== Linux {}", bench.kernel.release);
        let mut cells = Vec::new();
        let limit = Duration::from_secs(choice.limit());
        let ended = bench.boot(limit, &mut |line| attend(&mut cells, line));
        rows.push(Row {
            release: bench.kernel.release.clone(),
            cells,
            broken: ended.err().map(|error| format!("{error:#}")),
        });
    }
    conclude(suites, &rows)
}

/// What the machine runs: the suites, one after the other, each between two marks.
fn script(suites: &[Executable], filter: &[String], limit: u64) -> String {
    let filter: Vec<_> = filter.iter().map(|word| quoted(word)).collect();
    let filter = filter.join(" ");
    let mut lines = vec!["#!/bin/sh".to_owned()];
    for name in ["RUST_BACKTRACE", "RUST_LOG", "PROPTEST_CASES", "LB_CONNECTIONS"] {
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

/// Passes a line of the machine on, and notes what it says.
fn attend(cells: &mut Vec<Cell>, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    if let Some(told) = text.strip_prefix(MARK) {
        match (told.split_once(' '), cells.last_mut()) {
            (Some(("begin", suite)), _) => {
                println!("--- {suite}");
                let suite = suite.to_owned();
                cells.push(Cell { suite, counts: Counts::default(), status: None });
            }
            (Some(("end", status)), Some(cell)) => cell.status = status.parse().ok(),
            _ => {}
        }
        return;
    }
    if let (Some(found), Some(cell)) = (Counts::of_line(&text), cells.last_mut()) {
        cell.counts.passed += found.passed;
        cell.counts.failed += found.failed;
    }
    let mut out = io::stdout().lock();
    // Whoever doesn't listen any more doesn't want to hear of it.
    let _ = out.write_all(line).and_then(|()| out.write_all(b"\n"));
}

/// The table, the sum on a plain line of its own, and whether all is well.
fn conclude(suites: &[Executable], rows: &[Row]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let heads = suites.iter().map(|suite| suite.name.clone());
    table.set_header(std::iter::once("kernel".to_owned()).chain(heads));
    let mut total = Counts::default();
    let mut wrong = Vec::new();
    for row in rows {
        let mut line = vec![row.release.clone()];
        for suite in suites {
            let cell = row.cells.iter().find(|cell| cell.suite == suite.name);
            line.push(cell.map_or("not run".to_owned(), Cell::to_string));
            if !cell.is_some_and(Cell::is_success) {
                wrong.push(format!("{} on {}", suite.name, row.release));
            }
        }
        for cell in &row.cells {
            total.passed += cell.counts.passed;
            total.failed += cell.counts.failed;
        }
        table.add_row(line);
    }
    println!("\n{table}");
    for row in rows {
        if let Some(broken) = &row.broken {
            println!("{}: {broken}", row.release);
        }
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if !wrong.is_empty() {
        bail!("not successful: {}", wrong.join(", "));
    }
    if total.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attended(lines: &[&str]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for line in lines {
            attend(&mut cells, line.as_bytes());
        }
        cells
    }

    #[test]
    fn a_suite_that_never_ends_is_no_success() {
        let cells = attended(&["@@lb-vm begin services", "running 9 tests"]);
        assert_eq!(cells.len(), 1);
        assert!(!cells[0].is_success());
    }

    #[test]
    fn a_suite_that_crashes_is_no_success() {
        let cells = attended(&["@@lb-vm begin services", "@@lb-vm end 139"]);
        assert_eq!(cells[0].status, Some(139));
        assert!(!cells[0].is_success());
    }
}
