//! `cargo +nightly fuzz run passed_on`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh::fuzz::passed_on(data));
