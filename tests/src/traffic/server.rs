//! A server that tells each client its own name and the client's address.
//!
//! One thread serves all its connections: level-triggered epoll over plain sockets. So stopping is one
//! event, nothing is left running, and 100,000 connections don't mean 100,000 threads.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{Backlog, listen};

use super::error::{Error, Result};
use super::{BYE, Protocol};
use crate::lab::Namespace;

const STOP: u64 = 0;
const SOCKET: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// Connections that may wait to be accepted; std's 128 would drop SYNs of a burst.
const BACKLOG: i32 = 4096;

/// A running server. It closes its sockets and ends its thread when this is dropped.
#[derive(Debug)]
pub struct EchoServer {
    name: String,
    address: SocketAddr,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl EchoServer {
    /// Starts a server in `namespace`; when this returns, it listens. `name` must not contain blanks.
    /// Give the address that clients use, not a wildcard: UDP answers come from the address that the
    /// system picks. Port 0 takes any, see [`Self::address`].
    pub fn start(
        namespace: &Namespace,
        name: &str,
        address: IpAddr,
        port: u16,
        protocol: Protocol,
    ) -> Result<Self> {
        let address = SocketAddr::new(address, port);
        let fail = |source| Error::Listen { name: name.to_owned(), protocol, address, source };
        // A socket stays in the namespace where it was made; the thread need not be there.
        let socket = {
            let _inside = namespace.enter()?;
            Socket::bind(protocol, address).map_err(fail)?
        };
        let address = socket.address().map_err(fail)?;
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(|e| fail(e.into()))?;
        let stop = Arc::new(stop);
        let service = Service::new(name, socket, Arc::clone(&stop)).map_err(fail)?;
        let thread = thread::Builder::new()
            .name(format!("echo-{name}"))
            .spawn(move || service.run())
            .map_err(fail)?;
        Ok(Self { name: name.to_owned(), address, stop, thread: Some(thread) })
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let ended = match self.stop.write(1) {
            Ok(_) => thread.join(),
            Err(error) => Ok(Err(error.into())),
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("echo server {} stopped early: {error}", self.name),
            Err(_) => eprintln!("echo server {} panicked, see above", self.name),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Socket {
    fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<Self> {
        match protocol {
            Protocol::Tcp => {
                // std sets SO_REUSEADDR: a restart doesn't stumble over its own TIME_WAITs.
                let listener = TcpListener::bind(address)?;
                listen(&listener, Backlog::new(BACKLOG)?)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
    }
}

/// A client's connection, and what it has sent of a line that isn't complete yet.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    received: Vec<u8>,
}

struct Service {
    name: String,
    socket: Socket,
    stop: Arc<EventFd>,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    next_token: u64,
}

impl Service {
    fn new(name: &str, socket: Socket, stop: Arc<EventFd>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, SOCKET);
        match &socket {
            Socket::Tcp(listener) => epoll.add(listener.as_fd(), event)?,
            Socket::Udp(socket) => epoll.add(socket.as_fd(), event)?,
        }
        Ok(Self {
            name: name.to_owned(),
            socket,
            stop,
            epoll,
            connections: HashMap::new(),
            next_token: FIRST_CONNECTION,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                ready => ready?,
            };
            for event in &events[..ready] {
                match event.data() {
                    STOP => {
                        self.stop.read()?;
                        return Ok(());
                    }
                    SOCKET => self.serve_socket()?,
                    token => self.serve_connection(token),
                }
            }
        }
    }

    fn serve_socket(&mut self) -> io::Result<()> {
        loop {
            let served = match &self.socket {
                Socket::Tcp(listener) => listener.accept().and_then(|new| self.welcome(new)),
                Socket::Udp(socket) => answer_datagram(&self.name, socket),
            };
            match served {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client went away again before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                served => served?,
            }
        }
    }

    fn welcome(&mut self, (stream, peer): (TcpStream, SocketAddr)) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let token = self.next_token;
        self.next_token += 1;
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        self.connections.insert(token, Connection { stream, peer, received: Vec::new() });
        Ok(())
    }

    fn serve_connection(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        // An error is the client's: it has reset the connection, or doesn't read what it asked for.
        let stays = connection.serve(&self.name).unwrap_or(false);
        if !stays {
            self.connections.remove(&token);
        }
    }
}

impl Connection {
    /// Answers what has come. False when the connection is to be closed.
    fn serve(&mut self, name: &str) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
            while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                self.stream.write_all(answer(name, self.peer).as_bytes())?;
                if &line[..end] == BYE {
                    return Ok(false);
                }
            }
        }
    }
}

fn answer_datagram(name: &str, socket: &UdpSocket) -> io::Result<()> {
    // What it says doesn't matter; the system throws away what has no room.
    let (_, peer) = socket.recv_from(&mut [0])?;
    match socket.send_to(answer(name, peer).as_bytes(), peer) {
        // No way back to this client: its own time-out tells. The next client must still be served.
        Err(error) if error.kind() != ErrorKind::WouldBlock => Ok(()),
        sent => sent.map(drop),
    }
}

fn answer(name: &str, peer: SocketAddr) -> String {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    format!("{name} {peer}\n")
}
