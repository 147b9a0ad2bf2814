//! Messages as JSON and back, as etcd's gateway has them: names as in the
//! `.proto` files (in requests `lowerCamel` too), 64-bit numbers as strings,
//! bytes in base64, defaults left out, unknown names ignored.

use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor,
    SerializeOptions,
};
use serde_json::{Deserializer, Serializer, json, value::RawValue};
use tonic::Status;

use super::frames::framed;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(pb_etcd::DESCRIPTORS).expect("the generator wrote valid descriptors")
});

const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
const WRITE: SerializeOptions = SerializeOptions::new()
    .use_proto_field_name(true)
    .stringify_64_bit_integers(true)
    .skip_default_fields(true);

/// Of a path `/SERVICE/METHOD`.
pub(super) fn method(path: &'static str) -> MethodDescriptor {
    let (service, name) = path[1..].split_once('/').expect("a path has a service and a method");
    let service = POOL.get_service_by_name(service).expect("the table names services that exist");
    let method = service.methods().find(|method| method.name() == name);
    method.expect("the table names methods that exist")
}

/// A request in JSON, as it goes into the body of a call. Nothing at all reads
/// as an empty request.
pub(super) fn read(method: &MethodDescriptor, text: &[u8]) -> Result<Bytes, Status> {
    let text = if is_blank(text) { b"{}" } else { text };
    let mut json = Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(method.input(), &mut json, &READ)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(framed(&message.encode_to_vec()))
}

/// A message of a response.
pub(super) fn write(method: &MethodDescriptor, message: Bytes) -> Result<Bytes, Status> {
    let mut text = Vec::with_capacity(message.len() * 2);
    append(method.output(), message, &mut text)?;
    Ok(text.into())
}

/// The same, on a stream.
pub(super) fn result_line(method: &MethodDescriptor, message: Bytes) -> Result<Bytes, Status> {
    let mut line = Vec::with_capacity(message.len() * 2);
    line.extend_from_slice(b"{\"result\":");
    append(method.output(), message, &mut line)?;
    line.extend_from_slice(b"}\n");
    Ok(line.into())
}

pub(super) fn append(
    kind: MessageDescriptor,
    message: Bytes,
    text: &mut Vec<u8>,
) -> Result<(), Status> {
    let written = |error: &dyn std::fmt::Display| Status::internal(format!("polis: {error}"));
    let message = DynamicMessage::decode(kind, message).map_err(|error| written(&error))?;
    message
        .serialize_with_options(&mut Serializer::new(text), &WRITE)
        .map_err(|error| written(&error))
}

/// What both etcd 3.5 (`error`) and 3.6 say.
pub(super) fn error(status: &Status) -> Bytes {
    let (code, message) = (i32::from(status.code()), status.message());
    json!({"error": message, "code": code, "message": message}).to_string().into()
}

/// The same, on a stream that has begun.
pub(super) fn error_line(status: &Status, http: StatusCode) -> Bytes {
    let code = i32::from(status.code());
    let error = json!({
        "grpc_code": code,
        "code": code,
        "http_code": http.as_u16(),
        "http_status": http.canonical_reason().unwrap_or_default(),
        "message": status.message(),
    });
    (json!({ "error": error }).to_string() + "\n").into()
}

/// Where the first value of `text` ends; none while it is not complete.
pub(super) fn end(text: &[u8]) -> Result<Option<usize>, Status> {
    let mut values = Deserializer::from_slice(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(_)) => Ok(Some(values.byte_offset())),
        Some(Err(error)) if !error.is_eof() => Err(Status::invalid_argument(error.to_string())),
        Some(Err(_)) | None => Ok(None),
    }
}

pub(super) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(path: &'static str, text: &str) -> String {
        let method = method(path);
        let framed = read(&method, text.as_bytes()).expect("a request");
        let mut back = Vec::new();
        append(method.input(), framed.slice(5..), &mut back).expect("a message");
        String::from_utf8(back).expect("JSON")
    }

    #[test]
    fn a_request_may_use_either_spelling_and_numbers_of_either_kind() {
        let check = |text, expected: &str| {
            assert_eq!(read_back("/etcdserverpb.KV/Range", text), expected);
        };
        let original = r#"{"key":"YQ==","range_end":"Yg==","limit":"3","sort_order":"DESCEND"}"#;
        check(r#"{"key":"YQ==","rangeEnd":"Yg==","limit":3,"sortOrder":2,"x":[1]}"#, original);
        check(original, original);
        check("", "{}");
    }

    #[test]
    fn a_value_ends_where_it_ends_and_nonsense_is_refused() {
        assert_eq!(end(b" {\"a\": [1]} {").expect("a value"), Some(11));
        assert_eq!(end(b"{\"a\": [").expect("a beginning"), None);
        assert_eq!(end(b"").expect("nothing"), None);
        assert!(end(b"{bad").is_err());
    }

    #[test]
    fn every_path_of_the_table_is_a_method() {
        for (_, path) in super::super::paths::PATHS {
            assert!(crate::metrics::Method::of(path).is_some(), "{path}");
            assert!(!method(path).name().is_empty());
        }
    }
}
