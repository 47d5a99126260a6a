//! The kernel's connection tracking, which peers need for every flow: room in it, how much is in it, and
//! emptying it. The limit is the whole machine's, so it is put back; the rest is the namespace's.

use std::{
    fs,
    os::fd::AsRawFd as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// More than a round begins.
const ENOUGH: u64 = 1 << 20;

/// How many [`Room`]s there are, and the limit before the first of them.
static HELD: Mutex<(usize, Option<String>)> = Mutex::new((0, None));

// A message that flushes: nlmsghdr (netlink(7)), then nfgenmsg; IPCTNL_MSG_CT_DELETE without attributes.
const LENGTH: u32 = 20;
const DELETE: u16 = (1 << 8) | 2;
const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;

/// How many connections there are in this thread's namespace.
pub fn count() -> Result<u64> {
    let text = fs::read_to_string(COUNT).with_context(|| format!("reading {COUNT}"))?;
    text.trim().parse().with_context(|| format!("{COUNT} holds {text:?}"))
}

/// Removes all connections of this thread's namespace, where the kernel has connection tracking at all.
pub fn flush() -> Result<()> {
    if !Path::new(COUNT).exists() {
        return Ok(());
    }
    let what = "removing all tracked connections";
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )
    .context(what)?;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(DELETE.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message.extend([0; 12]);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &message, &kernel, MsgFlags::empty()).context(what)?;
    let mut answer = [0; 64];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).context(what)?;
    ensure!(length >= 20, "{what}: the kernel's answer is cut off");
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    ensure!(error == 0, "{what}: {}", std::io::Error::from_raw_os_error(-error));
    Ok(())
}

/// Room, for as long as this lives.
pub struct Room(());

impl Room {
    /// Makes it, where the kernel has connection tracking at all.
    pub fn make() -> Result<Self> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 == 0 && Path::new(LIMIT).exists() {
            let before = fs::read_to_string(LIMIT).with_context(|| format!("reading {LIMIT}"))?;
            let enough = before.trim().parse::<u64>().is_ok_and(|limit| limit >= ENOUGH);
            if !enough {
                fs::write(LIMIT, ENOUGH.to_string()).with_context(|| format!("writing {LIMIT}"))?;
                held.1 = Some(before);
            }
        }
        held.0 += 1;
        Ok(Self(()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 -= 1;
        if held.0 > 0 {
            return;
        }
        if let Some(before) = held.1.take()
            && let Err(error) = fs::write(LIMIT, before)
        {
            eprintln!("{LIMIT} keeps its raised value: {error}");
        }
    }
}
