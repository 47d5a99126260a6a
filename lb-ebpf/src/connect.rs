//! Sockets that connect, send, receive, and are asked for their peer: each a program of lb-common's `socket`
//! over the address that the system call has. IPv6 sockets that talk IPv4 go by IPv4's tables.

use aya_ebpf::{
    EbpfContext as _, bindings::bpf_sock_addr, macros::cgroup_sock_addr, programs::SockAddrContext,
};
use lb_common::{
    addr::{Ipv4, Ipv6, Port},
    socket::{self, End},
    verdict::DropReason,
    wire::Protocol,
};

use crate::{
    asking::{ALLOW, Asking, refuse},
    bind::{peer_v4, peer_v6},
    now,
    tables::Kernel,
};

const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;

/// The address of a system call.
#[derive(Clone, Copy)]
struct Call {
    address: *mut bpf_sock_addr,
    socket: Asking,
}

/// One field of the address. The verifier wants each read as it is written here: of a constant offset from
/// the context, as wide as the field.
macro_rules! field {
    ($call:ident, $field:ident) => {
        // SAFETY: a field of the program's own context.
        unsafe { core::ptr::read_volatile(&raw const (*$call.address).$field) }
    };
}

impl Call {
    #[inline(always)]
    fn of(ctx: &SockAddrContext) -> Self {
        Self { address: ctx.sock_addr, socket: Asking::at(ctx.as_ptr()) }
    }

    #[inline(always)]
    fn tables(&self) -> Kernel {
        Kernel::at(self.address.cast())
    }

    #[inline(always)]
    fn protocol(&self) -> Protocol {
        // MPTCP's subflows are TCP, and so is what is left of MPTCP's number.
        Protocol(field!(self, protocol) as u8)
    }

    #[inline(always)]
    fn port(&self) -> Port {
        Port::from_wire(field!(self, user_port) as u16)
    }

    #[inline(always)]
    fn v4(&self) -> End<Ipv4> {
        let address = Ipv4::from_wire(field!(self, user_ip4));
        End { address, port: self.port(), protocol: self.protocol() }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "they are eight bytes behind the context's beginning"
    )]
    fn v6(&self) -> End<Ipv6> {
        // SAFETY: two words of the program's own context, aligned, as the kernel lets them be read.
        let address = unsafe {
            let words = (&raw const (*self.address).user_ip6).cast::<u64>();
            [core::ptr::read_volatile(words), core::ptr::read_volatile(words.add(1))]
        };
        End { address: Ipv6::from_wire(address), port: self.port(), protocol: self.protocol() }
    }

    #[inline(always)]
    fn set_port(&self, port: Port) {
        // SAFETY: a field of the program's own context.
        unsafe {
            core::ptr::write_volatile(
                &raw mut (*self.address).user_port,
                u32::from(port.to_wire()),
            );
        }
    }

    #[inline(always)]
    fn set_v4(&self, (address, port): (Ipv4, Port)) {
        // SAFETY: a field of the program's own context.
        unsafe {
            core::ptr::write_volatile(&raw mut (*self.address).user_ip4, address.to_wire());
        }
        self.set_port(port);
    }

    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "they are eight bytes behind the context's beginning"
    )]
    fn set_v6(&self, (address, port): (Ipv6, Port)) {
        let [first, second] = address.to_wire();
        // SAFETY: two words of the program's own context, aligned, as the kernel lets them be written.
        unsafe {
            let words = (&raw mut (*self.address).user_ip6).cast::<u64>();
            core::ptr::write_volatile(words, first);
            core::ptr::write_volatile(words.add(1), second);
        }
        self.set_port(port);
    }

    #[inline(always)]
    fn set_mapped(&self, (address, port): (Ipv4, Port)) {
        self.set_v6((Ipv6::mapped(address), port));
    }
}

/// An IPv4-mapped end in IPv4.
#[inline(always)]
fn unmapped(end: End<Ipv6>) -> End<Ipv4> {
    End { address: end.address.unmapped(), port: end.port, protocol: end.protocol }
}

/// What a system call is to do.
#[inline(always)]
fn conclude(outcome: Result<(), DropReason>) -> i32 {
    match outcome {
        Ok(()) => ALLOW,
        Err(DropReason::NoLocalBackend) => refuse(EHOSTUNREACH),
        Err(_) => refuse(ECONNREFUSED),
    }
}

