//! Which ports sockets of this machine have, as `/proc/net` tells everybody: of the network namespace that asks.

use std::{collections::BTreeSet, fs, io};

use crate::model::Protocol;

/// The state of a socket that listens, and of one of UDP that is tied to no peer (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
const CLOSE: &str = "07";

/// The ports that sockets have, other than on loopback addresses.
pub fn listening() -> io::Result<BTreeSet<(Protocol, u16)>> {
    let mut ports = BTreeSet::new();
    for (file, protocol) in [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ] {
        match fs::read_to_string(format!("/proc/net/{file}")) {
            Ok(text) => ports.extend(parse(&text, protocol)),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ports)
}

fn parse(text: &str, protocol: Protocol) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    let waits = if protocol == Protocol::Udp { CLOSE } else { LISTEN };
    text.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let state = words.nth(1)?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == waits && !is_loopback(address)).then_some((protocol, port))
    })
}

/// Addresses stand there as words in the machine's order, little-endian where BPF programs of ours run.
fn is_loopback(address: &str) -> bool {
    let v4 = address.len() == 8 && address.ends_with("7F");
    v4 || address == "00000000000000000000000001000000"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 00000000:7530 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0A00000A:0016 0B00000A:C000 01 00000000:00000000 00:00000000 00000000     0        0 3
";
    const UDP6: &str =
        "  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0:0
   1: 00000000000000000000000000000000:7531 00000000000000000000000000000000:0000 07 0:0
   2: 00000000000000000000000000000000:7532 B80D0120000000000000000001000000:0035 01 0:0
";

    #[test]
    fn sockets_that_wait_for_anybody_count_unless_they_are_on_loopback() {
        let of = |text, protocol| parse(text, protocol).collect::<Vec<_>>();
        assert_eq!(of(TCP, Protocol::Tcp), [(Protocol::Tcp, 30000)]);
        assert_eq!(of(UDP6, Protocol::Udp), [(Protocol::Udp, 30001)]);
    }

    #[test]
    fn a_socket_of_this_machine_is_found() {
        let socket = std::net::TcpListener::bind(("0.0.0.0", 0)).expect("a socket");
        let port = socket.local_addr().expect("its address").port();
        assert!(listening().expect("the tables").contains(&(Protocol::Tcp, port)));
    }
}
