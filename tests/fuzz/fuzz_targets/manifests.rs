//! Any bytes through `lb_fuzz_targets::manifests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz_targets::manifests::check(bytes));
