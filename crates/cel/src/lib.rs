//! The Common Expression Language as Kubernetes speaks it: parsed, checked
//! against declared types, bounded in cost, and evaluated over JSON.
//!
//! An [`Env`] declares variables. It compiles a text to a [`Program`], or says
//! everything that is wrong with it in cel-go's words. A program is evaluated
//! with [`Bindings`] and within a [`Budget`], and its cost can be estimated
//! before from the sizes that are declared.
//!
//! ```
//! use cel::{Bindings, Budget, Decl, Env, Type};
//! use serde_json::json;
//!
//! let open_api = json!({ "type": "object", "properties": { "replicas": { "type": "integer" } } });
//! let schema = schema::structural::read(&open_api, &Default::default());
//! let decl = Decl::from_schema(&schema, "self", true).expect("the schema has a type");
//! let env = Env::new().with("self", decl);
//!
//! let rule = env.compile_to("self.replicas <= 10", &Type::Bool).expect("it is right");
//! assert!(rule.uses("self") && !rule.uses("oldSelf"));
//! assert!(rule.estimate().max <= cel::RULE_ESTIMATE_MAX);
//!
//! let object = json!({ "replicas": 11 });
//! let bindings = Bindings::new().json("self", &object);
//! assert_eq!(rule.holds(&bindings, &mut Budget::per_object()), Ok(false));
//!
//! let wrong = env.compile("self.replicas + 'a'").expect_err("there is no such sum");
//! assert!(wrong.to_string().contains("found no matching overload for '_+_'"));
//! ```
//!
//! Pure. What this crate must never know: what an expression decides.

mod issue;

mod syntax;

mod types;

mod env;
mod error;
mod stack;

mod value;

mod library;

mod run;

mod cost;

mod program;

pub mod fuzz;

pub use cost::{CRD_ESTIMATE_MAX, PER_CALL_MAX, PER_OBJECT_MAX, RULE_ESTIMATE_MAX, Range, excess};
pub use env::{Env, Features};
pub use error::{CompileError, EvalError};
pub use issue::{Issue, Issues};
pub use library::{Authorizer, Decision, ResourceQuestion};
pub use program::{Bindings, Budget, Program};
pub use types::format::Library;
pub use types::{Decl, DeclKind, Type, escape, unescape};
pub use value::{List, Map, Text, Value};
