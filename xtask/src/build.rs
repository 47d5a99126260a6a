//! `cargo xtask build`: the tools, then the `lb` binary with the BPF programs inside.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{command, setup, workspace};

/// Build the `lb` binary (set-up included)
#[derive(Args)]
pub struct Options {
    /// Build with optimizations
    #[arg(long)]
    release: bool,
    /// Handed to `cargo build`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_args: Vec<String>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<()> {
    let lb = lb(options.release, &options.cargo_args)?;
    println!("{}", lb.display());
    Ok(())
}

/// Sets up, builds, and returns the path of `lb`.
pub fn lb(release: bool, cargo_args: &[String]) -> Result<PathBuf> {
    setup::for_build()?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--package", "lb-userspace", "--bin", "lb"]);
    if release {
        cargo.arg("--release");
    }
    let built = workspace::executables(cargo.args(cargo_args))?;
    let lb = built.into_iter().find(|executable| executable.name == "lb");
    Ok(lb.context("cargo built lb-userspace, but names no executable `lb`")?.path)
}

/// Sets up, builds, and returns the path of the object that the benchmarks measure with.
pub fn rig() -> Result<PathBuf> {
    object("rig")
}

/// The same for the object with variants of `lb`'s programs.
pub fn steps() -> Result<PathBuf> {
    object("steps")
}

/// A binary of lb-ebpf that isn't part of `lb`.
fn object(name: &str) -> Result<PathBuf> {
    let toolchain = setup::for_build()?;
    let endian = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
    let target = format!("{endian}-unknown-none");
    // A directory of its own: another compiler's files in the common one would be rebuilt in turn.
    let directory = workspace::target().join("bpf");
    let mut cargo = toolchain.cargo("build", &target, std::env::consts::ARCH);
    cargo.current_dir(workspace::root());
    cargo.args(["--bin", name, "--target-dir"]).arg(&directory);
    command::run(&mut cargo)?;
    Ok(directory.join(target).join("release").join(name))
}
