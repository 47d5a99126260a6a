//! Flows: one entry for each direction of each connection.

use core::mem::{MaybeUninit, offset_of};

use bytemuck::{Pod, Zeroable};

use super::{BackendRef, frontend::pod_per_family};
use crate::{
    addr::{Address, Ipv4, Ipv6, Port},
    checksum::Delta,
    hook::Hook,
    packet::Settled,
    wire::{L4, MacPair},
};

/// The packet of a flow as it arrives at the flow's hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// Protocol number.
    pub protocol: u8,
    /// The hook's number: a packet that crosses several hooks matches at this one only.
    pub role: u8,
    reserved: u16,
}

/// What is done to the packets of a flow, and what is known of it. All of it is written before the
/// entry can be found, except `last_seen`, `state`, `packets`, `sequence` and `egress`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<A> {
    /// New source address.
    pub source: A,
    /// New destination address.
    pub destination: A,
    /// New source port.
    pub source_port: Port,
    /// New destination port.
    pub destination_port: Port,
    /// What the new addresses do to a checksum.
    pub address_delta: Delta,
    /// What the new ports do to a checksum.
    pub port_delta: Delta,
    /// The backend; the flow is over when it is gone.
    pub backend: BackendRef,
    /// The service.
    pub service: u32,
    /// When a packet was seen last, in jiffies, to within the touch interval.
    pub last_seen: u32,
    /// Reverse half: sequence number of the SYN-ACK.
    pub sequence: u32,
    /// A [`Half`]'s number.
    pub half: u8,
    /// An [`Emit`]'s number.
    pub emit: u8,
    /// Bits of [`State`].
    pub state: u8,
    /// Forward half: packets since the first reply, up to what graduation asks for; of TCP, how many
    /// backends did not answer the first SYN.
    pub packets: u8,
    /// Where its packets leave, if they don't take the kernel's stack.
    pub egress: Egress,
}

/// Both halves of a flow that is being begun: each CPU has one to work in, because two such are more
/// than the stack of a BPF program holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<A> {
    /// From the client to the backend.
    pub forward: Flow<A>,
    /// From the backend to the client.
    pub reverse: Flow<A>,
    words: [u32; 4],
}

impl<A> Draft<A> {
    /// Gives back what it is given, through memory of which the verifier knows nothing; see
    /// [`Packet::settle`](crate::packet::Packet::settle).
    #[inline(always)]
    pub fn settle(&mut self, Settled(first, second, third): Settled) -> Settled {
        let words = (&raw mut self.words).cast::<u32>();
        // SAFETY: three of four words.
        unsafe {
            words.write_volatile(first);
            words.add(1).write_volatile(second);
            words.add(2).write_volatile(third);
            Settled(
                words.read_volatile(),
                words.add(1).read_volatile(),
                words.add(2).read_volatile(),
            )
        }
    }
}

/// A cached way out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Egress {
    /// Interface index.
    pub ifindex: u32,
    /// The epoch in which this was looked up; not the current one: look it up again.
    pub epoch: u32,
    /// Link-layer addresses, if [`Egress::NEIGHBOUR`] is set.
    pub macs: MacPair,
    /// Largest layer-3 packet in bytes; 0: not known.
    pub mtu: u16,
    /// [`Egress::NEIGHBOUR`] and [`Egress::XDP_TRANSMIT`].
    pub flags: u16,
}

impl Egress {
    /// The link-layer addresses are known.
    pub const NEIGHBOUR: u16 = 1;
    /// Frames that XDP sends out of the interface do leave.
    pub const XDP_TRANSMIT: u16 = 2;

    /// Makes it the way that was never looked up: all zero, epoch included.
    ///
    /// Word by word and volatile, because the compiler would make it a call of `memset`, which on
    /// the BPF target is a loop over bytes.
    #[inline(always)]
    pub fn clear(&mut self) {
        let words = core::ptr::from_mut(self).cast::<u32>();
        for at in 0..size_of::<Self>() / 4 {
            // SAFETY: within `self`, which is plain data of alignment 4.
            unsafe { core::ptr::write_volatile(words.add(at), 0) }
        }
    }
}

/// Which direction of a connection an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Half {
    /// From the client to the backend.
    Forward = 0,
    /// From the backend to the client.
    Reverse = 1,
}

/// How translated packets go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Emit {
    /// Through the kernel's stack.
    Stack = 0,
    /// Straight out, by the route to the new destination.
    Transmit = 1,
    /// Back to where they came from.
    Turn = 2,
    /// By the bridge that they come in by, to another port of it, past the stack.
    Switch = 3,
    /// Of a socket of this node: into a pod, by its interface.
    Deliver = 4,
    /// To a socket of this node: as if they had come in over the uplink by which its packets leave.
    Inject = 5,
}

impl Emit {
    /// Whether packets go on as they would have, to leave by the client's interface as replies.
    #[inline(always)]
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Stack | Self::Switch)
    }
}

/// Bits of a flow's state.
pub struct State;

impl State {
    /// Reverse half: a packet was seen.
    pub const REPLIED: u8 = 1;
    /// Reverse half: [`Flow::sequence`] holds the SYN-ACK's.
    pub const ACCEPTED: u8 = 2;
    /// A FIN was seen in this direction.
    pub const FIN: u8 = 4;
    /// A RST was seen in this direction.
    pub const RST: u8 = 8;
    /// This direction has ended, in one way or the other.
    pub const ENDED: u8 = Self::FIN | Self::RST;
    /// Reverse half: the client was told that the backend is gone.
    pub const TOLD: u8 = 16;
}

impl<A: Address> FlowKey<A> {
    /// The key of a packet at a hook.
    ///
    /// What is smaller than a word is put together first and stored as a word: the kernel hashes keys
    /// by words, and a load that spans several stores waits until they have left the processor's
    /// store buffer.
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "asserted below")]
    pub fn new(
        hook: Hook,
        l4: L4,
        (source, source_port): (A, Port),
        (destination, destination_port): (A, Port),
    ) -> Self {
        let mut key = MaybeUninit::<Self>::uninit();
        let at = key.as_mut_ptr();
        let ports = word([source_port.to_wire(), destination_port.to_wire()]);
        let kind = word([u16::from_ne_bytes([l4.protocol().0, hook as u8]), 0]);
        // SAFETY: all within `key`: every byte of it is written, so it is initialised; both words
        // begin at a multiple of four, as the assertions below say.
        unsafe {
            (&raw mut (*at).source).write(source);
            (&raw mut (*at).destination).write(destination);
            (&raw mut (*at).source_port).cast::<u32>().write_volatile(ports);
            (&raw mut (*at).protocol).cast::<u32>().write_volatile(kind);
            key.assume_init()
        }
    }
}

/// Two halves as they lie in memory, one after the other.
#[inline(always)]
const fn word([first, second]: [u16; 2]) -> u32 {
    let (first, second) = (first as u32, second as u32);
    if cfg!(target_endian = "little") { second << 16 | first } else { first << 16 | second }
}

const _: () = {
    assert!(
        offset_of!(FlowKey<Ipv4>, source_port) == 8 && offset_of!(FlowKey<Ipv4>, protocol) == 12
    );
    assert!(
        offset_of!(FlowKey<Ipv6>, source_port) == 32 && offset_of!(FlowKey<Ipv6>, protocol) == 36
    );
};

pod_per_family!(FlowKey, 16, 40);
pod_per_family!(Flow, 64, 88);
pod_per_family!(Draft, 144, 192);
