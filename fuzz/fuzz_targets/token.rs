//! `cargo +nightly fuzz run token`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| store::fuzz::token(data));
