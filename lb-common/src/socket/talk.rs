//! A UDP socket that isn't connected sends: it keeps its endpoint of a Service while it talks to that.
//!
//! What it talks to is a list through the table, so that all of it can be found when the socket is closed.

use super::{
    End, Socket, SocketTables,
    connect::{choose, remember},
    frontend,
};
use crate::{
    addr::Port,
    pipeline::{Family, ServiceTables, Tables},
    tables::{Cookie, SocketKey, Talk, Translated},
    verdict::DropReason,
    wire::Protocol,
};

/// Seconds of silence after which a socket's next datagram chooses anew.
pub const TALK_SECONDS: u32 = 60;

/// How many Services of one socket are found again when it is closed; of one with more, the table forgets
/// the others when it is full.
pub const TALKS: u32 = 8;

/// Gives the endpoint to send to, unless it is no Service of ours: then all stays as it is.
#[inline(always)]
pub fn send<A: Family + Default, S: Socket, T: Tables + SocketTables<A>>(
    socket: &S,
    tables: &T,
    now: u32,
    to: End<A>,
    give: impl FnOnce((A, Port)),
) -> Result<(), DropReason> {
    let Some(frontend) = frontend(socket, tables, to) else {
        return Ok(());
    };
    let key = to.key(socket.cookie());
    // Without a generation there was none.
    let before = tables.talk(&key).unwrap_or_default();
    if before.backend.generation != 0
        && let Some(endpoint) = ServiceTables::<A>::backend(tables, before.backend)
    {
        let silent = now.wrapping_sub(before.last_seen);
        if silent < TALK_SECONDS.wrapping_mul(tables.hz()) {
            if silent >= tables.hz() {
                tables.set_talk(&key, &Talk { last_seen: now, ..before });
            }
            expect_replies(socket, tables, to, endpoint, &before, frontend.service);
            give(endpoint);
            return Ok(());
        }
        // Whoever is chosen now, this one answers no more.
        tables.forget_translated(&to.at(endpoint).key(socket.cookie()));
    }
    let choice = choose(socket, tables, now, to, frontend)?;
    let (previous, previous_port) = if before.backend.generation == 0 {
        begin(socket, tables, to)
    } else {
        (before.previous, before.previous_port)
    };
    let backend = choice.backend;
    let talk = Talk { previous, backend, last_seen: now, previous_port, reserved: 0 };
    tables.set_talk(&key, &talk);
    give(remember(socket, tables, to, &choice));
    Ok(())
}

/// The key of a socket's list.
#[inline(always)]
pub(super) fn list<A: Family + Default>(cookie: Cookie) -> SocketKey<A> {
    SocketKey::new(cookie, A::default(), Port::from_wire(0), Protocol::UDP)
}

/// Puts an address at the beginning of a socket's list, and gives what was there.
#[inline(always)]
fn begin<A: Family + Default, S: Socket, T: SocketTables<A>>(
    socket: &S,
    tables: &T,
    to: End<A>,
) -> (A, Port) {
    let list = list(socket.cookie());
    let first = tables.talk(&list).unwrap_or_default();
    let begins = Talk { previous: to.address, previous_port: to.port, ..Talk::default() };
    tables.set_talk(&list, &begins);
    (first.previous, first.previous_port)
}

/// Sees to it that replies are known: the table may have forgotten them, or another Service with the same
/// endpoint may have been sent to since.
#[inline(always)]
fn expect_replies<A: Family, S: Socket, T: SocketTables<A>>(
    socket: &S,
    tables: &T,
    to: End<A>,
    endpoint: (A, Port),
    talk: &Talk<A>,
    service: u32,
) {
    let key = to.at(endpoint).key(socket.cookie());
    let (address, port, backend) = (to.address, to.port, talk.backend);
    let expected = Translated { address, backend, service, port, reserved: 0 };
    if tables.translated(&key) != Some(expected) {
        tables.set_translated(&key, &expected);
    }
}
