//! What Services would be given: what they have then, less what is written and what they have now.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use crate::{
    control::Objects,
    model::{Service, ServiceName},
    source::Snapshot,
    state::ServiceObject,
};

/// What a Service would be given. Who is first when it comes to it may be given something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// Namespace and name.
    pub service: String,
    /// Cluster IPs.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<IpAddr>,
    /// Node ports by the names of its ports, or their numbers.
    pub node_ports: BTreeMap<String, u16>,
    /// Addresses of its load balancer.
    pub load_balancer: Vec<IpAddr>,
}

/// What is new for whom.
pub fn new(written: &Objects, snapshot: &Snapshot, now: &[ServiceObject]) -> Vec<Given> {
    let now: BTreeMap<&str, &ServiceObject> =
        now.iter().map(|object| (object.service.as_str(), object)).collect();
    let each = ServiceObject::all(snapshot).into_iter().zip(snapshot.model.services.keys());
    let given = each.filter_map(|(then, name)| {
        let written = written.services.get(name)?;
        let given = of(&then, name, written, now.get(then.service.as_str()).copied());
        let nothing = Given { service: given.service.clone(), ..Given::default() };
        (given != nothing).then_some(given)
    });
    given.collect()
}

fn of(
    then: &ServiceObject,
    name: &ServiceName,
    written: &Service,
    now: Option<&ServiceObject>,
) -> Given {
    let nothing = ServiceObject::default();
    let now = now.unwrap_or(&nothing);
    let has = |object: &ServiceObject, ip: IpAddr| {
        object.load_balancer.ingress.iter().any(|ingress| ingress.ip == ip)
    };
    let is_new = |ip: &IpAddr| !written.cluster_ips.contains(ip) && !now.cluster_ips.contains(ip);
    let node_ports = then.node_ports.iter().filter(|(port, number)| {
        let mut ports = written.ports.iter().filter_map(|one| one.node_port);
        now.node_ports.get(*port) != Some(number) && !ports.any(|one| one.get() == **number)
    });
    let ingress = then.load_balancer.ingress.iter().map(|ingress| ingress.ip);
    let published = &written.traffic.load_balancer_ips;
    Given {
        service: name.to_string(),
        cluster_ips: then.cluster_ips.iter().copied().filter(is_new).collect(),
        node_ports: node_ports.map(|(name, number)| (name.clone(), *number)).collect(),
        load_balancer: ingress.filter(|ip| !published.contains(ip) && !has(now, *ip)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{Config, ControlPlane},
        source::manifests::examine,
    };

    const OPEN: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: LoadBalancer\n  \
                        ports: [{name: a, port: 80}, {name: b, port: 81, nodePort: 30081}]\n";

    #[test]
    fn what_is_written_and_what_is_there_is_not_given() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("web.yaml");
        let ranges = vec!["10.96.0.0/16".parse().unwrap()];
        let pools = vec!["203.0.113.7/32".parse().unwrap()];
        let config = Config { ranges, pools, ..Config::default() };
        let plan = |text: &str, now: &[ServiceObject]| {
            std::fs::write(&file, text).unwrap();
            let ledger = now.iter().filter_map(ServiceObject::record).collect();
            let mut control = ControlPlane::knowing(config.clone(), ledger);
            let examined = examine(directory.path(), &mut control).unwrap();
            assert_eq!(examined.snapshot.problems, []);
            let objects = ServiceObject::all(&examined.snapshot);
            (new(&examined.objects, &examined.snapshot, now), objects)
        };
        let (given, then) = plan(OPEN, &[]);
        assert_eq!(given.len(), 1);
        assert_eq!(given[0].cluster_ips, then[0].cluster_ips);
        assert_eq!(given[0].node_ports.keys().collect::<Vec<_>>(), ["a"], "b's is written");
        assert_eq!(given[0].load_balancer, [IpAddr::from([203, 0, 113, 7])]);
        assert_eq!(plan(OPEN, &then).0, [], "it has all of it");
        let more = OPEN.replace("port: 80}", "port: 80}, {name: c, port: 82}");
        let (given, _) = plan(&more, &then);
        assert_eq!(given.len(), 1);
        assert_eq!(given[0].node_ports.keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!((given[0].cluster_ips.len(), given[0].load_balancer.len()), (0, 0));
        let written = format!("{OPEN}  clusterIP: 10.96.0.9\n");
        assert_eq!(plan(&written, &[]).0[0].cluster_ips, [] as [IpAddr; 0]);
    }
}
