//! `cargo +nightly fuzz run http2_client`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http2::fuzz::client(data));
