//! What the network namespaces of tests and demo need: tools, and a place to pin maps.

use std::{env, ffi::OsString, fs};

use anyhow::{Context as _, Result};

use super::apt::Packages;
use crate::{command, root::Root};

/// The file system for pinned maps and links.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The tools, for people.
pub const TOOLS_LINE: &str = "ip, tc, bridge, nft, iptables, ethtool";

/// Programs and the packages that hold them.
const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("bridge", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ethtool", "ethtool"),
];

/// The names of the tools.
pub fn tools() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|(tool, _)| *tool)
}

/// Adds the packages of tools that are not there.
pub fn lacking(packages: &mut Packages) {
    for (tool, package) in TOOLS {
        let mut found = which::which_in_global(tool, Some(search_path())).into_iter().flatten();
        if found.next().is_some() {
            continue;
        }
        packages.insert(package.to_owned());
    }
}

/// `PATH` with the directories of administration, which not every user has in it.
pub fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Mounts bpffs, if it isn't.
pub fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    if is_mounted(&mounts) {
        return Ok(());
    }
    let root = Root::unattended()
        .with_context(|| format!("{BPFFS} is not mounted; run: sudo mount -t bpf bpf {BPFFS}"))?;
    eprintln!("setup: mounting {BPFFS}");
    command::run_unattended(root.command("mount", []).args(["-t", "bpf", "bpf", BPFFS]))
}

fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpf_file_system_at_its_place_counts() {
        assert!(is_mounted("proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"));
        assert!(!is_mounted("sysfs /sys sysfs rw 0 0\nx /sys/fs/bpf tmpfs rw 0 0\n"));
        assert!(!is_mounted("bpf /run/bpf bpf rw 0 0\n"));
    }
}
