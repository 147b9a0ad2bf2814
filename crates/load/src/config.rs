//! What to send, where, and for how long.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use topology::Layout;

use crate::{EdgeUrl, Error};

#[derive(Clone, Debug)]
pub struct Config {
    /// At least one. Payment n goes to edge n modulo their number first.
    pub edges: Vec<EdgeUrl>,
    /// Payments a second.
    pub rate: u32,
    /// `None` goes on until it is told to stop.
    pub duration: Option<Duration>,
    /// Payers; at least [`Config::USERS_MIN`], so that every shard has one.
    pub users: u32,
    pub run: RunId,
    /// How long after it fell due a payment is tried; see [`Config::GIVE_UP`].
    pub give_up: Duration,
    /// Which shard each payer is of, in the history.
    pub layout: Layout,
    /// Where the history goes.
    pub history: PathBuf,
}

/// Part of every key of a run: 1 to 24 of `a-z0-9`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId(String);

// === impl Config ===

impl Config {
    pub const USERS_MIN: u32 = 100;
    /// Payers are numbered with six digits.
    pub const USERS_MAX: u32 = 1_000_000;
    /// Beyond this one process measures itself and not the service.
    pub const RATE_MAX: u32 = 50_000;
    /// No definite answer by then is an error, unless more is asked for.
    pub const GIVE_UP: Duration = Duration::from_secs(10);
    /// Of one try: long enough for an edge to hold the request over a failover,
    /// short enough to leave an edge that has gone silent.
    pub const TRY_TIMEOUT: Duration = Duration::from_millis(1500);
    /// How much sooner an edge is asked to answer than its answer is waited for.
    pub const ANSWER_MARGIN: Duration = Duration::from_millis(200);
    /// Payments under way at once: ten seconds' worth at 2,000 a second. Beyond
    /// it a due payment is recorded as not sent.
    pub const IN_FLIGHT_MAX: usize = 20_000;

    /// # Errors
    /// Names what is out of bounds.
    pub fn check(&self) -> Result<(), Error> {
        let bounds = |what, value: u32, min, max| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(Error::OutOfBounds { what, value, min, max }) }
        };
        bounds("rate", self.rate, 1, Config::RATE_MAX)?;
        bounds("users", self.users, Config::USERS_MIN, Config::USERS_MAX)?;
        if self.edges.is_empty() { Err(Error::NoEdge) } else { Ok(()) }
    }
}

// === impl RunId ===

impl FromStr for RunId {
    type Err = Error;
    fn from_str(text: &str) -> Result<RunId, Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if (1..=24).contains(&text.len()) && text.bytes().all(plain) {
            Ok(RunId(text.into()))
        } else {
            Err(Error::RunId(text.chars().take(32).collect()))
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
