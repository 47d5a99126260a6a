//! Text that is written line by line.

use std::fmt::{self, Write as _};

/// Lines so far.
#[derive(Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// Adds one.
    pub(super) fn add(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// All of them.
    pub(super) fn text(self) -> String {
        self.0
    }

    /// Adds the lines of another.
    pub(super) fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }
}
