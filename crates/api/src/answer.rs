//! The last step of every answer: in the encoding that the caller reads, small
//! enough for the way.
//!
//! Everything before it makes JSON. What knows a built-in type becomes protobuf
//! by its schema, in one pass over the text; what the caller wants as YAML
//! becomes that. Watches encode frame by frame ([`Encoding::frame`]).

use std::{borrow::Cow, io::Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use schema::{Schema, builtin, proto};
use serde::Deserialize;

use crate::{
    failure::Failure,
    request::accept::{self, Encoding},
    response::{self, Body},
    yaml,
};

/// As kube-apiserver: what is smaller is not worth the time.
const GZIP_BYTES_MIN: u64 = 128 * 1024;

const JSON: &str = "application/json";

/// What JSON says of itself.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default, rename = "apiVersion")]
    api_version: Cow<'a, str>,
}

/// `response` as `headers` of its request ask for it.
pub async fn dress(headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let response = match encode(headers, response).await {
        Ok(response) => response,
        Err(failure) => response::failure(&failure),
    };
    compress(headers, response).await
}

async fn encode(headers: &HeaderMap, response: Response<Body>) -> Result<Response<Body>, Failure> {
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == JSON);
    let wanted = accept::encodings(headers);
    // A page that is kept small is of one encoding.
    let packed = response.headers().contains_key(header::CONTENT_ENCODING);
    // A stream of frames has been encoded as it goes.
    let plain = wanted.first().is_none_or(|first| *first == Encoding::Json);
    if !json || plain || packed || response.body().size_hint().exact().is_none() {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes);
    for encoding in wanted {
        let encoded = match encoding {
            Encoding::Json => return Ok(Response::from_parts(parts, whole(bytes))),
            Encoding::Yaml => Some(yaml::write(&bytes)?.into()),
            Encoding::Protobuf => protobuf(&bytes)?,
        };
        if let Some(encoded) = encoded {
            let media_type = HeaderValue::from_static(encoding.media_type());
            parts.headers.insert(header::CONTENT_TYPE, media_type);
            return Ok(Response::from_parts(parts, whole(encoded)));
        }
    }
    // A failure is told in any case, and what is no object has no other form.
    let is_object = head(&bytes).is_some() || memchr::memmem::find(&bytes, b"\"kind\":").is_some();
    match parts.status.is_success() && is_object {
        true => Err(Failure::not_acceptable()),
        false => Ok(Response::from_parts(parts, whole(bytes))),
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

/// JSON as a sealed message; none when it is of no built-in type.
pub fn protobuf(json: &[u8]) -> Result<Option<Bytes>, Failure> {
    let broken = |_| Failure::internal("an answer without a protobuf form");
    let head: Head<'_> = match head(json) {
        Some(head) => head,
        None => serde_json::from_slice(json).map_err(broken)?,
    };
    let Some(schema) = schema_of(&head.api_version, &head.kind) else { return Ok(None) };
    let mut message = Vec::with_capacity(json.len());
    proto::write_json(schema, json, &mut message).map_err(broken)?;
    Ok(Some(proto::seal(&head.api_version, &head.kind, &message).into()))
}

