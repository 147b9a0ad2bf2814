//! `cargo +nightly fuzz run gateway`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::fuzz::gateway(data));
