//! What the control plane makes of a directory, while it changes.

use std::net::IpAddr;

use super::*;
use crate::{
    control::{Config, ControlPlane},
    model::Proxying,
};

fn open(bed: &Bed) -> (Snapshot, ManifestSource) {
    let ranges = vec!["10.96.0.0/24".parse().unwrap()];
    let pools = vec!["203.0.113.0/30".parse().unwrap()];
    let config = Config { ranges, pools, ..Config::default() };
    let control = ControlPlane::open(config, &bed.root.path().join("state/lb.redb")).unwrap();
    ManifestSource::open_with(&bed.path(), control).unwrap()
}

fn pod(name: &str, last: u8, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {{nodeName: \
         node-1, containers: [{{name: c}}]}}\nstatus: {{podIP: 10.1.0.{last}}}\n"
    )
}

const WEB: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, labels: {}}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

fn endpoints(snapshot: &Snapshot) -> Vec<String> {
    let slices = snapshot.model.slices.values();
    let endpoints = slices.flat_map(|slice| &slice.endpoints);
    endpoints.map(|endpoint| format!("{}@{:?}", endpoint.address, endpoint.zone)).collect()
}

fn addresses(snapshot: &Snapshot) -> Vec<IpAddr> {
    let service = snapshot.model.services.values().next().unwrap();
    service.cluster_ips.iter().chain(&service.traffic.load_balancer_ips).copied().collect()
}

#[tokio::test]
async fn endpoints_follow_pods_and_nodes_as_their_files_change() {
    let bed = Bed::new();
    bed.write("web.yaml", WEB);
    let (snapshot, mut source) = open(&bed);
    assert_eq!(problems(&bed, &snapshot), [""; 0]);
    assert_eq!(endpoints(&snapshot), [""; 0]);
    bed.write("p1.yaml", &pod("p1", 1, "app: web"));
    let snapshot = until(&mut source, snapshot, |s| endpoints(s) == ["10.1.0.1@None"]).await;
    bed.write("p2.yaml", &pod("p2", 2, "app: web, tier: x"));
    let node = "metadata: {name: node-1, labels: {topology.kubernetes.io/zone: a}}";
    bed.write("n.yaml", &format!("apiVersion: v1\nkind: Node\n{node}\n"));
    let both = ["10.1.0.1@Some(\"a\")", "10.1.0.2@Some(\"a\")"];
    let snapshot = until(&mut source, snapshot, |s| endpoints(s) == both).await;
    bed.write("p1.yaml", &pod("p1", 1, "app: other"));
    let snapshot = until(&mut source, snapshot, |s| endpoints(s) == both[1..]).await;
    bed.write("web.yaml", &WEB.replace("app: web", "app: other"));
    until(&mut source, snapshot, |s| endpoints(s) == both[..1]).await;
}

#[tokio::test]
async fn a_change_that_is_refused_is_named_and_mended_by_the_file() {
    let bed = Bed::new();
    bed.write("web.yaml", WEB);
    let (snapshot, mut source) = open(&bed);
    let before = addresses(&snapshot);
    assert_eq!(before.len(), 2, "a cluster IP and one of the pool");
    bed.write("web.yaml", &WEB.replace("  selector", "  clusterIP: 10.96.0.9\n  selector"));
    let snapshot = until(&mut source, snapshot, |s| !s.problems.is_empty()).await;
    assert_eq!(
        problems(&bed, &snapshot),
        [
            "web.yaml:1:1: Service default/web: spec.clusterIPs[0]: Invalid value: [10.96.0.9]: may not change \
          once set; to change it, remove the Service and make it anew (the object stays in force as it last \
          was right)"
        ]
    );
    assert_eq!(addresses(&snapshot), before);
    bed.write("web.yaml", WEB);
    let snapshot = until(&mut source, snapshot, |s| s.problems.is_empty()).await;
    assert_eq!(addresses(&snapshot), before);
}

#[tokio::test]
async fn a_service_is_left_to_another_proxy_and_taken_back_as_its_label_comes_and_goes() {
    let bed = Bed::new();
    bed.write("web.yaml", WEB);
    let (mut snapshot, mut source) = open(&bed);
    let proxying = |s: &Snapshot| s.model.services.values().next().unwrap().proxying;
    for label in ["service-proxy-name: other", "headless: \"\""] {
        let labels = format!("labels: {{service.kubernetes.io/{label}}}");
        bed.write("web.yaml", &WEB.replace("labels: {}", &labels));
        snapshot = until(&mut source, snapshot, |s| proxying(s) == Proxying::LeftAlone).await;
        bed.write("web.yaml", WEB);
        snapshot = until(&mut source, snapshot, |s| proxying(s) == Proxying::Here).await;
    }
}

#[test]
fn a_service_whose_file_is_broken_at_the_start_keeps_what_it_has() {
    let bed = Bed::new();
    bed.write("web.yaml", WEB);
    let before = addresses(&open(&bed).0);
    for broken in ["kind: [", &WEB.replace("port: 80", "port: 0")] {
        bed.write("web.yaml", broken);
        let wanted = format!("name: other\nspec:\n  clusterIP: {}", before[0]);
        let other = WEB
            .replace("metadata: {name: web, labels: {}}\nspec:", &format!("metadata:\n  {wanted}"));
        bed.write("other.yaml", &other);
        let (snapshot, _source) = open(&bed);
        let said = problems(&bed, &snapshot).join("\n");
        assert!(
            said.contains("provided IP is already allocated, to Service default/web"),
            "{said}"
        );
        assert_eq!(snapshot.model.services.len(), 0);
    }
    fs::remove_file(bed.file("web.yaml")).unwrap();
    let (snapshot, _source) = open(&bed);
    assert_eq!(problems(&bed, &snapshot), [""; 0], "what is removed is given back");
}

#[test]
fn a_load_balancer_without_an_address_is_served_and_named() {
    let bed = Bed::new();
    let all = (0..5).map(|number| WEB.replace("name: web", &format!("name: w{number}")));
    bed.write("all.yaml", &all.collect::<Vec<_>>().join("---\n"));
    let (snapshot, _source) = open(&bed);
    assert_eq!(problems(&bed, &snapshot), [""; 0]);
    assert_eq!(snapshot.model.services.len(), 5);
    let pending: Vec<_> =
        snapshot.pending.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert_eq!(
        pending,
        ["default/w4: no public IPv4 address is left for it; give another --lb-pool"]
    );
}
