//! `cargo xtask fuzz`: libFuzzer on the parsers, by cargo-fuzz.
//!
//! What the targets do stands in `tests/fuzz/targets`; `cargo test` sends the corpus through them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, setup, workspace};

/// The toolchain: sanitizers and coverage are there only.
const TOOLCHAIN: &str = "nightly";

/// The longest input. What is longer says no more of a parser, and takes longer.
const LONGEST: u32 = 4096;

/// How long one input may take, in seconds.
const SLOWEST: u32 = 10;

/// Run the fuzz targets, or one of them, for some time each
#[derive(Args)]
pub struct Options {
    /// Only this target
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// Runs the verb. Fails when an input makes a target panic, and says where that input is.
pub fn run(options: &Options) -> Result<()> {
    let crate_dir = workspace::root().join("tests/fuzz");
    let targets = targets(&crate_dir)?;
    let chosen: Vec<&String> = match &options.target {
        None => targets.iter().collect(),
        Some(name) => targets.iter().filter(|target| *target == name).collect(),
    };
    if chosen.is_empty() {
        bail!("there is no such target; there are: {}", targets.join(", "));
    }
    ensure_tools()?;
    setup::for_build()?;
    // The versions that are fuzzed are those that are built.
    fs::copy(workspace::root().join("Cargo.lock"), crate_dir.join("Cargo.lock"))
        .context("copying Cargo.lock to tests/fuzz")?;
    for target in chosen {
        fuzz(&crate_dir, target, options.seconds)?;
    }
    Ok(())
}

/// The names of the targets, sorted.
fn targets(crate_dir: &Path) -> Result<Vec<String>> {
    let directory = crate_dir.join("fuzz_targets");
    let list = || format!("listing {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).with_context(list)? {
        let path = entry.with_context(list)?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn ensure_tools() -> Result<()> {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", TOOLCHAIN, "rustc", "--version"]);
    if command::output(&mut rustc).is_none() {
        bail!("fuzzing needs a nightly compiler; run: rustup toolchain install {TOOLCHAIN}");
    }
    if which::which("cargo-fuzz").is_err() {
        bail!("fuzzing needs cargo-fuzz; run: cargo install cargo-fuzz");
    }
    if ["c++", "clang++"].iter().all(|compiler| which::which(compiler).is_err()) {
        bail!("libFuzzer is compiled with a C++ compiler; run: apt-get install g++");
    }
    Ok(())
}

fn fuzz(crate_dir: &Path, target: &str, seconds: u32) -> Result<()> {
    let place = |name: &str| workspace::target().join(name);
    // The first directory gets what is found on the way; only what is worth keeping goes into the tree.
    let found = place("fuzz").join("corpus").join(target);
    let failures = place("failures");
    for directory in [&found, &failures] {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    // By itself first: a failure of the compiler is no failure of an input.
    command::run(&mut cargo_fuzz("build", crate_dir, target))
        .with_context(|| format!("compiling the fuzz target {target} failed"))?;
    let mut fuzz = cargo_fuzz("run", crate_dir, target);
    fuzz.args([&found, &crate_dir.join("corpus").join(target)]).arg("--");
    fuzz.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={LONGEST}"),
        format!("-timeout={SLOWEST}"),
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}", prefix(&failures, target).display()),
    ]);
    command::run(&mut fuzz).with_context(|| {
        format!(
            "an input made {target} fail; it is {}*: mend the code, and put the input into \
             tests/fuzz/corpus/{target}, where `cargo test` tries it from then on",
            prefix(&failures, target).display()
        )
    })
}

/// A verb of cargo-fuzz for a target.
fn cargo_fuzz(verb: &str, crate_dir: &Path, target: &str) -> Command {
    let mut fuzz = Command::new("rustup");
    fuzz.current_dir(workspace::root());
    fuzz.args(["run", TOOLCHAIN, "cargo", "fuzz", verb, target, "--fuzz-dir"]).arg(crate_dir);
    fuzz.arg("--target-dir").arg(workspace::target().join("fuzz/build"));
    fuzz
}

/// What the names of inputs begin with that make a target fail.
fn prefix(failures: &Path, target: &str) -> PathBuf {
    failures.join(format!("fuzz-{target}-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_refused_with_the_names_of_those_that_there_are() {
        let options = Options { target: Some("paket".to_owned()), seconds: 1 };
        let error = run(&options).expect_err("no such target").to_string();
        assert!(error.contains("there is no such target") && error.contains("packet"), "{error}");
    }
}
