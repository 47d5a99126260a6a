//! `cargo xtask setup`: what a machine needs, found or installed. Every other verb begins with the
//! part that it needs; when all is there that is a few look-ups on disk.
//!
//! Here is what must be there; `apt`, `compiler`, `linker` and `lab` say how it comes there.

pub mod bpf_toolchain;

mod apt;
mod compiler;
pub mod lab;
mod linker;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use apt::Apt;
use bpf_toolchain::{BpfToolchain, Compiler};

/// The emulator that runs virtual machines.
pub const QEMU: &str = "qemu-system-x86_64";

/// Find or install what building, testing and the demo need
#[derive(Args)]
pub struct Options {}

/// The parts of the set-up beside the BPF toolchain.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    clippy: bool,
    lab: bool,
}

/// Runs the verb: everything, and says what is where.
pub fn run(_: &Options) -> Result<()> {
    let toolchain = ensure(Parts { clippy: true, lab: true })?;
    let Compiler { sysroot, release, llvm } = &toolchain.compiler;
    println!("compiler for BPF: rustc {release} (LLVM {llvm}) in {}", sysroot.display());
    println!("bpf-linker:       {}", toolchain.linker.display());
    let clippy = if has_clippy(&toolchain.compiler) { "yes" } else { "no (lint will say so)" };
    println!("clippy for BPF:   {clippy}");
    println!("lab:              {}, bpffs at {}", lab::TOOLS_LINE, lab::BPFFS);
    Ok(())
}

/// What compiling needs.
pub fn for_build() -> Result<BpfToolchain> {
    ensure(Parts::default())
}

/// What compiling and linting need; clippy for BPF may be missing after it.
pub fn for_lint() -> Result<BpfToolchain> {
    ensure(Parts { clippy: true, ..Parts::default() })
}

/// What the network namespaces of tests and demo need.
pub fn for_lab() -> Result<()> {
    let mut packages = BTreeSet::new();
    lab::lacking(&mut packages);
    let mut apt = Apt::new();
    if !packages.is_empty() {
        apt.install(&packages)?;
    }
    lab::mount_bpffs()
}

/// What booting virtual machines needs, beside the kernels.
pub fn for_vm() -> Result<()> {
    let mut packages = BTreeSet::new();
    lab::lacking(&mut packages);
    if which::which(QEMU).is_err() {
        packages.insert("qemu-system-x86".to_owned());
    }
    // Programs are stripped before they are taken along.
    if which::which("strip").is_err() {
        packages.insert("binutils".to_owned());
    }
    if packages.is_empty() {
        return Ok(());
    }
    Apt::new().install(&packages)
}

/// What the peers of the benchmarks in virtual machines need beside the lab's tools, and where it is.
pub fn for_peers() -> Result<Vec<PathBuf>> {
    for_lab()?;
    let tools = ["ipvsadm", "ipset"];
    let find = |tool: &str| {
        which::which_in_global(tool, Some(lab::search_path())).into_iter().flatten().next()
    };
    let missing = tools.into_iter().filter(|tool| find(tool).is_none());
    // The packages have the tools' names.
    let packages: BTreeSet<_> = missing.map(str::to_owned).collect();
    if !packages.is_empty() {
        Apt::new().install(&packages)?;
    }
    // Of the package iptables, which the lab has.
    let restore = ["iptables-restore", "ip6tables-restore"];
    let found = tools
        .into_iter()
        .chain(restore)
        .map(|tool| find(tool).with_context(|| format!("no {tool}")));
    found.collect()
}

/// Fetches the package lists, as root; whether that was possible.
pub fn refresh_lists() -> bool {
    Apt::new().update()
}

/// Whether this toolchain has clippy.
pub fn has_clippy(compiler: &Compiler) -> bool {
    let tools = ["cargo-clippy", "clippy-driver"];
    tools.iter().all(|tool| compiler.sysroot.join("bin").join(tool).is_file())
}

/// Installs what is missing: all packages in one go, so that someone without root gets one command.
fn ensure(parts: Parts) -> Result<BpfToolchain> {
    let mut apt = Apt::new();
    let mut packages = BTreeSet::new();
    // The LLVM that a bpf-linker has to be compiled for.
    let mut linker_for = None;
    match bpf_toolchain::find() {
        Ok(toolchain) => {
            if parts.clippy && !has_clippy(&toolchain.compiler) {
                compiler::want_clippy(&toolchain.compiler, &mut apt, &mut packages);
            }
        }
        Err(missing) => {
            eprintln!("setup: {missing}");
            let llvm = compiler::want(parts.clippy, &mut apt, &mut packages)?;
            linker::want_llvm(llvm, &apt, &mut packages);
            linker_for = Some(llvm);
        }
    }
    if parts.lab {
        lab::lacking(&mut packages);
    }
    if !packages.is_empty() {
        apt.install(&packages)?;
    }
    if parts.lab {
        lab::mount_bpffs()?;
    }
    if let Some(llvm) = linker_for {
        linker::install(llvm)?;
    }
    bpf_toolchain::find().context("the set-up ran, but this is still missing")
}
