//! Services with what they were given.

use std::fmt::Display;

use comfy_table::Table;

use super::table;
use crate::state::ServiceObject;

/// Services, a row each.
pub fn objects(objects: &[ServiceObject]) -> Table {
    let mut table = table(&["SERVICE", "TYPE", "CLUSTER IPS", "NODE PORTS", "LOAD BALANCER"]);
    for object in objects {
        let ports = object.node_ports.iter().map(|(name, port)| format!("{name} {port}"));
        let ingress = object.load_balancer.ingress.iter().map(|ingress| ingress.ip.to_string());
        let pending = object.pending.iter().map(|why| format!("pending: {why}"));
        table.add_row(vec![
            object.service.clone(),
            object.service_type.clone(),
            lines(object.cluster_ips.iter()),
            lines(ports),
            lines(ingress.chain(pending)),
        ]);
    }
    table
}

fn lines(all: impl Iterator<Item = impl Display>) -> String {
    let all: Vec<String> = all.map(|one| one.to_string()).collect();
    if all.is_empty() { "-".to_owned() } else { all.join("\n") }
}
