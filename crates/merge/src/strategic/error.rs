//! Why a strategic merge patch is refused, in Kubernetes' words.

use std::fmt;

use serde_json::{Map, Value};

use crate::go;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The patch itself is wrong.
    Malformed(&'static str),
    /// The patch is well formed, and cannot be done.
    Impossible(&'static str),
    /// Anything else that is wrong with the patch, or with it and the object
    /// together.
    Unexpected(String),
}

// === impl Error ===

impl Error {
    pub(super) const DOCUMENT: Error = Error::Malformed("invalid JSON document");
    pub(super) const PRIMITIVE_LIST: Error =
        Error::Malformed("invalid patch format of primitive list");
    pub(super) const RETAIN_KEYS: Error = Error::Malformed("invalid patch format of retainKeys");
    pub(super) const ELEMENT_ORDER: Error =
        Error::Malformed("invalid patch format of setElementOrder list");
    pub(super) const LIST_OF_LISTS: Error = Error::Impossible("lists of lists are not supported");

    pub(super) fn no_merge_key(item: &Map<String, Value>, key: &str) -> Error {
        let item = go::plain(&Value::Object(item.clone()));
        Error::Unexpected(format!("map: {item} does not contain declared merge key: {key}"))
    }

    pub(super) fn patch_type(directive: &Value, map: &Map<String, Value>) -> Error {
        let directive = match directive {
            Value::String(text) => text.clone(),
            other => format!("%!s({}={})", go::type_name(other), go::plain(other)),
        };
        let map = go::plain(&Value::Object(map.clone()));
        Error::Unexpected(format!("unknown patch type: {directive} in map: {map}"))
    }

    pub(super) fn not_a_map(value: &Value) -> Error {
        let got = go::type_name(value);
        Error::Unexpected(format!("expected a map[string]interface {{}}, but received a {got}"))
    }

    pub(super) fn not_a_list(value: &Value) -> Error {
        let got = go::type_name(value);
        Error::Unexpected(format!("expected a []interface {{}}, but received a {got}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed(text) | Error::Impossible(text) => f.write_str(text),
            Error::Unexpected(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
