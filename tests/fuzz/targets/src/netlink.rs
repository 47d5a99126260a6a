//! Datagrams of the kernel's through our reading of them.

use lb_userspace::devices::replay;

/// Takes the messages of `bytes` in. Each interface is where it is looked for, and has a name.
pub fn check(bytes: &[u8]) {
    let Ok(devices) = replay(bytes) else { return };
    for (index, link) in &devices.links {
        assert_eq!(*index, link.index, "{link:?}");
        assert!(!link.name.is_empty(), "{link:?}");
    }
}
