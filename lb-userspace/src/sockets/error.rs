//! What can go wrong with sockets of others.

use std::{io, path::PathBuf};

/// Sockets can't be seen or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The namespaces can't be listed.
    #[error("can't list the processes in {}; is it mounted, and may this user see it?", path.display())]
    List {
        /// Where they were looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A namespace can't be opened or entered.
    #[error(
        "can't enter the network namespace {}; lb needs CAP_SYS_ADMIN for that", path.display()
    )]
    Enter {
        /// The file that it was opened by.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel doesn't tell of sockets.
    #[error(
        "can't {action} by netlink; a kernel without CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG and CONFIG_INET_UDP_DIAG \
         can't do it"
    )]
    Diag {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What the kernel says can't be understood.
    #[error("the kernel tells of sockets in a way that this lb doesn't understand")]
    Decode {
        /// What was wrong with it.
        source: netlink_packet_core::DecodeError,
    },
    /// No thread for it could be started.
    #[error("no thread that enters network namespaces could be started")]
    NoThread {
        /// What the system said.
        source: io::Error,
    },
}
