//! How long an evaluation takes. Run by hand, on a quiet machine:
//!
//!     cargo test --release -p polis-cel --test measure -- --ignored --nocapture

#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cel::{Bindings, Budget, Decl, Env, Type};
use serde_json::json;

const ROUNDS: u32 = 200_000;

#[test]
#[ignore = "measures"]
fn a_rule_of_two_comparisons_and_a_pattern() {
    let open_api = json!({ "type": "object", "properties": { "spec": { "type": "object",
        "properties": {
            "replicas": { "type": "integer" },
            "name": { "type": "string", "maxLength": 63 },
        } } } });
    let schema = schema::structural::read(&open_api, &Arc::default());
    let decl = Decl::from_schema(&schema, "self", true).expect("the schema has a type");
    let env = Env::new().with("self", decl);
    let text = "self.spec.replicas <= 10 && self.spec.name.matches('^[a-z]+$')";
    let object = json!({ "spec": { "replicas": 3, "name": "checkout" } });

    let begin = Instant::now();
    let program = env.compile_to(text, &Type::Bool).expect("it is right");
    println!("first compilation, with the functions: {:?}", begin.elapsed());
    let begin = Instant::now();
    for _ in 0..1000 {
        black_box(env.compile(black_box(text)).expect("it is right"));
    }
    println!("compilation: {:?}", begin.elapsed() / 1000);
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let bindings = Bindings::new().json("self", &object);
        let holds = program.holds(&bindings, &mut Budget::per_object());
        assert_eq!(black_box(holds), Ok(true));
    }
    println!("evaluation: {:?}", begin.elapsed() / ROUNDS);
}
