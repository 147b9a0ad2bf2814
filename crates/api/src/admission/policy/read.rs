//! Policies and bindings, as they say of themselves.

use std::{collections::HashMap, fmt::Display};

use cel::{CompileError, Decl, Env, Program, Type};
use kv::KeyValue;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::super::hook::Rule;
use crate::selector::{LabelSelector, of_label_selector};

/// What expressions may speak of.
const VARIABLES: [&str; 6] =
    ["object", "oldObject", "request", "params", "namespaceObject", "variables"];

/// Or why it is none.
pub type Expression = Result<Program, String>;

/// One that somebody has bound.
pub struct Policy {
    pub name: String,
    /// What cannot be judged passes.
    pub ignore: bool,
    pub scope: Scope,
    pub conditions: Vec<(String, Expression)>,
    /// In the order in which they were told: each may speak of those before it.
    pub variables: Vec<(String, Expression)>,
    pub checks: Vec<Check>,
    pub param_kind: Option<ParamKind>,
    pub bindings: Vec<Binding>,
}

pub struct Check {
    pub expression: Expression,
    pub text: String,
    pub message: String,
    pub spoken: Option<Expression>,
    pub reason: String,
}

pub struct Binding {
    pub name: String,
    pub scope: Scope,
    pub param: Option<ParamRef>,
    pub actions: Vec<Action>,
}

/// What becomes of a request for which a check does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Action {
    Deny,
    Warn,
    Audit,
}

/// What a policy or a binding is about.
pub struct Scope {
    pub namespaces: LabelSelector,
    pub objects: LabelSelector,
    /// None: anything.
    pub rules: Option<Vec<Rule>>,
    pub excluded: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParamKind {
    pub api_version: String,
    pub kind: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct ParamRef {
    pub name: String,
    pub namespace: String,
    pub selector: Option<Value>,
    pub parameter_not_found_action: String,
}

#[derive(Deserialize)]
struct Told<Spec> {
    metadata: Named,
    spec: Spec,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PolicySpec {
    param_kind: Option<ParamKind>,
    match_constraints: Option<Matched>,
    validations: Vec<Validation>,
    failure_policy: String,
    match_conditions: Vec<NamedExpression>,
    variables: Vec<NamedExpression>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Validation {
    expression: String,
    message: String,
    message_expression: String,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedExpression {
    name: String,
    expression: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BindingSpec {
    policy_name: String,
    param_ref: Option<ParamRef>,
    match_resources: Option<Matched>,
    validation_actions: Vec<Action>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Matched {
    namespace_selector: Value,
    object_selector: Value,
    resource_rules: Option<Vec<Rule>>,
    exclude_resource_rules: Vec<Rule>,
}

/// All that are bound, in the order of their names.
pub fn read(policies: &[KeyValue], bindings: &[KeyValue]) -> Vec<Policy> {
    let mut bound: HashMap<String, Vec<Binding>> = HashMap::new();
    for told in bindings.iter().filter_map(parse::<BindingSpec>) {
        let policy = told.spec.policy_name.clone();
        bound.entry(policy).or_default().push(told.spec.binding(told.metadata.name));
    }
    let policies = policies.iter().filter_map(parse::<PolicySpec>);
    policies
        .filter_map(|told| {
            let bindings = bound.remove(&told.metadata.name)?;
            Some(told.spec.policy(told.metadata.name, bindings))
        })
        .collect()
}

fn parse<Spec: DeserializeOwned>(kv: &KeyValue) -> Option<Told<Spec>> {
    let told = serde_json::from_slice(&kv.value);
    told.inspect_err(|error| {
        let key = String::from_utf8_lossy(&kv.key);
        tracing::error!(%key, %error, "an admission policy cannot be read");
    })
    .ok()
}

fn environment() -> Env {
    VARIABLES.iter().fold(Env::new(), |env, name| env.with(name, Decl::dynamic()))
}

/// A condition may turn out to be none only when it is evaluated: of what
/// objects and variables are made is not known before.
fn compile(env: &Env, text: &str, condition: bool) -> Expression {
    let failed = |why: &dyn Display| format!("compilation error: compilation failed: {why}");
    let program = env.compile(text).map_err(|error| failed(&error))?;
    match condition && !matches!(program.result_type(), Type::Bool | Type::Dyn) {
        true => Err(failed(&CompileError::Result(Type::Bool))),
        false => Ok(program),
    }
}

// === impl PolicySpec ===

impl PolicySpec {
    fn policy(self, name: String, bindings: Vec<Binding>) -> Policy {
        let env = environment();
        let named = |it: NamedExpression, condition: bool| {
            (it.name, compile(&env, &it.expression, condition))
        };
        let conditions = self.match_conditions.into_iter();
        Policy {
            name,
            ignore: self.failure_policy == "Ignore",
            scope: self.match_constraints.unwrap_or_default().scope(),
            conditions: conditions.map(|it| named(it, true)).collect(),
            variables: self.variables.into_iter().map(|it| named(it, false)).collect(),
            checks: self.validations.into_iter().map(|it| it.check(&env)).collect(),
            param_kind: self.param_kind,
            bindings,
        }
    }
}

// === impl Validation ===

impl Validation {
    fn check(self, env: &Env) -> Check {
        let spoken = Some(self.message_expression).filter(|text| !text.is_empty());
        Check {
            expression: compile(env, &self.expression, true),
            text: self.expression,
            message: self.message,
            spoken: spoken.map(|text| compile(env, &text, false)),
            reason: self.reason,
        }
    }
}

// === impl BindingSpec ===

impl BindingSpec {
    fn binding(self, name: String) -> Binding {
        Binding {
            name,
            scope: self.match_resources.unwrap_or_default().scope(),
            param: self.param_ref,
            actions: self.validation_actions,
        }
    }
}

// === impl Matched ===

impl Matched {
    fn scope(self) -> Scope {
        Scope {
            namespaces: of_label_selector(&self.namespace_selector),
            objects: of_label_selector(&self.object_selector),
            rules: self.resource_rules.filter(|rules| !rules.is_empty()),
            excluded: self.exclude_resource_rules,
        }
    }
}
