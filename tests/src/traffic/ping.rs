//! Echo requests of ICMP from a socket, as `ping` sends them: the kernel makes the identifier and the
//! checksum, and hands over only what answers this very socket.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::lab::Namespace;
use crate::patience::patient;

/// What is asked to be sent back, longer than any header.
const PAYLOAD: &[u8] = b"whatever comes back must be just this, and all of it: 0123456789abcdef";

/// The ICMP header: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Sends one echo request to `target` from inside `namespace` and awaits its reply. Fails with
/// [`ErrorKind::TimedOut`] if none comes in time (see [`crate::patience`]), with [`ErrorKind::InvalidData`]
/// if what comes is no reply, or has another payload.
pub fn ping(namespace: &Namespace, target: IpAddr, timeout: Duration) -> io::Result<()> {
    // Which groups may have such sockets; by default none, not even root's.
    namespace.sysctl(&[("net/ipv4/ping_group_range", "0 0")]).map_err(io::Error::other)?;
    let _inside = namespace.enter().map_err(io::Error::other)?;
    let (family, protocol, request, reply) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
    // What std calls a UDP socket is a socket of datagrams.
    let socket = UdpSocket::from(socket);
    socket.connect(SocketAddr::new(target, 0))?;
    socket.set_read_timeout(Some(patient(timeout)))?;
    let sequence = [0x12, 0x34];
    let mut message = vec![request, 0, 0, 0, 0, 0];
    message.extend_from_slice(&sequence);
    message.extend_from_slice(PAYLOAD);
    socket.send(&message)?;
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    let answer = &answer[..length];
    if answer.first_chunk() == Some(&[reply, 0])
        && answer.get(6..HEADER) == Some(&sequence)
        && answer.get(HEADER..) == Some(PAYLOAD)
    {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidData, format!("not the reply: {answer:02x?}")))
}
