//! What of the kernel the programs make use of where it is there, and do without where it isn't.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use lb_tests::process::fresh_instance;
use lb_userspace::dataplane::{Features, Pins, Programs};

use crate::bed::{BPFFS, SIZES};

/// Runs a test with an instance's pins, which go away afterwards.
pub fn with_pins(test: impl FnOnce(&Pins) -> Result<()>) -> Result<()> {
    let mut pins = Pins::of(Path::new(BPFFS), &fresh_instance());
    pins.lock()?;
    let outcome = test(&pins);
    pins.remove()?;
    outcome
}

/// The running kernel's version: 6.18 is (6, 18).
fn version() -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(str::parse);
    let (major, minor) = numbers.next().zip(numbers.next()).context(release.clone())?;
    Ok((major?, minor?))
}

/// Newer than a kernel that has something all have it; what is older may have taken it over, but not so
/// much older.
#[test]
fn what_a_kernel_of_this_version_has_is_found() -> Result<()> {
    let (version, features) = (version()?, Features::tried()?);
    assert_eq!(features.frags, version >= (5, 18), "{version:?}");
    if version >= (6, 16) {
        assert!(features.ipv6_flag, "{version:?}");
    }
    if version < (5, 15) {
        assert!(!features.ipv6_flag, "{version:?}");
    }
    Ok(())
}

/// The verifier takes the way that isn't gone out of each program that changes checksums of TCP.
#[test]
fn programs_are_loaded_for_what_the_kernel_has() -> Result<()> {
    let usual = Features::tried()?;
    let size = |ipv6_flag| {
        let mut size = 0;
        with_pins(|pins| {
            let programs = Programs::load_for(pins, &SIZES, Features { ipv6_flag, ..usual })?;
            let info = programs.program("lb_uplink_in").context("the program")?.info()?;
            size = info.size_translated().context("its size")?;
            Ok(())
        })?;
        anyhow::Ok(size)
    };
    let (with, without) = (size(true)?, size(false)?);
    ensure!(with < without, "{with} bytes with the flag, {without} with a helper instead");
    Ok(())
}
