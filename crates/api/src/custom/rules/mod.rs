//! `x-kubernetes-validations`: expressions that objects of a custom kind must
//! fulfil. Compiled once with the schema; within a budget for each object.

mod walk;

use std::sync::Arc;

use cel::{Decl, Env, Program, Type};
use resources::FieldError;
use schema::{ListKind, Schema, Shape};
use serde_json::Value;

/// How many rules are named when all together cost too much.
const EXPENSIVE_MAX: usize = 4;

/// The rules of a kind; most have none.
pub struct Rules(Option<Node>);

/// The rules of one place in the schema, and of what lies below.
#[derive(Default)]
struct Node {
    rules: Vec<Rule>,
    /// As OpenAPI calls the type.
    kind: &'static str,
    fields: Vec<(Arc<str>, Node)>,
    /// Old and new fields belong together.
    granular: bool,
    items: Option<(Box<Node>, ListKind)>,
    values: Option<Box<Node>>,
}

struct Rule {
    program: Result<Program, String>,
    /// What is said when it does not hold.
    message: String,
    expression: Option<Program>,
    /// What names the rule when it fails otherwise.
    name: String,
    reason: String,
    /// Below the place, if the complaint belongs elsewhere.
    path: String,
    /// It compares with what was before.
    transition: bool,
    /// It does so even where nothing was.
    optional: bool,
}

// === impl Rules ===

impl Rules {
    pub fn of(schema: &Schema) -> Rules {
        let mut compiler = Compiler::default();
        Rules(compiler.node(schema, Around { root: true, often: Some(1), apart: None }, ""))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Which rules `object` breaks.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        self.0.as_ref().map(|node| walk::check(node, object, old)).unwrap_or_default()
    }
}

/// What is wrong with the rules of the schema at the path `at`.
pub fn problems(schema: &Schema, at: &str) -> Vec<FieldError> {
    let mut compiler = Compiler::default();
    compiler.node(schema, Around { root: true, often: Some(1), apart: None }, at);
    let Compiler { mut errors, mut costs } = compiler;
    let total = costs.iter().fold(0_u64, |total, (cost, _)| total.saturating_add(*cost));
    if total > cel::CRD_ESTIMATE_MAX {
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.0));
        for (_, at) in costs.into_iter().take(EXPENSIVE_MAX) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for \
                          entire OpenAPIv3 schema";
            errors.push(FieldError::forbidden(at, detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_costly(what, total, cel::CRD_ESTIMATE_MAX);
        errors.push(FieldError::forbidden(at, detail));
    }
    errors
}

fn too_costly(what: &str, cost: u64, limit: u64) -> String {
    format!(
        "{what} exceeds budget by factor of {} (try simplifying the rule, or adding maxItems, \
         maxProperties, and maxLength where arrays, maps, and strings are declared)",
        cel::excess(cost, limit)
    )
}

#[derive(Default)]
struct Compiler {
    errors: Vec<FieldError>,
    costs: Vec<(u64, String)>,
}

/// What surrounds a place in the schema.
#[derive(Clone, Copy)]
struct Around<'a> {
    root: bool,
    /// How often it can be in one object, if that is bounded.
    often: Option<u64>,
    /// Where new and old stop to belong together.
    apart: Option<&'a str>,
}

// === impl Compiler ===

impl Compiler {
    /// `None` when there is no rule here or below.
    fn node(&mut self, schema: &Schema, around: Around<'_>, at: &str) -> Option<Node> {
        let checks = schema.checks.as_deref();
        let told = checks.map(|checks| checks.rules.as_slice()).unwrap_or_default();
        let mut node = Node { kind: kind(schema), granular: true, ..Node::default() };
        if !told.is_empty() {
            node.rules = self.rules(schema, told, around, at);
        }
        let below = Around { root: false, ..around };
        match &schema.shape {
            Shape::Object(object) => {
                node.granular = !object.atomic;
                let below = if object.atomic && below.apart.is_none() {
                    Around { apart: Some(at), ..below }
                } else {
                    below
                };
                for field in &object.fields {
                    let at = format!("{at}.properties[{}]", field.name);
                    if let Some(inner) = self.node(&field.schema, below, &at) {
                        node.fields.push((field.name.clone(), inner));
                    }
                }
                if let Some(values) = &object.additional {
                    let max = checks.and_then(|checks| checks.max_properties);
                    let below = Around { often: times(below.often, max), ..below };
                    let inner = self.node(values, below, &format!("{at}.additionalProperties"));
                    node.values = inner.map(Box::new);
                }
            }
            Shape::List(list) => {
                let max = checks.and_then(|checks| checks.max_items);
                let by_key = matches!(list.kind, ListKind::Map(_));
                let apart = below.apart.or((!by_key).then_some(at));
                let below = Around { often: times(below.often, max), apart, ..below };
                let inner = self.node(&list.items, below, &format!("{at}.items"));
                node.items = inner.map(|inner| (Box::new(inner), list.kind.clone()));
            }
            _ => {}
        }
        let empty = node.rules.is_empty()
            && node.fields.is_empty()
            && node.items.is_none()
            && node.values.is_none();
        (!empty).then_some(node)
    }

