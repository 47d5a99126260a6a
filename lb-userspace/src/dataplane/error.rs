//! What can go wrong between the control program and the kernel.

use std::{io, path::PathBuf};

use thiserror::Error;

/// An error of the dataplane; each says what was attempted, and what to do where that is known.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// The pin directory can't be used.
    #[error("can't use {path} for pins: {reason}")]
    PinDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: &'static str,
        /// The system's reason.
        #[source]
        source: Option<io::Error>,
    },
    /// A file operation on a pin failed.
    #[error("can't {action} {path}")]
    Pin {
        /// What was attempted.
        action: &'static str,
        /// The pin.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Another instance holds the lock.
    #[error(
        "another lb is running on {path}; stop it first, or give this one a name of its own with --instance"
    )]
    Locked {
        /// The locked directory.
        path: PathBuf,
    },
    /// Somebody reads the events.
    #[error(
        "another lb events is reading in {path}; an instance's events go to one reader: stop the other first"
    )]
    Read {
        /// The locked directory.
        path: PathBuf,
    },
    /// The kernel took the object's maps not.
    #[error(
        "the kernel did not take lb's maps; lb needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL, and the right to use it"
    )]
    Object {
        /// aya's reason.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// What the kernel has could not be tried.
    #[error(
        "can't try what the kernel has, by programs of a few instructions; lb needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT, and the right to use it"
    )]
    Trial {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a program.
    #[error(
        "the kernel refused the program {program}; lb needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT"
    )]
    Program {
        /// The program.
        program: &'static str,
        /// aya's reason, the verifier's words included.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A map is missing or has another shape.
    #[error("the map {map} is not what this version of lb expects")]
    Map {
        /// The map.
        map: &'static str,
        /// aya's reason, if it has one.
        #[source]
        source: Option<Box<aya::maps::MapError>>,
    },
    /// An operation on a map failed.
    #[error("can't {action} the map {map}")]
    MapOperation {
        /// What was attempted.
        action: &'static str,
        /// The map.
        map: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A table has no room.
    #[error(
        "no room for {wanted} more {what} (there is room for {capacity}); start lb with a larger {option}"
    )]
    Full {
        /// What is stored there.
        what: &'static str,
        /// How many more there should be.
        wanted: u32,
        /// How many fit in all.
        capacity: u32,
        /// The option that makes it larger.
        option: &'static str,
    },
    /// The kernel's clock could not be read.
    #[error("can't read the kernel's clock through the program lb_clock")]
    Clock {
        /// aya's reason.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
}
