//! Compiles the programs of lb-ebpf into `OUT_DIR`, for `include_bytes`: `$OUT_DIR/lb`.
//!
//! Installs nothing and picks nothing of its own: which compiler and linker is the rule in
//! `bpf_toolchain`, which `cargo xtask setup` serves. aya-build is not used because it sets the
//! compiler's flags alone and has no place for `-Ctarget-cpu`.

use std::{env, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

#[path = "../xtask/src/setup/bpf_toolchain.rs"]
mod bpf_toolchain;

/// The binary target of lb-ebpf.
const PROGRAM: &str = "lb";

fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: a backtrace of this script would hide the sentence that matters.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<()> {
    // No environment variable is watched: a build by xtask and a plain one must not undo each other.
    // Cargo.lock stands for the dependencies, Cargo.toml for the profile.
    for path in ["../lb-ebpf", "../lb-common", "../Cargo.lock", "../Cargo.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-changed=build.rs");

    let toolchain = match bpf_toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => bail!("can't compile the BPF programs: {missing}\nrun: cargo xtask setup"),
    };
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "little" => "bpfel-unknown-none",
        _ => "bpfeb-unknown-none",
    };
    let out = PathBuf::from(variable("OUT_DIR")?);
    // Not the outer target directory: the cargo that waits for us holds its lock.
    let target_dir = out.join("bpf");

    let mut cargo = toolchain.cargo("build", target, &variable("CARGO_CFG_TARGET_ARCH")?);
    cargo.args(["--bin", PROGRAM, "--target-dir"]).arg(&target_dir);
    let status = cargo.status().with_context(|| format!("can't start {cargo:?}"))?;
    if !status.success() {
        bail!(
            "compiling lb-ebpf for {target} failed ({status}); the compiler's messages are above"
        );
    }

    let object = target_dir.join(target).join("release").join(PROGRAM);
    fs::copy(&object, out.join(PROGRAM))
        .with_context(|| format!("can't copy {} to {}", object.display(), out.display()))?;
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("cargo has not set {name}"))
}
