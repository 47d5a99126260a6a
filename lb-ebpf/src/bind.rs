//! Sockets that are bound, and sockets that are closed.

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock,
    helpers::generated::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::cgroup_sock,
    programs::SockContext,
};
use lb_common::{
    addr::{Ipv4, Ipv6, Port},
    socket::{self, End},
    tables::RefusedBind,
    wire::Protocol,
};

use crate::{
    asking::{ALLOW, Asking, refuse},
    maps::BINDS,
    tables::Kernel,
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const EADDRINUSE: i32 = 98;

/// One field of a socket, each by a read of its own from a constant offset, as the verifier wants it.
macro_rules! field {
    ($sock:expr, $field:ident) => {
        // SAFETY: a field of the program's own context, or of the socket that it points to.
        unsafe { core::ptr::read_volatile(&raw const (*$sock).$field) }
    };
    ($sock:expr, $field:ident[$at:literal]) => {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(&raw const (*$sock).$field[$at]) }
    };
}

/// The other end of a socket that is connected by IPv4.
#[inline(always)]
pub fn peer_v4(sock: *const bpf_sock, protocol: Protocol) -> Option<End<Ipv4>> {
    let port = Port::from_wire(field!(sock, dst_port));
    let address = Ipv4::from_wire(field!(sock, dst_ip4));
    (port != Port::from_wire(0)).then_some(End { address, port, protocol })
}

/// The other end of a socket that is connected by IPv6, mapped or not.
#[inline(always)]
pub fn peer_v6(sock: *const bpf_sock, protocol: Protocol) -> Option<End<Ipv6>> {
    let port = Port::from_wire(field!(sock, dst_port));
    let address = Ipv6::from_quarters(
        field!(sock, dst_ip6[0]),
        field!(sock, dst_ip6[1]),
        field!(sock, dst_ip6[2]),
        field!(sock, dst_ip6[3]),
    );
    (port != Port::from_wire(0)).then_some(End { address, port, protocol })
}

#[inline(always)]
fn protocol(sock: *const bpf_sock) -> Protocol {
    Protocol(field!(sock, protocol) as u8)
}

#[inline(always)]
fn bound(sock: *const bpf_sock) -> Port {
    Port::from_host(field!(sock, src_port) as u16)
}

/// A socket was bound to an IPv4 address.
#[cgroup_sock(post_bind4)]
#[inline(always)]
fn lb_post_bind4(ctx: SockContext) -> i32 {
    let sock = ctx.sock;
    let address = Ipv4::from_wire(field!(sock, src_ip4));
    let at = End { address, port: bound(sock), protocol: protocol(sock) };
    conclude(socket::may_bind(&Asking::at(ctx.as_ptr()), &tables(&ctx), at), at.port, at.protocol)
}

/// A socket was bound to an IPv6 address. One that is bound to all of them has IPv4's too, or is not told from
/// one that has.
#[cgroup_sock(post_bind6)]
#[inline(always)]
fn lb_post_bind6(ctx: SockContext) -> i32 {
    let sock = ctx.sock;
    let (port, protocol) = (bound(sock), protocol(sock));
    let address = Ipv6::from_quarters(
        field!(sock, src_ip6[0]),
        field!(sock, src_ip6[1]),
        field!(sock, src_ip6[2]),
        field!(sock, src_ip6[3]),
    );
    let (socket, tables) = (Asking::at(ctx.as_ptr()), tables(&ctx));
    let mut may = true;
    if !address.is_mapped() {
        may = socket::may_bind(&socket, &tables, End { address, port, protocol });
    }
    if may && (address.is_mapped() || address == Ipv6::default()) {
        let address = address.unmapped();
        may = socket::may_bind(&socket, &tables, End { address, port, protocol });
    }
    conclude(may, port, protocol)
}

#[inline(always)]
fn tables(ctx: &SockContext) -> Kernel {
    Kernel::at(ctx.as_ptr())
}

/// Refuses what may not be, and tells who wanted it.
#[inline(always)]
fn conclude(may: bool, port: Port, protocol: Protocol) -> i32 {
    if may {
        return ALLOW;
    }
    let mut record = RefusedBind { port, protocol: protocol.0, ..RefusedBind::default() };
    let command = (&raw mut record.command).cast();
    // SAFETY: the first takes nothing; the second writes as many bytes as are there.
    unsafe {
        record.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        bpf_get_current_comm(command, size_of_val(&record.command) as u32);
    }
    // Without room it is counted all the same.
    let _ = BINDS.output::<RefusedBind>(record, 0);
    refuse(EADDRINUSE)
}

/// A socket is closed.
#[cgroup_sock(sock_release)]
#[inline(always)]
fn lb_sock_release(ctx: SockContext) -> i32 {
    let (sock, protocol) = (ctx.sock.cast_const(), protocol(ctx.sock));
    let family = field!(sock, family);
    let is_datagram = protocol == Protocol::UDP;
    if !is_datagram && protocol != Protocol::TCP {
        return ALLOW;
    }
    let (socket, tables) = (Asking::at(ctx.as_ptr()), tables(&ctx));
    if family == AF_INET {
        if let Some(peer) = peer_v4(sock, protocol) {
            socket::release(&socket, &tables, peer);
        }
    } else if family == AF_INET6 {
        if let Some(peer) = peer_v6(sock, protocol) {
            if peer.address.is_mapped() {
                let peer = End { address: peer.address.unmapped(), port: peer.port, protocol };
                socket::release(&socket, &tables, peer);
            } else {
                socket::release(&socket, &tables, peer);
            }
        }
        if is_datagram {
            socket::release_talks::<Ipv6, _, _>(&socket, &tables);
        }
    }
    if is_datagram {
        socket::release_talks::<Ipv4, _, _>(&socket, &tables);
    }
    ALLOW
}
