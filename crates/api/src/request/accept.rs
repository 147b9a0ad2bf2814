//! Content negotiation: JSON, and the shapes that JSON can take.

use http::{HeaderMap, header};

use crate::failure::Failure;

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Object,
    /// Columns for people.
    Table,
    /// Metadata only.
    Partial,
}

/// What the caller reads, in order of preference, reduced to what we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    pub shape: Shape,
    /// Aggregated discovery, version v2.
    pub discovery: bool,
}

// === impl Accept ===

impl Accept {
    /// The first clause that we can serve decides; protobuf is passed over, so
    /// that clients which prefer it get JSON when they also read that.
    pub fn parse(headers: &HeaderMap) -> Result<Accept, Failure> {
        let mut any = false;
        for value in headers.get_all(header::ACCEPT) {
            let Ok(value) = value.to_str() else { continue };
            for clause in value.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
                any = true;
                if let Some(accept) = parse_clause(clause) {
                    return Ok(accept);
                }
            }
        }
        match any {
            true => Err(Failure::not_acceptable()),
            false => Ok(Accept { shape: Shape::Object, discovery: false }),
        }
    }
}

fn parse_clause(clause: &str) -> Option<Accept> {
    let mut parts = clause.split(';').map(str::trim);
    if !matches!(parts.next()?, "application/json" | "application/*" | "*/*" | "text/plain") {
        return None;
    }
    let (mut wanted, mut group, mut version) = (None, None, None);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "as" => wanted = Some(value),
            "g" => group = Some(value),
            "v" => version = Some(value),
            _ => {}
        }
    }
    let shape = match (wanted, group, version) {
        (None, _, _) => Shape::Object,
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Shape::Table,
        (
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("meta.k8s.io"),
            Some("v1"),
        ) => Shape::Partial,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
            return Some(Accept { shape: Shape::Object, discovery: true });
        }
        _ => return None,
    };
    Some(Accept { shape, discovery: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clause_that_is_served_decides() {
        let check = |accept: &'static str, expected: Option<(Shape, bool)>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            let got = Accept::parse(&headers).ok().map(|accept| (accept.shape, accept.discovery));
            assert_eq!(got, expected, "{accept}");
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(table, Some((Shape::Table, false)));
        check(
            "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
            Some((Shape::Object, false)),
        );
        check("application/vnd.kubernetes.protobuf,application/json", Some((Shape::Object, false)));
        check("application/vnd.kubernetes.protobuf", None);
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            Some((Shape::Object, true)),
        );
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Some((Shape::Partial, false)),
        );
    }
}
