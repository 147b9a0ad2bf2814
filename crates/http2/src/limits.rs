//! What a peer may make a connection hold.

/// Announced to the peer, and kept to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls under way at once; one more is refused as not begun.
    pub streams: u32,
    /// Bytes on the way to us in one stream.
    pub stream_window_bytes: u32,
    /// And in all of them.
    pub connection_window_bytes: u32,
    /// Fields of one head, by HPACK's count: each with 32 bytes on top. Heads
    /// that are larger are answered with 431; what comes for one on the wire
    /// is never kept beyond this either.
    pub head_bytes: u32,
    /// Of what waits to be written: beyond it nothing more is read, and no
    /// data is taken from streams' queues.
    pub output_bytes: usize,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            streams: 1024,
            stream_window_bytes: 1024 * 1024,
            connection_window_bytes: 4 * 1024 * 1024,
            head_bytes: 64 * 1024,
            output_bytes: 256 * 1024,
        }
    }
}
