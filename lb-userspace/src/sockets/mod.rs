//! Sockets of the machine's processes, as far as they are our business: those that talk to a backend which is
//! gone are destroyed, so that their owners see an error now and try again; those that listen on a node port
//! are told, because they get nothing from outside. By netlink (`sock_diag(7)`), in the network namespaces that
//! they are in.
//!
//! - [`destroy`]: in every network namespace of the machine.
//! - [`listeners`]: in one.
//!
//! Which sockets were translated is known to whoever asks, not here.

mod destroy;
mod diag;
mod error;
mod listeners;
mod namespaces;

pub use destroy::{Destroyed, Lost, destroy};
pub use error::SocketsError;
pub use listeners::{Listening, Process, listeners};
pub use namespaces::Namespace;
