//! Every field that a value validation at the root speaks of is told outside of
//! it too. (Kubernetes demands it nowhere else.)

use resources::FieldError;

use super::node::Node;

pub(super) fn check(schema: Node<'_>, at: &str, errors: &mut Vec<FieldError>) {
    validations(schema, Some(schema), at, at, errors);
}

/// `told` is the schema that the validations are about, at `at`; they stand at
/// `from`.
fn validations(
    rules: Node<'_>,
    told: Option<Node<'_>>,
    at: &str,
    from: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(clause) = rules.child("not") {
        nested(clause, told, at, &format!("{from}.not"), errors);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, clause) in rules.nodes(name) {
            nested(clause, told, at, &format!("{from}.{name}[{index}]"), errors);
        }
    }
}

fn nested(
    clause: Node<'_>,
    told: Option<Node<'_>>,
    at: &str,
    from: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(told) = told else {
        errors.push(FieldError::required(at, format!("because it is defined in {from}")));
        return;
    };
    validations(clause, Some(told), at, from, errors);
    if let Some(items) = clause.child("items") {
        let (at, from) = (format!("{at}.items"), format!("{from}.items"));
        nested(items, told.child("items"), &at, &from, errors);
    }
    for (name, clause) in clause.properties() {
        let at = format!("{at}.properties[{name}]");
        let from = format!("{from}.properties[{name}]");
        nested(clause, told.property(name), &at, &from, errors);
    }
}
