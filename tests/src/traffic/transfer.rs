//! One long TCP connection: so many bytes there, then as many back, and at both ends whether what came is
//! what was sent.
//!
//! The client says how many bytes it will send and sends them; the server answers with the checksum of what
//! came, sends as many others, and their checksum. Small requests belong in [`super::EchoServer`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, shutdown};

use super::Protocol;
use super::error::{Direction, Error, Result, Step};
use crate::lab::Namespace;
use crate::patience::patient;

/// How much is written and read at a time.
const CHUNK: usize = 64 * 1024;

/// How many bytes there are to send from, at ever other places: a chunk that is lost, repeated or moved
/// changes the checksum.
const NOISE: usize = 1 << 20;

/// How long a server waits for a client that says nothing. Longer than any client does.
const SILENCE: Duration = Duration::from_mins(1);

/// How long the two directions took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// From the client.
    pub upload: Duration,
    /// To the client.
    pub download: Duration,
}

/// Sends `bytes` bytes to a [`TransferServer`] at `target`, from inside `namespace`, and takes as many back.
/// Fails if a direction takes longer than `limit` (see [`crate::patience`]), or if what came is not what was sent.
pub fn transfer(
    namespace: &Namespace,
    target: SocketAddr,
    bytes: u64,
    limit: Duration,
) -> Result<Took> {
    let _inside = namespace.enter()?;
    transfer_here(target, bytes, patient(limit))
}

fn transfer_here(target: SocketAddr, bytes: u64, limit: Duration) -> Result<Took> {
    let fail = |step| {
        move |source: io::Error| match source.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                Error::TimedOut { step, protocol: Protocol::Tcp, target, after: limit }
            }
            ErrorKind::UnexpectedEof => Error::Closed { target },
            _ => Error::Failed { step, protocol: Protocol::Tcp, target, source },
        }
    };
    let stream = TcpStream::connect_timeout(&target, limit).map_err(fail(Step::Connect))?;
    let mut ends = Ends { stream: &stream, until: Instant::now() + limit };
    let began = Instant::now();
    ends.write(&bytes.to_be_bytes()).map_err(fail(Step::Send))?;
    let sent = ends.send(bytes, 0).map_err(fail(Step::Send))?;
    let arrived = ends.read_number().map_err(fail(Step::Receive))?;
    compare(target, Direction::Upload, sent, arrived)?;
    let upload = began.elapsed();

    ends.until = Instant::now() + limit;
    let began = Instant::now();
    let arrived = ends.receive(bytes).map_err(fail(Step::Receive))?;
    let sent = ends.read_number().map_err(fail(Step::Receive))?;
    compare(target, Direction::Download, sent, arrived)?;
    Ok(Took { upload, download: began.elapsed() })
}

fn compare(target: SocketAddr, direction: Direction, sent: u32, arrived: u32) -> Result<()> {
    if sent == arrived {
        return Ok(());
    }
    Err(Error::Damaged { target, direction, sent, arrived })
}

/// Takes transfers, one after the other, until it is dropped.
#[derive(Debug)]
pub struct TransferServer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl TransferServer {
    /// Starts a server in `namespace`; when this returns, it listens.
    pub fn start(namespace: &Namespace, address: IpAddr, port: u16) -> Result<Self> {
        let _inside = namespace.enter()?;
        Self::start_here(SocketAddr::new(address, port))
    }