    fn rules(
        &mut self,
        schema: &Schema,
        told: &[Value],
        around: Around<'_>,
        at: &str,
    ) -> Vec<Rule> {
        let whole = matches!(&schema.shape, Shape::Object(object) if object.embedded);
        let Some(decl) = Decl::from_schema(schema, "selfType", around.root || whole) else {
            return Vec::new();
        };
        let env = Env::new().with("self", decl.clone());
        let plain = env.clone().with("oldSelf", decl.clone());
        let optional = env.with("oldSelf", Decl::optional(decl.clone()));
        let often = around.often.unwrap_or_else(|| decl.cardinality_max());
        let rules = told.iter().enumerate().filter_map(|(index, told)| {
            let at = format!("{at}.x-kubernetes-validations[{index}]");
            let with_none = told["optionalOldSelf"] == true;
            let env = if with_none { &optional } else { &plain };
            self.rule(told, env, often, around.apart, &at)
        });
        rules.collect()
    }

    fn rule(
        &mut self,
        told: &Value,
        env: &Env,
        often: u64,
        apart: Option<&str>,
        at: &str,
    ) -> Option<Rule> {
        let text = |name: &str| told[name].as_str().unwrap_or_default();
        let (rule, message) = (text("rule").trim(), text("message").trim());
        if rule.is_empty() {
            return None;
        }
        let name = if message.is_empty() { rule } else { message }.to_owned();
        let default = format!("failed rule: {rule}");
        let program = env.compile_to(text("rule"), &Type::Bool);
        match &program {
            Err(why) => {
                let at = format!("{at}.rule");
                self.errors.push(FieldError::invalid_json(at, told, why.to_string()));
            }
            Ok(program) => self.judge(program, told, often, apart, at),
        }
        let expression = Some(text("messageExpression")).filter(|text| !text.is_empty());
        let expression = expression.and_then(|text| {
            let compiled = env.compile_to(text, &Type::Text);
            match compiled {
                Err(why) => {
                    let at = format!("{at}.messageExpression");
                    let detail = format!("messageExpression {why}");
                    self.errors.push(FieldError::invalid_json(at, told, detail));
                    None
                }
                Ok(program) => {
                    let at = format!("{at}.messageExpression");
                    self.cost("estimated messageExpression cost", &program, 1, at);
                    Some(program)
                }
            }
        });
        Some(Rule {
            transition: program.as_ref().is_ok_and(|program| program.uses("oldSelf")),
            program: program.map_err(|why| why.to_string()),
            message: if message.is_empty() { default } else { message.to_owned() },
            expression,
            name,
            reason: text("reason").to_owned(),
            path: text("fieldPath").trim_start_matches('.').replace("['", "[").replace("']", "]"),
            optional: told["optionalOldSelf"] == true,
        })
    }

    fn judge(
        &mut self,
        program: &Program,
        told: &Value,
        often: u64,
        apart: Option<&str>,
        at: &str,
    ) {
        self.cost("estimated rule cost", program, often, format!("{at}.rule"));
        if program.uses("oldSelf") {
            if let Some(apart) = apart {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within \
                     {apart}"
                );
                let at = format!("{at}.rule");
                self.errors.push(FieldError::invalid_json(at, &told["rule"], detail));
            }
        } else if let Some(optional) = told.get("optionalOldSelf").filter(|told| !told.is_null()) {
            let detail = "may not be set if oldSelf is not used in rule";
            let at = format!("{at}.optionalOldSelf");
            self.errors.push(FieldError::invalid_json(at, optional, detail));
        }
    }

    fn cost(&mut self, what: &str, program: &Program, often: u64, at: String) {
        let cost = program.estimate().max.saturating_mul(often);
        if cost > cel::RULE_ESTIMATE_MAX {
            let detail = too_costly(what, cost, cel::RULE_ESTIMATE_MAX);
            self.errors.push(FieldError::forbidden(&at, detail));
        }
        self.costs.push((cost, at));
    }
}

fn times(often: Option<u64>, max: Option<u64>) -> Option<u64> {
    Some(often?.saturating_mul(max?))
}

fn kind(schema: &Schema) -> &'static str {
    match schema.shape {
        Shape::Object(_) => "object",
        Shape::List(_) => "array",
        Shape::Text(_) => "string",
        Shape::Integer(_) => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::IntOrText | Shape::Any | Shape::Named(_) => "",
    }
}

#[cfg(test)]
mod tests;
