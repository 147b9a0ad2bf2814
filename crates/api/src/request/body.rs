//! Reading a request's body: bounded, JSON.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schema::proto::{self, Envelope};
use serde_json::Value;

use crate::{
    answer,
    failure::Failure,
    request::{
        decode::{self, Decoded},
        options::FieldValidation,
        yaml,
    },
};

/// kube-apiserver's bound on a request body. The store's own bound on one
/// value (1.5 MiB) is lower and told apart in its answer.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Bound on the findings told in one `Warning` header or message.
const FINDINGS_BYTES_MAX: usize = 4096;

/// Reads all of `body`.
pub async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
            Err(Failure::too_large(message))
        }
        Err(error) => Err(Failure::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// The media type of the body, without parameters.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

/// The body of a create, update or delete, whatever it is encoded in. None when
/// it is empty.
pub fn json(headers: &HeaderMap, bytes: &Bytes) -> Result<Option<Decoded>, Failure> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    match media_type(headers) {
        // curl says the second when it is told nothing.
        "" | "application/json" | "application/x-www-form-urlencoded" => parse(bytes).map(Some),
        proto::MEDIA_TYPE => protobuf(bytes).map(Some),
        "application/yaml" => from_yaml(bytes).map(Some),
        other => Err(Failure::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, {} (got {other:?})",
            proto::MEDIA_TYPE
        ))),
    }
}

/// An object of a built-in kind.
fn protobuf(bytes: &[u8]) -> Result<Decoded, Failure> {
    let refuse = |error: String| {
        Failure::bad_request(format!("the object provided is unrecognized: {error}"))
    };
    let envelope = Envelope::open(bytes).map_err(|error| refuse(error.to_string()))?;
    let Envelope { api_version, kind, message } = envelope;
    let Some(schema) = answer::schema_of(api_version, kind) else {
        let message = format!("no kind {kind:?} is registered for version {api_version:?}");
        return Err(Failure::unsupported_media_type(message));
    };
    let read = proto::read(schema, message).map_err(|error| refuse(error.to_string()))?;
    let mut object = read.object;
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), api_version.into());
    Ok(Decoded { value: object.into(), twice: Vec::new() })
}

fn from_yaml(bytes: &[u8]) -> Result<Decoded, Failure> {
    yaml::decode(bytes).map_err(|error| {
        Failure::bad_request(format!("the object provided is unrecognized: {error}"))
    })
}

pub fn parse(bytes: &[u8]) -> Result<Decoded, Failure> {
    decode::decode(bytes).map_err(|error| {
        Failure::bad_request(format!("the object provided is unrecognized: {error}"))
    })
}

/// Fields that were written twice or are not known: refused, told or ignored.
/// Returns what is to be told.
/// Of custom kinds those that were written twice come first: they are found
/// before anybody knows of what kind the object is.
pub fn judge(
    validation: FieldValidation,
    custom: bool,
    twice: &[String],
    unknown: &[String],
) -> Result<Vec<String>, Failure> {
    let twice = twice.iter().map(|found| match found.starts_with(yaml::FINDING) {
        true => found.clone(),
        false => format!("duplicate field {found:?}"),
    });
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let findings: Vec<String> = match custom {
        true => twice.chain(unknown).collect(),
        false => unknown.chain(twice).collect(),
    };
    match validation {
        FieldValidation::Strict if !findings.is_empty() => {
            let mut list = findings.join(", ");
            truncate(&mut list);
            Err(Failure::bad_request(format!("strict decoding error: {list}")))
        }
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn | FieldValidation::Strict => Ok(findings),
    }
}

fn truncate(text: &mut String) {
    let end = (0..=FINDINGS_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.truncate(end);
}

/// The object of a create or update.
pub fn require_object(decoded: Option<Decoded>) -> Result<(Value, Vec<String>), Failure> {
    match decoded {
        Some(Decoded { value, twice }) if value.is_object() => Ok((value, twice)),
        Some(_) => Err(Failure::bad_request("the body must be a JSON object")),
        None => Err(Failure::bad_request("the body must not be empty")),
    }
}
