//! Heads as the `http` crate has them, both ways.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::{Field, Head};

/// `None` where `http` knows no such request.
#[must_use]
pub fn request<B>(head: &Head, body: B) -> Option<Request<B>> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(&head.method).ok()?;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri(head)?;
    *request.headers_mut() = map(&head.fields)?;
    Some(request)
}

fn uri(head: &Head) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    if !head.path.is_empty() {
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(head.path.clone()).ok()?);
    }
    if !head.authority.is_empty() {
        parts.authority = Some(Authority::from_maybe_shared(head.authority.clone()).ok()?);
        if !head.scheme.is_empty() {
            parts.scheme = Some(Scheme::try_from(&head.scheme[..]).ok()?);
        }
    }
    Uri::from_parts(parts).ok()
}

pub fn map(fields: &[Field]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for Field { name, value } in fields {
        let name = HeaderName::from_bytes(name).ok()?;
        map.append(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
    }
    Some(map)
}

/// Without what HTTP/2 says otherwise.
pub fn fields(map: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_meant = |name: &HeaderName| {
        ![CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name)
            && !matches!(name.as_str(), "keep-alive" | "proxy-connection")
    };
    let meant = map.iter().filter(move |(name, _)| is_meant(name));
    meant.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

pub fn trailers(map: &HeaderMap) -> Vec<Field> {
    let field = |(name, value)| Field {
        name: Bytes::copy_from_slice(name),
        value: Bytes::copy_from_slice(value),
    };
    fields(map).map(field).collect()
}
