//! `cargo +nightly fuzz run edge_key`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy::fuzz::key(data));
