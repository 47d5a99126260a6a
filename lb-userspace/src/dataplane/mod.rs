//! The only place that knows aya: loads the programs, attaches them, and makes the maps say what
//! was compiled. What a Service means is decided elsewhere; here are only desired tables.
//!
//! - [`Pins`]: the directory in bpffs that outlives a run, and the lock on it.
//! - [`Programs`]: the loaded object and where it is attached.
//! - [`Tables`]: handles on the maps. [`Writer`]: desired against actual, in an order in which no
//!   packet sees a dangling reference.
//! - [`Cgroup`], [`SocketHookup`], [`RefusedBinds`]: the programs at sockets, where they are attached, and what they
//!   tell.
//! - [`Clock`], [`collect`]: the flows' time, and the end of those that expired.

mod algorithm;
mod areas;
mod attach;
mod batch;
mod binds;
pub mod census;
mod cgroup;
mod clock;
pub mod collect;
mod error;
mod events;
mod frags;
mod hash_table;
mod ids;
mod link;
mod loads;
mod mapped;
mod object;
mod orphans;
mod pins;
mod prefix_table;
mod read_back;
mod sizes;
mod sockets;
mod tables;
mod traffic;
mod trial;
mod writer;

pub use algorithm::named as algorithm_named;
pub use attach::{AttachError, Attached, Hookup, Mode, Point, TcMode, XdpMode};
pub use binds::{RefusedBinds, tell_of_bind};
pub use cgroup::{Cgroup, CgroupError};
pub use clock::Clock;
pub use error::DataplaneError;
pub use events::Events;
pub use loads::Loads;
pub use object::{OBJECT, Programs};
pub use orphans::{Orphan, SocketTables};
pub use pins::Pins;
pub use read_back::{FoundBackend, FoundService, read_back};
pub use sizes::Sizes;
pub use sockets::{SocketError, SocketHookup, SocketMode, SocketScope};
pub use tables::{NO_HASH_KEY, Settings, Tables};
pub use traffic::Counted;
pub use trial::Features;
pub use writer::{Changes, Writer, source_ranges};
