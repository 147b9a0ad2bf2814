//! Polis.
fn main() {}
