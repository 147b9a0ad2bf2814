//! YAML into a value, bounded: depth, nodes, and what aliases may repeat.
//!
//! JSON is YAML too, and nearly all that is sent; it takes the short way.

use serde_saphyr::DuplicateKeyPolicy;

use crate::request::decode::{self, Decoded};

/// How a finding begins that says where it is by itself, as YAML's do: by the
/// line. Of several keys that are written twice the first is told.
pub const FINDING: &str = "yaml: unmarshal errors:\n  ";

/// As JSON's own bound.
const DEPTH_MAX: usize = 128;

/// More nodes than a body of the largest size holds when every one of them
/// says something.
const NODES_MAX: usize = 250_000;

/// Nodes that aliases may repeat, all together: a page of them, not a bomb.
const REPEATED_MAX: usize = 50_000;

pub fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        // In braces, and yet no JSON: `{a: 1}`, or a comma behind the last field.
        return decode::decode(bytes)
            .or_else(|error| from_yaml(bytes).map_err(|_| error.to_string()));
    }
    from_yaml(bytes).map_err(|error| format!("yaml: {error}"))
}

/// YAML as it is, and not the JSON in it.
fn from_yaml(bytes: &[u8]) -> Result<Decoded, serde_saphyr::Error> {
    let mut decoded = read(bytes, DuplicateKeyPolicy::PassThrough)?;
    if !decoded.twice.is_empty()
        && let Err(serde_saphyr::Error::DuplicateMappingKey { key, location }) =
            read(bytes, DuplicateKeyPolicy::Error)
    {
        let (line, key) = (location.line(), key.unwrap_or_default());
        decoded.twice = vec![format!("{FINDING}line {line}: key {key:?} already set in map")];
    }
    Ok(decoded)
}

fn read(bytes: &[u8], duplicate_keys: DuplicateKeyPolicy) -> Result<Decoded, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED_MAX,
        },
        with_snippet: false,
    };
    serde_saphyr::with_deserializer_from_slice_with_options(bytes, options, |deserializer| {
        decode::decode_from(deserializer)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_read_alike() {
        let expected = json!({"a": {"b": [1, "x", null, true, 0.5]}, "c": "1"});
        for text in [
            "a:\n  b: [1, x, ~, true, 0.5]\nc: '1'\n",
            "---\n{a: {b: [1, x, null, true, 0.5]}, c: \"1\"}",
            r#"{"a": {"b": [1, "x", null, true, 0.5]}, "c": "1"}"#,
            r#"{"a": {"b": [1, "x", null, true, 0.5,],}, "c": "1",}"#,
        ] {
            assert_eq!(decode(text.as_bytes()).expect("it parses").value, expected, "{text}");
        }
        let twice = decode(b"a: 1\nb:\n- c: 1\n  c: 2\na: 2\n").expect("it parses").twice;
        assert_eq!(twice, ["yaml: unmarshal errors:\n  line 4: key \"c\" already set in map"]);
    }

    #[test]
    fn bombs_and_broken_text_are_refused() {
        let deep = "[".repeat(100_000);
        let bomb = (0..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            format!("{text}a{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
        });
        for bad in [deep.as_bytes(), bomb.as_bytes(), b"a: [", b"\xff", b"a: .nan"] {
            assert!(decode(bad).is_err());
        }
    }
}
