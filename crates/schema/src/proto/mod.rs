//! Kubernetes' protobuf, read and written by schema.
//!
//! What a field is on the wire follows from its number and its [`crate::Form`]:
//! times, quantities and the like are messages of their own, maps are repeated
//! entries, what JSON inlines lies [`crate::Field::within`] further messages.
//! Writing is one pass from JSON (text or value) to bytes, without a tree
//! between; reading makes the JSON value that the registry works on.
//!
//! Kubernetes' own writers always put out fields that are no pointers in Go,
//! empty ones too; ours puts out what the JSON has. Readers take both for the
//! same, and so does ours: [`crate::Presence`] says which empty fields are
//! shown. Bytes therefore differ from theirs, in order and in empty fields.

mod choice;
mod envelope;
mod read;
mod scalar;
pub(crate) mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use envelope::{Envelope, MAGIC, MEDIA_TYPE, frame, list, seal};
pub use read::{Read, read};
pub use scalar::parse_duration;
pub use write::{write, write_json};

use crate::{Object, Schema, Shape};

/// Why bytes are no message of the schema's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("unexpected EOF")]
    Cut,
    #[error("illegal tag {0} (wire type {1})")]
    Tag(u64, u64),
    #[error("wrong wireType = {got} for field {field}")]
    WireType { field: Box<str>, got: u8 },
    #[error("{field}: {why}")]
    Value { field: Box<str>, why: &'static str },
    #[error("nested too deeply")]
    Depth,
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    #[error("empty body")]
    Empty,
    #[error("the message is encoded or of another type ({0:?})")]
    Foreign(Box<str>),
}

/// Bound on messages in messages. The deepest built-in kind that is not
/// recursive has 15; a schema in a CustomResourceDefinition takes two for each
/// of its own levels.
const DEPTH_MAX: usize = 100;

/// Kept as JSON text in a message of its own (`RawExtension`, `FieldsV1`).
fn is_raw(shape: &Shape) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Object(Object { fields, additional: None, open, embedded, .. }) => {
            fields.is_empty() && (*open || *embedded)
        }
        _ => false,
    }
}

/// `None` for objects whose fields are known.
fn map_values(object: &Object) -> Option<&Schema> {
    object.additional.as_deref().filter(|_| object.fields.is_empty())
}
