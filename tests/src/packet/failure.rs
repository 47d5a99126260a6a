//! What a failing test leaves behind: its frames as a capture file, to be opened with Wireshark or tcpdump,
//! and the words for its message.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, thread};

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

use super::describe;

/// Keeps these frames, each with the word for what it is, in a file of the running test's name in
/// `target/failures`, and returns what to put into the test's message: where the file is, and each frame
/// decoded. Call it only when the test has failed; the file of an earlier failure is replaced.
pub fn keep_frames(frames: &[(&str, &[u8])]) -> String {
    let current = thread::current();
    keep_frames_of(current.name().unwrap_or("main"), frames)
}

/// The same for a test that runs on threads of its own, under this name.
pub fn keep_frames_of(test: &str, frames: &[(&str, &[u8])]) -> String {
    let mut told = String::new();
    for (number, (what, frame)) in (1..).zip(frames) {
        // Writing to a String never fails.
        let _ = writeln!(told, "{number} {what}: {}", describe(frame));
    }
    let path = directory().join(file_name(test));
    let whole =
        |frame: &[u8]| Seen { time: Duration::ZERO, length: frame.len(), bytes: frame.to_vec() };
    let frames: Vec<_> = frames.iter().map(|(_, frame)| whole(frame)).collect();
    // The test fails for another reason, which must not get lost behind this one.
    told + &match write(&path, &frames) {
        Ok(()) => format!("these frames are in {}", path.display()),
        Err(error) => format!("these frames can't be kept in {}: {error}", path.display()),
    }
}

/// Where captures are kept: beside what cargo builds, where that is known, else with the temporary files.
pub fn directory() -> PathBuf {
    let executable = env::current_exe().unwrap_or_default();
    let built = executable.parent().filter(|parent| parent.ends_with("deps"));
    match built.and_then(|deps| deps.ancestors().nth(2)) {
        Some(target) => target.join("failures"),
        None => env::temp_dir().join("lb-failures"),
    }
}

/// `suite-module-test.pcap`.
pub fn file_name(test: &str) -> String {
    let executable = env::current_exe().unwrap_or_default();
    let suite = executable.file_stem().unwrap_or_default().to_string_lossy();
    // Cargo puts a hash behind the name.
    let suite = suite.rsplit_once('-').map_or(&*suite, |(name, _)| name);
    let test = test.replace("::", "-").replace(|c: char| c.is_whitespace() || c == '/', "_");
    format!("{suite}-{test}.pcap")
}

/// A frame for a capture file.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When, since 1970.
    pub time: Duration,
    /// How long it was.
    pub length: usize,
    /// Its first bytes, or all.
    pub bytes: Vec<u8>,
}

/// Writes frames of Ethernet, in their order.
pub fn write(path: &Path, frames: &[Seen]) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    let mut file = PcapWriter::with_header(BufWriter::new(File::create(path)?), header)?;
    for Seen { time, length, bytes } in frames {
        let length = u32::try_from(*length).unwrap_or(u32::MAX);
        file.write_packet(&PcapPacket::new(*time, length, bytes))?;
    }
    file.into_writer().flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use pcap_file::pcap::PcapReader;

    use super::*;
    use crate::lab::cast::{NODE1, OUTSIDE};
    use crate::packet::{Packet, flags};

    /// The frames of a file, as another program reads them.
    fn read(path: &Path) -> Vec<Vec<u8>> {
        let mut file = PcapReader::new(File::open(path).expect("the file")).expect("a capture");
        assert_eq!(file.header().datalink, DataLink::ETHERNET);
        let mut frames = Vec::new();
        while let Some(packet) = file.next_packet() {
            let packet = packet.expect("a whole packet");
            assert_eq!(packet.orig_len as usize, packet.data.len());
            frames.push(packet.data.into_owned());
        }
        frames
    }

    #[test]
    fn the_frames_can_be_read_back_and_the_message_names_the_file_and_decodes_each() {
        let sent = Packet::ipv4().from(OUTSIDE, 40_000).to(NODE1, 30_080).tcp(flags::SYN).build();
        let broken = vec![1, 2, 3];
        let message = keep_frames(&[("sent", &sent), ("became", &broken)]);
        let path = directory().join(file_name(thread::current().name().unwrap_or("main")));
        assert_eq!(read(&path), [sent, broken]);
        for words in [
            "1 sent: 02:00:00:00:00:10",
            "192.0.2.10:40000 > 192.0.2.1:30080 TCP [S]",
            "2 became: 3 bytes, too short for Ethernet",
            path.to_str().expect("plain characters"),
        ] {
            assert!(message.contains(words), "{words:?} is not in\n{message}");
        }
        fs::remove_file(path).expect("it was there");
    }

    #[test]
    fn a_file_is_named_after_suite_and_test() {
        assert_eq!(file_name("remote::a_test"), "lb_tests-remote-a_test.pcap");
        assert_eq!(file_name("seed 1/2"), "lb_tests-seed_1_2.pcap");
    }

    #[test]
    fn where_no_file_can_be_written_the_frames_are_still_shown() {
        let message = keep_frames_of("no\0name", &[("sent", &[0; 14])]);
        assert!(
            message.contains("1 sent: 00:00") && message.contains("can't be kept"),
            "{message}"
        );
    }
}
