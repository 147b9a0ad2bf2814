//! Policies of admission, and what binds them: whoever writes one hears at once
//! what is wrong with its expressions, and not whoever is judged by it.

use cel::{Decl, Env, Type};
use resources::FieldError;
use serde_json::Value;

use super::check::{Check, at, len, list, some, text, texts};
use crate::{names, resource::Rules};

pub const VALIDATING: Rules = Rules { validate: validate_validating, ..Rules::NONE };
pub const VALIDATING_BINDING: Rules =
    Rules { validate: validate_validating_binding, ..Rules::NONE };
pub const MUTATING: Rules = Rules { validate: validate_mutating, ..Rules::NONE };
pub const MUTATING_BINDING: Rules = Rules { validate: validate_mutating_binding, ..Rules::NONE };

const NOTHING: &str = "validations or auditAnnotations must contain at least one item";

/// What expressions may speak of; of `params` only where the policy has some.
const VARIABLES: [&str; 6] =
    ["object", "oldObject", "request", "namespaceObject", "variables", "authorizer"];

fn environment(spec: &Value) -> Env {
    let params = some(spec, "paramKind").map(|_| "params");
    let names = VARIABLES.into_iter().chain(params);
    names.fold(Env::new(), |env, name| env.with(name, Decl::dynamic()))
}

/// What objects and variables are made of is not known before they are there,
/// so that `dyn` may turn out to be right.
fn expression(
    check: &mut Check,
    path: std::fmt::Arguments<'_>,
    env: &Env,
    text: &str,
    wanted: &[(Type, &str)],
) {
    match env.compile(text) {
        Err(error) => check.invalid(path, text, error.to_string()),
        Ok(program) => {
            let found = program.result_type();
            let fits = wanted.iter().any(|(wanted, _)| wanted == found);
            if !wanted.is_empty() && !fits && *found != Type::Dyn {
                let names: Vec<&str> = wanted.iter().map(|(_, name)| *name).collect();
                let detail = match names[..] {
                    [one] => format!("must evaluate to {one}"),
                    _ => format!("must evaluate to one of [{}]", names.join(" ")),
                };
                check.invalid(path, text, detail);
            }
        }
    }
}

fn constraints(check: &mut Check, spec: &Value) {
    let Some(constraints) = some(spec, "matchConstraints") else {
        check.required(format_args!("spec.matchConstraints"), "");
        return;
    };
    if len(constraints, "resourceRules") == 0 {
        check.required(format_args!("spec.matchConstraints.resourceRules"), "");
    }
    for part in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in list(constraints, part) {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                if len(rule, field) == 0 {
                    let path = format_args!("spec.matchConstraints.{part}[{index}].{field}");
                    check.required(path, "");
                }
            }
        }
    }
}

fn param_kind(check: &mut Check, spec: &Value) {
    let Some(kind) = some(spec, "paramKind") else { return };
    let version = text(kind, "apiVersion");
    if version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {version}");
        check.invalid(format_args!("spec.paramKind.apiVersion"), version, detail);
    }
    check.present(format_args!("spec.paramKind.apiVersion"), version);
    check.present(format_args!("spec.paramKind.kind"), text(kind, "kind"));
}

fn named_expressions(check: &mut Check, spec: &Value, env: &Env) {
    for (index, condition) in list(spec, "matchConditions") {
        let path = format_args!("spec.matchConditions[{index}]");
        match text(condition, "expression") {
            "" => check.required(format_args!("{path}.expression"), ""),
            written => {
                let wanted = [(Type::Bool, "bool")];
                expression(check, format_args!("{path}.expression"), env, written, &wanted);
            }
        }
        check.named(format_args!("{path}.name"), text(condition, "name"), names::label_key);
    }
    for (index, variable) in list(spec, "variables") {
        let path = format_args!("spec.variables[{index}]");
        match text(variable, "name") {
            "" => check.required(format_args!("{path}.name"), "name is not specified"),
            name if !is_identifier(name) => {
                check.invalid(format_args!("{path}.name"), name, "must be a valid CEL identifier");
            }
            _ => {}
        }
        match text(variable, "expression") {
            "" => check.required(format_args!("{path}.expression"), "expression is not specified"),
            written => expression(check, format_args!("{path}.expression"), env, written, &[]),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(start)
        && name.bytes().all(|byte| start(byte) || byte.is_ascii_digit())
}

fn validate_validating(policy: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(policy, "spec"));
    let env = environment(spec);
    param_kind(&mut check, spec);
    constraints(&mut check, spec);
    named_expressions(&mut check, spec, &env);
    let bare = len(spec, "validations") == 0 && len(spec, "auditAnnotations") == 0;
    if bare {
        check.required(format_args!("spec.validations"), NOTHING);
        check.required(format_args!("spec.auditAnnotations"), NOTHING);
    }
    for (index, validation) in list(spec, "validations") {
        let path = format_args!("spec.validations[{index}]");
        let written = text(validation, "expression").trim();
        match written {
            "" => {
                check.required(format_args!("{path}.expression"), "expression is not specified");
            }
            written => {
                let wanted = [(Type::Bool, "bool")];
                expression(&mut check, format_args!("{path}.expression"), &env, written, &wanted);
            }
        }
        let spoken = text(validation, "messageExpression");
        if !spoken.is_empty() {
            let (path, wanted) =
                (format_args!("{path}.messageExpression"), [(Type::Text, "string")]);
            expression(&mut check, path, &env, spoken, &wanted);
        }
        let message = text(validation, "message");
        if message.contains('\n') {
            check.invalid(format_args!("{path}.message"), message, "must not contain line breaks");
        } else if message.is_empty() && spoken.is_empty() && written.contains('\n') {
            let detail = "message must be specified if expression contains line breaks";
            check.required(format_args!("{path}.message"), detail);
        }
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        check.any_of(format_args!("{path}.reason"), text(validation, "reason"), &reasons);
    }
    for (index, annotation) in list(spec, "auditAnnotations") {
        let path = format_args!("spec.auditAnnotations[{index}]");
        match text(annotation, "key") {
            "" => check.required(format_args!("{path}.key"), ""),
            key => check.optional(format_args!("{path}.key"), key, names::label_key),
        }
        match text(annotation, "valueExpression") {
            "" => check.required(format_args!("{path}.valueExpression"), ""),
            written => {
                let wanted = [(Type::Text, "string"), (Type::Null, "null_type")];
                let path = format_args!("{path}.valueExpression");
                expression(&mut check, path, &env, written, &wanted);
            }
        }
    }
    check.into_errors()
}

fn validate_validating_binding(binding: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(binding, "spec"));
    check.present(format_args!("spec.policyName"), text(spec, "policyName"));
    param_ref(&mut check, spec);
    let actions = "validationActions";
    let has = |action: &str| texts(spec, actions).any(|(_, it)| it == action);
    if len(spec, actions) == 0 {
        check.required(format_args!("spec.{actions}"), "");
    } else if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure \
                      information in the API response and headers serves no purpose)";
        check.invalid(format_args!("spec.{actions}"), at(spec, actions).clone(), detail);
    }
    check.into_errors()
}

