//! `cargo +nightly fuzz run bearer`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| api::fuzz::bearer(data));
