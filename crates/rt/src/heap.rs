//! The memory that the C library keeps after it was freed.

/// Gives it back to the system. For the end of work that needed much more than
/// what comes after it: each arena is looked through, which takes milliseconds
/// and holds up who allocates there meanwhile. Elsewhere than with glibc it does
/// nothing.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, and may be called by any thread at any time; no
    // memory that is in use is touched.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
