//! What can be measured.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiOp {
    /// From its start to `/readyz`.
    Ready,
    /// ConfigMaps.
    Create,
    /// One of a thousand ConfigMaps.
    Get,
    /// Every ConfigMap of a namespace that has 100.
    #[serde(rename = "list-100")]
    List100,
    #[serde(rename = "list-10000")]
    List10000,
    /// Events to many watchers of one namespace.
    WatchFanout,
    /// Resident bytes with many ConfigMaps.
    Memory,
    /// The same once each was updated some times.
    Churn,
}

// === impl ApiOp ===

impl ApiOp {
    /// All that are measured unless some are asked for.
    pub const ALL: [ApiOp; 8] = [
        ApiOp::Ready,
        ApiOp::Create,
        ApiOp::Get,
        ApiOp::List100,
        ApiOp::List10000,
        ApiOp::WatchFanout,
        ApiOp::Memory,
        ApiOp::Churn,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ApiOp::Ready => "ready",
            ApiOp::Create => "create",
            ApiOp::Get => "get",
            ApiOp::List100 => "list-100",
            ApiOp::List10000 => "list-10000",
            ApiOp::WatchFanout => "watch-fanout",
            ApiOp::Memory => "memory",
            ApiOp::Churn => "churn",
        }
    }

    /// Of a whole server, and not of its answers.
    pub(crate) fn is_of_memory(self) -> bool {
        matches!(self, ApiOp::Memory | ApiOp::Churn)
    }

    /// How many connections ask at once unless told: lists are of few clients.
    pub(crate) fn clients(self) -> usize {
        match self {
            ApiOp::List100 => 16,
            ApiOp::Ready | ApiOp::List10000 => 1,
            ApiOp::Create | ApiOp::Get | ApiOp::WatchFanout | ApiOp::Memory | ApiOp::Churn => 64,
        }
    }
}

impl std::str::FromStr for ApiOp {
    type Err = String;

    fn from_str(text: &str) -> Result<ApiOp, String> {
        let names = || ApiOp::ALL.map(ApiOp::name).join(", ");
        let found = ApiOp::ALL.into_iter().find(|op| op.name() == text);
        found.ok_or_else(|| format!("no such operation; there are {}", names()))
    }
}
