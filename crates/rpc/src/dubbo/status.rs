//! What became of a call, as its head says (`Response.java`).

/// As on the wire; the named ones are those that a proxy gives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

// === impl Status ===

impl Status {
    pub const OK: Status = Status(20);
    pub const CLIENT_TIMEOUT: Status = Status(30);
    pub const SERVER_TIMEOUT: Status = Status(31);
    pub const BAD_REQUEST: Status = Status(40);
    pub const SERVICE_NOT_FOUND: Status = Status(60);
    pub const SERVER_ERROR: Status = Status(80);
    pub const THREADPOOL_EXHAUSTED: Status = Status(100);
}