    fn start_here(address: SocketAddr) -> Result<Self> {
        let name = "transfer".to_owned();
        let fail = |source| Error::Listen { name, protocol: Protocol::Tcp, address, source };
        let start = || -> io::Result<Self> {
            let listener = Arc::new(TcpListener::bind(address)?);
            let address = listener.local_addr()?;
            let accepting = Arc::clone(&listener);
            let serve = move || {
                // Ends with the error that the shutdown of the listener makes of `accept`.
                while let Ok((stream, _)) = accepting.accept() {
                    // Whatever went wrong, the client notices: its checksum does not come.
                    let _ = answer(&stream);
                }
            };
            let thread = thread::Builder::new().name("transfer".to_owned()).spawn(serve)?;
            Ok(Self { address, listener, thread: Some(thread) })
        };
        start().map_err(fail)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TransferServer {
    fn drop(&mut self) {
        let stopped = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let (Ok(()), Some(thread)) = (stopped, self.thread.take())
            && thread.join().is_err()
        {
            eprintln!("the server of transfers at {} panicked, see above", self.address);
        }
    }
}

/// The server's part.
fn answer(stream: &TcpStream) -> io::Result<()> {
    let mut ends = Ends { stream, until: Instant::now() + patient(SILENCE) };
    let mut length = [0; 8];
    ends.read(&mut length)?;
    let bytes = u64::from_be_bytes(length);
    let arrived = ends.receive(bytes)?;
    ends.write(&arrived.to_be_bytes())?;
    let sent = ends.send(bytes, NOISE / 2)?;
    ends.write(&sent.to_be_bytes())
}

/// A connection that must be through with everything by then.
struct Ends<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Ends<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write_all(bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read_exact(bytes)
    }

    fn read_number(&mut self) -> io::Result<u32> {
        let mut number = [0; 4];
        self.read(&mut number)?;
        Ok(u32::from_be_bytes(number))
    }

    /// Sends so many bytes, which begin at a place of the noise; their checksum.
    fn send(&mut self, bytes: u64, mut place: usize) -> io::Result<u32> {
        let (noise, mut sum, mut left) = (noise(), crc32fast::Hasher::new(), bytes);
        while left > 0 {
            // Odd, so that no two chunks of a transfer of some gigabytes begin at the same byte.
            place = (place + 4_099) % (NOISE - CHUNK);
            let chunk = &noise[place..][..portion(left)];
            self.write(chunk)?;
            sum.update(chunk);
            left -= chunk.len() as u64;
        }
        Ok(sum.finalize())
    }

    /// Takes so many bytes; their checksum.
    fn receive(&mut self, bytes: u64) -> io::Result<u32> {
        let (mut room, mut sum, mut left) = (vec![0; CHUNK], crc32fast::Hasher::new(), bytes);
        while left > 0 {
            let chunk = &mut room[..portion(left)];
            self.read(chunk)?;
            sum.update(chunk);
            left -= chunk.len() as u64;
        }
        Ok(sum.finalize())
    }
}

fn portion(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}

/// Bytes without a pattern, the same in every run (xorshift64, Marsaglia 2003).
fn noise() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..NOISE / 8).flat_map(|_| next().to_le_bytes()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const BYTES: u64 = 1_000_001;

    fn server() -> TransferServer {
        TransferServer::start_here(([127, 0, 0, 1], 0).into()).expect("a server")
    }

    /// Stands between a client and a server, and changes the byte with this number on its way up or down.
    fn damaging(server: SocketAddr, direction: Direction, number: usize) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let pass_on = move |mut from: TcpStream, mut to: TcpStream, damage: bool| {
            let (mut room, mut passed) = (vec![0; CHUNK], 0);
            while let Ok(length @ 1..) = from.read(&mut room) {
                if damage && (passed..passed + length).contains(&number) {
                    room[number - passed] ^= 1;
                }
                passed += length;
                if to.write_all(&room[..length]).is_err() {
                    return;
                }
            }
        };
        thread::spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            let server = TcpStream::connect(server).expect("the server");
            let (down, up) = (server.try_clone().expect("a handle"), server);
            let back = client.try_clone().expect("a handle");
            thread::spawn(move || pass_on(down, back, direction == Direction::Download));
            pass_on(client, up, direction == Direction::Upload);
        });
        address
    }

    #[test]
    fn what_is_sent_arrives_and_a_second_transfer_does_too() {
        let server = server();
        for bytes in [BYTES, 0, 1] {
            transfer_here(server.address(), bytes, LIMIT).expect("a transfer");
        }
    }

    #[test]
    fn one_changed_bit_in_either_direction_is_noticed() {
        let server = server();
        for direction in [Direction::Upload, Direction::Download] {
            let target = damaging(server.address(), direction, 777_777);
            let error = transfer_here(target, BYTES, LIMIT).expect_err("damage");
            let found = matches!(&error, Error::Damaged { direction: d, .. } if *d == direction);
            assert!(found, "{direction:?}: {error}");
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up_in_time() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let target = listener.local_addr().expect("its address");
        let began = Instant::now();
        let error = transfer_here(target, BYTES, Duration::from_millis(200)).expect_err("silence");
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    }
}
