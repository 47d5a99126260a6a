//! A tunnel of plain IP packets between two namespaces: a tun device at each end, and a thread that carries packets from
//! one to the other. What goes through has no link layer, as in wireguard or ipip, and every kernel with tun has it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::namespace::Namespace;

/// What makes and attaches devices.
const CLONE: &str = "/dev/net/tun";

/// Longer than any packet.
const LONGEST: usize = 65_536;

nix::ioctl_write_ptr_bad!(set_device, nix::request_code_write!(b'T', 202, 4), libc::ifreq);

/// A running tunnel. Its devices go when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Tunnel {
    /// Makes a device called `name` in each of two namespaces, both down and without addresses. `None`: this kernel has
    /// no such devices.
    pub fn start(name: &str, ends: [&Namespace; 2]) -> io::Result<Option<Self>> {
        let [one, other] = ends.map(|end| end.run(|| device(name)).map_err(io::Error::other));
        let (one, other) = match (one?, other?) {
            (Err(error), _) | (_, Err(error)) if is_lacking(&error) => return Ok(None),
            (one, other) => (one?, other?),
        };
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name(format!("tunnel-{name}"))
            .spawn(move || carry(&one, &other, &stopped))?;
        Ok(Some(Self { stop, thread: Some(thread) }))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Err(error) = self.stop.write(1) {
            eprintln!("a tunnel can't be stopped: {error}");
            return;
        }
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("a tunnel broke: {error}"),
            Err(_) => eprintln!("a tunnel's thread panicked"),
        }
    }
}

/// There is no such file, or nothing behind it.
fn is_lacking(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO))
}

/// A new device in the thread's namespace; it lives as long as the file is open.
fn device(name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CLONE)?;
    // SAFETY: a struct of numbers and bytes, for which zeros are right.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: an open file, and a request that is filled; the kernel writes the device's name back into it.
    unsafe { set_device(file.as_raw_fd(), &raw const request) }?;
    Ok(file)
}

/// Carries packets both ways until it is stopped.
fn carry(one: &File, other: &File, stop: &EventFd) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, file) in [(1, one), (2, other)] {
        epoll.add(file, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
    }
    epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut packet = vec![0; LONGEST];
    loop {
        let mut events = [EpollEvent::empty(); 3];
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            ready => ready?,
        };
        for event in &events[..ready] {
            match event.data() {
                0 => return Ok(()),
                1 => pass(one, other, &mut packet)?,
                _ => pass(other, one, &mut packet)?,
            }
        }
    }
}

/// Passes one packet on. One that the other end doesn't take is lost, as on any network.
fn pass(mut from: &File, mut to: &File, packet: &mut [u8]) -> io::Result<()> {
    match from.read(packet) {
        Ok(length) => {
            // A device that is down.
            let _ = to.write(&packet[..length]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
