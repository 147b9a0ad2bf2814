//! What can go wrong between us and the API, by whose fault it is.

/// The answer, or its absence, of one request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API answered with a Status: a definite refusal.
    #[error("{message} ({reason}, {code})")]
    Refused { code: u16, reason: String, message: String },
    /// No replica answered in time. A write may or may not have happened.
    #[error("no answer from the API within {0} ms")]
    TimedOut(u64),
    /// The connection failed. A write may or may not have happened.
    #[error("reach the API")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what this release understands.
    #[error("read the answer of the API")]
    Malformed(#[source] serde_json::Error),
    /// The object given lacks what the request needs.
    #[error("{0}")]
    Incomplete(&'static str),
}

// === impl Error ===

impl Error {
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.has(404, "NotFound")
    }

    /// The object changed since it was read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.has(409, "Conflict")
    }

    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.has(409, "AlreadyExists")
    }

    /// The revision asked for is compacted: list again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Refused { code: 410, .. })
    }

    /// Whether the request certainly changed nothing.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            // 5xx come after the request was accepted: a timeout of the store
            // among them leaves the outcome open.
            Error::Refused { code, .. } => *code < 500,
            Error::Incomplete(_) => true,
            Error::TimedOut(_) | Error::Unreachable(_) | Error::Malformed(_) => false,
        }
    }

    fn has(&self, wanted_code: u16, wanted_reason: &str) -> bool {
        match self {
            Error::Refused { code, reason, .. } => {
                *code == wanted_code && (reason.is_empty() || reason == wanted_reason)
            }
            _ => false,
        }
    }
}

impl From<kube::core::Status> for Error {
    fn from(status: kube::core::Status) -> Error {
        let kube::core::Status { code, reason, message, .. } = status;
        Error::Refused { code, reason, message }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Error {
        match error {
            kube::Error::Api(status) => Error::from(*status),
            kube::Error::SerdeError(source) => Error::Malformed(source),
            kube::Error::Service(source) => Error::Unreachable(source),
            other => Error::Unreachable(Box::new(other)),
        }
    }
}
