//! What Services were given survives a kill at any moment: a child deals out and says what it has done, is
//! killed in the middle of it, and the next one finds all of that, and nothing given twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use lb_userspace::{
    control::{Config, ControlPlane, Missing, Objects},
    model::Service,
};

/// How often the child is killed.
const KILLS: u32 = 25;
/// How many Services there are in each step of a child.
const SERVICES: u64 = 40;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("deal-out"), Some(file), Some(first)) => {
            deal_out(Path::new(&file), first.parse().unwrap());
        }
        _ => killed_at_any_moment(),
    }
}

fn config() -> Config {
    // So little that many want the same, and what they get depends on who came first.
    Config {
        ranges: vec!["10.96.0.0/26".parse().unwrap(), "fd00:96::/122".parse().unwrap()],
        node_ports: "30000-30063".parse().unwrap(),
        pools: vec!["203.0.113.0/26".parse().unwrap()],
    }
}

fn service(number: u64) -> Arc<Service> {
    let object = serde_json::json!({
        "metadata": { "name": format!("s{number}") },
        "spec": { "type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack", "ports": [{ "port": 80 }] },
    });
    Arc::new(Service::try_from(&serde_json::from_value(object).unwrap()).unwrap())
}

/// The Services of a step. Neighbouring steps have half of them in common.
fn objects(step: u64) -> Objects {
    let numbers = (0..SERVICES).map(|index| (step / 2 * (index % 2) + index) % 200);
    let services = numbers.map(service).map(|service| (service.name.clone(), service)).collect();
    Objects { services, ..Objects::default() }
}

/// Everything that a step gave, as a line.
fn given(control: &mut ControlPlane, step: u64) -> String {
    let outcome = control.admit(&objects(step), &Missing::Named(BTreeSet::new())).unwrap();
    assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
    let mut line = format!("step {step}");
    for service in outcome.model.services.values() {
        let port = service.ports[0].node_port.unwrap();
        let balancer = &service.traffic.load_balancer_ips;
        let _ = write!(line, " {}={:?}/{port}/{balancer:?}", service.name, service.cluster_ips);
    }
    line.push_str(" end");
    line.replace(", ", ",")
}

fn deal_out(file: &Path, first: u64) {
    let mut control = ControlPlane::open(config(), file).unwrap();
    let mut out = std::io::stdout();
    for step in first.. {
        let line = given(&mut control, step);
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}

/// What a line says of each Service.
fn parse(line: &str) -> (u64, BTreeMap<String, String>) {
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("step"));
    let step = words.next().unwrap().parse().unwrap();
    let pairs = words.filter_map(|word| word.split_once('='));
    (step, pairs.map(|(name, what)| (name.to_owned(), what.to_owned())).collect())
}

fn killed_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state/lb.redb");
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut step = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("deal-out")
            .arg(&file)
            // The store may be one step further than what was said; who is in both steps was never away.
            .arg((step + 1).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Between one line and the next the child is at any point of a transaction.
        for index in 0..=kill % 4 {
            let (at, given) = parse(&lines.next().expect("the child goes on").unwrap());
            if index == 0 && kill > 0 {
                for (name, what) in &given {
                    let before = known.get(name);
                    assert!(
                        before.is_none_or(|before| before == what),
                        "{name}: {before:?} became {what}"
                    );
                }
            }
            (step, known) = (at, given);
        }
        for spin in 0..u64::from(kill) * 20_000 {
            std::hint::black_box(spin);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said and we had not read yet was written down as well.
        for line in lines.map_while(Result::ok) {
            if line.ends_with(" end") {
                (step, known) = parse(&line);
            }
        }
        let mut owners = BTreeMap::new();
        for (name, what) in &known {
            for one in what.split(['/', ',', '[', ']']).filter(|one| !one.is_empty()) {
                let other = owners.insert(one.to_owned(), name);
                assert!(other.is_none(), "{one} is {name}'s and {other:?}'s");
            }
        }
    }
    assert!(step > u64::from(KILLS), "children got on: {step}");
    println!(
        "test what_was_given_survives_a_kill_at_any_moment ... ok ({KILLS} kills, {step} steps)"
    );
}
