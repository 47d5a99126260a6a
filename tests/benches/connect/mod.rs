//! `connect`: whole connections of real clients. A pod opens one to a service, a byte goes each way, both close; what
//! that takes, with one client and with many, against no balancer at all and against kube-proxy's rules.
//!
//! - [`stage`]: the cluster that a case stands on.
//! - [`clients`], [`server`]: the two ends. [`machine`]: what it cost.

mod clients;
mod machine;
mod server;
mod stage;

use std::time::Duration;

use anyhow::{Context as _, Result};
use lb_tests::bench::{Better, Cell, Chart, Context, Figure, Named, Report, Section, peers::Peer};

use clients::{QUANTILES, Round};
use stage::{MAX_CLIENTS, Place, Stage, Way};

/// How many services there are in a large cluster.
const MANY: u32 = 10_000;
/// How long the machine is looked at before there are connections.
const IDLE_FOR: Duration = Duration::from_secs(1);

/// A way with some clients of a backend, and what its rounds were.
struct Case<'a> {
    name: &'a str,
    stage: &'a Stage,
    place: Place,
    clients: usize,
    time: Duration,
    rounds: Vec<Round>,
}

/// What a way's connections took, with each number of clients.
struct Measured {
    name: String,
    rate: Vec<Figure>,
    quantiles: [Vec<Figure>; QUANTILES.len()],
    processors: Vec<Figure>,
}

impl Named for Case<'_> {
    fn name(&self) -> String {
        format!("{}, {}", self.name, clients(self.clients))
    }
}

/// Measures.
pub fn run(context: &Context) -> Result<Report> {
    let numbers: &[usize] = if context.quick { &[1, 8] } else { &[1, 8, MAX_CLIENTS] };
    let many = if context.quick { MANY / 10 } else { MANY };
    let time = Duration::from_millis(if context.quick { 100 } else { 500 });
    let mut report = Report::new("connect", "whole connections, one byte each way");
    report.setting(
        "traffic",
        "TCP over IPv4, from a pod to the cluster IP of a service with one endpoint",
    );
    report.setting(
        "exchange",
        "connect, one byte there, one byte back, the server closes, the client closes",
    );
    report.setting(
        "clients",
        "threads with blocking sockets; backend: a thread for each, in the same process",
    );
    report.setting("source ports", "1,024 to 65,535, at an address of its own for each client");
    report.setting("round", format!("{} ms", time.as_millis()));
    report.setting(
        "services",
        format!("all with one endpoint; of {}, one in the middle is measured", services(many)),
    );

    let stages = stages(context, many)?;
    let others = format!("{:.0} %", machine::busy_share(IDLE_FOR)? * 100.0);
    report.setting("processors busy before", others);
    for place in Place::BOTH {
        let measured = measure(context, &stages, place, numbers, time)?;
        for section in sections(place, numbers, &measured) {
            report.section(section);
        }
        marks(&mut report, place, numbers, &measured)?;
    }
    report.note(
        "The client is a pod, whose packets are translated at its interface. Programs at sockets, which \
         leave nothing to translate and which the marks are for, are off here.",
    );
    report.note(
        "The server closes first, so that it keeps the TIME_WAITs. Clients' addresses and ports hardly ever come a \
         second time: to conntrack and to lb every connection is a new one.",
    );
    report.note(
        "Processor time is the whole machine's, whoever used it, without what it idled. Clients, backend and both \
         nodes share its cores.",
    );
    Ok(report)
}

/// All ways. With one service there is a cluster for each place; the many, which take long to load, are loaded once.
fn stages(context: &Context, many: u32) -> Result<Vec<(String, Vec<Stage>)>> {
    let ways = [
        ("direct".to_owned(), Way::Direct, false),
        (format!("lb, {}", services(1)), Way::Lb(1), true),
        (format!("lb, {}", services(many)), Way::Lb(many), false),
        (format!("nftables, {}", services(1)), Way::Peer(Peer::Nftables, 1), true),
        (format!("nftables, {}", services(many)), Way::Peer(Peer::Nftables, many), false),
        (format!("iptables, {}", services(1)), Way::Peer(Peer::Iptables, 1), true),
        (format!("iptables, {}", services(many)), Way::Peer(Peer::Iptables, many), false),
    ];
    let mut stages = Vec::new();
    for (name, way, apart) in ways {
        context.check()?;
        let _spinner = context.spinner(&format!("preparing {name}"));
        let clusters: Vec<&[Place]> =
            if apart { Place::BOTH.chunks(1).collect() } else { vec![&Place::BOTH] };
        let clusters = clusters.into_iter().map(|places| Stage::new(way, places));
        let clusters =
            clusters.collect::<Result<_>>().with_context(|| format!("preparing {name}"))?;
        stages.push((name, clusters));
    }
    Ok(stages)
}

