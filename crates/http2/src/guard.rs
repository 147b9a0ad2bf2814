//! Whether a peer makes work for nothing.
//!
//! Each thing that costs us and brings neither side anything is paid from an
//! allowance, which useful work and time fill up again. A polite client never
//! comes near the end of one; a flood is at its end within milliseconds, and
//! the connection with it (ENHANCE_YOUR_CALM).

/// Calls begun and taken back, or malformed, or over the maximum
/// (CVE-2023-44487): every call of a large client may time out at once,
/// since a call that is answered fills one up again.
const RESETS_MAX: u32 = 2048;
/// A client whose calls all time out cancels as often as it has workers.
const RESETS_PER_SECOND: u32 = 256;

/// Frames that ask for an acknowledgement or say nothing: pings, settings,
/// priorities, credit, empty data.
const CHATTER_MAX: u32 = 4096;
const CHATTER_PER_SECOND: u32 = 512;
/// A peer may answer a frame of data with credit for its stream, for the
/// connection, and a ping that measures the way.
pub(crate) const CHATTER_PER_DATA: u32 = 3;
/// And a call with its credit, a ping, and a frame of data without bytes.
pub(crate) const CHATTER_PER_CALL: u32 = 3;

pub(crate) struct Guard {
    resets_left: u32,
    chatter_left: u32,
}

// === impl Guard ===

impl Guard {
    pub fn new() -> Guard {
        Guard { resets_left: RESETS_MAX, chatter_left: CHATTER_MAX }
    }

    /// False when there were too many.
    pub fn reset(&mut self) -> bool {
        self.resets_left = self.resets_left.saturating_sub(1);
        self.resets_left > 0
    }

    pub fn chatter(&mut self) -> bool {
        self.chatter_left = self.chatter_left.saturating_sub(1);
        self.chatter_left > 0
    }

    /// A call was answered to its end.
    pub fn answered(&mut self) {
        self.resets_left = (self.resets_left + 1).min(RESETS_MAX);
        self.data(CHATTER_PER_CALL);
    }

    /// Something was sent that may be answered with this many frames.
    pub fn data(&mut self, frames: u32) {
        self.chatter_left = (self.chatter_left + frames).min(CHATTER_MAX);
    }

    /// So much time has gone by.
    pub fn rest(&mut self, seconds: u32) {
        let more =
            |left: u32, rate: u32, max| left.saturating_add(rate.saturating_mul(seconds)).min(max);
        self.resets_left = more(self.resets_left, RESETS_PER_SECOND, RESETS_MAX);
        self.chatter_left = more(self.chatter_left, CHATTER_PER_SECOND, CHATTER_MAX);
    }
}
