//! What `lb` knows of the node's interfaces: which there are, which are uplinks and workloads, which
//! addresses the node has, and when a cached next hop is no longer to be trusted. Read by netlink and
//! from `/proc/sys/net`, in the network namespace of the thread that asks; told by the kernel, never
//! polled.
//!
//! - [`DeviceWatch`]: the interfaces as they are ([`Devices`]), then every [`Change`].
//! - [`classify`]: from what there is and what the operator asked for to uplinks and workloads.
//! - [`without_unservable`]: whether the kernel can do what these uplinks need.
//! - [`Sysctls`], [`Forwarding`]: settings of the kernel that decide whether and how we can work.
//! - [`snat_ports`]: the ports that nobody else hands out.
//! - [`replay`]: the interfaces that a datagram of the kernel's tells of.
//!
//! Attaching programs and writing maps don't belong here, nor routes to service addresses.

mod classify;
mod detect;
mod error;
mod kernel;
mod namespace;
mod netlink;
mod ports;
mod snapshot;
mod sysctl;
mod watch;

pub use classify::{Bridge, Classified, Pattern, Selection, Uplink, Workload, classify};
pub use detect::Reason;
pub use error::DeviceError;
pub use kernel::without_unservable;
pub use namespace::{is_first_namespace, own_namespace};
pub use netlink::replay;
pub use ports::snat_ports;
pub use snapshot::{Address, DefaultRoute, Devices, Link, Mac};
pub use sysctl::{BridgeCalls, Forwarding, Sysctls};
pub use watch::{Change, DeviceWatch};
