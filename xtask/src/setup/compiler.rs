//! A compiler with the sources of `core`: rustup's nightly where rustup can fetch, else the
//! distribution's.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{
    apt::{Apt, Packages},
    bpf_toolchain::{self, Compiler},
    has_clippy, linker,
};
use crate::command;

/// Debian's compiler for browsers, newer than the release's own, and the sources that fit it.
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_CLIPPY: &str = "rust-web-clippy";

/// Sees to a compiler whose LLVM can be had, by rustup at once, or by packages to be installed.
/// Returns the major version of that LLVM.
pub fn want(clippy: bool, apt: &mut Apt, packages: &mut Packages) -> Result<u32> {
    if bpf_toolchain::compilers().is_empty() {
        fetch_nightly();
    }
    let installed = bpf_toolchain::compilers();
    if let Some(compiler) = installed.iter().find(|it| linker::llvm_can_be_had(it.llvm, apt)) {
        if clippy && !has_clippy(compiler) {
            want_clippy(compiler, apt, packages);
        }
        return Ok(compiler.llvm);
    }
    if !DEBIAN.iter().all(|package| apt.offers(package)) {
        let llvms: Vec<String> = installed.iter().map(|it| it.llvm.to_string()).collect();
        bail!(
            "no compiler for BPF can be had here. Either `rustup toolchain install nightly --component \
             rust-src` with LLVM's development files of its major version{}{}, or Debian's packages {}",
            if llvms.is_empty() { "" } else { ", which is " },
            llvms.join(" or "),
            DEBIAN.join(" ")
        );
    }
    packages.extend(DEBIAN.map(str::to_owned));
    if clippy && apt.offers(DEBIAN_CLIPPY) {
        packages.insert(DEBIAN_CLIPPY.to_owned());
    }
    Apt::llvm_below(DEBIAN[0])
        .with_context(|| format!("apt-cache names no libllvm that {} depends on", DEBIAN[0]))
}

/// Gets clippy for a compiler; where it can't be had, lint says what it did not check.
pub fn want_clippy(compiler: &Compiler, apt: &mut Apt, packages: &mut Packages) {
    if compiler.sysroot.as_os_str() != "/usr" {
        rustup(&["component", "add", "clippy", "--toolchain", "nightly"]);
    } else if is_debians(compiler) && apt.offers(DEBIAN_CLIPPY) {
        packages.insert(DEBIAN_CLIPPY.to_owned());
    }
}

/// Whether /usr/bin/rustc is the one that `rust-web-clippy` belongs to.
fn is_debians(compiler: &Compiler) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Version}", DEBIAN[0]]);
    command::output(&mut query).is_some_and(|version| version.starts_with(&compiler.release))
}

/// Nightly's sources, or nightly with its sources. That it can't be fetched is no error: there is
/// the distribution's compiler.
fn fetch_nightly() {
    if which::which("rustup").is_err() {
        return;
    }
    let fetched = rustup(&["component", "add", "rust-src", "--toolchain", "nightly"])
        || rustup(&[
            "toolchain",
            "install",
            "nightly",
            "--no-self-update",
            "--profile",
            "minimal",
            "--component",
            "rust-src",
            "--component",
            "clippy",
        ]);
    if !fetched {
        eprintln!(
            "setup: rustup can't fetch a nightly with rust-src; taking the distribution's compiler"
        );
    }
}

/// Runs rustup, for a minute at most: without a network it may wait for very long.
fn rustup(args: &[&str]) -> bool {
    let mut rustup = Command::new("timeout");
    rustup.args(["60", "rustup"]).args(args);
    command::run_unattended(&mut rustup).is_ok()
}
