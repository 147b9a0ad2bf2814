//! `cargo +nightly fuzz run hello`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh::fuzz::hello(data));
