//! Who a namespace belongs to, written into its name: `lb-PID.START.SEQUENCE-NAME`.
//!
//! The name is the only record that outlives a killed test, so it says enough to tell a leftover from
//! a lab in use: the process, when that process started (process ids are reused), and which of its labs.
//! Labs with a name of their own (`lb-demo-NAME`) have no owner and are never swept.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::{Error, Result};

/// What all namespaces of a lab have in their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunId {
    /// Belongs to a process and goes with it.
    Owned { pid: u32, started: u64, sequence: u32 },
    /// Has been given a name, and may outlive the process.
    Named(String),
}

impl RunId {
    /// A fresh one for this process.
    pub(super) fn fresh() -> Self {
        static SEQUENCE: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        Self::Owned { pid, started: started(pid).unwrap_or(0), sequence }
    }

    /// One with a fixed name. Fails if the name could be taken for another lab's.
    pub(super) fn named(name: &str) -> Result<Self> {
        // No `-`: lab `a` must not match the namespaces of lab `a-b`.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Error::Name { name: name.to_owned() });
        }
        Ok(Self::Named(name.to_owned()))
    }

    /// The full name of a namespace of this run.
    pub(super) fn namespace(&self, name: &str) -> String {
        format!("lb-{self}-{name}")
    }

    /// Whether `full_name` is a namespace of this run.
    pub(super) fn owns(&self, full_name: &str) -> bool {
        full_name.starts_with(&self.namespace(""))
    }

    /// Reads the owner out of a namespace's full name; nothing for names that have none.
    pub(super) fn owner(full_name: &str) -> Option<Self> {
        let (run, _) = full_name.strip_prefix("lb-")?.split_once('-')?;
        let mut parts = run.split('.');
        let id = Self::Owned {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
            sequence: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(id)
    }

    /// Whether the owning process is still there. A named run always counts as alive.
    pub(super) fn is_alive(&self) -> bool {
        match self {
            Self::Owned { pid, started: then, .. } => started(*pid) == Some(*then),
            Self::Named(_) => true,
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned { pid, started, sequence } => write!(f, "{pid}.{started}.{sequence}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// When a process started, in clock ticks since boot; nothing if there is no such process.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): field 22, counted from the pid. The second, the program's name in parentheses, may hold
    // blanks and parentheses itself, so counting starts behind the last closing one, at field 3.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_back_from_a_namespaces_name() {
        let run = RunId::fresh();
        assert_eq!(RunId::owner(&run.namespace("pod1-2")), Some(run.clone()));
        assert!(run.is_alive());
    }

    #[test]
    fn names_of_others_have_no_owner() {
        for name in ["lb-demo-node1", "blue", "lb-", "lb-1.2-x", "lb-1.2.3.4-x", "lb-1.2.3"] {
            assert_eq!(RunId::owner(name), None, "{name}");
        }
    }

    #[test]
    fn a_reused_process_id_does_not_keep_leftovers_alive() {
        let pid = std::process::id();
        assert!(!RunId::Owned { pid, started: 1, sequence: 0 }.is_alive());
    }

    #[test]
    fn a_lab_is_not_taken_for_another_whose_name_begins_alike() {
        let run = RunId::Owned { pid: 1, started: 2, sequence: 3 };
        assert!(!run.owns("lb-1.2.33-node1"));
        assert!(run.owns("lb-1.2.3-node1"));
        assert!(RunId::named("a-b").is_err());
    }
}
