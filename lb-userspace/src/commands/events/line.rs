//! One event in words: numbers become names, and what the programs did not say is looked up in the tables,
//! as they are a moment later.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use lb_common::{
    addr::{Address, Ipv4, Ipv6, Port},
    hook::Hook,
    tables::{BackendRef, FlowKey, FrontendKey, Sample},
    verdict::COUNTER_INFO,
    wire::{L4, Protocol},
};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::{
    dataplane::Tables,
    state::{ServiceState, State},
};

/// How long names are taken as they were read.
const FRESH: Duration = Duration::from_secs(1);

/// An event as it is shown. The names of the fields are those of `-o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// RFC 3339, to the microsecond.
    time: String,
    /// `workload-in`, `workload-out`, `uplink-in`, `uplink-out`.
    hook: &'static str,
    /// The interface's name, or its index.
    interface: String,
    /// The counter's name.
    event: &'static str,
    protocol: String,
    source: SocketAddr,
    destination: SocketAddr,
    /// Namespace, name and port of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The endpoint that has the flow; of `another_tried`, the one that did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, hook, interface, event, protocol, source, destination, .. } = self;
        write!(f, "{time} {hook} {interface} {event} {protocol} {source} -> {destination}")?;
        if let Some(service) = &self.service {
            write!(f, " service {service}")?;
        }
        if let Some(endpoint) = self.endpoint {
            write!(f, " endpoint {endpoint}")?;
        }
        Ok(())
    }
}

/// What numbers mean.
pub struct Names<'a> {
    tables: &'a Tables,
    file: PathBuf,
    /// When the file was read.
    read: Option<Instant>,
    services: BTreeMap<u32, ServiceState>,
    interfaces: BTreeMap<u32, String>,
    /// When the kernel's clock was 0.
    zero: SystemTime,
}

impl<'a> Names<'a> {
    /// From the tables, and the file in which `lb run` tells its names.
    pub fn new(tables: &'a Tables, file: PathBuf) -> Result<Self> {
        let since: Duration =
            clock_gettime(ClockId::CLOCK_MONOTONIC).context("can't read the clock")?.into();
        Ok(Self {
            tables,
            file,
            read: None,
            services: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            zero: SystemTime::now() - since,
        })
    }

    fn refresh(&mut self) -> Result<()> {
        if self.read.is_some_and(|read| read.elapsed() < FRESH) {
            return Ok(());
        }
        let state = State::read(&self.file)?.unwrap_or_default();
        self.services = state.services.into_iter().map(|one| (one.id, one)).collect();
        let attached = state.attached.into_iter();
        self.interfaces = attached.map(|one| (one.ifindex, one.interface)).collect();
        self.read = Some(Instant::now());
        Ok(())
    }

    /// An event in words.
    pub fn line(&mut self, sample: &Sample) -> Result<Line> {
        self.refresh()?;
        let ip = |address: Ipv6| match sample.version {
            4 => IpAddr::V4(address.unmapped().into()),
            _ => IpAddr::V6(address.into()),
        };
        let socket = |address, port: Port| SocketAddr::new(ip(address), port.to_host());
        let (service, endpoint) = match sample.backend.generation {
            0 => self.owner(sample)?,
            _ => (Some(sample.service), self.endpoint(sample.backend)),
        };
        let name = |id: u32| match self.services.get(&id) {
            Some(one) => format!("{}:{}", one.service, one.port),
            None => format!("number {id}"),
        };
        let interface = self.interfaces.get(&sample.ifindex).cloned();
        let info = COUNTER_INFO.iter().find(|info| info.index == sample.what);
        let time = self.zero + Duration::from_nanos(sample.time);
        Ok(Line {
            time: humantime::format_rfc3339_micros(time).to_string(),
            hook: hook(sample.hook),
            interface: interface.unwrap_or_else(|| sample.ifindex.to_string()),
            event: info.map_or("unknown", |info| info.name),
            protocol: protocol(sample.protocol),
            source: socket(sample.source, sample.source_port),
            destination: socket(sample.destination, sample.destination_port),
            service: service.map(name),
            endpoint,
        })
    }

