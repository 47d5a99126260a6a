//! `cargo xtask tidy`: house rules that no compiler checks. Also a test, so that `cargo test` tells.
//!
//! What rustfmt or clippy can check doesn't belong here.

mod manifests;
mod sources;

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use walkdir::WalkDir;

use crate::workspace;

/// Check the house rules that no compiler checks
#[derive(Args)]
pub struct Options {}

/// Manifests of crates that are no members of the workspace, so that they can inherit nothing from it.
const OUTSIDE: [&str; 1] = ["tests/fuzz/Cargo.toml"];

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// Relative to the root of the workspace.
    file: String,
    /// From 1; 0 is the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Runs the verb.
pub fn run(_: &Options) -> Result<()> {
    let faults = faults_below(workspace::root())?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} breaches of the house rules", faults.len());
    }
    Ok(())
}

fn faults_below(root: &Path) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut with_unsafe = Vec::new();
    let ours = |entry: &walkdir::DirEntry| {
        let name = entry.file_name();
        entry.depth() == 0 || !(name == "target" || name == ".git")
    };
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(ours) {
        let entry = entry.context("walking the workspace")?;
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        let is = |extension: &str| path.extension().is_some_and(|it| it == extension);
        let is_text = ["rs", "toml", "md", "yaml", "yml", "sh"].into_iter().any(is);
        if !entry.file_type().is_file() || !(is_text || name == ".ci/run") {
            continue;
        }
        let text = fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
        faults.extend(sources::trailing_whitespace(&name, &text));
        if is("rs") {
            faults.extend(sources::check(&name, &text));
            if sources::uses_unsafe(&text) {
                with_unsafe.push(name.into_owned());
            }
        } else if entry.file_name() == "Cargo.toml"
            && entry.depth() > 1
            && !OUTSIDE.contains(&&*name)
        {
            faults.extend(manifests::check(&name, &text)?);
        }
    }
    faults.extend(sources::check_unsafe(&with_unsafe));
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() -> Result<()> {
        let faults = faults_below(workspace::root())?;
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
        Ok(())
    }
}
