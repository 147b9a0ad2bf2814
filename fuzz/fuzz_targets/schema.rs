//! `cargo +nightly fuzz run schema`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| schema::fuzz::schema(data));
