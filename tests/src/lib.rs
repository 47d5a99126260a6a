//! What the suites that need root are made of: a lab of network namespaces, real traffic through it,
//! and packets made by hand.
//!
//! - [`lab`]: hosts, nodes and pods as network namespaces that always go away.
//! - [`process`]: a running `lb` that always goes away. [`manifests`]: what it is told to serve.
//! - [`mod@bench`]: what the benchmarks have in common.
//! - [`echo`]: the service that demo and suites use.
//! - [`traffic`]: small servers and clients on plain sockets, and statistics over who answered.
//! - [`patience`]: how long things may take where the tests run.
//! - [`packet`]: test packets byte by byte, a reader for them, and random ones.
//!
//! The load balancer itself is only ever run as a process: this crate's library depends on neither `lb-userspace` nor
//! `lb-ebpf`, because `cargo xtask demo` uses it on machines that cannot compile BPF programs yet.
//! The tests of the load balancer are in `tests/tests/`.

pub mod bench;
pub mod echo;
pub mod lab;
pub mod manifests;
pub mod packet;
pub mod patience;
pub mod process;
pub mod traffic;
