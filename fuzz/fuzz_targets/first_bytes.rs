//! `cargo +nightly fuzz run first_bytes`, from the repository's folder.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::first_bytes(data));
