//! `cargo +nightly fuzz run cel`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cel::fuzz::cel(data));
