//! The time of day in a simulated process: that of the machine whose turn it is,
//! and not of the one that simulates.
//!
//! The standard library asks the C library, whose function is replaced here, as
//! `sim::entropy` does for randomness. Monotonic time is asked for as before:
//! the runtimes' clocks are paused and count by themselves.
#![expect(unsafe_code, reason = "a function of the C library is replaced")]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Zero: the real one.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

/// A day like any other, from which simulated time is counted.
pub const BEGAN_MS: u64 = 1_767_225_600_000;

/// From now on it is so many milliseconds after 1970.
pub fn set(unix_ms: u64) {
    NOW_MS.store(unix_ms, SeqCst);
}

/// The C library's, for the whole process.
///
/// # Safety
/// `time` is valid for a write.
// SAFETY: the only function of that name in the program, with the signature of
// clock_gettime(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    let now_ms = NOW_MS.load(SeqCst);
    if clock != libc::CLOCK_REALTIME || now_ms == 0 {
        // SAFETY: what was asked of us is asked of the system as it is.
        let answer = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return libc::c_int::try_from(answer).unwrap_or(-1);
    }
    let seconds = libc::time_t::try_from(now_ms / 1_000).expect("a day of our time");
    let nanoseconds = libc::c_long::try_from(now_ms % 1_000 * 1_000_000).expect("below a second");
    // SAFETY: the caller says that the time may be written.
    unsafe { time.write(libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds }) };
    0
}
