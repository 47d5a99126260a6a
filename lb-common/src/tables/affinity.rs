//! Session affinity: which endpoint a client was given, and where the ports of its Service find it.
//!
//! Affinity is a Service's, not a port's: ports share a group, and endpoints are told by their address,
//! because the backends of two ports differ in the port.

use bytemuck::{Pod, Zeroable};

use super::{BackendRef, frontend::pod_per_family};
use crate::addr::{Address, Ipv4, Ipv6};

/// A service's session affinity, part of its line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AffinityRule {
    /// What all ports of a Service in one family share; 0 is nobody's.
    pub group: u32,
    /// Seconds after its last flow for which a client is remembered; 0: there is no affinity.
    pub seconds: u32,
}

/// A client as a group remembers it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AffinityKey<A> {
    /// Its address.
    pub client: A,
    /// The group.
    pub group: u32,
    /// A [`SelectionKind`](super::SelectionKind)'s number: what a client may be given differs with it.
    pub kind: u32,
}

/// What is remembered of a client.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Remembered {
    /// The endpoint, see [`Address::mix`].
    pub endpoint: u32,
    /// When it was chosen last, in jiffies.
    pub last_seen: u32,
}

/// An endpoint of a service with affinity.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct EndpointKey {
    /// The service.
    pub service: u32,
    /// The endpoint, see [`Address::mix`]. Should two of a service ever mix alike, the first of them
    /// gets the clients of both.
    pub endpoint: u32,
}

/// A service's backend at an endpoint. It is written after the backend, and its generation shows when
/// the backend has gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Endpoint {
    /// The backend.
    pub backend: BackendRef,
    /// Bit `n`: the selection of the [`SelectionKind`](super::SelectionKind) with the number `n` has it.
    pub selections: u32,
    /// Reserved, 0.
    pub reserved: u32,
}

impl<A: Address> AffinityKey<A> {
    /// The key of a client.
    #[inline(always)]
    pub const fn new(client: A, group: u32, kind: u32) -> Self {
        Self { client, group, kind }
    }
}

pod_per_family!(AffinityKey, 12, 24);

const _: () = assert!(size_of::<AffinityRule>() == 8 && size_of::<Remembered>() == 8);
const _: () = assert!(size_of::<EndpointKey>() == 8 && size_of::<Endpoint>() == 16);
