//! The settings that the programs are given at the start.

use anyhow::{Context as _, Result};
use lb_common::{
    pipeline::Bucket,
    tables::{AddressRange, SnatPorts},
};

use crate::{
    dataplane::{Clock, NO_HASH_KEY, Settings, Tables},
    devices::{self, Sysctls},
    model::{IpRange, NodePortRange},
};

/// The settings of new tables, or of old ones: their secret stays, because flows are found by it.
pub fn settings(
    tables: &Tables,
    clock: Clock,
    ranges: &[IpRange],
    node_ports: NodePortRange,
    sample_events: u32,
) -> Result<Settings> {
    let hash_key = match tables.hash_key() {
        NO_HASH_KEY => {
            let mut secret = [0_u64; 2];
            getrandom::fill(bytemuck::bytes_of_mut(&mut secret)).context(
                "the kernel gave no random numbers for the secret that tuples are hashed with",
            )?;
            secret
        }
        key => key,
    };
    let snat_ports = source_ports(node_ports)?;
    // Flows of an earlier run may have ports of another range.
    let (before, replies) = tables.source_ports();
    let v4 = ranges.iter().find_map(IpRange::masked_v4);
    let v6 = ranges.iter().find_map(IpRange::masked_v6);
    Ok(Settings {
        snat_ports,
        reply_ports: replies.hull(before).hull(snat_ports),
        sample_events,
        graduate_udp: true,
        touch_interval: clock.hz,
        answers: Bucket::SIZE,
        hash_key,
        hz: clock.hz,
        service_range_v4: v4.map(address_range).unwrap_or_default(),
        service_range_v6: v6.map(address_range).unwrap_or_default(),
    })
}

/// The ports for SNAT, as the host's settings leave them now.
pub fn source_ports(node_ports: NodePortRange) -> Result<SnatPorts> {
    let sysctls = Sysctls::read()?;
    let node_ports = (node_ports.first, node_ports.last);
    devices::snat_ports(sysctls.local_ports, node_ports, &sysctls.reserved_ports)
        .context("net.ipv4.ip_local_port_range and ip_local_reserved_ports leave no ports for source NAT; make one of them smaller")
}

/// A range as the programs have it.
fn address_range<T, A: From<T>>((base, mask): (T, T)) -> AddressRange<A> {
    AddressRange { base: base.into(), mask: mask.into() }
}
