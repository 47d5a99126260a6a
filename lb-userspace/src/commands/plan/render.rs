//! A plan for people: a line for each service that is different, and one for each difference.

use std::fmt::Write as _;

use super::{Given, Report};
use crate::plan::{Delta, Difference, Fate};

impl Report {
    /// The text.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for one in &self.services {
            service(&mut text, one);
        }
        // Writing to a string can't fail.
        for one in &self.given {
            let _ = writeln!(text, "would be given to {}: {}", one.service, given(one));
        }
        for (service, why) in &self.pending {
            let _ = writeln!(text, "no address for the load balancer of {service}: {why}");
        }
        for conflict in &self.conflicts {
            let _ = writeln!(text, "not served: {conflict}");
        }
        let count = |fate| self.services.iter().filter(|one| one.change == fate).count();
        let _ = writeln!(
            text,
            "{} to add, {} to change, {} to remove, {} as they are",
            count(Fate::Added),
            count(Fate::Changed),
            count(Fate::Removed),
            self.unchanged
        );
        text
    }
}

fn service(text: &mut String, one: &Difference) {
    let sign = match one.change {
        Fate::Added => '+',
        Fate::Changed => '~',
        Fate::Removed => '-',
    };
    let Difference { service, port, protocol, family, .. } = one;
    let _ = writeln!(text, "{sign} {service}:{port}/{protocol} {family}");
    delta(text, "frontend", &one.frontends);
    delta(text, "endpoint", &one.endpoints);
    delta(text, "source range", &one.source_ranges);
    // What new flows choose from is news where it is not what endpoints come and go.
    if one.all != one.endpoints {
        delta(text, "endpoint for new flows", &one.all);
    }
    for (clients, choice) in [("internal", &one.internal), ("external", &one.external)] {
        if *choice != one.all {
            delta(text, &format!("endpoint for {clients} clients"), choice);
        }
    }
    for rule in &one.rules {
        let _ = writeln!(text, "    ~ {}: {} → {}", rule.what, rule.before, rule.after);
    }
}

fn delta(text: &mut String, what: &str, delta: &Delta) {
    for (sign, all) in [('-', &delta.removed), ('+', &delta.added)] {
        for one in all {
            let _ = writeln!(text, "    {sign} {what} {one}");
        }
    }
}

fn given(one: &Given) -> String {
    let cluster_ips = one.cluster_ips.iter().map(|ip| format!("cluster IP {ip}"));
    let node_ports = one.node_ports.iter().map(|(name, port)| format!("node port {port} ({name})"));
    let ingress = one.load_balancer.iter().map(|ip| format!("load balancer's address {ip}"));
    cluster_ips.chain(node_ports).chain(ingress).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::Rule;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|&one| one.to_owned()).collect()
    }

    #[test]
    fn a_difference_is_a_line_and_what_follows_from_another_is_not_repeated() {
        let endpoints = Delta { added: texts(&["10.1.0.2:80"]), removed: texts(&["10.1.0.1:80"]) };
        let changed = Difference {
            service: "default/web".to_owned(),
            port: "http".to_owned(),
            protocol: "TCP".to_owned(),
            family: "IPv4".to_owned(),
            change: Fate::Changed,
            frontends: Delta::default(),
            endpoints: endpoints.clone(),
            all: endpoints.clone(),
            internal: endpoints,
            external: Delta { added: Vec::new(), removed: texts(&["10.1.0.1:80"]) },
            source_ranges: Delta::default(),
            rules: vec![Rule { what: "affinity", before: "none".into(), after: "60 s".into() }],
        };
        let given = Given {
            service: "default/web".to_owned(),
            cluster_ips: vec![[10, 96, 0, 1].into()],
            node_ports: [("http".to_owned(), 30080)].into(),
            ..Given::default()
        };
        let report = Report {
            instance: "lb".to_owned(),
            services: vec![changed],
            unchanged: 3,
            given: vec![given],
            conflicts: Vec::new(),
            pending: BTreeMap::new(),
        };
        let expected = "\
~ default/web:http/TCP IPv4
    - endpoint 10.1.0.1:80
    + endpoint 10.1.0.2:80
    - endpoint for external clients 10.1.0.1:80
    ~ affinity: none → 60 s
would be given to default/web: cluster IP 10.96.0.1, node port 30080 (http)
0 to add, 1 to change, 0 to remove, 3 as they are
";
        assert_eq!(report.render(), expected);
    }
}