    /// The service of a packet that was dropped, and the endpoint if it has a flow.
    fn owner(&self, sample: &Sample) -> Result<(Option<u32>, Option<SocketAddr>)> {
        let ports = (sample.source_port, sample.destination_port);
        let (flow, frontend) = if sample.version == 4 {
            let (source, destination) = (sample.source.unmapped(), sample.destination.unmapped());
            let flow = key(sample, (source, ports.0), (destination, ports.1));
            (self.flow_v4(flow)?, self.tables.frontends_v4.get(&frontend(sample, destination))?)
        } else {
            let flow = key(sample, (sample.source, ports.0), (sample.destination, ports.1));
            let frontend = frontend(sample, sample.destination);
            (self.flow_v6(flow)?, self.tables.frontends_v6.get(&frontend)?)
        };
        if let Some((service, backend)) = flow {
            return Ok((Some(service), self.endpoint(backend)));
        }
        Ok((frontend.map(|leads| leads.service), None))
    }

    fn flow_v4(&self, key: Option<FlowKey<Ipv4>>) -> Result<Option<(u32, BackendRef)>> {
        let Some(key) = key else { return Ok(None) };
        let flow = match self.tables.flows_v4.get(&key)? {
            None => self.tables.new_flows_v4.get(&key)?,
            found => found,
        };
        Ok(flow.map(|flow| (flow.service, flow.backend)))
    }

    fn flow_v6(&self, key: Option<FlowKey<Ipv6>>) -> Result<Option<(u32, BackendRef)>> {
        let Some(key) = key else { return Ok(None) };
        let flow = match self.tables.flows_v6.get(&key)? {
            None => self.tables.new_flows_v6.get(&key)?,
            found => found,
        };
        Ok(flow.map(|flow| (flow.service, flow.backend)))
    }

    /// Where a backend is, if it still is there.
    fn endpoint(&self, backend: BackendRef) -> Option<SocketAddr> {
        let line = self.tables.backend(backend.id)?;
        if line.generation != backend.generation {
            return None;
        }
        let address = match IpAddr::from(std::net::Ipv6Addr::from(line.address)) {
            IpAddr::V6(address) => address.to_canonical(),
            address @ IpAddr::V4(_) => address,
        };
        Some(SocketAddr::new(address, line.port.to_host()))
    }
}

/// The key of the flow that a packet has, or would have.
fn key<A: Address>(
    sample: &Sample,
    source: (A, Port),
    destination: (A, Port),
) -> Option<FlowKey<A>> {
    let hook = Hook::from_role(sample.hook)?;
    Some(FlowKey::new(hook, L4::of(Protocol(sample.protocol))?, source, destination))
}

fn frontend<A: Address>(sample: &Sample, address: A) -> FrontendKey<A> {
    FrontendKey::new(address, sample.destination_port, Protocol(sample.protocol))
}

const fn hook(role: u8) -> &'static str {
    match Hook::from_role(role) {
        Some(Hook::WorkloadIn) => "workload-in",
        Some(Hook::WorkloadOut) => "workload-out",
        Some(Hook::UplinkIn) => "uplink-in",
        Some(Hook::UplinkOut) => "uplink-out",
        Some(Hook::HostOut) => "host-out",
        None => "unknown",
    }
}

fn protocol(number: u8) -> String {
    match Protocol(number) {
        Protocol::TCP => "TCP".to_owned(),
        Protocol::UDP => "UDP".to_owned(),
        Protocol::SCTP => "SCTP".to_owned(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known_and_nothing_else() {
        let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
        let dropped = Line {
            time: "2026-01-01T00:00:00.000000Z".to_owned(),
            hook: hook(Hook::UplinkIn as u8),
            interface: "eth0".to_owned(),
            event: "drop_no_backend",
            protocol: protocol(Protocol::TCP.0),
            source: socket("192.0.2.1:5000"),
            destination: socket("[fd00::1]:80"),
            service: None,
            endpoint: None,
        };
        assert_eq!(
            dropped.to_string(),
            "2026-01-01T00:00:00.000000Z uplink-in eth0 drop_no_backend TCP 192.0.2.1:5000 -> [fd00::1]:80"
        );
        let begun = Line {
            service: Some("default/web:http".to_owned()),
            endpoint: Some(socket("10.0.0.1:8080")),
            ..dropped.clone()
        };
        let said = begun.to_string();
        assert!(said.ends_with("service default/web:http endpoint 10.0.0.1:8080"), "{said}");
        let json = serde_json::to_value(&dropped).unwrap();
        assert_eq!(json["event"], "drop_no_backend");
        assert!(json.get("endpoint").is_none());
    }
}
