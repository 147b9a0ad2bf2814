//! What policies say of one request.

use cel::{Bindings, Budget, EvalError, Value as CelValue};
use serde_json::Value;

use super::{
    super::{Question, form::Form, matching},
    params,
    read::{Action, Binding, Check, Expression, Policy, Scope},
};
use crate::{cluster::Cluster, failure::Failure};

/// Longer messages made by expressions are not shown.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// One request, and what expressions may know of it.
pub struct Case<'a> {
    cluster: &'a Cluster,
    question: &'a Question<'a>,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
    request: Value,
    namespace: Option<Value>,
}

/// Why a request should not pass.
struct Objection {
    message: String,
    reason: String,
}

const NULL: &Value = &Value::Null;

// === impl Case ===

impl<'a> Case<'a> {
    pub fn new(
        cluster: &'a Cluster,
        question: &'a Question<'a>,
        object: Option<&'a Value>,
        old: Option<&'a Value>,
    ) -> Case<'a> {
        let (_, mut review) = question.review(&Form::own(), None, None);
        let mut request = review["request"].take();
        if let Some(request) = request.as_object_mut() {
            request.remove("object");
            request.remove("oldObject");
        }
        let of_namespaces = question.resource().is_core("Namespace");
        let namespace = question.place.namespace.as_deref().filter(|_| !of_namespaces);
        let namespace = namespace.and_then(|name| matching::namespace(cluster, name));
        Case { cluster, question, object, old, request, namespace }
    }

    /// What is to be warned of; the first refusal ends it.
    pub fn judge(&self, policies: &[Policy]) -> Result<Vec<String>, Failure> {
        let mut warnings = Vec::new();
        // Those who judge are not judged: a wrong one could not be taken away.
        if self.question.resource().group == "admissionregistration.k8s.io" {
            return Ok(warnings);
        }
        for policy in policies.iter().filter(|policy| self.is_in(&policy.scope)) {
            for binding in policy.bindings.iter().filter(|binding| self.is_in(&binding.scope)) {
                self.judge_by(policy, binding, &mut warnings)?;
            }
        }
        Ok(warnings)
    }

    fn is_in(&self, scope: &Scope) -> bool {
        let covered = |rule: &super::super::hook::Rule| {
            rule.covers(self.question, self.question.resource())
                && rule.names(self.question, self.object)
        };
        let labelled = |object: Option<&Value>| object.is_some_and(|it| scope.objects.matches(it));
        scope.rules.as_ref().is_none_or(|rules| rules.iter().any(covered))
            && !scope.excluded.iter().any(covered)
            && (scope.objects.is_empty() || labelled(self.object) || labelled(self.old))
            && matching::in_namespace(self.cluster, &scope.namespaces, self.question, self.object)
    }

    fn judge_by(
        &self,
        policy: &Policy,
        binding: &Binding,
        warnings: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let namespace = self.question.place.namespace.as_deref();
        let kind = policy.param_kind.as_ref();
        let params = params::collect(self.cluster, kind, binding.param.as_ref(), namespace);
        let params = match params {
            Ok(params) => params,
            Err(_) if policy.ignore => return Ok(()),
            Err(why) => {
                let message = format!("failed to configure binding: {why}");
                return Err(self.refusal(policy, binding, Objection::failed(message)));
            }
        };
        for params in &params {
            for objection in self.objections(policy, params.as_ref()) {
                for action in &binding.actions {
                    match action {
                        Action::Deny => return Err(self.refusal(policy, binding, objection)),
                        Action::Warn => warnings.push(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding \
                             '{}': {}",
                            policy.name, binding.name, objection.message
                        )),
                        Action::Audit => tracing::info!(
                            target: "audit", policy = policy.name, binding = binding.name,
                            message = objection.message, "validation failure"
                        ),
                    }
                }
            }
        }
        Ok(())
    }

    fn objections(&self, policy: &Policy, params: Option<&Value>) -> Vec<Objection> {
        let failed = |why: String| match policy.ignore {
            true => Vec::new(),
            false => vec![Objection::failed(why)],
        };
        let mut budget = Budget::per_object();
        let known = Bindings::new()
            .json("object", self.object.unwrap_or(NULL))
            .json("oldObject", self.old.unwrap_or(NULL))
            .json("request", &self.request)
            .json("namespaceObject", self.namespace.as_ref().unwrap_or(NULL))
            .json("params", params.unwrap_or(NULL));
        let none = || CelValue::record([]);
        let plain = known.clone().value("variables", none());
        let mut broken = None;
        for (name, condition) in &policy.conditions {
            match holds(condition, &plain, &mut budget) {
                Ok(true) => {}
                Ok(false) => return Vec::new(),
                Err(why) => {
                    broken = broken.or_else(|| {
                        Some(format!(
                            "expression of match condition {name:?} resulted in error: {why}"
                        ))
                    });
                }
            }
        }
        if let Some(why) = broken {
            return failed(why);
        }
        let variables = variables(policy, &known, &mut budget);
        let known = known.value("variables", variables);
        let mut objections = Vec::new();
        for check in &policy.checks {
            match holds(&check.expression, &known, &mut budget) {
                Ok(true) => {}
                Ok(false) => objections.push(Objection {
                    message: check.message(&known, &mut budget),
                    reason: check.reason.clone(),
                }),
                Err(why) => {
                    let text = check.text.trim();
                    objections
                        .extend(failed(format!("expression '{text}' resulted in error: {why}")));
                }
            }
        }
        objections
    }

    fn refusal(&self, policy: &Policy, binding: &Binding, objection: Objection) -> Failure {
        let Objection { message, reason } = objection;
        let why = format!(
            "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {message}",
            policy.name, binding.name
        );
        let name = match self.question.name {
            "" => self.object.map_or("", crate::object::name),
            name => name,
        };
        let resource = self.question.resource();
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        let (code, reason) = match reason.as_str() {
            "Unauthorized" => (401, "Unauthorized"),
            "Forbidden" => (403, "Forbidden"),
            "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        Failure::refused(code, reason, message).on(&resource.group, &resource.plural, name)
    }
}

