//! A process of the node binds a port: not one that Services are reached at.

use super::{End, Socket, key};
use crate::{
    pipeline::{Family, ServiceTables, Tables},
    tables::Frontend,
    verdict::Event,
};

/// Whether a socket may have this address and port. On the node's own addresses, and on all of them, no
/// process gets a node port: it would never see a client.
#[inline(always)]
pub fn may_bind<A: Family + Default, S: Socket, T: Tables + ServiceTables<A>>(
    socket: &S,
    tables: &T,
    at: End<A>,
) -> bool {
    if !tables.has_frontend_port(at.port) || !socket.is_of_node() {
        return true;
    }
    let frontend = tables.frontend(&key(at, at.address.is_here()));
    let refused = frontend.is_some_and(|frontend| frontend.is(Frontend::NODE_PORT));
    if refused {
        tables.count(Event::BindRefused as u32);
    }
    !refused
}
