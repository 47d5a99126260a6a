//! Why a lab could not be built.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong while a lab was built, changed or entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The effective user is not root.
    #[error(
        "network namespaces need root; run this as root, for example through `cargo xtask test`"
    )]
    NotRoot,
    /// A program could not be started.
    #[error("cannot start `{program}`; install it (packages iproute2, ethtool) or look at PATH")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed: {stderr}\nit was given:\n{input}")]
    Failed {
        /// The command line.
        command: String,
        /// What it said.
        stderr: String,
        /// What it read on its standard input.
        input: String,
    },
    /// The directory of named namespaces could not be read.
    #[error("cannot list {path}", path = path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that names a namespace could not be opened.
    #[error("cannot open namespace {path}; was it removed by hand?", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A leftover could not be removed.
    #[error("cannot remove namespace {namespace}; try `ip netns del {namespace}`")]
    Remove {
        /// Its full name.
        namespace: String,
        /// Why.
        source: io::Error,
    },
    /// A thread could not be moved into a namespace.
    #[error("cannot enter namespace {namespace}; this needs CAP_SYS_ADMIN")]
    Enter {
        /// Its name.
        namespace: String,
        /// Why.
        source: io::Error,
    },
    /// A kernel setting was refused.
    #[error("cannot set {key} to {value} in namespace {namespace}")]
    Sysctl {
        /// Where.
        namespace: String,
        /// Which, with slashes, below /proc/sys.
        key: String,
        /// To what.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// No namespace of the lab has this name.
    #[error("the lab has no namespace {name}; it has: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A name for a lab or a namespace that would not survive the way into a file name and back.
    #[error("{name:?} cannot be a lab's or a namespace's name; use small letters, digits and `-`")]
    Name {
        /// The name asked for.
        name: String,
    },
    /// More hosts than the cast has addresses for.
    #[error(
        "a cluster of {asked} {what} was asked for; the cast has addresses for {least} to {limit}"
    )]
    Size {
        /// Nodes, or pods per node.
        what: &'static str,
        /// How many were asked for.
        asked: u8,
        /// How few there can be.
        least: u8,
        /// How many there can be.
        limit: u8,
    },
    /// Interfaces did not come up in time.
    #[error("interfaces of {namespace} are not running after {after:?}: {interfaces}")]
    NotReady {
        /// Where.
        namespace: String,
        /// Which.
        interfaces: String,
        /// How long was waited.
        after: Duration,
    },
    /// The interfaces of a namespace could not be listed.
    #[error("cannot list the interfaces of namespace {namespace}")]
    Interfaces {
        /// Where.
        namespace: String,
        /// Why.
        source: io::Error,
    },
}

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;