/// Those that can be had. One that cannot is missing to whom it matters, and to
/// nobody else.
fn variables<'a>(policy: &'a Policy, known: &Bindings<'a>, budget: &mut Budget) -> CelValue<'a> {
    let mut values: Vec<(String, CelValue<'a>)> = Vec::new();
    for (name, expression) in &policy.variables {
        let Ok(program) = expression else { continue };
        let so_far = known.clone().value("variables", CelValue::record(values.clone()));
        if let Ok(value) = program.evaluate(&so_far, budget) {
            values.push((name.clone(), value));
        }
    }
    CelValue::record(values)
}

fn holds<'a>(
    expression: &'a Expression,
    known: &Bindings<'a>,
    budget: &mut Budget,
) -> Result<bool, String> {
    let program = expression.as_ref().map_err(Clone::clone)?;
    program.holds(known, budget).map_err(|error: EvalError| error.to_string())
}

// === impl Check ===

impl Check {
    fn message<'a>(&'a self, known: &Bindings<'a>, budget: &mut Budget) -> String {
        let spoken = self.spoken.as_ref().and_then(|spoken| spoken.as_ref().ok());
        let spoken = spoken.and_then(|program| match program.evaluate(known, budget) {
            Ok(CelValue::Text(text)) => Some(text.trim().to_owned()),
            _ => None,
        });
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n')
        };
        spoken.filter(fits).unwrap_or_else(|| match self.message.trim() {
            "" => format!("failed expression: {}", self.text.trim()),
            message => message.to_owned(),
        })
    }
}

// === impl Objection ===

impl Objection {
    /// What cannot be judged.
    fn failed(message: String) -> Objection {
        Objection { message, reason: String::new() }
    }
}
