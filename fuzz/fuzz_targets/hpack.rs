//! `cargo +nightly fuzz run hpack`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http2::fuzz::hpack(data));
