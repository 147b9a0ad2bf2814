//! Free ports of loopback, in blocks.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Above the blocks that the end-to-end tests' estates begin with, and below
/// those that the system gives to outgoing connections, which would take one
/// while a server is down.
const FIRST: u32 = 25_000;
const LAST: u32 = 32_000;

/// One server's: one to serve, three for replication.
pub const BLOCK: u16 = 4;

const BLOCKS: u32 = (LAST - FIRST) / BLOCK as u32;

/// Blocks one process may go through before it meets the next one's.
const STRIDE: u32 = 37;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The first of [`BLOCK`] free ports. Test binaries that run side by side begin
/// at different places.
pub fn free_block() -> u16 {
    for _ in 0..BLOCKS {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let block = (process::id().wrapping_mul(STRIDE).wrapping_add(number)) % BLOCKS;
        let first = u16::try_from(FIRST + block * u32::from(BLOCK)).expect("below LAST");
        if (first..first + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no block of ports is free between {FIRST} and {LAST}");
}
