//! `cargo +nightly fuzz run key`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh::fuzz::key(data));
