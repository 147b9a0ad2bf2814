//! `cargo +nightly fuzz run fields`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| merge::fuzz::fields(data));
