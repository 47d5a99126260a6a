//! `cargo xtask vm`: a command, or a shell, on a kernel of choice in a virtual machine. Also what
//! other verbs use to take `lb` and the tests there.

mod debian;
mod guest;
mod initramfs;
pub mod kernel;
mod machine;
pub mod matrix;
mod results;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::build;
pub use guest::Guest;

/// Where `lb` is in a machine.
pub const LB: &str = "usr/bin/lb";

/// Run a command, or a shell, with `lb` in a virtual machine
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    choice: Choice,
    /// Build `lb` with optimizations
    #[arg(long)]
    release: bool,
    /// The command; a shell if there is none
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Which machines, and what they get.
#[derive(Args, Default)]
pub struct Choice {
    /// Release lines: 5.10, 6.1, 6.12, newest; one machine each
    #[arg(long, num_args = 1.., value_name = "LINE")]
    pub kernel: Vec<String>,
    /// Files and directories to take along; in the machine they are at the same path below /mnt,
    /// which is where the command starts
    #[arg(long, value_name = "PATH")]
    pub copy: Vec<PathBuf>,
    /// How long the command, or each suite of tests, may run, in seconds [default: 1800]
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
}

impl Choice {
    /// How long the command, or each suite, may run.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit.unwrap_or(1800))
    }

    /// Fails if something was chosen by a verb that was not to start a machine.
    pub fn ensure_none(&self) -> Result<()> {
        if self.kernel.is_empty() && self.copy.is_empty() && self.limit.is_none() {
            return Ok(());
        }
        bail!("--kernel, --copy and --limit are about virtual machines; add --vm")
    }
}

/// Runs the verb; the exit status is the command's, the last that isn't 0 if there are several.
pub fn run(options: &Options) -> Result<ExitCode> {
    run_command(&options.choice, options.release, &options.command)
}

/// Runs a command on each chosen kernel, with `lb` in its path.
pub fn run_command(choice: &Choice, release: bool, words: &[OsString]) -> Result<ExitCode> {
    if words.is_empty() && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        bail!("a shell needs a terminal; give a command: cargo xtask vm -- COMMAND");
    }
    let lb = build::lb(release, &[])?;
    let mut last = 0;
    for line in lines_of(choice, &[kernel::NEWEST]) {
        let mut guest = Guest::new(&line)?;
        guest.add(&lb, LB)?;
        let status = run_one(guest, choice, words)?;
        if status != 0 {
            last = status;
        }
    }
    Ok(ExitCode::from(last))
}

/// The release lines that were asked for, or these.
pub fn lines_of(choice: &Choice, otherwise: &[&str]) -> Vec<String> {
    if choice.kernel.is_empty() {
        otherwise.iter().map(|&line| line.to_owned()).collect()
    } else {
        let mut lines = choice.kernel.clone();
        let mut known = BTreeSet::new();
        lines.retain(|line| known.insert(line.clone()));
        lines
    }
}

fn run_one(mut guest: Guest, choice: &Choice, words: &[OsString]) -> Result<u8> {
    eprintln!("vm: Linux {}", guest.kernel.release);
    for path in &choice.copy {
        let at = path.to_string_lossy();
        let at = format!("mnt/{}", at.trim_start_matches("./").trim_matches('/'));
        guest.initramfs.tree(path, &at)?;
    }
    if words.is_empty() {
        guest.initramfs.text("interactive", "");
        let greeting = "echo 'lb, ip, tc, nft and busybox are here; exit ends the machine'";
        let shell = format!("#!/bin/sh\ncd /mnt\n{NETWORK}{greeting}\nexec bash --norc -i\n");
        guest.initramfs.script("command", &shell);
        return guest.boot_at_terminal();
    }
    let words: Vec<_> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    let line = words.join(" ");
    guest.initramfs.script("command", &format!("#!/bin/sh\ncd /mnt\n{NETWORK}{line}\n"));
    let ended = guest.boot(choice.limit(), &mut |line| {
        let mut out = io::stdout().lock();
        // Whoever doesn't listen any more doesn't want to hear of it.
        let _ = out.write_all(line).and_then(|()| out.write_all(b"\n"));
    });
    ended.with_context(|| format!("`{line}` on Linux {}", guest.kernel.release))
}

/// A network to try `lb` in: an uplink `eth0`, whose other end is in the namespace `outside`.
const NETWORK: &str = "\
ip netns add outside
ip link add eth0 type veth peer name eth0 netns outside
ip addr add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip -n outside addr add 192.0.2.2/24 dev eth0
ip -n outside link set eth0 up
";

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_machine_as_they_are() {
        assert_eq!(quoted("--limit=5"), "--limit=5");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
