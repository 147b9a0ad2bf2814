//! A complaint about one field, in the words of the Kubernetes API.

use std::fmt;

use serde_json::Value;

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
    /// The value is of another type than the field.
    TypeInvalid {
        value: String,
    },
    /// Known in the kind's design but not served by this release.
    NotSupported,
    /// None of the values that the field may have.
    Unsupported {
        value: String,
    },
    NotFound {
        value: String,
    },
    Duplicate {
        value: String,
    },
    Forbidden,
    TooLong,
    TooMany {
        actual: usize,
    },
}

/// A value is shown up to here; the whole body stands in the request.
const SHOWN_MAX: usize = 4096;

// === impl FieldError ===

impl FieldError {
    #[must_use]
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::of(path, FieldReason::Required, detail)
    }

    #[must_use]
    pub fn invalid(
        path: impl Into<String>,
        value: impl fmt::Debug,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError::of(path, FieldReason::Invalid { value: format!("{value:?}") }, detail)
    }

    /// As [`FieldError::invalid`], of JSON.
    #[must_use]
    pub fn invalid_json(
        path: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError::of(path, FieldReason::Invalid { value: shown(value) }, detail)
    }

    /// Of a value too large to be shown.
    #[must_use]
    pub fn invalid_unsaid(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::of(path, FieldReason::Invalid { value: String::new() }, detail)
    }

    #[must_use]
    pub fn duplicate_unsaid(path: impl Into<String>) -> FieldError {
        FieldError::of(path, FieldReason::Duplicate { value: String::new() }, "")
    }

    #[must_use]
    pub fn type_invalid(
        path: impl Into<String>,
        value: impl fmt::Debug,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError::of(path, FieldReason::TypeInvalid { value: format!("{value:?}") }, detail)
    }

    #[must_use]
    pub fn not_supported(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::of(path, FieldReason::NotSupported, detail)
    }

    /// `value` is none of `known`.
    #[must_use]
    pub fn unsupported<'a>(
        path: impl Into<String>,
        value: &Value,
        known: impl IntoIterator<Item = &'a str>,
    ) -> FieldError {
        let known: Vec<String> = known.into_iter().map(|value| format!("{value:?}")).collect();
        let detail = match known.is_empty() {
            true => String::new(),
            false => format!("supported values: {}", known.join(", ")),
        };
        FieldError::of(path, FieldReason::Unsupported { value: shown(value) }, detail)
    }

    #[must_use]
    pub fn not_found(path: impl Into<String>, value: &Value) -> FieldError {
        FieldError::of(path, FieldReason::NotFound { value: shown(value) }, "")
    }

    #[must_use]
    pub fn duplicate(path: impl Into<String>, value: &Value) -> FieldError {
        FieldError::of(path, FieldReason::Duplicate { value: shown(value) }, "")
    }

    #[must_use]
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::of(path, FieldReason::Forbidden, detail)
    }

    /// Kubernetes says bytes, whatever is counted.
    #[must_use]
    pub fn too_long(path: impl Into<String>, max: u64) -> FieldError {
        let unit = if max == 1 { "byte" } else { "bytes" };
        FieldError::of(path, FieldReason::TooLong, format!("may not be more than {max} {unit}"))
    }

    #[must_use]
    pub fn too_many(path: impl Into<String>, actual: usize, max: u64) -> FieldError {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        FieldError::of(path, FieldReason::TooMany { actual }, detail)
    }

    fn of(path: impl Into<String>, reason: FieldReason, detail: impl Into<String>) -> FieldError {
        FieldError { path: path.into(), reason, detail: detail.into() }
    }

    /// The `reason` of a Status cause.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self.reason {
            FieldReason::Required => "FieldValueRequired",
            FieldReason::Invalid { .. } => "FieldValueInvalid",
            FieldReason::TypeInvalid { .. } => "FieldValueTypeInvalid",
            FieldReason::NotSupported | FieldReason::Unsupported { .. } => "FieldValueNotSupported",
            FieldReason::NotFound { .. } => "FieldValueNotFound",
            FieldReason::Duplicate { .. } => "FieldValueDuplicate",
            FieldReason::Forbidden => "FieldValueForbidden",
            FieldReason::TooLong => "FieldValueTooLong",
            FieldReason::TooMany { .. } => "FieldValueTooMany",
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldError { path, reason, detail } = self;
        write!(f, "{path}: ")?;
        match reason {
            FieldReason::Required => write!(f, "Required value")?,
            FieldReason::Invalid { value } if value.is_empty() => write!(f, "Invalid value")?,
            FieldReason::Duplicate { value } if value.is_empty() => write!(f, "Duplicate value")?,
            FieldReason::Invalid { value } | FieldReason::TypeInvalid { value } => {
                write!(f, "Invalid value: {value}")?;
            }
            FieldReason::NotSupported => write!(f, "Unsupported value")?,
            FieldReason::Unsupported { value } => write!(f, "Unsupported value: {value}")?,
            FieldReason::NotFound { value } => write!(f, "Not found: {value}")?,
            FieldReason::Duplicate { value } => write!(f, "Duplicate value: {value}")?,
            FieldReason::Forbidden => write!(f, "Forbidden")?,
            FieldReason::TooLong => write!(f, "Too long")?,
            FieldReason::TooMany { actual } => write!(f, "Too many: {actual}")?,
        }
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

/// A value as Kubernetes shows it: text quoted, all else as JSON.
fn shown(value: &Value) -> String {
    let mut text = match value {
        Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    };
    if let Some((cut, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_complaint_reads_as_kubernetes_writes_it() {
        let check = |error: FieldError, expected: &str| assert_eq!(error.to_string(), expected);
        check(FieldError::required("spec.a", ""), "spec.a: Required value");
        check(FieldError::required("spec.a", "why"), "spec.a: Required value: why");
        check(
            FieldError::unsupported("t", &json!("x"), ["A", "B"]),
            r#"t: Unsupported value: "x": supported values: "A", "B""#,
        );
        check(
            FieldError::duplicate("l[1]", &json!({"name": "a"})),
            r#"l[1]: Duplicate value: {"name":"a"}"#,
        );
        check(FieldError::too_long("n", 1), "n: Too long: may not be more than 1 byte");
        check(FieldError::too_many("n", 3, 2), "n: Too many: 3: must have at most 2 items");
        check(FieldError::forbidden("n", "not here"), "n: Forbidden: not here");
    }
}
