//! What every parser must withstand: the bodies of the fuzz targets, as plain functions that panic when
//! something is wrong. `cargo xtask fuzz` feeds them with what libFuzzer finds, `cargo test` with the corpus.
//!
//! - [`packet`]: any frames, one after the other, at any hook.
//! - [`headers`]: any IPv4 options and IPv6 extension headers before a segment that the tables know.
//! - [`errors`]: any ICMP message about a packet of a flow.
//! - [`manifests`]: any text, up to the tables that it would make.
//! - [`netlink`]: any datagram of the kernel's.
//!
//! Making the corpus and running the fuzzer don't belong here.

pub mod errors;
pub mod headers;
pub mod manifests;
pub mod netlink;
pub mod packet;

// The world of the pipeline's own tests, so that there is one.
#[expect(dead_code, reason = "tests of the pipeline use all of it")]
#[path = "../../../../lb-common/tests/pipeline/traffic.rs"]
mod traffic;
#[expect(dead_code, reason = "tests of the pipeline use all of it")]
#[path = "../../../../lb-common/tests/pipeline/world.rs"]
mod world;

/// A target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 5] = [
    ("errors", errors::check),
    ("headers", headers::check),
    ("manifests", manifests::check),
    ("netlink", netlink::check),
    ("packet", packet::check),
];
