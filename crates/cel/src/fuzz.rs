//! What must hold for any text: it compiles or is refused, and what compiles
//! ends within its budget.

use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, Decl, Env, Features, Library, Type};

/// Of one evaluation: small, so that many are run.
const COST_MAX: u64 = 20_000;

/// Takes the bytes for an expression over an object of many types.
pub fn cel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let schema = schema::structural::read(&open_api(), &std::sync::Arc::default());
    let decl = Decl::from_schema(&schema, "self", true).expect("the schema has a type");
    let object = object();
    for features in [Features::Kubernetes, Features::Extended] {
        let env = Env::new()
            .with_features(features)
            .with("self", decl.clone())
            .with("any", Decl::dynamic())
            .with("authorizer", Decl::host(Type::Library(Library::Authorizer)));
        let program = match env.compile(text) {
            Ok(program) => program,
            Err(error) => {
                let _ = error.to_string();
                continue;
            }
        };
        let estimate = program.estimate();
        assert!(estimate.min <= estimate.max || estimate.max == u64::MAX);
        let bindings = Bindings::new().json("self", &object).json("any", &object);
        let mut budget = Budget::of(COST_MAX);
        match program.evaluate(&bindings, &mut budget) {
            Ok(value) => {
                let _ = (value.to_string(), value.to_json());
            }
            Err(error) => {
                let _ = error.to_string();
            }
        }
        assert!(budget.left() <= COST_MAX);
    }
}

fn open_api() -> Json {
    json!({ "type": "object", "properties": {
        "n": { "type": "integer" },
        "f": { "type": "number" },
        "s": { "type": "string", "maxLength": 20 },
        "d": { "type": "string", "format": "duration" },
        "t": { "type": "string", "format": "date-time" },
        "l": { "type": "array", "maxItems": 9, "items": { "type": "integer" } },
        "x": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } },
        "m": { "type": "object", "additionalProperties": { "type": "string" } },
    } })
}

fn object() -> Json {
    json!({
        "n": 3, "f": 1.5, "s": "hello", "d": "1h", "t": "2021-02-03T04:05:06Z",
        "l": [1, 2, 3], "x": ["a", "b"], "m": { "a": "b" },
    })
}
