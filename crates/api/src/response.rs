//! Answers on the wire.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    failure::Failure,
    registry::{Item, Page},
    request::accept::Shape,
    resource::Resource,
    table::{self, Table},
};

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bound on one `Warning` header; a finding that is longer is cut.
const WARNING_BYTES_MAX: usize = 512;

/// More warnings than a person reads are not sent.
const WARNINGS_MAX: usize = 16;

/// A body of frames that come over time.
pub struct Frames(mpsc::Receiver<Bytes>);

pub fn json(code: StatusCode, value: &Value) -> Response<Body> {
    let bytes = serde_json::to_vec(value).expect("JSON values have a text form");
    with_type(code, "application/json", bytes)
}

pub fn text(code: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "text/plain; charset=utf-8", body)
}

pub fn with_type(
    code: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

pub fn failure(failure: &Failure) -> Response<Body> {
    let mut response = json(failure.code(), &failure.to_value());
    if let Some(seconds) = failure.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(methods) = failure.allow() {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}

/// Frames as they come, until the sender is gone.
pub fn stream(media_type: &'static str, frames: mpsc::Receiver<Bytes>) -> Response<Body> {
    let mut response = Response::new(Frames(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// One object in the wanted shape.
pub fn object(
    code: StatusCode,
    shape: Shape,
    table: &Table,
    item: Item,
) -> Result<Response<Body>, Failure> {
    let resource = table.resource();
    let value = match shape {
        Shape::Object => {
            let mut bytes = Vec::with_capacity(item.len());
            item.write(resource, &mut bytes)?;
            return Ok(with_type(code, "application/json", bytes));
        }
        Shape::Partial => table::partial(item.into_object(resource)?),
        Shape::Table => {
            let object = item.into_object(resource)?;
            let version = object["metadata"]["resourceVersion"].clone();
            table.show(json!({ "resourceVersion": version }), vec![object], true)
        }
    };
    Ok(json(code, &value))
}

/// A list in the wanted shape.
pub fn list(shape: Shape, table: &Table, page: Page) -> Result<Response<Body>, Failure> {
    let resource = table.resource();
    let mut metadata = json!({ "resourceVersion": page.revision.to_string() });
    if let Some(token) = page.token {
        metadata["continue"] = token.into();
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    if shape == Shape::Object {
        return Ok(with_type(
            StatusCode::OK,
            "application/json",
            write(resource, &metadata, &page.items)?,
        ));
    }
    let objects = page.items.into_iter().map(|item| item.into_object(resource));
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    let value = match shape {
        Shape::Table => table.show(metadata, objects, true),
        _ => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects.into_iter().map(table::partial).collect::<Vec<_>>(),
        }),
    };
    Ok(json(StatusCode::OK, &value))
}

/// The list's JSON, its items as they are kept.
fn write(resource: &Resource, metadata: &Value, items: &[Item]) -> Result<Vec<u8>, Failure> {
    let len: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut out = Vec::with_capacity(len + 256);
    let (kind, version) = (&resource.list_kind, resource.api_version());
    let head =
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#);
    out.extend_from_slice(head.as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item.write_in_list(resource, &mut out)?;
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// Adds a `Warning` header for each finding (RFC 7234, as kubectl reads it).
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings.iter().take(WARNINGS_MAX) {
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let text: String = warning.chars().take(WARNING_BYTES_MAX).map(plain).collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}
