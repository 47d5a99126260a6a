//! `cargo xtask lint`: format, clippy for the host and for BPF, tidy, docs. Every check runs, so that
//! one run names everything.

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    command,
    setup::{self, bpf_toolchain::BpfToolchain},
    tidy, workspace,
};

/// Format, clippy for the host and for BPF, tidy, docs
#[derive(Args)]
pub struct Options {}

/// Runs the verb.
pub fn run(_: &Options) -> Result<()> {
    let toolchain = setup::for_lint()?;
    let checks = [
        ("format", cargo("fmt --all --check")),
        ("clippy", cargo("clippy --workspace --exclude lb-ebpf --all-targets -- -D warnings")),
        ("clippy for BPF", clippy_for_bpf(&toolchain)),
        ("tidy", tidy::run(&tidy::Options {})),
        ("docs", docs()),
    ];
    let mut failed = Vec::new();
    for (name, result) in checks {
        if let Err(error) = result {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint found faults: {}", failed.join(", "));
    }
    println!("lint: no faults");
    Ok(())
}

fn cargo(args: &str) -> Result<()> {
    command::run(workspace::cargo().args(args.split(' ')))
}

fn docs() -> Result<()> {
    // lb-ebpf is left out because its binary is called `lb` like ours: one would overwrite the other.
    let mut cargo = workspace::cargo();
    cargo.args(["doc", "--no-deps", "--workspace", "--exclude", "lb-ebpf"]);
    command::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn clippy_for_bpf(toolchain: &BpfToolchain) -> Result<()> {
    if !setup::has_clippy(&toolchain.compiler) {
        eprintln!(
            "NOT CHECKED: lb-ebpf's programs, by clippy: {} has none and it can't be had; \
             checking lb-ebpf's library for the host instead",
            toolchain.compiler.sysroot.display()
        );
        return cargo("clippy --package lb-ebpf --lib -- -D warnings");
    }
    let target = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
    let target = format!("{target}-unknown-none");
    let mut clippy = toolchain.cargo("clippy", &target, std::env::consts::ARCH);
    clippy.current_dir(workspace::root());
    // A directory of its own: another compiler's files in the common one would be rebuilt in turn.
    clippy.args(["--lib", "--bins", "--target-dir", "target/bpf-clippy", "--", "-D", "warnings"]);
    command::run(&mut clippy)
}
