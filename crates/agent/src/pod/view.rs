//! What is seen of one container, as its keeper tells it and a status shows it.

use runtime::Finished;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub state: State,
    /// How the attempt before ended.
    pub last: Option<Finished>,
    pub restarts: u32,
    pub ready: bool,
    /// False while an adopted container has not been asked yet: until then
    /// nobody is told that it is not ready, which it probably is.
    pub known: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Waiting {
        reason: &'static str,
        message: String,
    },
    /// `started_at` is since the Unix epoch.
    Running {
        started_at: Duration,
    },
    /// Ended for good.
    Ended(Finished),
}

// === impl View ===

impl View {
    pub(crate) fn creating() -> View {
        let state = State::Waiting { reason: "ContainerCreating", message: String::new() };
        View { state, last: None, restarts: 0, ready: false, known: true }
    }
}