/// Measures all ways to a backend, each with each number of clients, in turn.
fn measure(
    context: &Context,
    stages: &[(String, Vec<Stage>)],
    place: Place,
    numbers: &[usize],
    time: Duration,
) -> Result<Vec<Measured>> {
    let mut cases = Vec::new();
    for (name, clusters) in stages {
        let stage = clusters.iter().find(|stage| stage.has(place));
        let stage = stage.with_context(|| format!("{name}: no {}", place.text()))?;
        for &clients in numbers {
            cases.push(Case { name, stage, place, clients, time, rounds: Vec::new() });
        }
    }
    let rates = context.interleave(place.text(), &mut cases, |case| {
        let round = case.stage.round(case.place, case.clients, case.time)?;
        let rate = round.rate;
        case.rounds.push(round);
        Ok(rate)
    })?;
    let ways = cases.chunks(numbers.len()).zip(rates.chunks(numbers.len()));
    ways.map(|(cases, rates)| Measured::of(cases, rates)).collect()
}

impl Measured {
    fn of(cases: &[Case<'_>], rates: &[Figure]) -> Result<Self> {
        let each = |value: &dyn Fn(&Round) -> f64| -> Result<Vec<Figure>> {
            // The first round isn't recorded.
            let rounds = |case: &Case<'_>| case.rounds.iter().skip(1).map(value).collect();
            cases.iter().map(|case| Figure::of(rounds(case))).collect()
        };
        let [p50, p99, p999] = [0, 1, 2].map(|at| each(&|round| round.quantiles[at]));
        Ok(Self {
            name: cases.first().context("a way without cases")?.name.to_owned(),
            rate: rates.to_vec(),
            quantiles: [p50?, p99?, p999?],
            processors: each(&|round| round.processors)?,
        })
    }
}

fn sections(place: Place, numbers: &[usize], measured: &[Measured]) -> Vec<Section> {
    let columns: Vec<String> = numbers.iter().map(|number| clients(*number)).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let section = |what: &str, unit, better, figures: &dyn Fn(&Measured) -> Vec<Figure>| {
        let title = format!("{what}, {}", place.text());
        let mut section = Section::new(&title, unit, better, &columns);
        for way in measured {
            section.row(&way.name, figures(way).into_iter().map(Cell::from).collect());
        }
        section
    };
    let rate = section("Connections", "a second", Better::Higher, &|way| way.rate.clone());
    let mut sections = vec![rate.chart(Chart::Bars)];
    for (at, (name, _)) in QUANTILES.iter().enumerate() {
        let what = format!("Time of a connection, {name}");
        sections.push(section(&what, "µs", Better::Lower, &|way| way.quantiles[at].clone()));
    }
    let what = "Processor time of 1,000 connections";
    sections.push(section(what, "s", Better::Lower, &|way| way.processors.clone()));
    sections
}

fn marks(
    report: &mut Report,
    place: Place,
    numbers: &[usize],
    measured: &[Measured],
) -> Result<()> {
    let [direct, lb, _, _, _, iptables, _] = measured else {
        anyhow::bail!("marks are of other ways than were measured");
    };
    for (what, other, wanted, least) in [
        ("the backend directly", direct, "≥ 0.99 ×", 0.99),
        ("iptables at one service", iptables, "> 1 ×", 1.0),
    ] {
        let ratios = || lb.rate.iter().zip(&other.rate).map(|(lb, other)| lb.ratio(other));
        let texts: Vec<_> = ratios().map(|ratio| format!("{ratio:.2}")).collect();
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        let got = format!("{} × with {} clients", texts.join(" / "), numbers.join(" / "));
        let what = format!("connections of lb against {what}, {}", place.text());
        report.mark(&what, wanted, got, ratios().all(|ratio| ratio >= least));
    }
    Ok(())
}

fn clients(number: usize) -> String {
    if number == 1 { "1 client".to_owned() } else { format!("{number} clients") }
}

fn services(number: u32) -> String {
    match number {
        1 => "1 service".to_owned(),
        number if number.is_multiple_of(1000) => format!("{},000 services", number / 1000),
        number => format!("{number} services"),
    }
}
