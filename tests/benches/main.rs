//! The benchmarks, one module each. Here is only which of them run, and what becomes of those that fail.
//!
//! `cargo xtask bench` builds what they measure and starts this as root.

use std::{path::PathBuf, process::ExitCode, sync::atomic::Ordering};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use lb_tests::bench::{self, Context, Report};

mod connect;
mod forward;
mod packet;
mod pktgen;
mod program;
mod rig;
mod scale;
mod transit;

/// Measure the load balancer, and its peers in the same run
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    /// Which; all but pktgen, which belongs in a virtual machine, if none is named
    names: Vec<Name>,
    /// Rounds that are recorded, after one that isn't [default: 5, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Shorter and fewer rounds, to see whether everything works; the figures are noisy
    #[arg(long)]
    quick: bool,
    /// Where the JSON, SVG and Markdown files go
    #[arg(long, value_name = "DIR", default_value = "target/bench", overrides_with = "out")]
    out: PathBuf,
    #[command(flatten)]
    hosts: pktgen::Hosts,
    /// What `cargo bench` says to every benchmark
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    Packet,
    Forward,
    Scale,
    Connect,
    Program,
    Pktgen,
}

impl Name {
    fn run(self, context: &Context, options: &Options) -> Result<Report> {
        match self {
            Self::Packet => packet::run(context),
            Self::Forward => forward::run(context),
            Self::Scale => scale::run(context),
            Self::Connect => connect::run(context),
            Self::Program => program::run(context),
            Self::Pktgen => pktgen::run(context, &options.hosts),
        }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; whether all of it succeeded.
fn run(options: &Options) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "this needs root; run: cargo xtask bench");
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 });
    let context = Context::new(rounds as usize, options.quick, options.out.clone());
    let interrupted = context.interrupted();
    ctrlc::set_handler(move || interrupted.store(true, Ordering::Relaxed))
        .context("waiting for signals")?;

    let mut names = options.names.clone();
    if names.is_empty() {
        names = Name::value_variants().to_vec();
        names.retain(|&name| name != Name::Pktgen);
    }
    let mut all_succeeded = true;
    for name in names {
        context.check()?;
        let text = name.to_possible_value().map(|value| value.get_name().to_owned());
        let text = text.context("a benchmark without a name")?;
        if let Err(error) = bench::run(&context, &text, |context| name.run(context, options)) {
            eprintln!("error: {text}: {error:#}");
            all_succeeded = false;
        }
    }
    Ok(all_succeeded)
}
