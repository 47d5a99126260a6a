//! A report as text: for the terminal, and the same as Markdown. Which figures is the report's business.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::{
    report::{Mark, Record},
    section::Section,
    text,
};

/// For the terminal.
pub fn terminal(record: &Record) -> String {
    let mut out = format!("\n{}: {}\n\n", record.report.bench, record.report.title);
    let facts = facts(record);
    let width = facts.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    for (what, value) in &facts {
        line(&mut out, format_args!("  {what:width$}  {value}"));
    }
    for section in &record.report.sections {
        line(&mut out, format_args!("\n{}", section.title));
        let mut table = table(section, str::to_owned);
        table.load_style(presets::UTF8_FULL_CONDENSED);
        line(&mut out, table);
    }
    if !record.report.marks.is_empty() {
        line(&mut out, "");
    }
    for mark in &record.report.marks {
        line(&mut out, of_mark(mark));
    }
    for note in &record.report.notes {
        line(&mut out, format_args!("\n{note}"));
    }
    out
}

/// For a document: headings of the second and third level.
pub fn markdown(record: &Record) -> String {
    let mut out = format!("## {}: {}\n\n", record.report.bench, record.report.title);
    for (what, value) in facts(record) {
        line(&mut out, format_args!("- {what}: {value}"));
    }
    for section in &record.report.sections {
        let mut table = table(section, |text| text.replace('|', "\\|").replace('\n', " "));
        table.load_style(presets::ASCII_MARKDOWN);
        line(&mut out, format_args!("\n### {}\n", section.title));
        line(&mut out, table);
    }
    if !record.report.marks.is_empty() {
        line(&mut out, "\n### Marks\n");
    }
    for mark in &record.report.marks {
        line(&mut out, format_args!("- {}", of_mark(mark)));
    }
    for note in &record.report.notes {
        line(&mut out, format_args!("\n{note}"));
    }
    out
}

/// Where and how it was measured.
fn facts(record: &Record) -> Vec<(String, String)> {
    let mut facts = vec![("taken".to_owned(), record.taken.clone())];
    facts.extend(record.machine.lines().map(|(what, value)| (what.to_owned(), value)));
    let quick = if record.quick { ", quick: not for comparing" } else { "" };
    facts.push(("rounds".to_owned(), format!("{}{quick}", record.rounds)));
    facts.extend(record.report.settings.iter().map(|it| (it.what.clone(), it.value.clone())));
    facts
}

fn table(section: &Section, escaped: impl Fn(&str) -> String) -> Table {
    let right =
        |text: &str| comfy_table::Cell::new(escaped(text)).set_alignment(CellAlignment::Right);
    let left = |text: &str| comfy_table::Cell::new(escaped(text));
    let mut table = Table::new();
    let heads = section.columns.iter().map(|column| right(column));
    table.set_header(std::iter::once(left(&section.legend())).chain(heads));
    for row in &section.rows {
        let cells = row.cells.iter().map(|cell| right(&text::cell(cell)));
        table.add_row(std::iter::once(left(&row.name)).chain(cells));
    }
    table
}

fn of_mark(mark: &Mark) -> String {
    let sign = if mark.met { '✔' } else { '✘' };
    format!("{sign} {}: wanted {}, got {}", mark.what, mark.wanted, mark.got)
}

fn line(out: &mut String, line: impl std::fmt::Display) {
    // A String takes everything.
    let _ = writeln!(out, "{line}");
}
