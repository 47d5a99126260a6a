//! Where a hit's time goes: `lb`'s programs beside the same with one step left out of each. The programs are
//! in lb-ebpf's `rig/steps.rs`, over the maps of the stand's. Each is first seen to do what is left of the
//! whole's work, and only that.

use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{Program, ProgramFd},
};
use lb_common::{
    addr::Ipv4,
    hook,
    tables::Flow,
    verdict::{DropReason, PassReason},
    wire::Protocol,
};
use lb_tests::{
    bench::{Better, Cell, Chart, Context, Figure, Named, Section},
    lab::cast::Family,
    packet::describe,
};

use super::{
    PLACES,
    bed::{At, sent::action},
    case::Path,
    frames::{Clients, Frames, Talk, local_service, remote_service},
    stand::{Stand, middle},
};
use crate::rig::{Hook, stream::Order};

/// The environment variable that names the object, which `cargo xtask` sets.
const OBJECT: &str = "LB_STEPS";

/// The paths that are taken apart, over IPv4.
const PATHS: [Path; 2] = [Path::Hit, Path::Snat];

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The program of `lb` itself: the whole is the same, made once more.
    Lb,
    Nothing,
    Ports,
    Lookup,
    Backend,
    Age,
    Traffic,
    Counter,
    L4,
    Rewrite,
    Redirect,
    AllButParsing,
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Lb,
        Self::Nothing,
        Self::Ports,
        Self::Lookup,
        Self::Backend,
        Self::Age,
        Self::Traffic,
        Self::Counter,
        Self::L4,
        Self::Rewrite,
        Self::Redirect,
        Self::AllButParsing,
    ];

    const fn program(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Nothing => "whole",
            Self::Ports => "ports",
            Self::Lookup => "lookup",
            Self::Backend => "backend",
            Self::Age => "age",
            Self::Traffic => "traffic",
            Self::Counter => "counter",
            Self::L4 => "l4",
            Self::Rewrite => "rewrite",
            Self::Redirect => "redirect",
            Self::AllButParsing => "parse",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Nothing => "the whole",
            Self::Ports => "is its port one of ours?",
            Self::Lookup => "key and lookup of the flow",
            Self::Backend => "is its backend there?",
            Self::Age => "clock and age",
            Self::Traffic => "counters of the backend",
            Self::Counter => "counter of the outcome",
            Self::L4 => "ports and transport checksum",
            Self::Rewrite => "all writing",
            Self::Redirect => "redirect",
            Self::AllButParsing => "parsing, alone",
        }
    }

    const fn is_in(self, place: Hook, path: Path) -> bool {
        !matches!(self, Self::Redirect) || matches!((place, path), (Hook::Tc, Path::Snat))
    }

    /// What is counted for a packet of a path.
    const fn counter(self, path: Path) -> Option<u32> {
        match self {
            Self::Counter => None,
            Self::Rewrite => Some(DropReason::Unwritable as u32),
            Self::AllButParsing => Some(PassReason::NotOurs as u32),
            _ => Some(path.counter()),
        }
    }

    /// Whether the service counts it.
    const fn is_served(self) -> bool {
        !matches!(self, Self::Traffic | Self::AllButParsing)
    }

    const fn action(self, place: Hook, whole: i32) -> i32 {
        match (self, place) {
            (Self::Rewrite, Hook::Xdp) => action::XDP_DROP,
            (Self::Rewrite, Hook::Tc) => action::TC_SHOT,
            (Self::AllButParsing, Hook::Xdp) => action::XDP_PASS,
            (Self::AllButParsing, Hook::Tc) => action::TC_UNSPEC,
            _ => whole,
        }
    }

    /// The packet afterwards, by what it was and what the whole makes of it.
    fn frame(self, before: &[u8], whole: &[u8]) -> Vec<u8> {
        match self {
            Self::Rewrite | Self::AllButParsing => before.to_vec(),
            Self::L4 => {
                let mut frame = whole.to_vec();
                frame[UDP].copy_from_slice(&before[UDP]);
                frame
            }
            _ => whole.to_vec(),
        }
    }
}

