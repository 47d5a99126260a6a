//! What the benchmarks have in common: rounds of alternating cases, the figures that come out, and the report of
//! them as text, JSON, Markdown and a drawing.
//!
//! - [`Context`]: what was asked for; runs the rounds, shows how far they are.
//! - [`Figure`]: median and spread of some rounds.
//! - [`Report`], [`Section`]: what a benchmark found, and what becomes of it.
//! - [`Machine`]: where it was found.
//! - [`peers`]: the rules of others for the same services.
//!
//! What is measured, and with what, is in `tests/benches`. Nothing here knows of BPF.

mod chart;
mod context;
mod figure;
mod machine;
pub mod peers;
#[cfg(test)]
mod promises;
mod report;
mod rounds;
mod section;
mod tables;
mod text;

pub use context::{Context, Spinner};
pub use figure::Figure;
pub use machine::Machine;
pub use report::{Report, remove};
pub use rounds::Named;
pub use section::{Better, Cell, Chart, Section};

use anyhow::{Result, ensure};

/// Runs a benchmark and writes what it found. Files of an earlier run are removed first: beside a benchmark
/// that failed stand no figures, however it ended.
pub fn run(
    context: &Context,
    name: &str,
    bench: impl FnOnce(&Context) -> Result<Report>,
) -> Result<()> {
    remove(&context.out, name)?;
    let found = bench(context).and_then(|report| {
        // The one cause of whatever else went wrong.
        context.check()?;
        ensure!(report.bench == name, "the benchmark calls itself {}", report.bench);
        report.finish(context)
    });
    if let Err(error) = found {
        remove(&context.out, name)?;
        context.check()?;
        return Err(error);
    }
    Ok(())
}
