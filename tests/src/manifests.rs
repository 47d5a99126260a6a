//! A directory of manifests for `lb run`, written as a person would, changed as a test goes on.

use std::{
    fmt::Write as _,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    lab::cast::{Family, Name},
    traffic::Protocol,
};

/// A Service with one port for each protocol, dual stack.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, in the namespace `default`.
    pub name: &'static str,
    /// Its cluster IPs, IPv4 first.
    pub cluster_ips: Vec<IpAddr>,
    /// Its port, for TCP and UDP.
    pub port: u16,
    /// Its node port, for TCP and UDP; `None`: a `ClusterIP` Service.
    pub node_port: Option<u16>,
}

/// An endpoint as it stands in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Where it listens, for TCP and UDP.
    pub address: SocketAddr,
    /// Ready, or else terminating and still serving.
    pub ready: bool,
    /// The number of the node that it is on; `None`: the slice doesn't say.
    pub node: Option<u8>,
}

/// A directory of manifests that goes away with this value.
#[derive(Debug)]
pub struct Manifests {
    directory: PathBuf,
    keep: bool,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Endpoint {
    /// A ready endpoint.
    pub const fn ready(address: SocketAddr) -> Self {
        Self { address, ready: true, node: None }
    }

    /// An endpoint that is going, but still serves what it has.
    pub const fn terminating(address: SocketAddr) -> Self {
        Self { address, ready: false, node: None }
    }

    /// The same on a node, whose name is that of the cast: `node1`.
    #[must_use]
    pub const fn on(self, node: u8) -> Self {
        Self { node: Some(node), ..self }
    }
}

impl Service {
    /// The manifest.
    pub fn to_yaml(&self) -> String {
        let ips: Vec<String> = self.cluster_ips.iter().map(ToString::to_string).collect();
        let kind = if self.node_port.is_some() { "NodePort" } else { "ClusterIP" };
        let mut yaml = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  namespace: default\nspec:\n  \
             type: {kind}\n  clusterIP: \"{}\"\n  clusterIPs: {ips:?}\n  ipFamilyPolicy: PreferDualStack\n  \
             ports:\n",
            self.name, ips[0],
        );
        for protocol in Protocol::BOTH {
            let name = port_name(protocol);
            // Writing to a string can't fail.
            let _ = writeln!(
                yaml,
                "  - name: {name}\n    protocol: {}\n    port: {}",
                name.to_uppercase(),
                self.port
            );
            if let Some(node_port) = self.node_port {
                let _ = writeln!(yaml, "    nodePort: {node_port}");
            }
        }
        yaml
    }

    /// The manifest of a slice with these endpoints; all of one family and one port.
    pub fn slice(&self, family: Family, port: u16, endpoints: &[Endpoint]) -> String {
        let (label, kind) = match family {
            Family::V4 => ("v4", "IPv4"),
            Family::V6 => ("v6", "IPv6"),
        };
        let mut yaml = format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {0}-{label}\n  \
             namespace: default\n  labels:\n    kubernetes.io/service-name: {0}\naddressType: {kind}\nports:\n",
            self.name
        );
        for protocol in Protocol::BOTH {
            let name = port_name(protocol);
            let _ = writeln!(
                yaml,
                "- name: {name}\n  protocol: {}\n  port: {port}",
                name.to_uppercase()
            );
        }
        yaml.push_str(if endpoints.is_empty() { "endpoints: []\n" } else { "endpoints:\n" });
        for endpoint in endpoints {
            let Endpoint { address, ready, node } = endpoint;
            let _ = writeln!(
                yaml,
                "- addresses: [\"{}\"]\n  conditions:\n    ready: {ready}\n    serving: true\n    terminating: {}",
                address.ip(),
                !ready
            );
            if let Some(node) = node {
                let _ = writeln!(yaml, "  nodeName: {}", Name::Node(*node));
            }
        }
        yaml
    }
}

const fn port_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

impl Manifests {
    /// An empty directory.
    pub fn new() -> io::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lb-manifests-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, keep: false })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Writes or replaces a file, whole.
    pub fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let next = self.directory.join(format!(".{file}.next"));
        fs::write(&next, text)?;
        fs::rename(next, self.directory.join(file))
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(file))
    }

    /// Writes a Service and, for each family of its endpoints, a slice.
    pub fn write_service(&self, service: &Service, endpoints: &[Endpoint]) -> io::Result<()> {
        self.write(&format!("{}.yaml", service.name), &service.to_yaml())?;
        self.write_endpoints(service, endpoints)
    }

    /// Writes the slices of a Service anew. All endpoints of a family have the same port.
    pub fn write_endpoints(&self, service: &Service, endpoints: &[Endpoint]) -> io::Result<()> {
        let mut text = String::new();
        for family in Family::BOTH {
            let of_family: Vec<Endpoint> = endpoints
                .iter()
                .filter(|endpoint| Family::of(endpoint.address.ip()) == family)
                .copied()
                .collect();
            let port = of_family.first().map_or(1, |endpoint| endpoint.address.port());
            let _ = writeln!(text, "---\n{}", service.slice(family, port, &of_family));
        }
        self.write(&format!("{}-endpoints.yaml", service.name), &text)
    }

    /// Leaves the directory when this value goes.
    pub fn keep(mut self) -> PathBuf {
        self.keep = true;
        self.directory.clone()
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        if !self.keep {
            // What can't be removed is in the directory for temporary files, where others clean up.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
