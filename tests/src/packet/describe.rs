//! A packet in one line, for the messages of failing tests.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::number::ICMP;
use super::parse::{self, Checksum, Content, Frame, Ip, Transport};

/// One readable line, which says of every checksum whether it is right. Never panics, whatever the bytes:
///
/// ```text
/// 02:00:00:00:00:10 > 02:00:00:00:01:01 192.0.2.10:40000 > 192.0.2.1:80 TCP [S] seq 1000 ack 0 \
///     len 0 ttl 64 df, ip checksum right, tcp checksum right
/// ```
pub fn describe(bytes: &[u8]) -> String {
    let Some(Frame { macs: (from, to), vlans, content }) = parse::frame(bytes) else {
        return format!("{} bytes, too short for Ethernet", bytes.len());
    };
    let mut line = format!("{from} > {to}");
    for tag in vlans {
        add(&mut line, format_args!(" vlan {}", tag & 0xfff));
    }
    match content {
        Content::Other { ethertype } => add(&mut line, format_args!(" ethertype {ethertype:#06x}")),
        Content::Broken(part) => add(&mut line, format_args!(" broken {part}")),
        Content::Ip(ip) => describe_ip(&mut line, &ip),
    }
    line
}

/// Whether the frame holds a whole IP packet and every checksum in it is right, or rightly absent. The
/// transport checksum of a fragment can't be known and is not held against it. False for what is cut
/// off, broken or not IP.
pub fn checksums_ok(bytes: &[u8]) -> bool {
    let Some(Frame { content: Content::Ip(ip), .. }) = parse::frame(bytes) else {
        return false;
    };
    let transport = match ip.transport {
        Transport::Tcp { checksum, .. }
        | Transport::Udp { checksum, .. }
        | Transport::Sctp { checksum, .. }
        | Transport::Icmp { checksum, .. } => checksum,
        Transport::Opaque { .. } => Checksum::Absent,
        Transport::Broken(_) => Checksum::Wrong,
    };
    !ip.cut && ip.checksum != Some(Checksum::Wrong) && transport != Checksum::Wrong
}

fn describe_ip(line: &mut String, ip: &Ip) {
    let (from, to) = ip.addresses;
    match &ip.transport {
        Transport::Tcp { ports, flags, sequence: (sequence, acknowledgement), payload, .. } => {
            let (from, to) = (SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1));
            let flags = flag_letters(*flags);
            add(line, format_args!(" {from} > {to} TCP [{flags}] seq {sequence} "));
            add(line, format_args!("ack {acknowledgement} len {payload}"));
        }
        Transport::Udp { ports, payload, .. } => {
            let (from, to) = (SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1));
            add(line, format_args!(" {from} > {to} UDP len {payload}"));
        }
        Transport::Sctp { ports, tag, chunk, .. } => {
            let (from, to) = (SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1));
            add(line, format_args!(" {from} > {to} SCTP chunk {chunk} tag {tag}"));
        }
        Transport::Icmp { kind, code, .. } => {
            let name = icmp_name(ip.protocol);
            add(line, format_args!(" {from} > {to} {name} type {kind} code {code}"));
        }
        Transport::Opaque { payload } => {
            add(line, format_args!(" {from} > {to} protocol {} len {payload}", ip.protocol));
        }
        Transport::Broken(part) => add(line, format_args!(" {from} > {to} broken {part}")),
    }
    describe_ip_fields(line, ip);
    describe_checksums(line, ip);
}

fn describe_ip_fields(line: &mut String, ip: &Ip) {
    add(line, format_args!(" ttl {}", ip.ttl));
    if ip.dont_fragment {
        line.push_str(" df");
    }
    if ip.options > 0 {
        add(line, format_args!(" options {}", ip.options));
    }
    if let Some((offset, more)) = ip.fragment {
        let more = if more { "+" } else { "" };
        add(line, format_args!(" fragment {offset}{more}"));
    }
    if ip.cut {
        line.push_str(", cut off");
    }
}

fn describe_checksums(line: &mut String, ip: &Ip) {
    if let Some(checksum) = ip.checksum {
        add(line, format_args!(", ip checksum {}", checksum_word(checksum)));
    }
    let (name, checksum) = match ip.transport {
        Transport::Tcp { checksum, .. } => ("tcp", checksum),
        Transport::Udp { checksum, .. } => ("udp", checksum),
        Transport::Sctp { checksum, .. } => ("sctp", checksum),
        Transport::Icmp { checksum, .. } => ("icmp", checksum),
        Transport::Opaque { .. } | Transport::Broken(_) => return,
    };
    add(line, format_args!(", {name} checksum {}", checksum_word(checksum)));
}

fn checksum_word(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Right => "right",
        Checksum::Wrong => "WRONG",
        Checksum::Absent => "absent",
        Checksum::Unknown => "unknown",
    }
}

fn icmp_name(protocol: u8) -> &'static str {
    if protocol == ICMP { "ICMP" } else { "ICMPv6" }
}

/// As tcpdump has them: `S.` is SYN and ACK.
fn flag_letters(flags: u8) -> String {
    "FSRP.UEW"
        .chars()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, c)| c)
        .collect()
}

fn add(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = line.write_fmt(text);
}
