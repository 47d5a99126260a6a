//! The kernel's packet generator, by its files below `/proc/net/pktgen` (Documentation/networking/pktgen).
//!
//! It is a module that not every kernel has, sends from a thread of its own, and belongs to the network
//! namespace in which its files are opened: hence everything here is done inside of one, and by
//! `/proc/thread-self`, since `/proc/net` is that of the process's first thread.

use std::{fs, net::IpAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::transit::Offer;

const FILES: &str = "/proc/thread-self/net/pktgen";
/// The thread that sends: the first processor's.
const THREAD: &str = "kpktgend_0";

/// What the generator says of itself. Only a sink knows how much of it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// In this time.
    pub elapsed: Duration,
}

/// Loads the module, if the kernel has it as one, and says what to do if there is none.
pub fn ensure_present() -> Result<()> {
    if Path::new(FILES).is_dir() {
        return Ok(());
    }
    // Its failure shows in the next line.
    let _ = Command::new("modprobe").arg("pktgen").status();
    ensure!(
        Path::new(FILES).is_dir(),
        "this kernel has no pktgen; `cargo xtask bench pktgen` runs one that has, in a virtual machine"
    );
    Ok(())
}

/// Sends `frames` of them, in this thread's namespace, and waits until that is done.
pub fn send(offer: &Offer, frames: u64) -> Result<Sent> {
    let interface = Path::new(FILES).join(&offer.interface);
    write(&Path::new(FILES).join(THREAD), "rem_device_all")?;
    write(&Path::new(FILES).join(THREAD), &format!("add_device {}", offer.interface))?;
    for command in commands(offer, frames) {
        write(&interface, &command)?;
    }
    write(&Path::new(FILES).join("pgctrl"), "start")?;
    let report = fs::read_to_string(&interface).context("reading pktgen's report")?;
    write(&Path::new(FILES).join(THREAD), "rem_device_all")?;
    result(&report).with_context(|| format!("pktgen on {}:\n{report}", offer.interface))
}

fn commands(offer: &Offer, frames: u64) -> Vec<String> {
    let (first, last) = offer.ports;
    let mut commands = vec![
        format!("count {frames}"),
        "clone_skb 0".to_owned(),
        "delay 0".to_owned(),
        format!("pkt_size {}", offer.length),
        format!("dst_mac {}", offer.next_hop),
        format!("udp_src_min {first}"),
        // The first that is not used any more.
        format!("udp_src_max {}", u32::from(last) + 1),
        format!("udp_dst_min {}", offer.destination.port()),
        format!("udp_dst_max {}", offer.destination.port()),
    ];
    match (offer.source, offer.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => commands.extend([
            format!("src_min {source}"),
            format!("src_max {source}"),
            format!("dst_min {destination}"),
            format!("dst_max {destination}"),
        ]),
        (source, destination) => {
            // UDP in IPv6 needs its checksum.
            commands.extend([
                format!("src6 {source}"),
                format!("dst6 {destination}"),
                "flag UDPCSUM".to_owned(),
            ]);
        }
    }
    commands
}

/// Writes a command. The generator says what it thinks of it only in what can be read afterwards.
fn write(file: &Path, command: &str) -> Result<()> {
    fs::write(file, format!("{command}\n"))
        .with_context(|| format!("pktgen refuses `{command}` ({})", file.display()))
}

/// Reads `Result: OK: 12345(c12+d0) usec, 1000 (60byte,0frags)`.
fn result(report: &str) -> Result<Sent> {
    let Some((_, told)) = report.split_once("Result: OK: ") else {
        bail!("it tells of no success");
    };
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().context("a number is missing in its result")
    };
    let elapsed = Duration::from_micros(number(told)?);
    let frames = number(told.split_once("usec, ").context("its result has no frames")?.1)?;
    Ok(Sent { frames, elapsed })
}
