//! Where the workspace is, and cargo as every verb calls it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;

/// A program that cargo has built.
pub struct Executable {
    /// The cargo target's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The directory of its package, where `cargo test` would start it.
    pub package_dir: PathBuf,
}

/// The root of the workspace.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo puts what it builds: the directory that holds the profile's, which holds us.
pub fn target() -> PathBuf {
    let ours = env::current_exe().ok();
    let target = ours.as_deref().and_then(|ours| ours.ancestors().nth(2));
    target.map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// The cargo that started us, else the one in `PATH`.
pub fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// cargo, of the toolchain that built xtask, at the root of the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(cargo_path());
    cargo.current_dir(root());
    // What `cargo run` tells xtask about xtask. Handed on, build scripts that watch their environment
    // would run again after every change between `cargo build` and `cargo xtask build`.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo.env_remove("LD_LIBRARY_PATH");
    cargo
}

/// Runs a `cargo build` or `cargo test --no-run` and returns the programs that it made.
pub fn executables(cargo: &mut Command) -> Result<Vec<Executable>> {
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    crate::command::echo(cargo);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't start {}", cargo.get_program().display()))?;
    if !output.status.success() {
        bail!("compiling failed; cargo's messages are above");
    }
    let mut found = Vec::new();
    for message in Message::parse_stream(output.stdout.as_slice()) {
        let Message::CompilerArtifact(artifact) = message.context("cargo's messages")? else {
            continue;
        };
        if let (Some(path), Some(dir)) = (artifact.executable, artifact.manifest_path.parent()) {
            found.push(Executable {
                name: artifact.target.name,
                path: path.into_std_path_buf(),
                package_dir: dir.to_owned().into_std_path_buf(),
            });
        }
    }
    Ok(found)
}
