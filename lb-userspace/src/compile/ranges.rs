//! Cluster IPs outside the ranges that are kept for them: such a Service is refused, as the API server
//! does it. A family without a range refuses nobody.

use std::borrow::Cow;

use crate::model::{Conflict, Family, Invalid, IpRange, Model, ObjectRef, Rule, Service};

/// The model without the Services that are refused, and why they are.
pub(super) fn without_strangers<'a>(
    model: &'a Model,
    ranges: &[IpRange],
) -> (Cow<'a, Model>, Vec<Conflict>) {
    let conflicts: Vec<Conflict> =
        model.services.values().flat_map(|service| strange(service, ranges)).collect();
    if conflicts.is_empty() {
        return (Cow::Borrowed(model), conflicts);
    }
    let mut model = model.clone();
    model.services.retain(|_, service| strange(service, ranges).next().is_none());
    (Cow::Owned(model), conflicts)
}

fn strange<'a>(
    service: &'a Service,
    ranges: &'a [IpRange],
) -> impl Iterator<Item = Conflict> + use<'a> {
    service.cluster_ips.iter().enumerate().filter_map(move |(index, address)| {
        let family = Family::of(*address);
        let range = ranges.iter().find(|range| Family::of(range.address) == family)?;
        if range.contains(*address) {
            return None;
        }
        let rule = Rule::ClusterIpRange { address: *address, range: *range };
        let invalid = Invalid::new(format!("spec.clusterIPs[{index}]"), rule);
        Some(Conflict { object: ObjectRef::from(&service.name), invalid })
    })
}
