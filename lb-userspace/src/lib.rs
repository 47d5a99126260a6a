//! The control program: Services in, BPF maps out.
//!
//! [`source`] → [`model`] → [`control`] → [`compile`] are pure or nearly so and know nothing of BPF;
//! [`dataplane`] is the only place that knows aya; [`devices`] and [`sockets`] are the only ones that know netlink.
//! [`controller`] brings them together for `lb run`; [`commands`] are the verbs.

pub mod commands;
pub mod compile;
pub mod control;
pub mod controller;
pub mod dataplane;
pub mod devices;
mod doubts;
pub mod health;
pub mod model;
mod plan;
mod privileges;
pub mod sockets;
pub mod source;
pub mod state;
mod yaml;