/// Where the header of UDP is, in IPv4.
const UDP: std::ops::Range<usize> = 34..42;

/// A program that is measured.
struct Measured {
    /// What is left out; `None`: the program that does nothing.
    step: Option<Step>,
    place: Hook,
    path: Path,
    at: At,
    program: ProgramFd,
    line: Flow<Ipv4>,
}

impl Named for Measured {
    fn name(&self) -> String {
        let step = self.step.map_or("nothing", Step::program);
        format!("{:?} {}: {step}", self.place, self.path.name())
    }
}

/// A flow as plain bytes.
type Line = [u8; size_of::<Flow<Ipv4>>()];

/// The loaded programs.
struct Steps {
    bpf: Ebpf,
}

impl Steps {
    fn load(stand: &Stand<'_>) -> Result<Self> {
        let object = env::var_os(OBJECT).with_context(|| {
            format!("{OBJECT} names no object; benchmarks are run by `cargo xtask bench`")
        })?;
        let maps = fs::read_dir(stand.bed.maps()).context("reading the directory of the pins")?;
        let maps = maps
            .map(|map| {
                let map = map?;
                Ok((map.file_name().to_string_lossy().into_owned(), map.path()))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut loader = EbpfLoader::new();
        for (name, path) in &maps {
            loader.map_pin_path(name.as_str(), path);
        }
        let mut bpf =
            loader.load_file(&object).with_context(|| format!("loading {}", object.display()))?;
        for (name, program) in bpf.programs_mut() {
            let result = match program {
                Program::Xdp(program) => program.load(),
                Program::SchedClassifier(program) => program.load(),
                _ => anyhow::bail!("{name} is of an unknown kind"),
            };
            result.with_context(|| format!("the kernel refuses {name}"))?;
        }
        Ok(Self { bpf })
    }

    fn program(&self, place: Hook, step: Step) -> Result<ProgramFd> {
        let place = match place {
            Hook::Xdp => "xdp",
            Hook::Tc => "tc",
        };
        let name = format!("{place}_{}", step.program());
        let program = self.bpf.program(&name).with_context(|| format!("there is no {name}"))?;
        Ok(program.fd()?.try_clone()?)
    }

    /// The flow of all packets where there is no lookup.
    fn set_line(&mut self, flow: &Flow<Ipv4>) -> Result<()> {
        let map = self.bpf.map_mut("LINE_V4").context("there is no LINE_V4")?;
        let mut line: Array<_, Line> = Array::try_from(map)?;
        Ok(line.set(0, bytemuck::cast::<_, Line>(*flow), 0)?)
    }
}

/// Takes the paths of the stand's one flow apart.
pub fn section(
    context: &Context,
    stand: &mut Stand<'_>,
    calls: u32,
    packets: u32,
) -> Result<Section> {
    let mut steps = Steps::load(stand)?;
    let mut cases = Vec::new();
    for place in PLACES {
        for path in PATHS {
            let at = path.at(stand, place).context("there is no such path at this hook")?;
            let line = flow_of(stand, path)?;
            let case = |step, program| Measured { step, place, path, at, program, line };
            let nothing = if place == Hook::Xdp { "nothing_xdp" } else { "nothing_tc" };
            cases.push(case(None, stand.of_rig(nothing)?));
            for step in Step::ALL.into_iter().filter(|step| step.is_in(place, path)) {
                let program = match step {
                    Step::Lb => stand.lb(at)?,
                    _ => steps.program(place, step)?,
                };
                cases.push(case(Some(step), program));
            }
        }
    }
    for case in &cases {
        check(stand, &mut steps, case).with_context(|| case.name())?;
    }
    let figures = context.interleave("steps", &mut cases, |case| {
        let frames = frames(case.path, Clients::Known)?;
        steps.set_line(&case.line)?;
        let expected = expected(case, packets);
        let calls = (0..calls).map(|_| {
            let run = stand.put(case.at, &case.program, &frames, (0, packets), &expected)?;
            Ok(run.mean.as_secs_f64() * 1e9)
        });
        middle(calls.collect::<Result<_>>()?)
    })?;
    Ok(table(&cases, &figures))
}

fn table(cases: &[Measured], figures: &[Figure]) -> Section {
    let columns = ["XDP, hit", "XDP, SNAT", "TC, hit", "TC, SNAT"];
    let mut section = Section::new(
        "Where a hit's time goes, by leaving a step out",
        "ns",
        Better::Lower,
        &columns,
    )
    .chart(Chart::Bars);
    let ways = PLACES.into_iter().flat_map(|place| PATHS.map(|path| (place, path)));
    for step in Step::ALL {
        let cells = ways.clone().map(|(place, path)| {
            let figure = |step| {
                let is_it =
                    |case: &Measured| (case.step, case.place, case.path) == (step, place, path);
                figures.get(cases.iter().position(is_it)?)
            };
            let (this, whole, nothing) =
                (figure(Some(step))?, figure(Some(Step::Nothing))?, figure(None)?);
            Some(match step {
                Step::Lb | Step::Nothing | Step::AllButParsing => this.less(nothing),
                _ => whole.less(this),
            })
        });
        section.row(step.name(), cells.map(Cell::from).collect());
    }
    section
}

fn frames(path: Path, clients: Clients) -> Result<Frames> {
    Talk { clients, ..path.talk(Family::V4) }.frames(1, Order::Ascending)
}

fn expected(case: &Measured, times: u32) -> Vec<(u32, u64)> {
    let counter = case.step.and_then(|step| step.counter(case.path));
    counter.map(|counter| (counter, u64::from(times))).into_iter().collect()
}

/// Fails unless a program does to a packet what is left of the whole's work.
fn check(stand: &mut Stand<'_>, steps: &mut Steps, case: &Measured) -> Result<()> {
    let Some(step) = case.step else { return Ok(()) };
    let known = frames(case.path, Clients::Known)?;
    let lb = stand.lb(case.at)?;
    let counted = [(case.path.counter(), 1)];
    let whole = stand.put(case.at, &lb, &known, (0, 1), &counted)?;

    steps.set_line(&case.line)?;
    let before = served(stand)?;
    let run = stand.put(case.at, &case.program, &known, (0, 1), &expected(case, 1))?;
    let frame = step.frame(&known.frame, &whole.frame);
    ensure!(
        run.frame == frame,
        "the packet became {} instead of {}",
        describe(&run.frame),
        describe(&frame)
    );
    let action = step.action(case.place, whole.action);
    ensure!(run.action == action, "the program answers {}, not {action}", run.action);
    let more = served(stand)? - before;
    ensure!(more == u64::from(step.is_served()), "the services counted {more} packets");
    if step == Step::Lookup {
        // Whose flow nobody looks up needs none.
        let new = frames(case.path, Clients::New)?;
        stand.put(case.at, &case.program, &new, (0, 1), &counted)?;
    }
    Ok(())
}

/// Packets that all backends have counted.
fn served(stand: &Stand<'_>) -> Result<u64> {
    let counted = stand.bed.tables.counted()?;
    Ok(counted.services.values().map(|one| one.packets).sum())
}

/// The forward half of the path's one flow.
fn flow_of(stand: &Stand<'_>, path: Path) -> Result<Flow<Ipv4>> {
    let service = match path {
        Path::Snat => remote_service(Family::V4, 0),
        _ => local_service(Family::V4),
    };
    let mut found = None;
    stand.bed.tables.flows_v4.for_each(|key, flow| {
        let is_forward = key.role == hook::Hook::UplinkIn as u8
            && key.protocol == Protocol::UDP.0
            && lb_common::addr::Address::to_ip(key.destination) == service;
        if is_forward {
            found = Some(*flow);
        }
    })?;
    found.with_context(|| format!("there is no flow to {service}"))
}
