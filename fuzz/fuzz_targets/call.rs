//! `cargo +nightly fuzz run call`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh::fuzz::call(data));
