//! Rtnetlink: the socket, the messages on it, and a mirror of what they say. What a change means to
//! others, and when they hear of it, belongs to [`super::watch`].

mod message;
mod mirror;
mod socket;

pub(super) use mirror::{Mirror, Moved};
pub(super) use socket::RouteSocket;
pub use socket::replay;