/// A socket connects to an IPv4 address.
#[cgroup_sock_addr(connect4)]
#[inline(always)]
fn lb_connect4(ctx: SockAddrContext) -> i32 {
    let call = Call::of(&ctx);
    connect_v4(&call, call.v4(), |endpoint| call.set_v4(endpoint))
}

/// A socket connects to an IPv6 address, or to an IPv4-mapped one.
#[cgroup_sock_addr(connect6)]
#[inline(always)]
fn lb_connect6(ctx: SockAddrContext) -> i32 {
    let call = Call::of(&ctx);
    let to = call.v6();
    if to.address.is_mapped() {
        return connect_v4(&call, unmapped(to), |endpoint| call.set_mapped(endpoint));
    }
    let before = || is_datagram(to.protocol).then(|| peer_v6(sock(&call), to.protocol)).flatten();
    let give = |endpoint| call.set_v6(endpoint);
    conclude(socket::connect(&call.socket, &call.tables(), now(), to, before, give))
}

#[inline(always)]
fn connect_v4(call: &Call, to: End<Ipv4>, give: impl FnOnce((Ipv4, Port))) -> i32 {
    let before = || is_datagram(to.protocol).then(|| peer_v4(sock(call), to.protocol)).flatten();
    conclude(socket::connect(&call.socket, &call.tables(), now(), to, before, give))
}

/// Only these may be connected again.
#[inline(always)]
fn is_datagram(protocol: Protocol) -> bool {
    protocol == Protocol::UDP
}

/// The socket itself.
#[inline(always)]
fn sock(call: &Call) -> *const aya_ebpf::bindings::bpf_sock {
    // SAFETY: a field of the program's own context, which is a pointer on this kind of it.
    let sock = unsafe { core::ptr::read_volatile(&raw const (*call.address).__bindgen_anon_1.sk) };
    sock.cast_const()
}

/// A socket that isn't connected sends to an IPv4 address.
#[cgroup_sock_addr(sendmsg4)]
#[inline(always)]
fn lb_sendmsg4(ctx: SockAddrContext) -> i32 {
    let call = Call::of(&ctx);
    let give = |endpoint| call.set_v4(endpoint);
    conclude(socket::send(&call.socket, &call.tables(), now(), call.v4(), give))
}

/// A socket that isn't connected sends to an IPv6 address. To an IPv4-mapped one it sends by IPv4.
#[cgroup_sock_addr(sendmsg6)]
#[inline(always)]
fn lb_sendmsg6(ctx: SockAddrContext) -> i32 {
    let call = Call::of(&ctx);
    let give = |endpoint| call.set_v6(endpoint);
    conclude(socket::send(&call.socket, &call.tables(), now(), call.v6(), give))
}

/// A process is told the sender of an IPv4 datagram.
#[cgroup_sock_addr(recvmsg4)]
#[inline(always)]
fn lb_recvmsg4(ctx: SockAddrContext) -> i32 {
    show_v4(&Call::of(&ctx))
}

/// A process is told the sender of an IPv6 datagram, or of an IPv4 one in the IPv4-mapped form.
#[cgroup_sock_addr(recvmsg6)]
#[inline(always)]
fn lb_recvmsg6(ctx: SockAddrContext) -> i32 {
    show_v6(&Call::of(&ctx))
}

/// A process asks for the peer of an IPv4 socket.
#[cgroup_sock_addr(getpeername4)]
#[inline(always)]
fn lb_peername4(ctx: SockAddrContext) -> i32 {
    show_v4(&Call::of(&ctx))
}

/// A process asks for the peer of an IPv6 socket.
#[cgroup_sock_addr(getpeername6)]
#[inline(always)]
fn lb_peername6(ctx: SockAddrContext) -> i32 {
    show_v6(&Call::of(&ctx))
}

/// Shows the Service in place of its endpoint.
#[inline(always)]
fn show_v4(call: &Call) -> i32 {
    if let Some(service) = socket::service_of(&call.socket, &call.tables(), call.v4()) {
        call.set_v4(service);
    }
    ALLOW
}

#[inline(always)]
fn show_v6(call: &Call) -> i32 {
    let peer = call.v6();
    if peer.address.is_mapped() {
        if let Some(service) = socket::service_of(&call.socket, &call.tables(), unmapped(peer)) {
            call.set_mapped(service);
        }
    } else if let Some(service) = socket::service_of(&call.socket, &call.tables(), peer) {
        call.set_v6(service);
    }
    ALLOW
}
