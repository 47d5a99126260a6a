//! The network namespace that this process is in, by the number that the kernel's programs know it by.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use nix::{
    errno::Errno,
    getsockopt_impl, sockopt_impl,
    sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket},
};

sockopt_impl!(
    /// `SO_NETNS_COOKIE` (Linux 5.14).
    NamespaceNumber,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Its number; `None`: the kernel doesn't tell.
pub fn own_namespace() -> io::Result<Option<u64>> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    match getsockopt(&socket, NamespaceNumber) {
        Ok(number) => Ok(Some(number)),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether it is the machine's first one, as far as can be seen.
pub fn is_first_namespace() -> io::Result<bool> {
    let inode = |who: &str| fs::metadata(format!("/proc/{who}/ns/net")).map(|file| file.ino());
    Ok(inode("self")? == inode("1")?)
}
