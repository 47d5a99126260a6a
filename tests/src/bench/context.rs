//! What a benchmark is given: what was asked for, and a place on the terminal to say how far it is. The
//! rounds themselves are in `rounds`.
//!
//! Everything that is said here goes to stderr; stdout is for reports.

use std::{
    fmt::Display,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// What was asked for, and the progress bars.
#[derive(Debug)]
pub struct Context {
    /// How many rounds are recorded.
    pub rounds: usize,
    /// Whether this is only to see that everything works: shorter rounds, smaller tables.
    pub quick: bool,
    /// The directory of the files.
    pub out: PathBuf,
    bars: MultiProgress,
    interrupted: Arc<AtomicBool>,
}

impl Context {
    /// With bars on stderr, if that is a terminal.
    pub fn new(rounds: usize, quick: bool, out: PathBuf) -> Self {
        let bars = MultiProgress::new();
        Self { rounds, quick, out, bars, interrupted: Arc::default() }
    }

    /// The flag that a signal handler sets. What was made for the benchmark is removed on the way out.
    pub fn interrupted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    /// Fails if a signal came in. [`Context::interleave`] asks between cases; loops of a benchmark's own should too.
    pub fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Says something, above the bars.
    pub fn say(&self, line: impl Display) {
        let line = line.to_string();
        // Where there are no bars there is nothing that the line could tear apart.
        if self.bars.is_hidden() || self.bars.println(&line).is_err() {
            eprintln!("{line}");
        }
    }

    /// Shows that something takes a while, until what is returned is dropped.
    pub fn spinner(&self, what: &str) -> Spinner {
        let bar = ProgressBar::new_spinner();
        self.show(bar, "  {spinner} {msg} ({elapsed})", what)
    }

    /// Shows how many of some steps are done.
    pub(super) fn bar(&self, what: &str, steps: usize) -> Spinner {
        let bar = ProgressBar::new(steps as u64);
        self.show(bar, "  {bar:24} {pos}/{len} {msg} (about {eta} left)", what)
    }

    fn show(&self, bar: ProgressBar, template: &str, what: &str) -> Spinner {
        if self.bars.is_hidden() {
            // In a log, where a bar would be many lines.
            eprintln!("  {what}");
        }
        let bar = self.bars.add(bar);
        // The templates are constants; were one wrong, the plain bar would be shown.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        // Ticks are by a thread, ten times in a second: none of the measured work waits for the terminal.
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner { bar }
    }
}

/// A bar on the terminal, as long as this lives.
#[derive(Debug)]
pub struct Spinner {
    pub(super) bar: ProgressBar,
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
