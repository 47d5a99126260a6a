//! Which uplinks this kernel can't show us as they are.

use std::fs;
use std::path::PathBuf;

use super::classify::Classified;
use super::detect::Reason;
use super::error::DeviceError;

/// Takes out uplinks that decapsulate IP themselves, if the kernel is one that shows such packets with the headers
/// that were around them: up to Linux 5.13 (7ad136fd288c, 730eed2772e7). Gives why, for each that was detected; fails
/// if one was named.
pub fn without_unservable(interfaces: &mut Classified) -> Result<Vec<DeviceError>, DeviceError> {
    let path = PathBuf::from("/proc/sys/kernel/osrelease");
    let release = match fs::read_to_string(&path) {
        Ok(release) => release.trim().to_owned(),
        Err(source) => return Err(DeviceError::ReadSysctl { path, source }),
    };
    let Some(version) = version(&release) else {
        let expected = "a version like 6.1";
        return Err(DeviceError::ParseSysctl { path, value: release, expected });
    };
    take_out(interfaces, version, &release)
}

fn take_out(
    interfaces: &mut Classified,
    version: (u32, u32),
    release: &str,
) -> Result<Vec<DeviceError>, DeviceError> {
    if version >= (5, 14) {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    for (_, uplink) in interfaces.uplinks.extract_if(.., |_, uplink| uplink.is_ip_tunnel) {
        let why = DeviceError::TunnelBeforeLinux514 {
            name: uplink.name,
            kind: uplink.kind.unwrap_or_default(),
            release: release.to_owned(),
        };
        if uplink.reason == Reason::Named {
            return Err(why);
        }
        out.push(why);
    }
    Ok(out)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::classify::Uplink;

    fn with(is_ip_tunnel: bool, reason: Reason) -> Classified {
        let uplink = Uplink {
            name: "tun0".to_owned(),
            reason,
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
        let named = |is_ip_tunnel| with(is_ip_tunnel, Reason::Named);
        let error = take_out(&mut named(true), (5, 13), "5.13.0-1").expect_err("too old");
        let text = error.to_string();
        assert!(text.contains("tun0 (ipip)") && text.contains("5.13.0-1"), "{text}");
        for (is_ip_tunnel, version) in [(true, (5, 14)), (true, (6, 1)), (false, (5, 10))] {
            let mut interfaces = named(is_ip_tunnel);
            assert!(take_out(&mut interfaces, version, "").expect("served").is_empty());
            assert_eq!(interfaces.uplinks.len(), 1);
        }
    }

    #[test]
    fn an_ip_tunnel_that_was_detected_is_left_out_and_told() {
        let mut interfaces = with(true, Reason::Address([192, 0, 2, 1].into()));
        let told = take_out(&mut interfaces, (5, 13), "5.13.0-1").expect("the others go on");
        assert_eq!((told.len(), interfaces.uplinks.len()), (1, 0));
    }

    #[test]
    fn releases_begin_with_the_version() {
        assert_eq!(version("6.1.0-42-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.14"), Some((5, 14)));
        assert_eq!(version("7.2-rc1"), Some((7, 2)));
        assert_eq!(version("next"), None);
    }
}
