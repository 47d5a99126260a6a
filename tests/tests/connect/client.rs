//! A client: one socket of a test's cgroup, in a namespace.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use anyhow::{Context as _, Result};
use lb_tests::{
    lab::{Cgroup, Namespace, cast::Family},
    patience::patient,
};
use nix::sys::socket::{AddressFamily, SockType};
use socket2::Socket;

use crate::{Seen, common::SOON};

/// The form in which a socket has addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    V4,
    V6,
    /// IPv4 by an IPv6 socket.
    Mapped,
}

/// How it is talked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Tcp,
    ConnectedUdp,
    Udp,
}

/// What a client learnt by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The endpoint's name.
    pub name: String,
    /// The client's address as the endpoint saw it.
    pub client: IpAddr,
    /// The other end as the client saw it: by `getpeername`, and as the sender of the answer.
    pub peers: Vec<SocketAddr>,
}

impl Form {
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Mapped];

    /// The family of its packets.
    pub fn family(self) -> Family {
        if self == Self::V6 { Family::V6 } else { Family::V4 }
    }

    /// An address in this form.
    pub fn of(self, address: SocketAddr) -> SocketAddr {
        match (self, address) {
            (Self::Mapped, SocketAddr::V4(address)) => {
                (address.ip().to_ipv6_mapped(), address.port()).into()
            }
            _ => address,
        }
    }

    pub fn loopback(self) -> IpAddr {
        match self.family() {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::ConnectedUdp, Self::Udp];
}

/// Whoever has a cgroup to make sockets in.
pub trait Clients {
    /// The cgroup.
    fn cgroup(&self) -> &Cgroup;

    /// A new socket.
    fn socket(&self, namespace: &Namespace, form: Form, way: Way) -> io::Result<Socket> {
        let family = if form == Form::V4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let kind = if way == Way::Tcp { SockType::Stream } else { SockType::Datagram };
        let socket = Socket::from(self.cgroup().socket(namespace, family, kind)?);
        socket.set_read_timeout(Some(patient(SOON)))?;
        socket.set_write_timeout(Some(patient(SOON)))?;
        Ok(socket)
    }

    /// A socket that is connected.
    fn connected(
        &self,
        namespace: &Namespace,
        form: Form,
        way: Way,
        target: SocketAddr,
    ) -> io::Result<Socket> {
        let socket = self.socket(namespace, form, way)?;
        socket.connect(&form.of(target).into())?;
        Ok(socket)
    }

    /// One request, by a socket of its own.
    fn ask(
        &self,
        namespace: &Namespace,
        form: Form,
        way: Way,
        target: SocketAddr,
    ) -> Result<Learnt> {
        if way == Way::Udp {
            let socket = UdpSocket::from(self.socket(namespace, form, way)?);
            return ask_from(&socket, form, target);
        }
        let socket = self.connected(namespace, form, way, target)?;
        ask_over(&socket, way).with_context(|| format!("{form:?} {way:?} to {target}"))
    }
}

impl Clients for Cgroup {
    fn cgroup(&self) -> &Cgroup {
        self
    }
}

impl Clients for Seen {
    fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }
}

/// One request over a socket that is connected.
pub fn ask_over(socket: &Socket, way: Way) -> Result<Learnt> {
    let mut peers = vec![socket.peer_addr()?.as_socket().context("a peer")?];
    let line = if way == Way::Tcp {
        (&mut &*socket).write_all(b"hello\n")?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line)?;
        line
    } else {
        socket.send(b"hello\n")?;
        let (line, from) = received(&UdpSocket::from(socket.try_clone()?))?;
        peers.push(from);
        line
    };
    learnt(&line, peers)
}

/// One request by a socket that isn't.
pub fn ask_from(socket: &UdpSocket, form: Form, target: SocketAddr) -> Result<Learnt> {
    socket.send_to(b"hello\n", form.of(target)).with_context(|| format!("send to {target}"))?;
    let (line, from) = received(socket).with_context(|| format!("answer of {target}"))?;
    learnt(&line, vec![from])
}

fn received(socket: &UdpSocket) -> io::Result<(String, SocketAddr)> {
    let mut datagram = [0; 512];
    let (length, from) = socket.recv_from(&mut datagram)?;
    Ok((String::from_utf8_lossy(&datagram[..length]).into_owned(), from))
}

fn learnt(line: &str, peers: Vec<SocketAddr>) -> Result<Learnt> {
    let (name, client) = line.trim_end().split_once(' ').context("an answer")?;
    let client: SocketAddr = client.parse()?;
    Ok(Learnt { name: name.to_owned(), client: client.ip(), peers })
}
