//! What came out of suites on kernels: read from what the machines print, shown as one table. How
//! machines are run is `matrix`'s.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use comfy_table::{Table, presets};

use crate::tally::Counts;

/// Marks what belongs to the table in a machine's output. No test prints this.
pub const MARK: &str = "@@lb-vm ";

/// With this a test says what can't be tested on this kernel; shown below the table.
const NOTE: &str = "not tested: ";

/// What became of a suite on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    suite: String,
    counts: Counts,
    /// `None`: it never ended.
    status: Option<u8>,
    began: Instant,
    took: Duration,
}

impl Cell {
    fn is_success(&self) -> bool {
        self.status == Some(0) && self.counts.failed == 0
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { passed, failed } = self.counts;
        let seconds = self.took.as_secs();
        match self.status {
            _ if self.is_success() => write!(f, "{passed} passed, {seconds} s"),
            Some(_) if failed > 0 => write!(f, "{failed} FAILED, {passed} passed, {seconds} s"),
            // 128 and the signal.
            Some(137) => write!(f, "{passed} passed, KILLED after {seconds} s"),
            Some(status) => write!(f, "{passed} passed, ended with {status} after {seconds} s"),
            None => write!(f, "{passed} passed, did not end"),
        }
    }
}

/// One kernel's results.
#[derive(Debug)]
pub struct Row {
    /// The kernel, as `uname -r` shows it, or its line as long as there was none.
    pub release: String,
    /// The suites that were to run.
    pub planned: Vec<String>,
    /// Why there are not all of them.
    pub broken: Option<String>,
    cells: Vec<Cell>,
    notes: BTreeSet<String>,
}

impl Row {
    /// Of a machine that has not said anything yet.
    pub fn new(release: String, planned: Vec<String>) -> Self {
        Self { release, planned, broken: None, cells: Vec::new(), notes: BTreeSet::new() }
    }

    /// Notes what a line of the machine says, and returns what to show of it.
    pub fn attend(&mut self, line: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(line);
        if let Some(told) = text.strip_prefix(MARK) {
            return self.turn(told).unwrap_or_default().into_bytes();
        }
        if let Some(at) = text.find(NOTE) {
            self.notes.insert(text[at..].to_owned());
        }
        if let (Some(found), Some(cell)) = (Counts::of_line(&text), self.cells.last_mut()) {
            cell.counts.passed += found.passed;
            cell.counts.failed += found.failed;
        }
        line.to_owned()
    }

    /// A suite begins or ends.
    fn turn(&mut self, told: &str) -> Option<String> {
        match told.split_once(' ')? {
            ("begin", suite) => {
                let number = self.cells.len() + 1;
                let shown = format!("--- {suite} ({number} of {})", self.planned.len());
                self.cells.push(Cell {
                    suite: suite.to_owned(),
                    counts: Counts::default(),
                    status: None,
                    began: Instant::now(),
                    took: Duration::ZERO,
                });
                Some(shown)
            }
            ("end", status) => {
                let cell = self.cells.last_mut()?;
                cell.status = status.parse().ok();
                cell.took = cell.began.elapsed();
                Some(format!("--- {}: {cell}", cell.suite))
            }
            _ => None,
        }
    }

    fn cell(&self, suite: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.suite == suite)
    }

    /// The planned suites that did not succeed.
    fn wrong(&self) -> impl Iterator<Item = String> {
        let planned = self.planned.iter();
        let wrong = planned.filter(|suite| !self.cell(suite).is_some_and(Cell::is_success));
        wrong.map(|suite| format!("{suite} on {}", self.release))
    }
}

/// The table, the sum on a plain line of its own, and whether all is well.
pub fn conclude(rows: &[Row]) -> Result<()> {
    // In the order in which they ran, where they did.
    let mut suites: Vec<&str> = Vec::new();
    for suite in rows.iter().flat_map(|row| &row.planned) {
        if !suites.contains(&&**suite) {
            suites.push(suite);
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([&["kernel"], &*suites].concat());
    for row in rows {
        let cells = suites.iter().map(|suite| match row.cell(suite) {
            Some(cell) => cell.to_string(),
            None if row.planned.iter().any(|planned| planned == suite) => "NOT RUN".to_owned(),
            None => String::new(),
        });
        table.add_row([row.release.clone()].into_iter().chain(cells));
    }
    println!("\n{table}");
    for row in rows {
        for note in row.notes.iter().chain(&row.broken) {
            println!("{}: {note}", row.release);
        }
    }
    let cells = || rows.iter().flat_map(|row| &row.cells);
    let passed: u64 = cells().map(|cell| cell.counts.passed).sum();
    let failed: u64 = cells().map(|cell| cell.counts.failed).sum();
    println!("\n{passed} passed, {failed} failed");
    let wrong: Vec<_> = rows.iter().flat_map(Row::wrong).collect();
    if !wrong.is_empty() {
        bail!("not successful: {}", wrong.join(", "));
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attended(lines: &[&str]) -> Row {
        let mut row = Row::new("5.10".to_owned(), vec!["services".to_owned()]);
        for line in lines {
            row.attend(line.as_bytes());
        }
        row
    }

    const RESULT: &str = "test result: ok. 9 passed; 0 failed; 0 ignored";

    #[test]
    fn a_suite_that_passed_is_a_success() {
        let row = attended(&["@@lb-vm begin services", RESULT, "@@lb-vm end 0"]);
        assert_eq!(row.wrong().count(), 0);
        assert_eq!(row.cells[0].to_string(), "9 passed, 0 s");
    }

    #[test]
    fn a_suite_that_never_began_or_never_ends_or_crashes_is_no_success() {
        for lines in [
            &[][..],
            &["@@lb-vm begin services", RESULT],
            &["@@lb-vm begin services", RESULT, "@@lb-vm end 139"],
            &["@@lb-vm begin services", "test result: FAILED. 8 passed; 1 failed", "@@lb-vm end 0"],
        ] {
            assert_eq!(attended(lines).wrong().collect::<Vec<_>>(), ["services on 5.10"]);
        }
    }

    #[test]
    fn what_a_kernel_cannot_be_tested_for_is_noted() {
        let row = attended(&["@@lb-vm begin services", "test a ... not tested: IPv6"]);
        assert_eq!(row.notes.into_iter().collect::<Vec<_>>(), ["not tested: IPv6"]);
    }
}
