//! What can go wrong with devices, in words that tell the operator what to do.

use std::io;
use std::path::PathBuf;

use netlink_packet_core::DecodeError;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The operator named an uplink that does not exist.
    #[error("uplink {name} does not exist; there are: {existing}; name one of these with --uplink")]
    UnknownUplink {
        /// The name given.
        name: String,
        /// Names of the interfaces that exist.
        existing: String,
    },
    /// An uplink has a link layer that we don't know.
    #[error(
        "uplink {name} ({kind}) carries neither Ethernet frames nor plain IP packets; gre needs a remote address \
         for that: name another device with --uplink, or leave {name} out"
    )]
    UplinkOfStrangeKind {
        /// The uplink's name.
        name: String,
        /// What it is instead.
        kind: String,
    },
    /// An uplink whose packets this kernel shows with the headers that were around them.
    #[error(
        "uplink {name} ({kind}) can't be served on Linux {release}: up to 5.13 its packets are seen with the outer \
         headers; use Linux 5.14 or newer, wireguard instead, or leave {name} out"
    )]
    TunnelBeforeLinux514 {
        /// The uplink's name.
        name: String,
        /// What it is.
        kind: String,
        /// The kernel's release.
        release: String,
    },
    /// The netlink socket can't be opened or set up.
    #[error(
        "can't open a netlink socket to watch interfaces: {source}; does the sandbox allow AF_NETLINK?"
    )]
    Open {
        /// What the kernel said.
        source: io::Error,
    },
    /// Reading from the netlink socket failed. `ENOBUFS`: messages came faster than they were read,
    /// and some are lost.
    #[error("can't read what the kernel tells about interfaces: {source}")]
    Receive {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refuses to list a table.
    #[error("the kernel does not list its {table}: {source}")]
    Dump {
        /// `links`, `addresses`, `neighbours` or `routes`.
        table: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A table changed each time it was read.
    #[error(
        "the kernel's {table} changed during each of {attempts} attempts to list them; try again when the node is calmer"
    )]
    Unsettled {
        /// `links`, `addresses`, `neighbours` or `routes`.
        table: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// A netlink message that makes no sense to us.
    #[error(
        "can't understand what the kernel tells about interfaces: {source}; please report this with the kernel's version"
    )]
    Decode {
        /// What is wrong with the message.
        source: DecodeError,
    },
    /// A kernel setting can't be read.
    #[error("can't read the kernel setting {}: {source}; is /proc mounted?", path.display())]
    ReadSysctl {
        /// The file below `/proc/sys`.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A kernel setting has a form that we don't know.
    #[error("the kernel setting {} is {value:?}, where {expected} is expected", path.display())]
    ParseSysctl {
        /// The file below `/proc/sys`.
        path: PathBuf,
        /// What stands in it.
        value: String,
        /// What should.
        expected: &'static str,
    },
}
