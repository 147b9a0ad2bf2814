//! Values that flags have: durations and modes, as kube-apiserver writes them.

use std::{fmt, str::FromStr, time::Duration};

use api::settings::{AuditMode, AuthorizationMode};
use serde::{Deserialize, Serialize};

use crate::role::store::duration;

/// A duration, written like `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// An authorization mode that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub AuthorizationMode);

/// Whether requests wait for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuditLogMode(pub AuditMode);

const AUDIT_MODES: [(&str, AuditMode); 3] = [
    ("batch", AuditMode::Batch),
    ("blocking", AuditMode::Blocking),
    ("blocking-strict", AuditMode::BlockingStrict),
];

const MODES: [(&str, AuthorizationMode); 4] = [
    ("Node", AuthorizationMode::Node),
    ("RBAC", AuthorizationMode::Rbac),
    ("AlwaysAllow", AuthorizationMode::AlwaysAllow),
    ("AlwaysDeny", AuthorizationMode::AlwaysDeny),
];

// === impl Span ===

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        duration::parse(text).map(Span)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        format!("{}ms", span.0.as_millis())
    }
}

// === impl Mode ===

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        if let Some((_, mode)) = MODES.iter().find(|(name, _)| *name == text) {
            return Ok(Mode(*mode));
        }
        match text {
            "ABAC" | "Webhook" => Err(format!("the authorization mode {text} is not served")),
            _ => Err(format!("{text:?} is not a valid mode")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = MODES.iter().find(|(_, mode)| *mode == self.0).expect("all are listed");
        f.write_str(name)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Mode, String> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        mode.to_string()
    }
}

// === impl AuditLogMode ===

impl FromStr for AuditLogMode {
    type Err = String;

    fn from_str(text: &str) -> Result<AuditLogMode, String> {
        let found = AUDIT_MODES.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| AuditLogMode(*mode)).ok_or_else(|| {
            let known = AUDIT_MODES.map(|(name, _)| name).join(",");
            format!("invalid audit log mode {text}, allowed modes are {known:?}")
        })
    }
}

impl TryFrom<String> for AuditLogMode {
    type Error = String;

    fn try_from(text: String) -> Result<AuditLogMode, String> {
        text.parse()
    }
}

impl From<AuditLogMode> for String {
    fn from(mode: AuditLogMode) -> String {
        let (name, _) = AUDIT_MODES.iter().find(|(_, one)| *one == mode.0).expect("all are listed");
        (*name).to_owned()
    }
}
