//! The packet and the tables in ordinary memory: the pipeline's other home.
//!
//! Tests run the very code that runs in the kernel, without root and without a kernel, and compare
//! the two. Not fast, not shared between threads, and not a mock: it holds what the maps hold.

extern crate alloc;

mod bare;
mod family;
mod packet;
mod services;
mod sockets;
mod tables;

pub use bare::BarePacket;
pub use family::HostFamily;
pub use packet::HostPacket;
pub use sockets::HostSocket;
pub use tables::{FamilyState, HostTables, Routes};
