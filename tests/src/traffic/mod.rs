//! Real traffic: servers that say who they are, clients that ask, and statistics over the answers.
//!
//! Everything is a plain blocking or polled socket opened inside a [`crate::lab::Namespace`]. The
//! protocol, over TCP and UDP alike: the client sends a line, the server answers `NAME PEER\n`, its own
//! name and the client's address as it sees it. Over TCP the client may go on asking; after the line
//! `bye` the server answers and closes.
//!
//! ```no_run
//! # use lb_tests::lab::{Cluster, cast, cast::Family};
//! use lb_tests::traffic::{EchoServer, Protocol, assert_fair, many};
//!
//! # let cluster = Cluster::start()?;
//! # let service = std::net::SocketAddr::new(cast::service(Family::V4, 10), 80);
//! let backend = |name, node, pod| {
//!     let address = cast::pod(node, pod).ip(Family::V4);
//!     EchoServer::start(cluster.pod(node, pod), name, address, 8080, Protocol::Tcp)
//! };
//! let _servers = [backend("b1", 1, 2)?, backend("b2", 2, 1)?];
//! let tally = many(cluster.pod(1, 1), Protocol::Tcp, service, 10_000, 16);
//! tally.assert_all_answered();
//! assert_fair(&tally, &["b1", "b2"]);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Packets that no socket would send belong in [`crate::packet`].

mod bulk;
mod capture;
mod client;
mod error;
mod fairness;
mod frames;
mod http;
mod ping;
mod server;
mod transfer;

pub use bulk::{MAX_FAILURES, Tally, many};
pub use capture::recorded;
pub use client::{Answer, Session, request};
pub use error::{Direction, Error, Result, Step};
pub use fairness::{Unfair, assert_fair, assert_shares, check_fair, check_shares};
pub use frames::FrameSocket;
pub use http::{HttpAnswer, get};
pub use ping::ping;
pub use server::EchoServer;
pub use transfer::{Took, TransferServer, transfer};

use std::fmt;

/// What a connection is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// One connection, any number of requests.
    Tcp,
    /// One datagram there, one back.
    Udp,
}

impl Protocol {
    /// Both, for tests that loop.
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// The line after whose answer the server closes.
const BYE: &[u8] = b"bye";
