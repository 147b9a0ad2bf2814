//! `cargo +nightly fuzz run journal`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::fuzz::journal(data));
