//! `cargo +nightly fuzz run grpc_message`, from the repository's folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| http2::fuzz::message(data));