/// Objects and lists begin with their kind: no need to read on.
fn head(json: &[u8]) -> Option<Head<'_>> {
    let rest = json.strip_prefix(br#"{"kind":""#)?;
    let (kind, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
    let rest = rest.strip_prefix(br#"","apiVersion":""#)?;
    let api_version = &rest[..memchr::memchr(b'"', rest)?];
    let text = |bytes| std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    Some(Head { kind: text(kind)?, api_version: text(api_version)? })
}

/// The built-in type of an object that says so of itself. Options are
/// understood in every group and version; what is not of a kind that is served
/// (`Status`, `APIResourceList`, `Table`'s rows) is of the core's.
pub fn schema_of(api_version: &str, kind: &str) -> Option<&'static Schema> {
    // Cells are of any type, which protobuf cannot say.
    if kind == "Table" {
        return None;
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut types = builtin::types().filter(|(_, one)| one.root && one.name == kind);
    let own = types.find(|(_, one)| one.group == group && one.version == version);
    let general = || match (group, kind) {
        ("" | "meta.k8s.io", _)
        | (_, "DeleteOptions" | "CreateOptions" | "PatchOptions" | "UpdateOptions") => {
            builtin::find(&format!("meta.v1.{kind}"))
        }
        _ => None,
    };
    own.map(|(id, _)| id).or_else(general).map(builtin::get)
}

/// `response` with a tag of its content, or 304 for who has that already.
pub async fn keep(headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes);
    let etag = format!("\"{}\"", tag(&bytes));
    let mut response = Response::from_parts(parts, whole(bytes));
    if has(headers, &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = whole(Bytes::new());
    }
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// A hash of `bytes`, as kube-apiserver writes its own.
pub fn tag(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Whether the client has what `etag` names.
pub fn has(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tags.any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

async fn compress(headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let large = response.body().size_hint().exact().is_some_and(|len| len > GZIP_BYTES_MIN);
    let done = response.headers().contains_key(header::CONTENT_ENCODING);
    if !large || done || !reads_gzip(headers) || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, whole(gzip(&bytes)))
}

/// Level 1: a third of the size for a tenth of the time of the best.
pub fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything").into()
}

pub fn reads_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut clauses = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    clauses.any(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|part| part == "q=0")
    })
}

// === impl Encoding ===

impl Encoding {
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => JSON,
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => proto::MEDIA_TYPE,
        }
    }

    /// Of a watch.
    pub fn stream_type(self) -> &'static str {
        match self {
            Encoding::Json | Encoding::Yaml => JSON,
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers
    }

    async fn check(accept: &'static str, value: serde_json::Value, expected: &str) -> Bytes {
        let answer = response::json(StatusCode::OK, &value);
        let answer = dress(&request(accept), answer).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], expected, "{accept}");
        let Ok(body) = answer.into_body().collect().await;
        body.to_bytes()
    }

    #[tokio::test]
    async fn the_first_encoding_that_the_object_has_is_taken() {
        let map = || json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let both = "application/vnd.kubernetes.protobuf,application/json";
        let bytes = check(both, map(), proto::MEDIA_TYPE).await;
        let envelope = proto::Envelope::open(&bytes).expect("an envelope");
        assert_eq!((envelope.api_version, envelope.kind), ("v1", "ConfigMap"));
        let read = proto::read(schema_of("v1", "ConfigMap").expect("known"), envelope.message);
        assert_eq!(read.expect("a message").object["data"], json!({"k": "v"}));
        let custom = json!({"kind": "City", "apiVersion": "polis.dev/v1alpha1"});
        check(both, custom, JSON).await;
        let text = check("application/yaml", map(), "application/yaml").await;
        let expected = "apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\nmetadata:\n  name: a\n";
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn what_has_no_wanted_form_is_not_acceptable() {
        let custom = json!({"kind": "City", "apiVersion": "polis.dev/v1alpha1"});
        let answer = response::json(StatusCode::OK, &custom);
        let answer = dress(&request(proto::MEDIA_TYPE), answer).await;
        assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE);
        // A failure has one.
        let failure = response::failure(&Failure::no_such_path());
        let answer = dress(&request(proto::MEDIA_TYPE), failure).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], proto::MEDIA_TYPE);
    }

    #[tokio::test]
    async fn only_large_answers_are_compressed() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0.5"));
        for (len, expected) in [(1000, false), (200_000, true)] {
            let answer = response::text(StatusCode::OK, "x".repeat(len));
            let answer = dress(&headers, answer).await;
            assert_eq!(answer.headers().contains_key(header::CONTENT_ENCODING), expected);
        }
    }

    #[test]
    fn built_in_types_are_found_by_what_objects_say() {
        let check = |version: &str, kind: &str, known: bool| {
            assert_eq!(schema_of(version, kind).is_some(), known, "{version} {kind}");
        };
        check("v1", "Status", true);
        check("apps/v1", "DeploymentList", true);
        check("apps/v1", "DeleteOptions", true);
        check("autoscaling/v1", "Scale", true);
        check("meta.k8s.io/v1", "PartialObjectMetadataList", true);
        check("v1", "APIResourceList", true);
        check("polis.dev/v1alpha1", "City", false);
        check("", "", false);
    }
}
