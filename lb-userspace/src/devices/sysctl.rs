//! The kernel's settings that decide whether and how we can work, from `/proc/sys/net`. Read in the
//! network namespace of the calling thread, so never from a thread pool. Nothing is ever set here.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::DeviceError;

/// Settings of the whole network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctls {
    /// Ports that the kernel gives to sockets that connect, first and last.
    pub local_ports: (u16, u16),
    /// Ports that the operator keeps for named uses.
    pub reserved_ports: Vec<RangeInclusive<u16>>,
    /// IPv4 packets are forwarded (`net.ipv4.ip_forward`).
    pub forwards_v4: bool,
    /// IPv6 packets are forwarded (`net.ipv6.conf.all.forwarding`); `None`: this kernel has no IPv6.
    pub forwards_v6: Option<bool>,
}

impl Sysctls {
    /// Reads them. Fails if `/proc/sys` can't be read or has a form that we don't know.
    pub fn read() -> Result<Self, DeviceError> {
        Ok(Self {
            local_ports: setting("ipv4/ip_local_port_range", "two port numbers", |text| {
                let (first, last) = text.split_once(char::is_whitespace)?;
                Some((first.parse().ok()?, last.trim().parse().ok()?))
            })?,
            reserved_ports: setting(
                "ipv4/ip_local_reserved_ports",
                "ports and ranges of ports, with commas",
                parse_port_list,
            )?,
            forwards_v4: setting("ipv4/ip_forward", SWITCH, parse_switch)?,
            forwards_v6: if_there("ipv6/conf/all/forwarding")?,
        })
    }
}

/// Whether packets that come in by one interface may be forwarded. `bpf_fib_lookup` refuses with
/// `BPF_FIB_LKUP_RET_FWD_DISABLED` where not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// IPv4; `None`: the interface has no IPv4, or does not exist.
    pub v4: Option<bool>,
    /// IPv6; `None`: the interface has no IPv6, or does not exist.
    pub v6: Option<bool>,
}

impl Forwarding {
    /// Reads the settings of an interface.
    pub fn read(interface: &str) -> Result<Self, DeviceError> {
        Ok(Self {
            v4: if_there(&format!("ipv4/conf/{interface}/forwarding"))?,
            v6: if_there(&format!("ipv6/conf/{interface}/forwarding"))?,
        })
    }
}

/// Whether what bridges switch goes through the packet filters, of a family each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeCalls {
    /// Those of IPv4 (`bridge-nf-call-iptables`).
    pub v4: bool,
    /// Those of IPv6 (`bridge-nf-call-ip6tables`).
    pub v6: bool,
}

impl BridgeCalls {
    /// Reads the settings; without the kernel's module for it, nothing is called.
    pub fn read() -> Result<Self, DeviceError> {
        let setting = |name: &str| if_there(&format!("bridge/bridge-nf-call-{name}"));
        Ok(Self {
            v4: setting("iptables")?.unwrap_or(false),
            v6: setting("ip6tables")?.unwrap_or(false),
        })
    }
}

const SWITCH: &str = "0 or 1";

fn parse_switch(text: &str) -> Option<bool> {
    // IPv6 knows 2 as well: forward, and still listen to router advertisements.
    text.parse::<u8>().ok().map(|value| value != 0)
}

/// `8080,9148-9150`; nothing at all for no port.
fn parse_port_list(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    text.split(',')
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .collect()
}

/// A switch that exists only with its protocol or interface.
fn if_there(name: &str) -> Result<Option<bool>, DeviceError> {
    match setting(name, SWITCH, parse_switch) {
        Err(DeviceError::ReadSysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        value => value.map(Some),
    }
}

fn setting<T>(
    name: &str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, DeviceError> {
    let path: PathBuf = Path::new("/proc/sys/net").join(name);
    match fs::read_to_string(&path) {
        Err(source) => Err(DeviceError::ReadSysctl { path, source }),
        Ok(value) => parse(value.trim()).ok_or(DeviceError::ParseSysctl { path, value, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_lists_are_single_ports_and_ranges_and_may_be_empty() {
        assert_eq!(parse_port_list(""), Some(vec![]));
        assert_eq!(parse_port_list("8080,9148-9150"), Some(vec![8080..=8080, 9148..=9150]));
        assert_eq!(parse_port_list("http"), None);
        assert_eq!(parse_port_list("1-65536"), None);
    }

    #[test]
    fn the_settings_of_this_machine_can_be_read() {
        let sysctls = Sysctls::read().expect("settings");
        assert!(sysctls.local_ports.0 <= sysctls.local_ports.1);
        assert!(Forwarding::read("lo").expect("settings of lo").v4.is_some());
    }

    #[test]
    fn an_interface_that_does_not_exist_forwards_nothing_and_is_no_error() {
        let forwarding = Forwarding::read("no-such-device").expect("no error");
        assert_eq!(forwarding, Forwarding { v4: None, v6: None });
    }

    #[test]
    fn a_setting_of_unknown_form_is_an_error_that_names_it() {
        let error = setting("ipv4/ip_forward", "a fish", |_| None::<()>).expect_err("no fish");
        let text = error.to_string();
        assert!(
            text.contains("/proc/sys/net/ipv4/ip_forward") && text.contains("a fish"),
            "{text}"
        );
    }
}
