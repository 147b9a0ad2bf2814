//! The unions of a CustomResourceDefinition's schema. JSON tells their cases
//! apart by the value; on the wire each case is a field of a message.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use crate::{Form, List, ListKind, Schema, Shape, TypeId, builtin};

/// Which field carries what.
pub struct Choice {
    pub object: Case,
    pub list: Option<Case>,
    /// Whether anything goes; said beside an object too.
    pub boolean: Option<u32>,
}

pub struct Case {
    pub number: u32,
    pub schema: Schema,
}

static CHOICES: LazyLock<HashMap<TypeId, Choice>> = LazyLock::new(|| {
    let id = |name: &str| builtin::find(&format!("apiextensions.v1.{name}"));
    let Some(props) = id("JSONSchemaProps") else { return HashMap::new() };
    let props = || Schema::of(Shape::Named(props));
    let list = |items: Schema| {
        let list = List { items: Arc::new(items), kind: ListKind::Atomic };
        Some(Case { number: 2, schema: Schema::of(Shape::List(list)) })
    };
    let object = |number| Case { number, schema: props() };
    let text = Schema::of(Shape::Text(Form::Plain));
    let choices = [
        ("JSONSchemaPropsOrBool", Choice { object: object(2), list: None, boolean: Some(1) }),
        (
            "JSONSchemaPropsOrArray",
            Choice { object: object(1), list: list(props()), boolean: None },
        ),
        (
            "JSONSchemaPropsOrStringArray",
            Choice { object: object(1), list: list(text), boolean: None },
        ),
    ];
    choices.into_iter().filter_map(|(name, choice)| Some((id(name)?, choice))).collect()
});

/// The union that `schema` names, if it does.
pub fn choice(schema: &Schema) -> Option<&'static Choice> {
    match schema.shape {
        Shape::Named(id) if matches!(builtin::get(id).shape, Shape::Any) => CHOICES.get(&id),
        _ => None,
    }
}
