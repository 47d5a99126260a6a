//! A socket connects: its process means a Service, the kernel gets an endpoint.

use super::{End, Socket, SocketTables, frontend};
use crate::{
    addr::Port,
    hook::Scope,
    pipeline::{
        Family, Tables,
        affinity::{self, Client},
        choose::{self, Asked, Before, Choice},
        pick,
    },
    tables::{Frontend, SelectionKind, Translated},
    verdict::{DropReason, Event},
};

/// Gives the endpoint to connect to, unless it is no Service of ours: then all stays as it is. `before`: what a
/// UDP socket was connected to until now, asked for when that matters.
///
/// The endpoint is given away here and not returned: a value that is there on some ways only comes out of the
/// compiler as a register that was never written, which verifiers refuse ("`R1 !read_ok`", 6.18).
#[inline(always)]
pub fn connect<A: Family + Default, S: Socket, T: Tables + SocketTables<A>>(
    socket: &S,
    tables: &T,
    now: u32,
    to: End<A>,
    before: impl FnOnce() -> Option<End<A>>,
    give: impl FnOnce((A, Port)),
) -> Result<(), DropReason> {
    let Some(frontend) = frontend(socket, tables, to) else {
        return Ok(());
    };
    let choice = choose(socket, tables, now, to, frontend)?;
    if let Some(before) = before() {
        tables.forget_translated(&before.key(socket.cookie()));
    }
    give(remember(socket, tables, to, &choice));
    Ok(())
}

/// A service's choice for a socket. That the port is random spreads a process's connections, and has no part
/// in it where the service has affinity.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a random number is one in all its bits")]
pub(super) fn choose<A: Family, S: Socket, T: Tables + SocketTables<A>>(
    socket: &S,
    tables: &T,
    now: u32,
    to: End<A>,
    frontend: Frontend,
) -> Result<Choice<A>, DropReason> {
    let kind = SelectionKind::of(frontend, Scope::Internal);
    let client = Client::in_namespace(socket.namespace());
    let End { address, port, protocol } = to;
    let client_port = Port::from_wire(socket.random() as u16);
    let asked = Asked { client, client_port, address, port, protocol };
    let service = frontend.service;
    match choose::choose_of(tables, now, service, kind, &asked, Before::none()) {
        Ok(choice) => {
            affinity::remember(tables, now, client, &choice);
            pick::take_turn(tables, &choice);
            tables.count_flow(choice.backend.id);
            tables.count(Event::SocketTranslated as u32);
            Ok(choice)
        }
        Err(reason) => {
            tables.count(reason as u32);
            Err(reason)
        }
    }
}

/// Notes what the process meant, and says what it gets.
#[inline(always)]
pub(super) fn remember<A: Family, S: Socket, T: Tables + SocketTables<A>>(
    socket: &S,
    tables: &T,
    to: End<A>,
    choice: &Choice<A>,
) -> (A, Port) {
    let endpoint = (choice.address, choice.port);
    let translated = Translated {
        address: to.address,
        backend: choice.backend,
        service: choice.service,
        port: to.port,
        reserved: 0,
    };
    tables.set_translated(&to.at(endpoint).key(socket.cookie()), &translated);
    endpoint
}
