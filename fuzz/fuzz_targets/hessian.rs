//! `cargo +nightly fuzz run hessian`, from the repository's folder.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::hessian(data));
