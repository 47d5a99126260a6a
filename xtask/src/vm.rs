//! `cargo xtask vm`: a command, or a shell, on a kernel of choice in a virtual machine. Also what
//! other verbs use to take `lb` and the tests there.

mod debian;
mod initramfs;
pub mod kernel;
mod machine;
pub mod matrix;

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, command, setup, workspace};
use initramfs::Initramfs;
use kernel::Kernel;
use machine::Machine;

/// What a machine has, in MiB: `lb`'s maps take 300 of it, the file system 150 to 250.
const MEMORY: u32 = 2048;

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
    /// Release lines: 5.10, 6.1, 6.12, newest; one machine each, one after the other
    #[arg(long, num_args = 1.., value_name = "LINE")]
    pub kernel: Vec<String>,
    /// Files and directories to take along; in the machine they are at the same path below /mnt,
    /// which is where the command starts
    #[arg(long, value_name = "PATH")]
    pub copy: Vec<PathBuf>,
    /// How long the command may run, in seconds [default: 1800]
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
}

impl Choice {
    /// How long the command may run, in seconds.
    pub fn limit(&self) -> u64 {
        self.limit.unwrap_or(1800)
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
        let mut bench = Bench::new(&line)?;
        bench.add(&lb, LB)?;
        let status = bench.run(choice, words)?;
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
        choice.kernel.clone()
    }
}

/// A kernel and a file system for it, with a directory for what is made for one machine.
pub struct Bench {
    /// The kernel.
    pub kernel: Kernel,
    /// The file system.
    pub initramfs: Initramfs,
    directory: PathBuf,
}

impl Bench {
    /// Installs what is needed and fetches the kernel, if it must.
    pub fn new(line: &str) -> Result<Self> {
        setup::for_vm()?;
        let kernel = Kernel::of(line)?;
        // Of this process alone: several may have machines at the same time.
        let name = format!("{line}-{}", std::process::id());
        let directory = workspace::target().join("vm").join(name);
        machine::check_path(&directory)?;
        fs::create_dir_all(&directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let initramfs = Initramfs::new(&kernel)?;
        Ok(Self { kernel, initramfs, directory })
    }

    /// Takes a program of the workspace along, without what only debuggers read: the file system
    /// is the machine's memory.
    pub fn add(&mut self, program: &Path, at: &str) -> Result<()> {
        let stripped = self.directory.join(at.replace('/', "-"));
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&stripped).arg(program);
        let done = strip.status().context("can't start strip")?;
        if !done.success() {
            bail!("`{}` failed", command::line(&strip));
        }
        self.initramfs.program(&stripped, at)
    }

    /// Boots, runs the machine's `/command`, and hands its lines over.
    pub fn boot(&self, limit: Duration, line: &mut (dyn FnMut(&[u8]) + Send)) -> Result<u8> {
        self.machine(limit)?.run(line)
    }

    fn run(mut self, choice: &Choice, words: &[OsString]) -> Result<u8> {
        eprintln!("vm: Linux {}", self.kernel.release);
        for path in &choice.copy {
            let at = path.to_string_lossy();
            let at = format!("mnt/{}", at.trim_start_matches("./").trim_matches('/'));
            self.initramfs.tree(path, &at)?;
        }
        if words.is_empty() {
            self.initramfs.text("interactive", "");
            let greeting = "echo 'lb, ip, tc, nft and busybox are here; exit ends the machine'";
            let shell = format!("#!/bin/sh\ncd /mnt\n{NETWORK}{greeting}\nexec bash --norc -i\n");
            self.initramfs.script("command", &shell);
            return self.machine(Duration::MAX)?.run_interactive();
        }
        let words: Vec<_> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        let script = format!("#!/bin/sh\ncd /mnt\n{NETWORK}{}\n", words.join(" "));
        self.initramfs.script("command", &script);
        self.boot(Duration::from_secs(choice.limit()), &mut |line| {
            let mut out = io::stdout().lock();
            // Whoever doesn't listen any more doesn't want to hear of it.
            let _ = out.write_all(line).and_then(|()| out.write_all(b"\n"));
        })
    }

    fn machine(&self, limit: Duration) -> Result<Machine> {
        let initramfs = self.directory.join("initramfs");
        self.initramfs.write(&initramfs)?;
        Ok(Machine {
            image: self.kernel.image(),
            initramfs,
            memory: MEMORY,
            directory: self.directory.clone(),
            limit,
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Some hundred megabytes. What can't be removed is in the way of nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
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
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_machine_as_they_are() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
