//! A complaint about one field, in the words of the Kubernetes API.

use std::fmt;

/// Shown as `spec.replicas: Invalid value: -1: must not be negative`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// From the root of the object: `spec.topology.unitReplicas[rz01]`.
    pub path: String,
    pub reason: FieldReason,
    pub detail: String,
}

/// As in the causes of a Status (`FieldValueInvalid`, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldReason {
    Required,
    Invalid {
        value: String,
    },
    /// Known in the kind's design but not served by this release.
    NotSupported,
}

// === impl FieldError ===

impl FieldError {
    #[must_use]
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError { path: path.into(), reason: FieldReason::Required, detail: detail.into() }
    }

    #[must_use]
    pub fn invalid(
        path: impl Into<String>,
        value: impl fmt::Debug,
        detail: impl Into<String>,
    ) -> FieldError {
        let reason = FieldReason::Invalid { value: format!("{value:?}") };
        FieldError { path: path.into(), reason, detail: detail.into() }
    }

    #[must_use]
    pub fn not_supported(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError { path: path.into(), reason: FieldReason::NotSupported, detail: detail.into() }
    }

    /// The `reason` of a Status cause.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self.reason {
            FieldReason::Required => "FieldValueRequired",
            FieldReason::Invalid { .. } => "FieldValueInvalid",
            FieldReason::NotSupported => "FieldValueNotSupported",
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldError { path, reason, detail } = self;
        match reason {
            FieldReason::Required => write!(f, "{path}: Required value: {detail}"),
            FieldReason::Invalid { value } => {
                write!(f, "{path}: Invalid value: {value}: {detail}")
            }
            FieldReason::NotSupported => write!(f, "{path}: Unsupported value: {detail}"),
        }
    }
}
