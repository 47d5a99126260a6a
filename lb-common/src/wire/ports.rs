//! What the transports begin with: source and destination port.

use super::{Header, U16};
use crate::addr::Port;

/// Both ports.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ports {
    ports: [U16; 2],
}

// SAFETY: packed words only.
unsafe impl Header for Ports {}

impl Ports {
    /// Source port.
    #[inline(always)]
    pub fn source(&self) -> Port {
        Port::from_wire(self.ports[0].get())
    }

    /// Destination port.
    #[inline(always)]
    pub fn destination(&self) -> Port {
        Port::from_wire(self.ports[1].get())
    }

    /// Sets both; checksums are the caller's.
    #[inline(always)]
    pub fn set(&mut self, source: Port, destination: Port) {
        self.ports[0].set(source.to_wire());
        self.ports[1].set(destination.to_wire());
    }
}
