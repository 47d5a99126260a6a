//! Streams of frames: from many clients to one or many servers, UDP or TCP, so that each flow's frame is
//! whole and its checksums are right.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use bytemuck::Zeroable as _;
use lb_tests::packet::Packet;

use super::plan::{Field, Plan};

/// How many ports clients use, as a power of two: 16,384 of an address.
const PORT_BITS: u32 = 14;
/// The first of them.
pub const FIRST_PORT: u16 = 20_000;

/// Which end of a frame the clients are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From clients to servers.
    Request,
    /// From servers to clients.
    Reply,
}

/// In which order the flows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other, each once before the first comes again.
    Ascending,
    /// In none; some twice, some not at all.
    Scattered,
}

/// Frames of `flows` flows. A flow has its own client (address and port); the clients' addresses follow each
/// other from the template's on, `FIRST_PORT` and the 16,383 ports after it of each. Flow `n` talks to
/// server `n % servers`, whose addresses follow each other from the template's on.
#[derive(Clone, Debug)]
pub struct Stream {
    /// A packet of flow 0; its client's port is overwritten.
    pub template: Packet,
    /// Where the clients are.
    pub direction: Direction,
    /// A power of two.
    pub flows: u32,
    /// A power of two, and no more than flows.
    pub servers: u32,
    /// In which order.
    pub order: Order,
}

impl Stream {
    /// The frames' length in bytes.
    pub fn length(&self) -> usize {
        self.template.clone().build().len()
    }

    /// What the rig is told.
    pub fn plan(&self) -> Result<Plan> {
        let Self { template, direction, flows, servers, order } = self;
        ensure!(flows.is_power_of_two() && servers.is_power_of_two(), "powers of two only");
        ensure!(servers <= flows, "each server needs a flow");
        let frame = template.clone().build();
        let mut plan = Plan::zeroed();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut plan.frame);
        ensure!(
            frame.len() == 64 || frame.len() == bytes.len(),
            "frames are of 64 or {} bytes, this one of {}",
            bytes.len(),
            frame.len()
        );
        bytes[..frame.len()].copy_from_slice(&frame);
        let places = Places::of(&frame)?;
        let (client, server) = match direction {
            Direction::Request => (0, 1),
            Direction::Reply => (1, 0),
        };
        let mask = flows - 1;
        plan.words = [
            field(&frame, places.addresses[client], PORT_BITS, mask.checked_shr(PORT_BITS)),
            field(&frame, places.addresses[server], 0, Some(servers - 1)),
        ];
        plan.half = Field {
            at: places.ports[client],
            base: u32::from(FIRST_PORT),
            shift: 0,
            mask: mask & ((1 << PORT_BITS) - 1),
        };
        let varied: u32 = plan.words.iter().map(|word| halves(&frame, word.at)).sum();
        if let Some(at) = places.ip_checksum {
            plan.ip_checksum_at = at;
            plan.ip_sum = folded(sum_of(&frame, at) + varied);
        }
        // UDP in IPv4 may do without.
        if half(&frame, places.l4_checksum) != 0 {
            plan.l4_checksum_at = places.l4_checksum;
            let port = 0xffff - half(&frame, plan.half.at);
            plan.l4_sum = folded(sum_of(&frame, places.l4_checksum) + varied + port);
        }
        plan.mask = mask;
        plan.scattered = u32::from(*order == Order::Scattered);
        Ok(plan)
    }

    /// The client of a flow.
    pub fn client(&self, flow: u32, first: IpAddr) -> (IpAddr, u16) {
        let further = (flow & (self.flows - 1)) >> PORT_BITS;
        let address = match first {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + further).into()),
            IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(further)).into()),
        };
        let port = FIRST_PORT + u16::try_from(flow & (self.flows - 1) & 0x3fff).unwrap_or(0);
        (address, port)
    }
}

/// Where things are in a frame.
struct Places {
    /// The last 32 bits of source and destination.
    addresses: [u32; 2],
    ports: [u32; 2],
    ip_checksum: Option<u32>,
    l4_checksum: u32,
}

impl Places {
    fn of(frame: &[u8]) -> Result<Self> {
        let (addresses, l4, ip_checksum, protocol) = match frame[12..14] {
            [0x08, 0x00] => ([26, 30], 34, Some(24), frame[23]),
            [0x86, 0xdd] => ([34, 50], 54, None, frame[20]),
            _ => anyhow::bail!("only frames of IP without tags"),
        };
        let l4_checksum = match protocol {
            6 => l4 + 16,
            17 => l4 + 6,
            other => anyhow::bail!("only TCP and UDP, not protocol {other}"),
        };
        Ok(Self { addresses, ports: [l4, l4 + 2], ip_checksum, l4_checksum })
    }
}

/// The field at `at`, whose base is what the frame has there.
fn field(frame: &[u8], at: u32, shift: u32, mask: Option<u32>) -> Field {
    let place = at as usize;
    let base =
        u32::from_be_bytes([frame[place], frame[place + 1], frame[place + 2], frame[place + 3]]);
    Field { at, base, shift, mask: mask.unwrap_or(0) }
}

/// Two bytes as they lie in memory.
fn half(frame: &[u8], at: u32) -> u32 {
    let at = at as usize;
    u32::from(u16::from_ne_bytes([frame[at], frame[at + 1]]))
}

/// What takes the two halves of a word out of a sum.
fn halves(frame: &[u8], at: u32) -> u32 {
    (0xffff - half(frame, at)) + (0xffff - half(frame, at + 2))
}

/// The sum of everything under the checksum at `at`.
fn sum_of(frame: &[u8], at: u32) -> u32 {
    0xffff - half(frame, at)
}

fn folded(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}
