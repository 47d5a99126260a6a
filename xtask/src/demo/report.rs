//! The demo's table and progress bar.

use std::{collections::BTreeMap, fmt, time::Duration};

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use lb_tests::traffic::{Protocol, Tally};

/// Who answered how often.
pub struct Report {
    backends: Vec<String>,
    rows: Vec<(String, Protocol, BTreeMap<String, u64>)>,
}

impl Report {
    /// An empty table with a column for each of these endpoints.
    pub fn new(backends: &[String]) -> Self {
        Self { backends: backends.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn add(&mut self, what: String, protocol: Protocol, tally: &Tally) {
        self.rows.push((what, protocol, tally.answers.clone()));
    }

    /// All answers of an endpoint.
    pub fn answers_of(&self, backend: &str) -> u64 {
        self.rows.iter().filter_map(|(_, _, answers)| answers.get(backend)).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        let number = |count| Cell::new(count).set_alignment(CellAlignment::Right);
        let mut header = vec!["REQUESTS".to_owned(), String::new()];
        header.extend(self.backends.iter().cloned());
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
        for (what, protocol, answers) in &self.rows {
            let mut row = vec![Cell::new(what), Cell::new(protocol)];
            let count = |backend| answers.get(backend).copied().unwrap_or_default();
            row.extend(self.backends.iter().map(|backend| number(count(backend))));
            table.add_row(row);
        }
        table.fmt(f)
    }
}

/// A bar that shows which row is being asked; nothing where there is no terminal.
pub fn progress(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    // The template is a constant; were it wrong, the plain bar would be shown.
    let style = ProgressStyle::with_template("  {bar:24} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
