//! `cargo +nightly fuzz run spdy`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spdy::fuzz::frames(data));
