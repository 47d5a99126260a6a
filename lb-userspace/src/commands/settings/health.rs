//! Options for health checks.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use clap::Args;

use crate::health::Options;

/// Where kube-proxy answers.
const PORT: u16 = 10256;

#[derive(Debug, Args)]
#[command(next_help_heading = "Health checks")]
pub struct HealthArguments {
    /// Where /healthz (should this node get traffic?) and /livez (does lb work?) are answered, as ADDRESS or
    /// ADDRESS:PORT; 0.0.0.0 means both families, and '' nowhere. The port is 10256 unless given. Services with
    /// a healthCheckNodePort are answered for there
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:10256")]
    healthz_bind_address: Bind,

    /// For how many seconds a change may fail to come into force before all health checks do
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=super::LONGEST))]
    health_timeout: u32,
}

impl HealthArguments {
    /// The options.
    pub fn options(&self) -> Options {
        Options {
            node: self.healthz_bind_address.0,
            patience: Duration::from_secs(self.health_timeout.into()),
        }
    }
}

/// An address with a port, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bind(Option<SocketAddr>);

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str = "not an address, such as 0.0.0.0:10256, [::1]:10256 or 127.0.0.1";
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text.parse().or_else(|_| {
            let address: IpAddr = text.parse().map_err(|_| MUST)?;
            Ok::<_, Self::Err>(SocketAddr::new(address, PORT))
        })?;
        if address.port() == 0 {
            Err("port 0 is none; give one from 1 to 65535")
        } else {
            Ok(Self(Some(address)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_kube_proxys_port_unless_it_says_another_one() {
        let bind = |text: &str| text.parse::<Bind>().map(|bind| bind.0.map(|one| one.to_string()));
        for (text, address) in [
            ("0.0.0.0:10256", "0.0.0.0:10256"),
            ("127.0.0.1", "127.0.0.1:10256"),
            ("::", "[::]:10256"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(bind(text), Ok(Some(address.to_owned())), "{text}");
        }
        assert_eq!(bind(""), Ok(None));
        for bad in ["localhost", ":10256", "10256", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536"] {
            assert!(bind(bad).is_err(), "{bad}");
        }
    }
}
