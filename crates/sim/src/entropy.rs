//! Where a simulated process gets its randomness from: the seed, and nothing
//! else.
//!
//! The standard library seeds its hash maps, and tokio the order in which a
//! `select!` looks at its branches, from the system. Both ask `getrandom`,
//! which the standard library allows to be interposed for exactly this end; so
//! here it is, and the same seed gives the same run to the last branch.
#![expect(unsafe_code, reason = "a function of the C library is replaced")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rt::random::Random;

/// State of the generator. A simulated process has one thread that asks.
static STATE: AtomicU64 = AtomicU64::new(0);

/// Call it before anything asks for randomness.
pub fn seed(seed: u64) {
    STATE.store(Random::seeded(seed).next_u64(), SeqCst);
}

/// The C library's, for the whole process.
///
/// # Safety
/// `buffer` is valid for writes of `length` bytes.
// SAFETY: the only function of that name in the program, with the signature of
// getrandom(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let mut random = Random::seeded(STATE.fetch_add(1, SeqCst));
    for index in 0..length {
        // SAFETY: the caller says that `length` bytes may be written.
        unsafe { buffer.add(index).write((random.next_u64() & 0xff) as u8) };
    }
    isize::try_from(length).expect("a buffer is no longer than half the memory")
}