fn param_ref(check: &mut Check, spec: &Value) {
    let Some(param) = some(spec, "paramRef") else { return };
    match (text(param, "name").is_empty(), some(param, "selector").is_some()) {
        (true, false) => {
            let detail = "one of name or selector must be specified";
            check.required(format_args!("spec.paramRef"), detail);
        }
        (false, true) => {
            let detail = "name and selector are mutually exclusive";
            check.forbidden(format_args!("spec.paramRef.name"), detail);
        }
        _ => {}
    }
    let action = text(param, "parameterNotFoundAction");
    check.present(format_args!("spec.paramRef.parameterNotFoundAction"), action);
}

/// What it writes is not judged: mutations are kept and not carried out.
fn validate_mutating(policy: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(policy, "spec"));
    param_kind(&mut check, spec);
    constraints(&mut check, spec);
    if len(spec, "mutations") == 0 {
        let detail = "mutations must contain at least one item";
        check.required(format_args!("spec.mutations"), detail);
    }
    check.present(format_args!("spec.reinvocationPolicy"), text(spec, "reinvocationPolicy"));
    check.into_errors()
}

fn validate_mutating_binding(binding: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(binding, "spec"));
    check.present(format_args!("spec.policyName"), text(spec, "policyName"));
    param_ref(&mut check, spec);
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    fn policy(with: &Value) -> Value {
        let mut spec = json!({
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["deployments"]}]},
            "validations": [{"expression": "object.spec.replicas <= variables.most"}],
            "variables": [{"name": "most", "expression": "5"}],
        });
        for (field, value) in with.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn whoever_writes_a_policy_hears_what_is_wrong_with_it() {
        assert!(validate_validating(&policy(&json!({}))).is_empty());
        let check = |with: Value, expected: &[&str]| {
            assert_eq!(said(&validate_validating(&policy(&with))), expected, "{with}");
        };
        let nothing = format!("Required value: {NOTHING}");
        check(
            json!({"matchConstraints": {}, "validations": []}),
            &[
                "spec.matchConstraints.resourceRules: Required value",
                &format!("spec.validations: {nothing}"),
                &format!("spec.auditAnnotations: {nothing}"),
            ],
        );
        check(
            json!({"validations": [{"expression": "1", "message": "a\nb", "messageExpression": "1"}]}),
            &[
                "spec.validations[0].expression: Invalid value: \"1\": must evaluate to bool",
                "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string",
                "spec.validations[0].message: Invalid value: \"a\\nb\": must not contain line breaks",
            ],
        );
        check(
            json!({"variables": [{"name": "1a", "expression": ""}], "validations": [{}]}),
            &[
                "spec.variables[0].name: Invalid value: \"1a\": must be a valid CEL identifier",
                "spec.variables[0].expression: Required value: expression is not specified",
                "spec.validations[0].expression: Required value: expression is not specified",
            ],
        );
        let broken = policy(&json!({"validations": [{"expression": "object +"}]}));
        let errors = said(&validate_validating(&broken));
        assert!(errors[0].contains("compilation failed: ERROR"), "{errors:?}");
        // Without a kind of parameters there are none.
        let params = json!([{"expression": "params.on"}]);
        let unknown = policy(&json!({"validations": params}));
        assert_eq!(validate_validating(&unknown).len(), 1);
        check(
            json!({"validations": params, "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}),
            &[],
        );
        check(
            json!({"validations": [{"expression": "authorizer.group('').resource('pods').check('get').allowed()"}]}),
            &[],
        );
    }

    #[test]
    fn a_binding_names_its_policy_and_what_it_does() {
        let check = |spec: Value, expected: &[&str]| {
            let errors = validate_validating_binding(&json!({"spec": spec}));
            assert_eq!(said(&errors), expected, "{spec}");
        };
        check(
            json!({}),
            &["spec.policyName: Required value", "spec.validationActions: Required value"],
        );
        check(
            json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {}}),
            &[
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value",
            ],
        );
        check(json!({"policyName": "p", "validationActions": ["Deny", "Audit"]}), &[]);
        let both = json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}});
        assert_eq!(validate_validating_binding(&both).len(), 1);
    }
}
