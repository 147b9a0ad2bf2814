//! Content negotiation: which encoding, and which shape of an object.

use http::{HeaderMap, header};

use crate::{
    failure::Failure,
    resource::{Origin, Resource},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    /// Of built-in types only.
    Protobuf,
}

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
    pub encoding: Encoding,
    pub shape: Shape,
    /// A table in its older version.
    pub beta: bool,
    /// Aggregated discovery, and its version.
    pub discovery: Option<&'static str>,
}

// === impl Accept ===

impl Accept {
    const JSON: Accept =
        Accept { encoding: Encoding::Json, shape: Shape::Object, beta: false, discovery: None };

    /// The first clause that we can serve decides.
    pub fn parse(headers: &HeaderMap) -> Result<Accept, Failure> {
        clauses(headers).into_iter().next().ok_or_else(Failure::not_acceptable)
    }
}

/// The encodings that the caller reads, best first; JSON when nothing is said.
pub fn encodings(headers: &HeaderMap) -> Vec<Encoding> {
    clauses(headers).into_iter().map(|accept| accept.encoding).collect()
}

/// Fails when objects of `resource` have no form that the caller reads: told
/// before anything is done.
pub fn check(headers: &HeaderMap, resource: &Resource) -> Result<(), Failure> {
    let typed = matches!(resource.origin, Origin::Builtin(_));
    let readable = |accept: &Accept| {
        accept.encoding != Encoding::Protobuf || typed || accept.shape == Shape::Partial
    };
    match clauses(headers).iter().any(readable) {
        true => Ok(()),
        false => Err(Failure::not_acceptable()),
    }
}

/// Fails when an answer that has no other shape is wanted in one.
pub fn check_plain(headers: &HeaderMap) -> Result<(), Failure> {
    match clauses(headers).iter().any(|accept| accept.shape == Shape::Object) {
        true => Ok(()),
        false => Err(Failure::not_acceptable()),
    }
}

/// What of `Accept` can be served, best first.
fn clauses(headers: &HeaderMap) -> Vec<Accept> {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let clauses = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let mut clauses = clauses.map(str::trim).filter(|clause| !clause.is_empty()).peekable();
    if clauses.peek().is_none() {
        return vec![Accept::JSON];
    }
    let mut served: Vec<(u32, Accept)> = clauses.filter_map(parse_clause).collect();
    // Stable: what was said first comes first.
    served.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    served.into_iter().map(|(_, accept)| accept).collect()
}

/// With its quality in thousandths.
fn parse_clause(clause: &str) -> Option<(u32, Accept)> {
    let mut parts = clause.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "application/*" | "*/*" | "text/plain" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
        _ => return None,
    };
    let (mut wanted, mut group, mut version, mut quality) = (None, None, None, 1000);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "as" => wanted = Some(value),
            "g" => group = Some(value),
            "v" => version = Some(value),
            "q" => quality = (value.parse::<f32>().ok()? * 1000.0) as u32,
            _ => {}
        }
    }
    let shape = match (wanted, group, version) {
        (None, _, _) => Shape::Object,
        // Cells are of any type, which protobuf cannot say.
        (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1"))
            if encoding != Encoding::Protobuf =>
        {
            Shape::Table
        }
        (
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("meta.k8s.io"),
            Some("v1"),
        ) => Shape::Partial,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some(version))
            if encoding == Encoding::Json =>
        {
            let discovery = ["v2", "v2beta1"].into_iter().find(|known| *known == version)?;
            return Some((quality, Accept { discovery: Some(discovery), ..Accept::JSON }));
        }
        _ => return None,
    };
    let beta = shape != Shape::Object && version == Some("v1beta1");
    (quality > 0).then_some((quality, Accept { encoding, shape, beta, discovery: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clause_that_is_served_decides() {
        let check = |accept: &'static str, expected: Option<(Shape, bool)>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            let got = Accept::parse(&headers)
                .ok()
                .map(|accept| (accept.shape, accept.discovery.is_some()));
            assert_eq!(got, expected, "{accept}");
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(table, Some((Shape::Table, false)));
        check(
            "application/json;as=Table;v=v9;g=meta.k8s.io,application/json",
            Some((Shape::Object, false)),
        );
        check("application/vnd.kubernetes.protobuf,application/json", Some((Shape::Object, false)));
        check("application/vnd.kubernetes.protobuf", Some((Shape::Object, false)));
        check("application/cbor", None);
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            Some((Shape::Object, true)),
        );
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Some((Shape::Partial, false)),
        );
    }

    #[test]
    fn encodings_come_in_the_order_of_their_quality() {
        use Encoding::{Json, Protobuf, Yaml};
        let check = |accept: &'static str, expected: &[Encoding]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            assert_eq!(encodings(&headers), expected, "{accept}");
        };
        check("application/vnd.kubernetes.protobuf,application/json", &[Protobuf, Json]);
        check("application/json;q=0.5, application/yaml, x/y", &[Yaml, Json]);
        check("application/json;q=0, */*;q=0.1", &[Json]);
        let tables = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1";
        check(tables, &[Json]);
        assert_eq!(encodings(&HeaderMap::new()), [Json]);
    }
}
