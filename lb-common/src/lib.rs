//! What the kernel programs and the control program share.
//!
//! - [`wire`]: headers as they lie in a packet, and the only place that reads or writes them.
//! - [`addr`], [`checksum`], [`crc32c`], [`hash`]: network-order values and the arithmetic on them.
//! - [`tables`]: keys and values of the BPF maps.
//! - [`pipeline`]: what happens to a packet, as generic code over three small things: the
//!   [`Packet`](packet::Packet), the [`Tables`](pipeline::Tables) and the time.
//! - [`socket`]: what happens to a socket that connects, sends, receives, binds or is closed.
//! - [`host`]: those three things in ordinary memory, so that the pipeline runs in `cargo test`.
//!
//! **Invariant:** nothing here knows aya, does I/O, or depends on a cargo feature. Nothing on the
//! packet's way can panic: the BPF panic handler loops, so a reachable panic fails the load.
#![no_std]

pub mod addr;
pub mod checksum;
pub mod crc32c;
pub mod hash;
pub mod hook;
pub mod packet;
pub mod pipeline;
pub mod socket;
pub mod tables;
pub mod verdict;
pub mod wire;

#[cfg(not(target_arch = "bpf"))]
pub mod host;
