//! `cargo xtask run`: builds, then becomes `lb`.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{build, command, root::Root, vm};

/// Build, then run `lb` with the given arguments, as root
#[derive(Args)]
pub struct Options {
    /// Build with optimizations
    #[arg(long)]
    release: bool,
    /// In a virtual machine, which has an uplink `eth0`
    #[arg(long)]
    vm: bool,
    #[command(flatten)]
    choice: vm::Choice,
    /// Handed to `lb`
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Runs the verb: returns only if `lb` can't be started; its exit status is ours.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.vm {
        let lb = std::iter::once(OsString::from("lb"));
        let words: Vec<_> = lb.chain(options.args.iter().cloned()).collect();
        return vm::run_command(&options.choice, options.release, &words);
    }
    options.choice.ensure_none()?;
    let lb = build::lb(options.release, &[])?;
    let root = if only_asks_for_help(&options.args) { Some(Root::Ours) } else { Root::attended() };
    let root = root.with_context(|| {
        let args = options.args.join(" ".as_ref());
        format!("`lb` needs root; run: sudo {} {}", lb.display(), args.display())
    })?;
    let log = std::env::var_os("RUST_LOG");
    let variables = log.as_deref().map(|filter| ("RUST_LOG", filter));
    let mut lb = root.command(&lb, variables);
    lb.args(&options.args);
    command::echo(&lb);
    Err(lb.exec()).with_context(|| format!("can't start {}", lb.get_program().display()))
}

fn only_asks_for_help(args: &[OsString]) -> bool {
    let asks =
        |arg: &OsString| ["help", "-h", "--help", "-V", "--version"].iter().any(|h| arg == h);
    args.is_empty() || args.iter().any(asks)
}
