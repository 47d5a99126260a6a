//! Listening sockets, of one family or both.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// How many connections may wait to be taken.
const BACKLOG: i32 = 128;

/// Listens at an address; at the unspecified one of either family in both, if the machine has IPv6.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return bind(address, true);
    }
    match bind((Ipv6Addr::UNSPECIFIED, address.port()).into(), false) {
        Err(error) if has_no_v6(&error) => bind(address, true),
        outcome => outcome,
    }
}

fn has_no_v6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Must be called in a tokio runtime.
fn bind(address: SocketAddr, only_this_family: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_this_family)?;
    }
    // Connections of an earlier run may not be quite over.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
