//! Sockets whose destination was translated when they connected or sent: what was a Service's address to
//! the process, and an endpoint's to the kernel.

use bytemuck::{Pod, Zeroable};

use super::{BackendRef, frontend::pod_per_family};
use crate::{
    addr::{Address, Ipv4, Ipv6, Port},
    wire::Protocol,
};

/// What the kernel calls a socket, or a network namespace: a number that no other one gets while the machine
/// runs. In halves, so that keys of both families have no padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct Cookie {
    low: u32,
    high: u32,
}

impl Cookie {
    /// From the number (`SO_COOKIE`, `idiag_cookie`).
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are what is asked for")]
    pub const fn new(number: u64) -> Self {
        Self { low: number as u32, high: (number >> 32) as u32 }
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }
}

/// A socket and an address that it talks to. In `SOCKETS_V4` and `SOCKETS_V6` that is an endpoint's, in
/// `TALKS_V4` and `TALKS_V6` a Service's. An IPv6 socket that talks IPv4 (IPv4-mapped) is in the IPv4 tables.
///
/// A connected socket has one entry in `SOCKETS`, as long as it lives; a UDP socket that isn't connected has
/// one for each endpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketKey<A> {
    /// The address.
    pub address: A,
    /// The socket.
    pub cookie: Cookie,
    /// The port.
    pub port: Port,
    /// Protocol number.
    pub protocol: u8,
    reserved: u8,
    reserved_tail: u32,
}

impl<A: Address> SocketKey<A> {
    /// The key of a socket and an address.
    #[inline(always)]
    pub const fn new(cookie: Cookie, address: A, port: Port, protocol: Protocol) -> Self {
        Self { address, cookie, port, protocol: protocol.0, reserved: 0, reserved_tail: 0 }
    }
}

/// What a socket was connected to, or sent to, in the process's eyes, and what it was given.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translated<A> {
    /// The Service's address.
    pub address: A,
    /// The backend, whose address is the key's. Another generation in its line means that it is gone.
    pub backend: BackendRef,
    /// The service's number.
    pub service: u32,
    /// The Service's port.
    pub port: Port,
    /// Reserved, 0.
    pub reserved: u16,
}

/// Which backend a UDP socket that isn't connected has for a Service's address. The entry at no address and
/// port 0 is the beginning of a socket's list: its `previous` is the last Service that the socket began to
/// talk to, whose `previous` the one before, down to no address and port 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talk<A> {
    /// The address that the socket began to talk to before this one.
    pub previous: A,
    /// The backend.
    pub backend: BackendRef,
    /// When it sent something, in jiffies; up to a second late.
    pub last_seen: u32,
    /// The port that belongs to `previous`.
    pub previous_port: Port,
    /// Reserved, 0.
    pub reserved: u16,
}

/// A process that was refused a node port: a record of the ring buffer `BINDS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RefusedBind {
    /// The process's name as the kernel has it, ended by a zero byte.
    pub command: [u64; 2],
    /// The process.
    pub pid: u32,
    /// The port.
    pub port: Port,
    /// Protocol number.
    pub protocol: u8,
    /// Reserved, 0.
    pub reserved: u8,
}

pod_per_family!(SocketKey, 20, 32);
pod_per_family!(Translated, 20, 32);
pod_per_family!(Talk, 20, 32);

const _: () = assert!(size_of::<RefusedBind>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_gives_back_its_number() {
        for number in [0, 1, 1 << 32, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(Cookie::new(number).number(), number);
        }
        assert_eq!(bytemuck::bytes_of(&Cookie::new(7)), 7_u64.to_ne_bytes());
    }
}
