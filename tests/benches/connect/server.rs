//! The backend: reads one byte, answers with one that says who it is, and closes. Closing is the server's, so
//! that its end of the connection is the one that is remembered for a while (`TIME_WAIT`), and the clients' ports are
//! free at once.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddrV4, TcpListener},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use lb_tests::lab::Namespace;
use nix::sys::socket::{Shutdown, shutdown};

/// A running backend. Its threads end when this is dropped.
pub struct Server {
    listener: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Listens in a namespace. As many threads as there are clients at most: none ever waits for another one's
    /// connection to end.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: u8,
        threads: usize,
    ) -> Result<Self> {
        let inside = namespace.enter()?;
        let listener =
            TcpListener::bind(address).with_context(|| format!("listening at {address}"))?;
        drop(inside);
        let mut server =
            Self { listener: Arc::new(listener), stopping: Arc::default(), threads: Vec::new() };
        for _ in 0..threads {
            let (listener, stopping) = (Arc::clone(&server.listener), Arc::clone(&server.stopping));
            let thread = thread::Builder::new().name("backend".to_owned());
            server.threads.push(thread.spawn(move || serve(&listener, &stopping, name))?);
        }
        Ok(server)
    }
}

fn serve(listener: &TcpListener, stopping: &AtomicBool, name: u8) -> io::Result<()> {
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (mut stream, _) = accepted?;
        // Should either fail, then the client is told by what it doesn't get.
        if stream.read_exact(&mut [0]).is_ok() {
            let _ = stream.write_all(&[name]);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes all that wait in `accept`.
        if let Err(error) = shutdown(self.listener.as_raw_fd(), Shutdown::Both) {
            eprintln!("a backend goes on to listen: {error}");
            return;
        }
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("a backend stopped early: {error}"),
                Err(_) => eprintln!("a backend panicked, see above"),
            }
        }
    }
}
