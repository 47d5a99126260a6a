//! The netlink socket: news of links, addresses, neighbours and routes, and dumps of them, all into a
//! [`Mirror`].
//!
//! News and dumps share one socket on purpose: the kernel queues both in the order in which things
//! happened, so that taking in one message after the other gives the true state, whatever changes
//! meanwhile. The queue is the kernel's and bounded; who reads too late gets `ENOBUFS`.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::message::Message;
use super::mirror::{Mirror, Moved};
use crate::devices::{error::DeviceError, snapshot::Devices};

/// What we want to hear of. Rules and next hops decide routes without a word from the routes.
const GROUPS: [libc::c_uint; 9] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_NEXTHOP,
];

/// Larger than any datagram: the kernel makes dumps of at most 32 KiB.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Room for some thousand messages while we are busy. The usual 208 KiB hold a few hundred.
const QUEUE_BYTES: usize = 4 << 20;

/// How often a table is listed again because it changed meanwhile.
const DUMP_ATTEMPTS: u32 = 10;

/// A socket that hears all that we want to know.
pub(in crate::devices) struct RouteSocket {
    socket: TokioSocket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl RouteSocket {
    /// Opens it in the network namespace of the calling thread, which must be in a tokio runtime.
    pub(in crate::devices) fn open() -> Result<Self, DeviceError> {
        Self::try_open().map_err(|source| DeviceError::Open { source })
    }

    fn try_open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        match setsockopt(socket.socket_ref(), sockopt::RcvBufForce, &QUEUE_BYTES) {
            // Without CAP_NET_ADMIN the queue stays small, and overflows sooner; that is handled.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(error) => return Err(error.into()),
        }
        let port = socket.socket_mut().bind_auto()?.port_number();
        for group in GROUPS {
            socket.socket_ref().add_membership(group)?;
        }
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Everything there is now. Fails if the kernel does not answer in a way that we understand, and
    /// if a table never keeps still.
    pub(in crate::devices) async fn dump(&mut self) -> Result<Mirror, DeviceError> {
        let mut mirror = Mirror::default();
        // Links first: addresses are kept with them.
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let neighbours = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.dump_table("links", links, &mut mirror).await?;
        self.dump_table("addresses", addresses, &mut mirror).await?;
        self.dump_table("neighbours", neighbours, &mut mirror).await?;
        self.dump_defaults(&mut mirror).await?;
        Ok(mirror)
    }

    /// Reads again where default routes lead, and gives what was heard meanwhile. When it is cancelled, the
    /// socket is of no more use: the rest of the answer is still to come.
    pub(in crate::devices) async fn dump_defaults(
        &mut self,
        mirror: &mut Mirror,
    ) -> Result<Moved, DeviceError> {
        mirror.devices.defaults.clear();
        let routes = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let mut moved = self.dump_table("routes", routes, mirror).await?;
        moved.defaults = false;
        Ok(moved)
    }

    /// Waits for news and takes them in. Cancelling loses nothing.
    pub(in crate::devices) async fn receive(
        &mut self,
        mirror: &mut Mirror,
    ) -> Result<Moved, DeviceError> {
        self.fill_buffer().await?;
        let mut moved = Moved::default();
        for message in messages(&self.buffer) {
            if let NetlinkPayload::InnerMessage(message) = message?.payload {
                moved |= mirror.apply(message);
            }
        }
        Ok(moved)
    }

    async fn dump_table(
        &mut self,
        table: &'static str,
        request: RouteNetlinkMessage,
        mirror: &mut Mirror,
    ) -> Result<Moved, DeviceError> {
        let mut moved = Moved::default();
        for _ in 0..DUMP_ATTEMPTS {
            self.request(table, request.clone()).await?;
            let (dump, news) = self.take_dump(table, mirror).await?;
            moved |= news;
            // A default route that comes or goes meanwhile is before or after the answer, who knows.
            if dump == Dump::Whole && !news.defaults {
                return Ok(moved);
            }
            mirror.devices.defaults.clear();
        }
        Err(DeviceError::Unsettled { table, attempts: DUMP_ATTEMPTS })
    }

    async fn request(
        &mut self,
        table: &'static str,
        request: RouteNetlinkMessage,
    ) -> Result<(), DeviceError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddr::new(0, 0);
        let sent = self.socket.send_to(&bytes, &kernel).await;
        sent.map(drop).map_err(|source| DeviceError::Dump { table, source })
    }

