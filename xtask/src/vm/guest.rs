//! A machine with a file system of its own: what is put there, and what runs. QEMU is `machine`'s,
//! the archive `initramfs`'s.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{
    initramfs::Initramfs,
    kernel::Kernel,
    machine::{self, Machine},
};
use crate::{command, setup, workspace};

/// What a machine has, in MiB: `lb`'s maps take 300 of it, the file system 150 to 250.
pub const MEMORY: u32 = 2048;

/// A kernel and a file system for it, with a directory for what is made for one machine. What runs in
/// it is the program at `command`.
pub struct Guest {
    /// The kernel.
    pub kernel: Kernel,
    /// The file system.
    pub initramfs: Initramfs,
    directory: PathBuf,
}

impl Guest {
    /// Installs what is needed and fetches the kernel of a release line, if it must.
    pub fn new(line: &str) -> Result<Self> {
        setup::for_vm()?;
        let kernel = Kernel::of(line)?;
        let machines = workspace::target().join("vm");
        sweep(&machines);
        // Of this process alone: several may have machines at the same time.
        let directory = machines.join(format!("{line}-{}", process::id()));
        machine::check_path(&directory)?;
        fs::create_dir_all(&directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let initramfs = Initramfs::new(&kernel)?;
        Ok(Self { kernel, initramfs, directory })
    }

    /// Takes a program that was built here along, without what only debuggers read: the file system
    /// is the machine's memory. Its libraries come too.
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

    /// Boots, runs the machine's `command` for as long as `limit`, and hands its lines over, of both
    /// outputs. Returns its exit status.
    pub fn boot(&self, limit: Duration, line: &mut (dyn FnMut(&[u8]) + Send)) -> Result<u8> {
        self.machine(limit)?.run(line)
    }

    /// Boots and runs the machine's `command` at this terminal.
    pub fn boot_at_terminal(&self) -> Result<u8> {
        self.machine(Duration::MAX)?.run_interactive()
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

impl Drop for Guest {
    fn drop(&mut self) {
        // Some hundred megabytes. What can't be removed is in the way of nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes what runs that were killed have left.
fn sweep(machines: &Path) {
    for entry in fs::read_dir(machines).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit_once('-').map(|(_, owner)| owner);
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
