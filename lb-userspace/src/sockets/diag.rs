//! The kernel's list of sockets of one network namespace, by netlink.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SockDiagDestroy, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike as _},
};

use super::SocketsError;
use crate::model::{Family, Protocol};

/// How long the kernel may take for an answer.
const SECONDS: i64 = 5;

/// A netlink socket, which sees the namespace that it was made in.
pub(super) struct Diag {
    socket: Socket,
    sequence: u32,
}

/// A socket of somebody's.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub protocol: Protocol,
    header: InetResponseHeader,
}

impl Found {
    /// Its own end.
    pub fn local(&self) -> SocketAddr {
        socket_address(self.header.socket_id.source_address, self.header.socket_id.source_port)
    }

    /// The other end; of an IPv6 socket that talks IPv4, the IPv4 address.
    pub fn remote(&self) -> SocketAddr {
        let id = &self.header.socket_id;
        socket_address(id.destination_address, id.destination_port)
    }

    /// By which BPF programs know it.
    pub fn cookie(&self) -> u64 {
        // Two words, the lower half first (`sock_diag_save_cookie`).
        let mut halves = self.header.socket_id.cookie.as_chunks().0.iter().copied();
        let mut half = || u64::from(halves.next().map_or(0, u32::from_ne_bytes));
        half() | half() << 32
    }

    /// By which its owners are found; 0: nobody has it open.
    pub fn inode(&self) -> u32 {
        self.header.inode
    }
}

fn socket_address(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

impl Diag {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, SocketsError> {
        let open = |source| SocketsError::Diag { action: "ask for sockets", source };
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(open)?;
        let time = TimeVal::seconds(SECONDS);
        setsockopt(&socket, sockopt::ReceiveTimeout, &time).map_err(|e| open(e.into()))?;
        socket.bind_auto().map_err(open)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The sockets of a family in one of these states. Those of IPv6 include those that talk IPv4.
    pub fn list(
        &mut self,
        protocol: Protocol,
        family: Family,
        states: StateFlags,
    ) -> Result<Vec<Found>, SocketsError> {
        let (family, socket_id) = match family {
            Family::V4 => (AF_INET, SocketId::new_v4()),
            Family::V6 => (AF_INET6, SocketId::new_v6()),
        };
        let request = request(family, protocol, states, socket_id);
        let failed = |source| SocketsError::Diag { action: "list sockets", source };
        self.send(SockDiagMessage::InetRequest(request), NLM_F_DUMP).map_err(failed)?;
        let mut found = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(failed)?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                    .map_err(|source| SocketsError::Decode { source })?;
                let length = message.header.length as usize;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        found.push(Found { protocol, header: response.header });
                    }
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) if error.raw_code() != 0 => {
                        let code = error.raw_code().saturating_abs();
                        return Err(failed(io::Error::from_raw_os_error(code)));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Destroys a socket: whoever waits for it sees `ECONNABORTED`, the other end of TCP a reset. Fails with
    /// what the kernel says.
    pub fn destroy(&mut self, found: &Found) -> io::Result<()> {
        let id = found.header.socket_id.clone();
        let request = request(found.header.family, found.protocol, StateFlags::all(), id);
        let message = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
        self.send(message, NLM_F_ACK)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(&datagram)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if message.header.sequence_number != self.sequence {
                continue;
            }
            if let NetlinkPayload::Error(error) = message.payload {
                return match error.raw_code() {
                    0 => Ok(()),
                    code => Err(io::Error::from_raw_os_error(code.saturating_abs())),
                };
            }
        }
    }

    fn send<M>(&mut self, message: M, flags: u16) -> io::Result<()>
    where
        M: NetlinkSerializable + Into<NetlinkPayload<M>>,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }
}

fn request(family: u8, protocol: Protocol, states: StateFlags, socket_id: SocketId) -> InetRequest {
    let protocol = match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
        Protocol::Sctp => 132,
    };
    InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id }
}
