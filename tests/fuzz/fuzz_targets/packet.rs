//! Any bytes through `lb_fuzz_targets::packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz_targets::packet::check(bytes));
