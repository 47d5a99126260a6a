//! The services that are loaded: as objects of the model, as manifests, and as the peers' rules, all the same.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    sync::Arc,
};

use anyhow::{Result, ensure};
use lb_tests::{
    bench::peers::{self, Setup},
    lab::cast::NODE1,
};
use lb_userspace::model::{
    self, Endpoint, EndpointPort, EndpointSlice, Family, Hints, Model, Port, Proxying, ServiceName,
    ServicePort, ServiceType, SliceName, TargetPort, Traffic,
};

/// The services' port.
pub const PORT: u16 = 80;
/// The endpoints' port.
pub const BACKEND_PORT: u16 = 8080;

/// How many services, and how many endpoints each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Services, each with one port and one address.
    pub services: u32,
    /// Endpoints of each.
    pub endpoints: u32,
}

impl Size {
    /// All endpoints together.
    pub const fn all_endpoints(self) -> u32 {
        self.services * self.endpoints
    }

    fn name(service: u32) -> String {
        format!("service-{service}")
    }

    /// A service's address, from 10.64.0.0/10.
    pub fn address(service: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() + 1 + service)
    }

    /// The addresses of a service's endpoints, from 10.128.0.0/9, but for the first few; no two are the same.
    fn addresses(self, service: u32, without: u32) -> impl Iterator<Item = Ipv4Addr> {
        let first = Ipv4Addr::new(10, 128, 0, 1).to_bits() + service * self.endpoints;
        (without..self.endpoints).map(move |endpoint| Ipv4Addr::from_bits(first + endpoint))
    }

    /// All of it as checked objects, which is what a source hands on.
    pub fn model(self) -> Result<Model> {
        let services = (0..self.services).map(|service| Arc::new(Self::service(service)));
        let slices = (0..self.services).map(|service| Arc::new(self.slice(service, 0)));
        let (model, conflicts) = Model::assemble(services, slices);
        ensure!(conflicts.is_empty(), "services that can't be in force together: {conflicts:?}");
        Ok(model)
    }

    fn service(service: u32) -> model::Service {
        model::Service {
            name: ServiceName::new("default", Self::name(service)),
            service_type: ServiceType::ClusterIp,
            proxying: Proxying::Here,
            cluster_ips: vec![Self::address(service).into()],
            ports: vec![ServicePort {
                name: None,
                protocol: model::Protocol::Tcp,
                port: port(PORT),
                target: TargetPort::Number(port(BACKEND_PORT)),
                node_port: None,
                app_protocol: None,
            }],
            traffic: Traffic::default(),
            pods: model::Pods::default(),
            wishes: model::Wishes::default(),
        }
    }

    /// A service's endpoints but for the first few.
    pub fn slice(self, service: u32, without: u32) -> EndpointSlice {
        let endpoint = |address: Ipv4Addr| Endpoint {
            address: address.into(),
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            zone: None,
            hints: Hints::default(),
            weight: 1,
        };
        EndpointSlice {
            name: SliceName::new("default", Self::name(service)),
            service: Some(ServiceName::new("default", Self::name(service))),
            family: Family::V4,
            endpoints: self.addresses(service, without).map(endpoint).collect(),
            ports: vec![EndpointPort {
                name: None,
                protocol: model::Protocol::Tcp,
                port: port(BACKEND_PORT),
                app_protocol: None,
            }],
        }
    }

    /// Some of the services as the peers are given them, the first of these without its first few endpoints.
    pub fn setup(self, services: Range<u32>, without: u32) -> Setup {
        let first = services.start;
        let service = |service| {
            let addresses = self.addresses(service, if service == first { without } else { 0 });
            peers::Service {
                name: Self::name(service),
                protocol: peers::Protocol::Tcp,
                address: Self::address(service).into(),
                port: PORT,
                node_port: None,
                endpoints: addresses.map(|one| SocketAddr::new(one.into(), BACKEND_PORT)).collect(),
            }
        };
        Setup {
            node_addresses: vec![NODE1.v4.into()],
            cluster_cidrs: vec![(IpAddr::V4(Ipv4Addr::new(10, 128, 0, 0)), 9)],
            services: services.map(service).collect(),
        }
    }
}

impl fmt::Display for Size {
    /// The number of services as it stands in tables and at axes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.services {
            few @ 0..1000 => few.fmt(f),
            many => write!(f, "{},{:03}", many / 1000, many % 1000),
        }
    }
}

fn port(number: u16) -> Port {
    Port::new(number).expect("not 0")
}
