//! What is reported of tables: figures side by side, and the marks.

use anyhow::{Context as _, Result};
use lb_tests::bench::{Better, Cell, Chart, Figure, Report, Section};

use super::{Changed, Found, Resident, Started, change::Times, milliseconds, peers::Loaded};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Writes all sections and marks.
pub fn write(report: &mut Report, found: &Found) -> Result<()> {
    report.section(filling(found));
    report.section(loading(found));
    report.section(changing(found));
    report.section(changing_beside_peers(found));
    report.section(written(found));
    report.section(memory(found));
    report.section(resident(found));
    marks(report, found)
}

fn filling(found: &Found) -> Section {
    let columns = ["compiling", "compiling and writing"];
    let mut section =
        Section::new("Filling empty tables, by services", "ms", Better::Lower, &columns);
    for filled in &found.filled {
        section.row(filled.size, vec![(&filled.compiling).into(), (&filled.both).into()]);
    }
    section
}

fn loading(found: &Found) -> Section {
    let columns = ["lb, tables", "lb run", "nft -f", "iptables-restore"];
    let title = "Loading everything, by services";
    let mut section = Section::new(title, "ms", Better::Lower, &columns)
        .chart(Chart::Lines { x: "services".to_owned() });
    for (at, filled) in found.filled.iter().enumerate() {
        let started = found.started[at].as_ref().map(|started| milliseconds(started.start));
        let peer = |loaded: &Option<Loaded>| loaded.as_ref().map(|loaded| loaded.loading.clone());
        section.row(
            filled.size,
            vec![
                (&filled.both).into(),
                started.into(),
                peer(&found.nftables[at]).into(),
                peer(&found.iptables[at]).into(),
            ],
        );
    }
    section
}

fn changing(found: &Found) -> Section {
    let columns = ["tables, p50", "tables, p99", "lb run, p50", "lb run, p99"];
    let title = "One endpoint changes, by services";
    let mut section = Section::new(title, "ms", Better::Lower, &columns);
    for (at, changed) in found.changed.iter().enumerate() {
        let started = found.started[at].as_ref();
        let [run_half, run_most] =
            [500, 990].map(|part| started.map(|it| quantile(&it.changes, part)));
        let [half, most] = [500, 990].map(|part| quantile(&changed.times, part));
        section.row(changed.size, vec![half.into(), most.into(), run_half.into(), run_most.into()]);
    }
    section
}

fn changing_beside_peers(found: &Found) -> Section {
    let columns = ["lb, tables", "nft -f", "iptables-restore"];
    let title = "One endpoint changes, median, beside the peers";
    let mut section = Section::new(title, "ms", Better::Lower, &columns)
        .chart(Chart::Lines { x: "services".to_owned() });
    for (at, changed) in found.changed.iter().enumerate() {
        let peer = |loaded: &Option<Loaded>| loaded.as_ref().map(|loaded| loaded.changing.clone());
        let cells = vec![
            quantile(&changed.times, 500).into(),
            peer(&found.nftables[at]).into(),
            peer(&found.iptables[at]).into(),
        ];
        section.row(changed.size, cells);
    }
    section
}

fn written(found: &Found) -> Section {
    let columns =
        ["changes measured", "backends", "slots", "services", "frontends", "system calls"];
    let title = "What one endpoint's change writes at most, by services";
    let mut section = Section::new(title, "", Better::Lower, &columns);
    for Changed { size, times, most } in &found.changed {
        let counts = [times.count(), most.backends, most.slots, most.services, most.frontends];
        let mut cells: Vec<Cell> = counts.map(|count| Cell::from(real(count))).to_vec();
        #[expect(clippy::cast_precision_loss, reason = "a few system calls")]
        cells.push(Cell::from(most.calls as f64));
        section.row(size, cells);
    }
    section
}

fn memory(found: &Found) -> Section {
    let columns = ["by the maps' own account", "given out by the allocator"];
    let mut section =
        Section::new("Memory of the kernel, for each", "bytes", Better::Lower, &columns);
    let memory = &found.memory;
    section.row("service", vec![memory.service.into(), Cell::Absent]);
    section.row("endpoint", vec![memory.endpoint.into(), Cell::Absent]);
    let connection = vec![memory.connection.into(), memory.connection_allocated.into()];
    section.row("connection, established", connection);
    section.row("room for a connection, new", vec![memory.new_connection.into(), Cell::Absent]);
    section
}

fn resident(found: &Found) -> Section {
    let columns = ["all", "its own", "binary and libraries", "maps"];
    let title = "Resident memory of lb run, by services";
    let mut section = Section::new(title, "MiB", Better::Lower, &columns);
    let mut row = |name: String, resident: &Resident| {
        let cells = [resident.all(), resident.own, resident.code, resident.maps];
        section.row(name, cells.map(|bytes| mebibytes(bytes).into()).to_vec());
    };
    row("1".to_owned(), &found.small);
    for (filled, started) in found.filled.iter().zip(&found.started) {
        if let Some(Started { resident, .. }) = started {
            row(filled.size.to_string(), resident);
        }
    }
    section
}

fn marks(report: &mut Report, found: &Found) -> Result<()> {
    let largest = found.filled.last().context("nothing was filled")?;
    let seconds = largest.both.map(|milliseconds| milliseconds / 1e3);
    report.mark(
        &format!("filling the tables with {} services", largest.size),
        "≤ 2 s",
        spread(&seconds, "s"),
        seconds.median <= 2.0,
    );
    let worst = |part| found.changed.iter().map(move |one| quantile(&one.times, part));
    let most = worst(990).fold(0.0, f64::max);
    let got = format!("{most:.1} ms");
    report.mark("one endpoint's change, p99, whatever the number", "≤ 2 ms", got, most <= 2.0);
    let memory = &found.memory;
    let connection = memory.connection.max(memory.connection_allocated);
    for (what, got, wanted) in [
        ("memory for a connection, as the allocator sees it", connection, 64.0),
        ("memory for a service", memory.service, 512.0),
        ("memory for an endpoint", memory.endpoint, 64.0),
    ] {
        report.mark(what, &format!("≤ {wanted} bytes"), format!("{got:.0} bytes"), got <= wanted);
    }
    let small = mebibytes(found.small.all());
    report.mark(
        "resident memory of lb run with one service",
        "≤ 20 MiB",
        format!("{small:.1} MiB"),
        small <= 20.0,
    );
    Ok(())
}

fn spread(figure: &Figure, unit: &str) -> String {
    format!("{:.2} {unit} ({:.2}–{:.2})", figure.median, figure.lowest, figure.highest)
}

fn quantile(times: &Times, of_a_thousand: usize) -> f64 {
    milliseconds(times.quantile(of_a_thousand))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn real(count: usize) -> f64 {
    count as f64
}