    /// Takes messages in until the answer to the last request is complete, and gives what was news.
    async fn take_dump(
        &mut self,
        table: &'static str,
        mirror: &mut Mirror,
    ) -> Result<(Dump, Moved), DeviceError> {
        let (mut dump, mut news) = (Dump::Whole, Moved::default());
        loop {
            self.fill_buffer().await?;
            for message in messages(&self.buffer) {
                let (header, payload) = message?.into_parts();
                // News carry the port and number of whoever caused them.
                let ours =
                    (header.port_number, header.sequence_number) == (self.port, self.sequence);
                if ours && header.flags & NLM_F_DUMP_INTR != 0 {
                    dump = Dump::Interrupted;
                }
                let code = match payload {
                    NetlinkPayload::InnerMessage(message) => {
                        let moved = mirror.apply(message);
                        if !ours {
                            news |= moved;
                        }
                        continue;
                    }
                    NetlinkPayload::Done(done) if ours => done.code,
                    NetlinkPayload::Error(error) if ours => error.raw_code(),
                    _ => continue,
                };
                return match code {
                    0 => Ok((dump, news)),
                    code => {
                        let source = io::Error::from_raw_os_error(code.saturating_abs());
                        Err(DeviceError::Dump { table, source })
                    }
                };
            }
        }
    }

    /// Waits for a datagram of the kernel's.
    async fn fill_buffer(&mut self) -> Result<(), DeviceError> {
        loop {
            self.buffer.clear();
            let received = self.socket.recv_from(&mut self.buffer).await;
            let sender = received.map_err(|source| DeviceError::Receive { source })?;
            // Whoever has CAP_NET_ADMIN may write to our groups; the kernel's port is 0.
            if sender.port_number() == 0 {
                return Ok(());
            }
        }
    }
}

/// The interfaces that there are after the messages of a datagram, if there were none before. Opens no
/// socket; for those who have bytes, as fuzzers have. Fails at the first message that can't be understood.
pub fn replay(datagram: &[u8]) -> Result<Devices, DeviceError> {
    let mut mirror = Mirror::default();
    for message in messages(datagram) {
        if let NetlinkPayload::InnerMessage(message) = message?.payload {
            mirror.apply(message);
        }
    }
    Ok(mirror.devices)
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dump {
    Whole,
    /// The table changed meanwhile; entries may have been passed over.
    Interrupted,
}

/// The messages of a datagram. Ends with the first that can't be understood.
fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<Message>, DeviceError>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<Message>::deserialize(datagram);
        let length = message.as_ref().map_or(usize::MAX, |message| aligned(message.header.length));
        datagram = datagram.get(length..).unwrap_or_default();
        Some(message.map_err(|source| DeviceError::Decode { source }))
    })
}

/// Messages start at multiples of four bytes.
fn aligned(length: u32) -> usize {
    usize::try_from(length).map_or(usize::MAX, |length| length.next_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message without payload that matters, `length` bytes long, and padding.
    fn message(kind: u16, length: u32) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(aligned(length), 0);
        bytes
    }

    #[test]
    fn a_datagram_may_hold_several_messages_with_padding_between() {
        let mut datagram = message(libc::RTM_NEWRULE, 17);
        datagram.extend(message(libc::RTM_GETLINK, 16));
        let found: Vec<_> = messages(&datagram)
            .map(|message| message.map(|message| message.payload).expect("well-formed"))
            .collect();
        let expected =
            [Message::RouteChanged, Message::Irrelevant].map(NetlinkPayload::InnerMessage);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error_and_the_last_one() {
        let mut datagram = message(libc::RTM_NEWRULE, 16);
        datagram.extend(&message(libc::RTM_NEWRULE, 32)[..20]);
        let found: Vec<_> = messages(&datagram).map(|message| message.is_ok()).collect();
        assert_eq!(found, [true, false]);
    }
}
