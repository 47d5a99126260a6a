//! What happens to a socket: where its process connects or sends to a Service it is given an endpoint
//! ([`connect`], [`send`]), and where the process looks at the other end it sees the Service ([`service_of`]).
//! No packet of it is ever translated. Also which node ports a process may not bind ([`may_bind`]), and what is
//! forgotten when a socket is closed ([`release`]).
//!
//! Frontends, policies, choice and affinity are the [`pipeline`](crate::pipeline)'s. All clients are
//! inside. What the address of a socket's packets will be is not known when it connects: frontends that
//! admit some sources only are left to the packets.
//!
//! Generic over the [`Socket`] and the tables, as the pipeline is.

mod bind;
mod connect;
mod release;
mod talk;

pub use bind::may_bind;
pub use connect::connect;
pub use release::{release, release_talks};
pub use talk::{TALK_SECONDS, TALKS, send};

use crate::{
    addr::{Address, Port},
    pipeline::{Family, FamilyTables, ServiceTables, Tables},
    tables::{Cookie, Frontend, FrontendKey, SocketKey, Talk, Translated},
    wire::Protocol,
};

/// A socket, as its system call sees it.
pub trait Socket {
    /// Its number.
    fn cookie(&self) -> Cookie;
    /// The number of its network namespace.
    fn namespace(&self) -> u64;
    /// Whether it is in the node's own network namespace.
    fn is_of_node(&self) -> bool;
    /// Whether sockets of its network namespace are served.
    fn is_served(&self) -> bool;
    /// A random number.
    fn random(&self) -> u32;
}

/// The tables of translated sockets, in one family.
pub trait SocketTables<A>: FamilyTables<A> {
    /// What a socket's other end is to its process.
    fn translated(&self, key: &SocketKey<A>) -> Option<Translated<A>>;
    /// Says it.
    fn set_translated(&self, key: &SocketKey<A>, translated: &Translated<A>);
    /// Takes it away, if it is there.
    fn forget_translated(&self, key: &SocketKey<A>);
    /// The backend that a socket has at a Service's address; at no address and port 0, its list of those.
    fn talk(&self, key: &SocketKey<A>) -> Option<Talk<A>>;
    /// Says it.
    fn set_talk(&self, key: &SocketKey<A>, talk: &Talk<A>);
    /// Takes it away, if it is there.
    fn forget_talk(&self, key: &SocketKey<A>);
}

/// One end of a socket: an address of it or of what it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<A> {
    /// The address.
    pub address: A,
    /// The port.
    pub port: Port,
    /// The protocol.
    pub protocol: Protocol,
}

impl<A: Address> End<A> {
    #[inline(always)]
    fn key(self, cookie: Cookie) -> SocketKey<A> {
        SocketKey::new(cookie, self.address, self.port, self.protocol)
    }

    #[inline(always)]
    fn at(self, (address, port): (A, Port)) -> Self {
        Self { address, port, ..self }
    }
}

/// The frontend that a socket connects or sends to, if it is served there. Costs a bit of a set, and one
/// lookup if some frontend has this port.
#[inline(always)]
fn frontend<A: Family + Default, S: Socket, T: Tables + ServiceTables<A>>(
    socket: &S,
    tables: &T,
    to: End<A>,
) -> Option<Frontend> {
    if !tables.has_frontend_port(to.port) {
        return None;
    }
    let is_here = to.address.is_here();
    if is_here && !socket.is_of_node() {
        return None;
    }
    let frontend = tables.frontend(&key(to, is_here))?;
    let is_left = frontend.is(Frontend::GUARDED | Frontend::PACKETS_ONLY);
    (!is_left && socket.is_served()).then_some(frontend)
}

/// The key of a frontend at an address, or at whichever the node has.
#[inline(always)]
fn key<A: Address + Default>(at: End<A>, is_any_node: bool) -> FrontendKey<A> {
    if is_any_node {
        FrontendKey::any_node(at.port, at.protocol)
    } else {
        FrontendKey::new(at.address, at.port, at.protocol)
    }
}

/// The Service's address and port in place of the endpoint's, if it was a Service that the socket
/// connected or sent to: what its process is to see as the other end.
#[inline(always)]
pub fn service_of<A: Address, S: Socket, T: Tables + SocketTables<A>>(
    socket: &S,
    tables: &T,
    peer: End<A>,
) -> Option<(A, Port)> {
    if !tables.has_backend_port(peer.port) {
        return None;
    }
    let translated = tables.translated(&peer.key(socket.cookie()))?;
    Some((translated.address, translated.port))
}
