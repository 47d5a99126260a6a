//! The servers with real connections over loopback, at ports that the kernel chooses.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use super::*;

/// How long something may take.
const SOON: Duration = Duration::from_secs(10);

/// An answer: status, headers in lower case, and body.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

fn ask(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        headers: headers.map(|(key, value)| (key.to_lowercase(), value.to_owned())).collect(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}

/// Asks until it is so.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it didn't happen in {SOON:?}");
        thread::sleep(Duration::from_millis(5)); // tidy: polls with a deadline
    }
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn start(node: Option<SocketAddr>) -> Health {
    Health::start(Options { node, patience: Duration::ZERO }).unwrap()
}

fn web(port: u16, endpoints: usize) -> BTreeMap<ServiceName, (u16, usize)> {
    BTreeMap::from([(ServiceName::new("shop", "web"), (port, endpoints))])
}

#[test]
fn a_service_with_endpoints_here_is_well_in_both_families_and_one_without_is_not() {
    let (health, port) = (start(None), free_port());
    health.want(&web(port, 2), &Addresses::All, true);
    for ip in ["127.0.0.1", "::1"] {
        let answer = wait_for(|| ask(at(ip, port), "/whatever").ok());
        assert_eq!(answer.status, 200, "{ip}");
        assert_eq!(
            answer.body,
            json!({
                "service": { "namespace": "shop", "name": "web" },
                "localEndpoints": 2,
                "serviceProxyHealthy": true,
            })
        );
        for (key, value) in [
            ("content-type", "application/json"),
            ("x-content-type-options", "nosniff"),
            ("x-load-balancing-endpoint-weight", "2"),
        ] {
            assert_eq!(answer.headers.get(key).map(String::as_str), Some(value), "{key}");
        }
    }
    health.want(&web(port, 0), &Addresses::All, false);
    let answer = ask(at("127.0.0.1", port), "/").unwrap();
    assert_eq!((answer.status, &answer.body["localEndpoints"]), (503, &json!(0)));
    assert_eq!(answer.headers["x-load-balancing-endpoint-weight"], "0");

    health.want(&web(port, 1), &Addresses::All, false);
    health.pulse().behind();
    let answer = ask(at("127.0.0.1", port), "/").unwrap();
    assert_eq!((answer.status, &answer.body["serviceProxyHealthy"]), (503, &json!(false)));
    health.want(&BTreeMap::new(), &Addresses::All, false);
    wait_for(|| ask(at("127.0.0.1", port), "/").is_err().then_some(()));
}

#[test]
fn a_node_is_ill_when_it_leaves_and_live_as_long_as_changes_come_into_force() {
    let node = at("127.0.0.1", free_port());
    let health = start(Some(node));
    health.want(&BTreeMap::new(), &Addresses::All, false);
    let well = wait_for(|| ask(node, "/healthz").ok());
    assert_eq!((well.status, &well.body["nodeEligible"]), (200, &json!(true)));
    assert_eq!(well.body["lastUpdated"], well.body["currentTime"]);
    assert_eq!(well.headers["x-content-type-options"], "nosniff");
    let live = ask(node, "/livez").unwrap();
    assert_eq!((live.status, live.body.get("nodeEligible")), (200, None));
    assert_eq!(ask(node, "/other").unwrap().status, 404);

    health.want(&BTreeMap::new(), &Addresses::All, true);
    let leaving = ask(node, "/healthz").unwrap();
    assert_eq!((leaving.status, &leaving.body["nodeEligible"]), (503, &json!(false)));
    assert_eq!(ask(node, "/livez").unwrap().status, 200);

    health.want(&BTreeMap::new(), &Addresses::All, false);
    health.pulse().behind();
    for path in ["/healthz", "/livez"] {
        assert_eq!(ask(node, path).unwrap().status, 503, "{path}");
    }
    health.pulse().in_force();
    assert_eq!(ask(node, "/healthz").unwrap().status, 200);
}

#[test]
fn a_port_that_is_taken_is_told_and_had_when_it_is_free_and_others_go_on() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, other) = (taken.local_addr().unwrap().port(), free_port());
    let health = start(Some(at("127.0.0.1", other)));
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    health.want(&web(port, 1), &Addresses::These(BTreeSet::from([here])), false);
    wait_for(|| ask(at("127.0.0.1", other), "/healthz").ok());
    let told = wait_for(|| health.told().into_iter().find(|one| one.problem.is_some()));
    assert_eq!((told.subject.as_str(), told.address), ("shop/web", at("127.0.0.1", port)));
    assert_eq!(told.local_endpoints, Some(1));
    assert!(told.problem.unwrap().contains("in use"));
    drop(taken);
    let answer = wait_for(|| ask(at("127.0.0.1", port), "/").ok());
    assert_eq!(answer.status, 200);
    wait_for(|| health.told().iter().all(|one| one.problem.is_none()).then_some(()));
}
