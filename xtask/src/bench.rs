//! `cargo xtask bench`: builds what the benchmarks measure, then becomes the program that measures. What
//! each benchmark does is in `tests/benches`. pktgen's are run in a virtual machine: `machine`.

mod machine;

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, command, root::Root, setup, vm, workspace};

/// Measure `lb` and its peers (as root)
#[derive(Args)]
pub struct Options {
    /// The kernel's release line for pktgen's virtual machine: 6.1, 6.12, newest
    #[arg(long, value_name = "LINE", default_value = vm::kernel::NEWEST)]
    kernel: String,
    /// Where the JSON, SVG and Markdown files go [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Which of packet, forward, scale, connect, program and pktgen; all but pktgen if none is named. pktgen
    /// is run alone, in a virtual machine, which has IPVS as well
    #[arg(value_parser = ["packet", "forward", "scale", "connect", "program", PKTGEN])]
    names: Vec<String>,
    /// Rounds that are recorded, after one that isn't [default: 5, with --quick 3]
    #[arg(long, value_name = "N")]
    rounds: Option<String>,
    /// Shorter and fewer rounds, to see whether everything works; the figures are noisy
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    hosts: Hosts,
}

/// pktgen between two hosts; what the values mean is said, and checked, where they are used.
#[derive(Args)]
#[command(next_help_heading = "pktgen between two hosts")]
struct Hosts {
    /// Send out of this interface, to another host
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The link-layer address of the host that runs lb
    #[arg(long, value_name = "MAC")]
    peer: Option<String>,
    /// What is asked for: a node port or a cluster IP, as ADDRESS:PORT
    #[arg(long, value_name = "SOCKET")]
    address: Option<String>,
    /// The client's address
    #[arg(long, value_name = "IP")]
    source: Option<String>,
    /// The port of the endpoints [default: 8080]
    #[arg(long, value_name = "PORT")]
    endpoint_port: Option<String>,
}

impl Options {
    /// What is handed to the benchmarks.
    fn words(&self) -> Vec<OsString> {
        let Hosts { interface, peer, address, source, endpoint_port } = &self.hosts;
        let with_values = [
            ("--rounds", &self.rounds),
            ("--interface", interface),
            ("--peer", peer),
            ("--address", address),
            ("--source", source),
            ("--endpoint-port", endpoint_port),
        ];
        let mut words: Vec<OsString> = self.names.iter().map(OsString::from).collect();
        words.extend(self.quick.then(|| "--quick".into()));
        for (option, value) in with_values {
            words.extend(value.iter().flat_map(|value| [option.into(), value.into()]));
        }
        words
    }
}

/// The cargo target of the benchmarks.
const BENCH: &str = "bench";

/// The benchmark that belongs in a virtual machine.
const PKTGEN: &str = "pktgen";

/// What was built to be measured, and to measure with.
struct Built {
    lb: PathBuf,
    rig: PathBuf,
    steps: PathBuf,
    bench: PathBuf,
}

/// Runs the verb: returns only if the benchmarks can't be started, or ran in a machine; their exit status
/// is ours.
pub fn run(options: &Options) -> Result<ExitCode> {
    let out = options.out.clone().unwrap_or_else(|| workspace::target().join("bench"));
    let words = options.words();
    if options.names.iter().any(|name| name == PKTGEN) && options.hosts.interface.is_none() {
        if let Some(other) = options.names.iter().find(|name| *name != PKTGEN) {
            bail!("pktgen runs in a virtual machine, {other} here: name pktgen alone");
        }
        // As the benchmark itself does: if it fails there, no figures of an earlier run stay.
        lb_tests::bench::remove(&out, PKTGEN)?;
        let succeeded = machine::run(&build()?, &options.kernel, &words, &out)?;
        return Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    // Before minutes of compiling, not after them.
    let root = Root::attended().context(
        "the benchmarks work on network namespaces and load programs, which needs root, and sudo \
         can't be used here: run this as root",
    )?;
    setup::for_lab()?;
    let Built { lb, rig, steps, bench } = build()?;
    let mut variables = BTreeMap::from([
        ("LB_BINARY", lb.into_os_string()),
        ("LB_RIG", rig.into_os_string()),
        ("LB_STEPS", steps.into_os_string()),
        ("PATH", setup::lab::search_path()),
    ]);
    for name in ["RUST_BACKTRACE", "RUST_LOG", "TERM", "LB_PATIENCE"] {
        variables.extend(env::var_os(name).map(|value| (name, value)));
    }
    let variables = variables.iter().map(|(name, value)| (*name, OsStr::new(value)));
    let mut bench = root.command(&bench, variables);
    bench.arg("--out").arg(out).args(words);
    command::echo(&bench);
    // Not as a child: a signal is for the benchmarks, which clean up behind them before they end.
    Err(bench.exec()).with_context(|| format!("can't start {}", bench.get_program().display()))
}

fn build() -> Result<Built> {
    let lb = build::lb(true, &[])?;
    let rig = build::rig()?;
    let steps = build::steps()?;
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--no-run", "--package", "lb-tests", "--bench", BENCH]);
    let built = workspace::executables(&mut cargo)?;
    let bench = built.into_iter().find(|executable| executable.name == BENCH);
    let bench = bench.context("cargo built lb-tests, but names no executable `bench`")?.path;
    Ok(Built { lb, rig, steps, bench })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Verb {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn options_may_follow_names_and_only_those_of_the_benchmarks_are_handed_on() -> Result<()> {
        let line = "bench packet --rounds 7 --out /x scale --quick --kernel 6.1 --interface eth0";
        let Verb { options } = Verb::try_parse_from(line.split(' '))?;
        assert_eq!(options.out, Some(PathBuf::from("/x")));
        assert_eq!(options.kernel, "6.1");
        let words = ["packet", "scale", "--quick", "--rounds", "7", "--interface", "eth0"];
        assert_eq!(options.words(), words);
        Ok(())
    }
}
