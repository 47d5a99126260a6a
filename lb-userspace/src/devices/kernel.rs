//! Which uplinks this kernel can't show us as they are.

use std::fs;
use std::path::PathBuf;

use super::classify::Classified;
use super::error::DeviceError;

/// Fails if an uplink decapsulates IP itself, and the kernel is one that shows such packets with the headers that were
/// around them: up to Linux 5.13 (7ad136fd288c, 730eed2772e7).
pub fn check_kernel(interfaces: &Classified) -> Result<(), DeviceError> {
    let path = PathBuf::from("/proc/sys/kernel/osrelease");
    let release = match fs::read_to_string(&path) {
        Ok(release) => release.trim().to_owned(),
        Err(source) => return Err(DeviceError::ReadSysctl { path, source }),
    };
    let Some(version) = version(&release) else {
        let expected = "a version like 6.1";
        return Err(DeviceError::ParseSysctl { path, value: release, expected });
    };
    check(interfaces, version, &release)
}

fn check(interfaces: &Classified, version: (u32, u32), release: &str) -> Result<(), DeviceError> {
    let mut tunnels = interfaces.uplinks.values().filter(|uplink| uplink.is_ip_tunnel);
    match tunnels.next() {
        Some(uplink) if version < (5, 14) => Err(DeviceError::TunnelBeforeLinux514 {
            name: uplink.name.clone(),
            kind: uplink.kind.clone().unwrap_or_default(),
            release: release.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::classify::Uplink;

    fn with(is_ip_tunnel: bool) -> Classified {
        let uplink = Uplink {
            name: "tun0".to_owned(),
            mtu: 1480,
            kind: Some("ipip".to_owned()),
            is_bare: true,
            is_ip_tunnel,
            snat_v4: None,
            snat_v6: None,
        };
        Classified { uplinks: [(7, uplink)].into(), ..Classified::default() }
    }

    #[test]
    fn an_ip_tunnel_is_refused_by_name_before_linux_5_14_and_others_are_not() {
        let error = check(&with(true), (5, 13), "5.13.0-1").expect_err("too old");
        let text = error.to_string();
        assert!(text.contains("tun0 (ipip)") && text.contains("5.13.0-1"), "{text}");
        assert!(check(&with(true), (5, 14), "5.14.0").is_ok());
        assert!(check(&with(true), (6, 1), "6.1.0").is_ok());
        assert!(check(&with(false), (5, 10), "5.10.0").is_ok());
    }

    #[test]
    fn releases_begin_with_the_version() {
        assert_eq!(version("6.1.0-42-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.14"), Some((5, 14)));
        assert_eq!(version("7.2-rc1"), Some((7, 2)));
        assert_eq!(version("next"), None);
    }
}
