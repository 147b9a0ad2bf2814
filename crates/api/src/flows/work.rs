//! How many seats a request takes.
//!
//! One, save for what goes over many objects: a list takes one for every
//! hundred that it looks at. kube-apiserver's figures; what it adds to writes
//! for every watch that sees them is left out, because here one mirror follows
//! the store for all watches and encodes a change as each of them reads it.

use crate::request::query::Query;

const OBJECTS_PER_SEAT: usize = 100;

/// However long a list is: it is made in one piece, but not at a hundred times
/// the cost of another request.
pub const SEATS_MAX: usize = 10;

/// `stored` is how many objects the kind has, asked for when it matters; `max`
/// what the level lets one request take.
pub fn seats(verb: &str, query: &Query, stored: impl FnOnce() -> usize, max: usize) -> usize {
    let max = max.clamp(1, SEATS_MAX);
    let lists = match verb {
        "list" | "deletecollection" => true,
        "watch" => begins_with_all(query),
        _ => false,
    };
    if !lists || max == 1 {
        return 1;
    }
    let fields = query.get("fieldSelector").unwrap_or_default();
    if fields.starts_with("metadata.name=") {
        return 1;
    }
    let selects = !fields.is_empty() || query.get("labelSelector").is_some();
    let limit = query.get("limit").and_then(|limit| limit.parse::<usize>().ok());
    let looked_at = match limit.filter(|limit| *limit > 0 && !selects) {
        Some(limit) => stored().min(limit),
        None => stored(),
    };
    looked_at.div_ceil(OBJECTS_PER_SEAT).clamp(1, max)
}

/// Whether a watch tells first what is there.
fn begins_with_all(query: &Query) -> bool {
    query
        .tristate("sendInitialEvents")
        .unwrap_or_else(|| matches!(query.get("resourceVersion"), None | Some("0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_a_seat_for_every_hundred_objects() {
        for (verb, query, expected) in [
            ("get", "", 1),
            ("create", "", 1),
            ("list", "", 8),
            ("list", "limit=100", 1),
            ("list", "limit=500", 5),
            ("list", "limit=0", 8),
            ("list", "limit=100&labelSelector=a%3Db", 8),
            ("list", "fieldSelector=metadata.name%3Da", 1),
            ("list", "fieldSelector=spec.nodeName%3Da", 8),
            ("deletecollection", "", 8),
            ("watch", "", 8),
            ("watch", "resourceVersion=0", 8),
            ("watch", "resourceVersion=7", 1),
            ("watch", "resourceVersion=7&sendInitialEvents=true", 8),
            ("watch", "sendInitialEvents=false", 1),
        ] {
            let parsed = Query::parse(Some(query)).expect("well formed");
            assert_eq!(seats(verb, &parsed, || 750, 9), expected, "{verb} {query}");
            assert_eq!(seats(verb, &parsed, || 0, 9), 1, "{verb} {query}");
        }
        let none = Query::default();
        assert_eq!(seats("list", &none, || 100_000, usize::MAX), SEATS_MAX);
        assert_eq!(seats("list", &none, || 100_000, 0), 1);
    }
}
