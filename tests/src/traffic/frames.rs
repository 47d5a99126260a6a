//! Whole frames out of an interface, as no socket would send them.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, send,
    socket,
};

use crate::lab::Namespace;

/// A socket for whole frames at an interface of a namespace.
#[derive(Debug)]
pub struct FrameSocket(OwnedFd);

impl FrameSocket {
    /// Opens one. Fails if the namespace has no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> io::Result<Self> {
        let _inside = namespace.enter().map_err(io::Error::other)?;
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Packet, kind, flags, SockProtocol::EthAll)?;
        let address = getifaddrs()?
            .filter(|one| one.interface_name == interface)
            .filter_map(|one| one.address)
            .find(|address| address.family() == Some(AddressFamily::Packet))
            .and_then(|address| address.as_link_addr().copied())
            .ok_or_else(|| io::Error::other(format!("no link-layer address: {interface}")))?;
        bind(socket.as_raw_fd(), &address)?;
        Ok(Self(socket))
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        while let Err(error) = send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            if !matches!(error, Errno::ENOBUFS | Errno::EINTR) {
                return Err(error.into());
            }
        }
        Ok(())
    }
}
