//! What crosses a namespace's interfaces while something is tried again that has failed.
//!
//! Never while it is tried first: a frame that is also handed to a packet socket is a shared one, and
//! takes other ways through the kernel than those that are under test.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::lab::Namespace;
use crate::packet::failure::{self, Seen};

/// The last so many frames of each namespace are kept.
const MOST: usize = 1_000;

/// So much of each frame: all headers, and where the payload begins.
const LENGTH: usize = 512;

/// How long a packet socket waits before it looks whether it is still wanted, in microseconds.
const PATIENCE: i64 = 20_000;

/// Does something and keeps the frames that cross all interfaces of these namespaces meanwhile, in files
/// named after the test and `what`. Returns what came of it, and where the files are.
pub fn recorded<T>(namespaces: &[&Namespace], what: &str, work: impl FnOnce() -> T) -> (T, String) {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let recordings: Vec<_> = namespaces
            .iter()
            .map(|namespace| (namespace.name(), open(namespace)))
            .map(|(name, socket)| {
                (name, socket.map(|socket| scope.spawn(move || record(&socket, over))))
            })
            .collect();
        let done = work();
        over.store(true, Ordering::Relaxed);
        let mut files = String::new();
        for (name, recording) in recordings {
            let kept = recording.and_then(|thread| {
                let frames =
                    thread.join().map_err(|_| io::Error::other("the recorder panicked"))??;
                let current = thread::current();
                let test = current.name().unwrap_or("main");
                let file = failure::file_name(&format!("{test}-{what}-{name}"));
                let path = failure::directory().join(file);
                failure::write(&path, &frames).map_err(io::Error::other)?;
                Ok((frames.len(), path))
            });
            // Writing to a String never fails.
            let _ = match kept {
                Ok((count, path)) => {
                    writeln!(files, "{name}: {count} frames in {}", path.display())
                }
                Err(error) => writeln!(files, "{name}: no frames are kept: {error}"),
            };
        }
        (done, files)
    })
}

/// A socket that sees every frame of every interface of a namespace, in both directions.
fn open(namespace: &Namespace) -> io::Result<OwnedFd> {
    let _inside = namespace.enter().map_err(io::Error::other)?;
    let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let socket = socket(AddressFamily::Packet, kind, flags, SockProtocol::EthAll)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, PATIENCE))?;
    Ok(socket)
}

/// Frames until it is over and no more are waiting, the last [`MOST`] of them.
fn record(socket: &OwnedFd, over: &AtomicBool) -> io::Result<Vec<Seen>> {
    let mut frames = VecDeque::new();
    let (mut room, mut late) = ([0; LENGTH], 0);
    // Whoever is never silent must not keep us for ever.
    while late < MOST {
        // With `MSG_TRUNC` the length is the frame's, however much of it there is room for.
        match recv(socket.as_raw_fd(), &mut room, MsgFlags::MSG_TRUNC) {
            Ok(length) => {
                late += usize::from(over.load(Ordering::Relaxed));
                if frames.len() == MOST {
                    frames.pop_front();
                }
                let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                frames.push_back(Seen { time, length, bytes: room[..length.min(LENGTH)].to_vec() });
            }
            Err(Errno::EAGAIN) if over.load(Ordering::Relaxed) => break,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(frames.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::UdpSocket;

    use super::*;
    use crate::lab::Lab;

    #[test]
    fn what_crosses_a_namespace_is_in_the_file_that_the_message_names() {
        let mut lab = Lab::start().expect("a lab");
        lab.add(&["alone"]).expect("a namespace");
        let alone = lab.namespace("alone").expect("it was added");
        let words = b"find these words";
        let ((), files) = recorded(&[alone], "words", || {
            let _inside = alone.enter().expect("inside");
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let target = socket.local_addr().expect("its address");
            assert_eq!(socket.send_to(words, target).expect("sent"), words.len());
        });
        let path = files.split_once("frames in ").expect("a file").1.trim();
        let kept = fs::read(path).expect("the file");
        assert!(kept.windows(words.len()).any(|at| at == words), "{files}");
        fs::remove_file(path).expect("it was there");
    }
}
