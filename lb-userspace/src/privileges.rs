//! Whether this process may do what it has to, asked before anything is touched.

use std::{fs, io};

use thiserror::Error;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// A capability is missing.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// It can't be told.
    #[error("can't read this process's capabilities from /proc/self/status; mount /proc")]
    Unknown(#[source] Option<io::Error>),
    /// Not enough.
    #[error(
        "lb loads programs into the kernel and needs {missing}: run it as root, with sudo, or with these capabilities"
    )]
    Missing {
        /// What is missing.
        missing: &'static str,
    },
}

/// Checks the effective capabilities of this process.
pub fn check() -> Result<(), PrivilegeError> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| PrivilegeError::Unknown(Some(error)))?;
    let effective = effective(&status).ok_or(PrivilegeError::Unknown(None))?;
    match missing(effective) {
        Some(missing) => Err(PrivilegeError::Missing { missing }),
        None => Ok(()),
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Option<&'static str> {
    let has = |capability: u32| effective & (1 << capability) != 0;
    let loads = has(CAP_SYS_ADMIN) || has(CAP_BPF) && has(CAP_PERFMON);
    match (loads, has(CAP_NET_ADMIN)) {
        (true, true) => None,
        (true, false) => Some("CAP_NET_ADMIN"),
        (false, true) => Some("CAP_BPF and CAP_PERFMON"),
        (false, false) => Some("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(u64::MAX), None);
        assert_eq!(missing(0), Some("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"));
        assert_eq!(missing(1 << CAP_SYS_ADMIN), Some("CAP_NET_ADMIN"));
        assert_eq!(missing(1 << CAP_NET_ADMIN | 1 << CAP_BPF), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(missing(1 << CAP_NET_ADMIN | 1 << CAP_BPF | 1 << CAP_PERFMON), None);
    }

    #[test]
    fn the_effective_set_is_read() {
        assert_eq!(effective("Name:\tlb\nCapEff:\t00000000a80425fb\n"), Some(0xa804_25fb));
        assert_eq!(effective("Name:\tlb\n"), None);
    }
}
