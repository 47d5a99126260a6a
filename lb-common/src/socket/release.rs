//! A socket is closed: what is known of it goes.
//!
//! Not found again is what belongs to an endpoint that was removed meanwhile and that a UDP socket talked to, and
//! the note of a TCP socket that the endpoint refused while its process waited, because the kernel has forgotten
//! the port by then: whoever ends sockets of such endpoints takes it away, or the table when it is full.

use super::{
    End, Socket, SocketTables,
    talk::{TALKS, list},
};
use crate::{
    addr::Port,
    pipeline::{Family, ServiceTables},
    wire::Protocol,
};

/// Forgets what a socket was connected to.
#[inline(always)]
pub fn release<A: Family, S: Socket, T: SocketTables<A>>(socket: &S, tables: &T, peer: End<A>) {
    tables.forget_translated(&peer.key(socket.cookie()));
}

/// Forgets what a UDP socket sent to.
#[inline(always)]
pub fn release_talks<A: Family + Default, S: Socket, T: SocketTables<A>>(socket: &S, tables: &T) {
    let cookie = socket.cookie();
    let list = list(cookie);
    let Some(first) = tables.talk(&list) else {
        return;
    };
    tables.forget_talk(&list);
    let (mut address, mut port) = (first.previous, first.previous_port);
    for _ in 0..TALKS {
        if port == Port::from_wire(0) {
            return;
        }
        let to = End { address, port, protocol: Protocol::UDP };
        let Some(talk) = tables.talk(&to.key(cookie)) else {
            return;
        };
        if let Some(endpoint) = ServiceTables::<A>::backend(tables, talk.backend) {
            tables.forget_translated(&to.at(endpoint).key(cookie));
        }
        tables.forget_talk(&to.key(cookie));
        (address, port) = (talk.previous, talk.previous_port);
    }
}
