//! `cargo +nightly fuzz run proxy_config`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesh::fuzz::config(data));
