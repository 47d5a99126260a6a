//! Cluster IPs outside the ranges that are kept for them: such a Service is refused, as the API server
//! does it. A family without a range refuses nobody.

use std::net::IpAddr;

use crate::model::{Conflict, Family, Invalid, IpRange, ObjectRef, Rule, Service};

/// Why a Service is refused.
pub(super) fn strange(service: &Service, ranges: &[IpRange]) -> Vec<Conflict> {
    let conflict = |(index, address): (usize, &IpAddr)| {
        let family = Family::of(*address);
        let range = ranges.iter().find(|range| Family::of(range.address) == family)?;
        if range.contains(*address) {
            return None;
        }
        let rule = Rule::ClusterIpRange { address: *address, range: *range };
        let invalid = Invalid::new(format!("spec.clusterIPs[{index}]"), rule);
        Some(Conflict { object: ObjectRef::from(&service.name), invalid })
    };
    service.cluster_ips.iter().enumerate().filter_map(conflict).collect()
}
