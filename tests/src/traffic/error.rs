//! Why a request was not answered, or a server could not listen.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Protocol;
use crate::lab;

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The socket was made or connected.
    Connect,
    /// The request was sent.
    Send,
    /// The answer, or the end of the connection, was awaited.
    Receive,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Receive => "receive",
        })
    }
}

/// Which way the bytes of a transfer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    Upload,
    /// To the client.
    Download,
}

/// What went wrong with a request or a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused: connection refused or reset, no route, and so on.
    #[error("{protocol} to {target}: cannot {step}: {source}")]
    Failed {
        /// How far it got.
        step: Step,
        /// By what.
        protocol: Protocol,
        /// To whom.
        target: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nothing came back in time.
    #[error("{protocol} to {target}: no {step} within {after:?}")]
    TimedOut {
        /// How far it got.
        step: Step,
        /// By what.
        protocol: Protocol,
        /// To whom.
        target: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// The server closed the connection before it had answered.
    #[error("TCP to {target}: closed before the answer was complete")]
    Closed {
        /// To whom.
        target: SocketAddr,
    },
    /// What came is not what was sent.
    #[error(
        "TCP to {target}: {direction:?} damaged: checksum {sent:08x} was sent, {arrived:08x} came"
    )]
    Damaged {
        /// To whom.
        target: SocketAddr,
        /// Which way.
        direction: Direction,
        /// The checksum of what was sent.
        sent: u32,
        /// The checksum of what came.
        arrived: u32,
    },
    /// The answer was not a name and an address, so it is not from one of our servers.
    #[error("{protocol} to {target}: not an answer of an echo server: {line:?}")]
    Malformed {
        /// By what.
        protocol: Protocol,
        /// To whom.
        target: SocketAddr,
        /// What came.
        line: String,
    },
    /// A server could not be started.
    #[error("server {name} cannot listen on {protocol} {address}: {source}")]
    Listen {
        /// Its name.
        name: String,
        /// By what.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] lab::Error),
}

impl Error {
    /// How far the request got, if it was a matter of the network.
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Failed { step, .. } | Self::TimedOut { step, .. } => Some(*step),
            Self::Closed { .. } => Some(Step::Receive),
            Self::Malformed { .. }
            | Self::Damaged { .. }
            | Self::Listen { .. }
            | Self::Namespace(_) => None,
        }
    }
}

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What the system said, if it said anything.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Failed { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}
