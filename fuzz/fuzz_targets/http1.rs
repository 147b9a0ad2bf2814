//! `cargo +nightly fuzz run http1`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh::fuzz::http1(data));
