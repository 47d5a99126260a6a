//! One client: a request, or a session of several.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::error::{Error, Result, Step};
use super::{BYE, Protocol};
use crate::lab::Namespace;
use crate::patience::patient;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server's name.
    pub name: String,
    /// The client's address as the server saw it.
    pub peer: SocketAddr,
}

/// Asks once, on a connection of its own. Over TCP the server closes first, and this waits for it: a
/// FIN that gets lost is a failure. `timeout` holds for each step; see [`crate::patience`].
pub fn request(
    namespace: &Namespace,
    protocol: Protocol,
    target: SocketAddr,
    timeout: Duration,
) -> Result<Answer> {
    Session::open(namespace, protocol, target, timeout)?.finish()
}

/// An open connection that may ask many times: what shows that established flows live on. Dropping it
/// closes it from the client's side. After a time-out over UDP open a new one, because the late answer
/// would pass for that of the next request.
#[derive(Debug)]
pub struct Session {
    target: SocketAddr,
    local: SocketAddr,
    timeout: Duration,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(BufReader<TcpStream>),
    /// Connected: takes datagrams from the target only, and learns of ICMP errors.
    Udp(UdpSocket),
}

impl Session {
    /// Opens a connection from inside `namespace`. `timeout` holds for each step from now on.
    pub fn open(
        namespace: &Namespace,
        protocol: Protocol,
        target: SocketAddr,
        timeout: Duration,
    ) -> Result<Self> {
        let timeout = patient(timeout);
        let _inside = namespace.enter()?;
        Self::open_here(protocol, target, timeout)
    }

    /// Opens a connection from the namespace that the current thread is in.
    pub(super) fn open_here(
        protocol: Protocol,
        target: SocketAddr,
        timeout: Duration,
    ) -> Result<Self> {
        Socket::open(protocol, target, timeout)
            .map(|(socket, local)| Self { target, local, timeout, socket })
            .map_err(|source| explain(Step::Connect, protocol, target, timeout, source))
    }

    /// The client's own address, before anyone translates it.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self) -> Result<Answer> {
        self.ask_with(b"hello")
    }

    /// Asks with a request of any length: several segments over TCP, fragments over UDP. It must
    /// contain no line feed.
    pub fn ask_with(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request).map_err(|source| self.explain(Step::Send, source))?;
        let line = self.receive().map_err(|source| self.explain(Step::Receive, source))?;
        self.parse(&line)
    }

    /// Asks once more, and lets the server close.
    pub fn finish(mut self) -> Result<Answer> {
        let answer = self.ask_with(BYE)?;
        self.await_end().map_err(|source| self.explain(Step::Receive, source))?;
        Ok(answer)
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let line = [request, b"\n"].concat();
        match &mut self.socket {
            Socket::Tcp(stream) => stream.get_mut().write_all(&line),
            Socket::Udp(socket) => socket.send(&line).map(drop),
        }
    }

    fn receive(&mut self) -> io::Result<String> {
        match &mut self.socket {
            Socket::Tcp(stream) => {
                let mut line = String::new();
                stream.read_line(&mut line)?;
                Ok(line)
            }
            Socket::Udp(socket) => {
                let mut datagram = [0; 512];
                // A process that is stopped and goes on is interrupted here.
                let length = loop {
                    match socket.recv(&mut datagram) {
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        length => break length?,
                    }
                };
                Ok(String::from_utf8_lossy(&datagram[..length]).into_owned())
            }
        }
    }

    /// Waits until the server has closed. Nothing to wait for over UDP.
    fn await_end(&mut self) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.read_to_end(&mut Vec::new()).map(drop),
            Socket::Udp(_) => Ok(()),
        }
    }

    fn parse(&self, line: &str) -> Result<Answer> {
        let target = self.target;
        let protocol = self.protocol();
        let Some(complete) = line.strip_suffix('\n') else {
            return match protocol {
                Protocol::Tcp => Err(Error::Closed { target }),
                Protocol::Udp => Err(Error::Malformed { protocol, target, line: line.to_owned() }),
            };
        };
        parse(complete).ok_or_else(|| Error::Malformed {
            protocol,
            target,
            line: complete.to_owned(),
        })
    }

    fn protocol(&self) -> Protocol {
        match self.socket {
            Socket::Tcp(_) => Protocol::Tcp,
            Socket::Udp(_) => Protocol::Udp,
        }
    }

    fn explain(&self, step: Step, source: io::Error) -> Error {
        explain(step, self.protocol(), self.target, self.timeout, source)
    }
}

impl Socket {
    fn open(
        protocol: Protocol,
        target: SocketAddr,
        timeout: Duration,
    ) -> io::Result<(Self, SocketAddr)> {
        match protocol {
            Protocol::Tcp => {
                let stream = TcpStream::connect_timeout(&target, timeout)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Self::Tcp(BufReader::new(stream)), local))
            }
            Protocol::Udp => {
                let any: IpAddr = match target {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(target)?;
                socket.set_read_timeout(Some(timeout))?;
                let local = socket.local_addr()?;
                Ok((Self::Udp(socket), local))
            }
        }
    }
}

fn parse(line: &str) -> Option<Answer> {
    let (name, peer) = line.split_once(' ')?;
    Some(Answer { name: name.to_owned(), peer: peer.parse().ok()? })
}

fn explain(
    step: Step,
    protocol: Protocol,
    target: SocketAddr,
    after: Duration,
    source: io::Error,
) -> Error {
    match source.kind() {
        // `WouldBlock` is what a blocking socket says when its time-out is over.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            Error::TimedOut { step, protocol, target, after }
        }
        _ => Error::Failed { step, protocol, target, source },
    }
}
