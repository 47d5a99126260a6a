//! `cargo xtask programs`: how large the programs are, as kernels see them. The comparison with what
//! is written down is a test's (`tests/tests/programs.rs`); here the figures are shown, or written.

use std::{collections::BTreeMap, ffi::OsStr, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, root::Root, setup, vm, workspace};

/// Show how large the programs are on the running kernel, or on others
#[derive(Args)]
pub struct Options {
    /// Write the figures to docs/programs.toml
    #[arg(long)]
    update: bool,
    /// On the kernels of virtual machines instead
    #[arg(long)]
    vm: bool,
    #[command(flatten)]
    choice: vm::Choice,
}

/// The test's name, and what it prints in front of each figure.
const TEST: &str = "programs";
const MARK: &str = "@@program ";

/// Tells the test not to compare.
const ONLY_PRINT: &str = "LB_PROGRAMS_ONLY_PRINT";

/// By kernel line and program, as TOML.
type Figures = BTreeMap<String, BTreeMap<String, String>>;

/// Runs the verb.
pub fn run(options: &Options) -> Result<()> {
    setup::for_build()?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--package", "lb-tests", "--test", TEST, "--no-run"]);
    let test = workspace::executables(&mut cargo)?.pop().context("cargo made no test")?.path;
    let mut found = Figures::new();
    if options.vm {
        let all: Vec<_> = vm::kernel::lines().collect();
        for line in vm::lines_of(&options.choice, &all) {
            let mut guest = vm::Guest::new(&line)?;
            guest.add(&test, TEST)?;
            let script = format!("#!/bin/sh\nexport {ONLY_PRINT}=1\nexec /{TEST} --nocapture\n");
            guest.initramfs.script("command", &script);
            let mut printed = String::new();
            let status = guest.boot(options.choice.limit(), &mut |line| {
                printed += &String::from_utf8_lossy(line);
                printed.push('\n');
            })?;
            if status != 0 {
                bail!("on {}:\n{printed}", guest.kernel.release);
            }
            read(&printed, &mut found);
        }
    } else {
        setup::for_lab()?;
        let root = Root::attended().context("loading programs needs root; run this as root")?;
        let mut test = root.command(&test, [(ONLY_PRINT, OsStr::new("1"))]);
        test.arg("--nocapture");
        read(&output(&mut test)?, &mut found);
    }
    if found.is_empty() {
        bail!("the test printed no figures");
    }
    print!("{}", text(&found));
    if options.update { update(found) } else { Ok(()) }
}

fn output(test: &mut Command) -> Result<String> {
    command::output(test).with_context(|| format!("`{}` failed", command::line(test)))
}

/// Reads `@@program 5.10 lb_xdp = { … }`.
fn read(printed: &str, found: &mut Figures) {
    for line in printed.lines() {
        // libtest prints its own words in front of the first.
        let Some((_, figure)) = line.split_once(MARK) else { continue };
        let Some((kernel, (program, size))) =
            figure.split_once(' ').and_then(|(k, rest)| Some((k, rest.split_once(" = ")?)))
        else {
            continue;
        };
        let programs = found.entry(kernel.to_owned()).or_default();
        programs.insert(program.to_owned(), size.to_owned());
    }
}

/// Replaces what is written of these kernels; that of others stays.
fn update(found: Figures) -> Result<()> {
    let path: PathBuf = workspace::root().join("docs/programs.toml");
    let before =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut all = written(&before);
    all.extend(found);
    let head = "# How large the programs are as kernels see them: instructions that the verifier went \
                through\n# (0: the kernel doesn't tell), instructions and bytes of machine code after \
                it, bytes of stack.\n# Made by `cargo xtask programs --update [--vm]`; a test fails when \
                one rises by over a tenth.\n";
    fs::write(&path, format!("{head}{}", text(&all)))
        .with_context(|| format!("writing {}", path.display()))
}

/// Reads our own writing.
fn written(text: &str) -> Figures {
    let mut figures = Figures::new();
    let mut kernel = String::new();
    for line in text.lines() {
        let heading = line.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]"));
        if let Some(heading) = heading {
            heading.clone_into(&mut kernel);
        } else if let Some((program, size)) = line.split_once(" = ") {
            let programs = figures.entry(kernel.clone()).or_default();
            programs.insert(program.to_owned(), size.to_owned());
        }
    }
    figures
}

fn text(figures: &Figures) -> String {
    let kernel = |(kernel, programs): (&String, &BTreeMap<String, String>)| {
        let lines: Vec<_> =
            programs.iter().map(|(name, size)| format!("{name} = {size}\n")).collect();
        format!("\n[\"{kernel}\"]\n{}", lines.concat())
    };
    figures.iter().map(kernel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut figures = Figures::new();
        read("test x ... @@program 5.10 lb_xdp = { verified = 0 }\nnoise\n", &mut figures);
        assert_eq!(written(&text(&figures)), figures);
        assert_eq!(figures["5.10"]["lb_xdp"], "{ verified = 0 }");
    }
}
