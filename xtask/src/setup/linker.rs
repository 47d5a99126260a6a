//! bpf-linker, compiled for the LLVM of the compiler that it serves.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    apt::{Apt, Packages},
    bpf_toolchain::{self, BPF_LINKER_VERSION},
};
use crate::{command, workspace};

/// The LLVMs that this release of bpf-linker has a feature for.
const SUPPORTED: std::ops::RangeInclusive<u32> = 21..=23;

/// Whether an LLVM's development files are there or can be installed.
pub fn llvm_can_be_had(llvm: u32, apt: &mut Apt) -> bool {
    SUPPORTED.contains(&llvm) && (prefix(llvm).is_some() || apt.offers(&format!("llvm-{llvm}-dev")))
}

/// Adds the packages that compiling bpf-linker for this LLVM lacks.
pub fn want_llvm(llvm: u32, apt: &Apt, packages: &mut Packages) {
    if prefix(llvm).is_some() && !apt.is_present() {
        return;
    }
    // Of the libraries that LLVM was linked with, its own package brings not all.
    let llvm_packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    let needed = ["libzstd-dev", "zlib1g-dev", "libxml2-dev"].map(str::to_owned);
    packages.extend(llvm_packages.into_iter().chain(needed).filter(|name| !is_installed(name)));
    if which::which("c++").is_err() {
        packages.insert("g++".to_owned());
    }
}

/// Compiles and installs bpf-linker for an LLVM.
pub fn install(llvm: u32) -> Result<()> {
    let prefix = prefix(llvm)
        .with_context(|| format!("LLVM {llvm} has no development files here (llvm-config)"))?;
    let root = bpf_toolchain::linker_root(llvm);
    eprintln!("setup: compiling bpf-linker {BPF_LINKER_VERSION} for LLVM {llvm} (about a minute)");
    let bin = prefix.join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(bin).chain(env::split_paths(&path)))?;
    let mut cargo = workspace::cargo();
    // Not in the workspace, whose settings are not meant for it.
    cargo.current_dir("/").env_remove("CARGO_TARGET_DIR");
    cargo.env("PATH", path).env("LLVM_PREFIX", &prefix);
    cargo.args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"]);
    cargo.args(["--no-track", "--no-default-features", "--features", &format!("llvm-{llvm}")]);
    command::run_unattended(cargo.arg("--root").arg(&root))
        .with_context(|| format!("bpf-linker for LLVM {llvm} in {}", prefix.display()))
}

/// Where an LLVM with development files lies: Debian's place, or what llvm-config says.
fn prefix(llvm: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let configs = [
        debian.join("bin/llvm-config"),
        PathBuf::from(format!("llvm-config-{llvm}")),
        PathBuf::from("llvm-config"),
    ];
    configs.iter().find_map(|config| prefix_by(config, llvm))
}

fn prefix_by(config: &Path, llvm: u32) -> Option<PathBuf> {
    let ask = |what| command::output(Command::new(config).arg(what));
    let version = ask("--version")?;
    let right = version.split('.').next()?.parse() == Ok(llvm);
    let includes = PathBuf::from(ask("--includedir")?.trim());
    let is_there = right && includes.join("llvm-c/Core.h").is_file();
    is_there.then(|| ask("--prefix").map(|prefix| PathBuf::from(prefix.trim())))?
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    command::output(&mut query).is_some_and(|status| status == "installed")
}
