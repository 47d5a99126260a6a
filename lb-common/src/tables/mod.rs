//! Keys and values of the BPF maps: the contract between the control program and the programs.
//!
//! All are plain data: fixed layout, explicit reserved fields, any bit pattern allowed. A change
//! here is a change of the layout: raise [`LAYOUT_VERSION`], which is part of the pins' path.

mod address;
mod affinity;
mod algorithm;
mod backend;
mod config;
mod device;
mod flow;
mod fragment;
mod frontend;
mod held;
mod neighbour;
mod sample;
mod service;
mod socket;
mod traffic;

pub use address::{AddressOwner, AddressSet, SourceRangeKey};
pub use affinity::{AffinityKey, AffinityRule, Endpoint, EndpointKey, Remembered};
pub use algorithm::{Algorithm, Load, Turns};
pub use backend::{Backend, BackendRef};
pub use config::{AddressRange, Config, PortSet, SnatPorts};
pub use device::{Device, DeviceRole};
pub use flow::{Draft, Egress, Emit, Flow, FlowKey, Half, State};
pub use fragment::{FragmentKey, Fragmented};
pub use frontend::{Frontend, FrontendKey};
pub use held::{Held, HeldKey};
pub use neighbour::Neighbour;
pub use sample::Sample;
pub use service::{Selection, SelectionKind, Service};
pub use socket::{Cookie, RefusedBind, SocketKey, Talk, Translated};
pub use traffic::{Account, Traffic};

/// Version of everything in this module.
pub const LAYOUT_VERSION: u32 = 1;
