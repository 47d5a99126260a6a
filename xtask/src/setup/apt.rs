//! Debian packages: what can be had, and installing without a question.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Result, bail};

use crate::{command, root::Root};

/// Names of packages.
pub type Packages = BTreeSet<String>;

/// apt, if the machine has it. Fetches the package lists at most once, and only when they lack
/// something that is wanted.
#[derive(Debug)]
pub struct Apt {
    root: Option<Root>,
    present: bool,
    updated: bool,
}

impl Apt {
    /// Looks whether there is apt, and whether we may use it.
    pub fn new() -> Self {
        let present = which::which("apt-get").is_ok();
        Self { root: None, present, updated: false }
    }

    /// Whether the machine has apt.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Whether a package can be installed. Updates the lists if they don't know it and we may.
    pub fn offers(&mut self, package: &str) -> bool {
        if !self.present {
            return false;
        }
        knows(package) || (self.update() && knows(package))
    }

    /// The LLVM that a package depends on, over other packages too.
    pub fn llvm_below(package: &str) -> Option<u32> {
        let mut apt = Command::new("apt-cache");
        apt.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"]);
        apt.args(["--no-breaks", "--no-replaces", "--no-enhances", package]);
        let tree = command::output(&mut apt)?;
        let versions = tree.lines().filter_map(|line| line.strip_prefix("libllvm")?.parse().ok());
        versions.max()
    }

    /// Installs packages, or says with which command someone who may can do it.
    pub fn install(&mut self, packages: &Packages) -> Result<()> {
        let list: Vec<&str> = packages.iter().map(String::as_str).collect();
        let list = list.join(" ");
        if !self.present {
            bail!(
                "this machine has no apt; install what these Debian packages hold by its own means, \
                 then run this again: {list}"
            );
        }
        let Some(root) = self.root() else {
            bail!(
                "packages are missing, and installing them needs root; run\n    \
                 sudo sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
                 --no-install-recommends {list}'\nand then this again"
            );
        };
        let lacks_candidate = packages.iter().any(|package| !knows(package));
        if lacks_candidate && !self.updated {
            self.update();
        }
        eprintln!("setup: installing packages: {list}");
        let done = command::run_unattended(&mut install_command(root, packages));
        // Lists that are out of date name files which the mirror no longer has.
        if done.is_err() && self.update() {
            return command::run_unattended(&mut install_command(root, packages));
        }
        done
    }

    fn root(&mut self) -> Option<Root> {
        self.root = self.root.or_else(Root::unattended);
        self.root
    }

    /// Fetches the package lists; whether they are newer now than before.
    pub fn update(&mut self) -> bool {
        let Some(root) = self.root() else {
            return false;
        };
        if self.updated {
            return false;
        }
        self.updated = true;
        eprintln!("setup: fetching the package lists");
        let mut apt = apt_get(root);
        command::run_unattended(apt.args(["-qq", "update"])).is_ok()
    }
}

fn knows(package: &str) -> bool {
    let policy = command::output(Command::new("apt-cache").args(["policy", package]));
    policy.unwrap_or_default().lines().any(|line| {
        let candidate = line.trim().strip_prefix("Candidate: ");
        candidate.is_some_and(|candidate| candidate != "(none)")
    })
}

fn install_command(root: Root, packages: &Packages) -> Command {
    let mut apt = apt_get(root);
    apt.args(["-q", "-y", "--no-install-recommends", "install"]).args(packages);
    apt
}

fn apt_get(root: Root) -> Command {
    let mut apt = root.command("apt-get", [("DEBIAN_FRONTEND", "noninteractive".as_ref())]);
    // Another apt may be at work; it will be done.
    apt.args(["-o", "DPkg::Lock::Timeout=300"]);
    apt
}
