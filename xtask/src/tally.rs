//! Adds up what libtest reports, while its output passes through.

use std::{
    io::{self, BufRead as _, BufReader, Write},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::command;

/// Tests that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many passed.
    pub passed: u64,
    /// How many failed.
    pub failed: u64,
}

/// What became of one command that runs tests.
#[derive(Debug)]
struct Suite {
    name: String,
    counts: Counts,
    /// The command's own end, which also tells of crashes and compile errors.
    success: bool,
}

/// The suites of one run.
#[derive(Debug, Default)]
pub struct Tally {
    suites: Vec<Suite>,
}

impl Tally {
    /// Runs a command, passes on what it prints, and counts its tests.
    pub fn run(&mut self, name: &str, tests: &mut Command) -> Result<()> {
        command::echo(tests);
        self.run_into(name, tests, &mut io::stdout())
    }

    fn run_into(&mut self, name: &str, tests: &mut Command, ours: &mut impl Write) -> Result<()> {
        let mut child = tests
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start `{}`", command::line(tests)))?;
        let mut counts = Counts::default();
        if let Some(theirs) = child.stdout.take() {
            // Bytes, because tests may print anything.
            for line in BufReader::new(theirs).split(b'\n') {
                let line = line.with_context(|| format!("reading the output of {name}"))?;
                ours.write_all(&line)
                    .and_then(|()| ours.write_all(b"\n"))
                    .context("writing the tests' output")?;
                if let Some(found) = Counts::of_line(&String::from_utf8_lossy(&line)) {
                    counts.passed += found.passed;
                    counts.failed += found.failed;
                }
            }
        }
        let success = child.wait().with_context(|| format!("waiting for {name}"))?.success();
        self.suites.push(Suite { name: name.to_owned(), counts, success });
        Ok(())
    }

    /// The sum over all suites.
    pub fn total(&self) -> Counts {
        self.suites.iter().fold(Counts::default(), |sum, suite| Counts {
            passed: sum.passed + suite.counts.passed,
            failed: sum.failed + suite.counts.failed,
        })
    }

    /// The names of suites that did not succeed, whether or not a test is to blame.
    pub fn unsuccessful(&self) -> Vec<&str> {
        self.suites.iter().filter(|suite| !suite.success).map(|suite| &*suite.name).collect()
    }

    /// The table of suites, and the sum on a plain line of its own.
    pub fn print(&self) {
        let width = self.suites.iter().map(|suite| suite.name.len()).max().unwrap_or(0);
        println!("\n{:width$}  passed  failed", "suite");
        for Suite { name, counts, success } in &self.suites {
            let aborted = !success && counts.failed == 0;
            let note = if aborted { "  ended without success" } else { "" };
            println!("{name:width$}  {:6}  {:6}{note}", counts.passed, counts.failed);
        }
        let total = self.total();
        println!("\n{} passed, {} failed", total.passed, total.failed);
    }
}

impl Counts {
    /// Reads `test result: ok. 5 passed; 0 failed; …`.
    pub fn of_line(line: &str) -> Option<Self> {
        let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let number = |what: &str| {
            let part = results.split("; ").find_map(|part| part.strip_suffix(what))?;
            part.trim().parse().ok()
        };
        Some(Self { passed: number(" passed")?, failed: number(" failed")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(Counts::of_line(line), Some(Counts { passed: 12, failed: 3 }));
    }

    #[test]
    fn other_lines_are_not() {
        for line in ["", "test a ... ok", "test result: ok", "5 passed; 0 failed"] {
            assert_eq!(Counts::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_run_is_counted_and_its_failure_kept() -> Result<()> {
        // Into memory: on our own stdout the line would be counted by the run that we are part of.
        let mut passed_on = Vec::new();
        let mut tally = Tally::default();
        let result = "test result: ok. 2 passed; 0 failed; 0 ignored";
        tally.run_into("good", Command::new("echo").arg(result), &mut passed_on)?;
        tally.run_into("crashed", &mut Command::new("false"), &mut passed_on)?;
        assert_eq!(passed_on, format!("{result}\n").into_bytes());
        assert_eq!(tally.total(), Counts { passed: 2, failed: 0 });
        assert_eq!(tally.unsuccessful(), ["crashed"]);
        Ok(())
    }
}
