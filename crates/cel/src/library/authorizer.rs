//! Questions to the authorizer that the host gives.

use std::fmt;
use std::sync::Arc;

use super::{Apply, LibraryValue};
use crate::error::EvalError;
use crate::value::Value;

pub const SIGNATURES: &str = "
    authorizer . path(string) -> path_check
    authorizer . group(string) -> group_check
    authorizer . serviceAccount(string, string) -> authorizer
    group_check . resource(string) -> resource_check
    resource_check . subresource(string) -> resource_check
    resource_check . namespace(string) -> resource_check
    resource_check . name(string) -> resource_check
    resource_check . fieldSelector(string) -> resource_check
    resource_check . labelSelector(string) -> resource_check
    path_check . check(string) -> decision
    resource_check . check(string) -> decision
    decision . errored() -> bool
    decision . error() -> string
    decision . allowed() -> bool
    decision . reason() -> string
";

/// Answers who may do what. `user` is none for who asks the server, and a
/// service account by its full name otherwise.
pub trait Authorizer: Send + Sync {
    fn may_path(&self, user: Option<&str>, path: &str, verb: &str) -> Decision;

    fn may(&self, user: Option<&str>, question: &ResourceQuestion, verb: &str) -> Decision;
}

/// What would be done something with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceQuestion {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// An authorizer, and for whom it is asked.
#[derive(Clone)]
pub struct Asker<'a> {
    authorizer: &'a dyn Authorizer,
    user: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub struct PathCheck<'a> {
    asker: Asker<'a>,
    path: String,
}

#[derive(Clone, Debug)]
pub struct GroupCheck<'a> {
    asker: Asker<'a>,
    group: String,
}

#[derive(Clone, Debug)]
pub struct ResourceCheck<'a> {
    asker: Asker<'a>,
    question: ResourceQuestion,
}

impl<'a> Value<'a> {
    /// The variable `authorizer`.
    #[must_use]
    pub fn authorizer(authorizer: &'a dyn Authorizer) -> Value<'a> {
        Value::library(LibraryValue::Authorizer(Asker { authorizer, user: None }))
    }

    /// The variable `authorizer.requestResource`.
    #[must_use]
    pub fn resource_check(authorizer: &'a dyn Authorizer, question: ResourceQuestion) -> Value<'a> {
        let asker = Asker { authorizer, user: None };
        Value::library(LibraryValue::ResourceCheck(ResourceCheck { asker, question }))
    }
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("user", &self.user).finish_non_exhaustive()
    }
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "path" => |_, args| match authorizer(args)? {
            (_, [path]) if path.trim().is_empty() => Err(EvalError::new("path must not be empty")),
            (asker, [path]) => {
                let check = PathCheck { asker: asker.clone(), path: path.to_string() };
                Ok(Value::library(LibraryValue::PathCheck(check)))
            }
        },
        "group" => |_, args| {
            let (asker, [group]) = authorizer(args)?;
            let check = GroupCheck { asker: asker.clone(), group: group.to_string() };
            Ok(Value::library(LibraryValue::GroupCheck(check)))
        },
        "serviceAccount" => |_, args| service_account(args),
        "resource" => |_, args| resource(args),
        "subresource" => |_, args| with(args, |question, text| question.subresource = text),
        "namespace" => |_, args| with(args, |question, text| question.namespace = text),
        "name" => |_, args| with(args, |question, text| question.name = text),
        "fieldSelector" => |_, args| with(args, |question, text| question.field_selector = text),
        "labelSelector" => |_, args| with(args, |question, text| question.label_selector = text),
        "check" => |_, args| check(args),
        "errored" => |_, args| Ok(Value::Bool(decision(args)?.error.is_some())),
        "error" => |_, args| Ok(Value::text(decision(args)?.error.clone().unwrap_or_default())),
        "allowed" => |_, args| Ok(Value::Bool(decision(args)?.allowed)),
        "reason" => |_, args| Ok(Value::text(&*decision(args)?.reason)),
        _ => return None,
    })
}

/// The library's value that comes first, and the texts behind it.
fn receiver<'v, 'a>(
    args: &'v [Value<'a>],
) -> Result<(&'v LibraryValue<'a>, Vec<&'v str>), EvalError> {
    let [Value::Library(value), rest @ ..] = args else {
        return Err(EvalError::no_such_overload());
    };
    let texts = rest.iter().map(|arg| match arg {
        Value::Text(text) => Ok(&**text),
        _ => Err(EvalError::no_such_overload()),
    });
    Ok((value, texts.collect::<Result<_, _>>()?))
}

fn authorizer<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v Asker<'a>, [&'v str; 1]), EvalError> {
    match receiver(args)? {
        (LibraryValue::Authorizer(asker), texts) => match texts[..] {
            [text] => Ok((asker, [text])),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn service_account<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (LibraryValue::Authorizer(asker), texts) = receiver(args)? else {
        return Err(EvalError::no_such_overload());
    };
    let [namespace, name] = texts[..] else { return Err(EvalError::no_such_overload()) };
    let is_name = |text: &str, dots: bool| {
        let inner = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || byte == b'-'
                || (dots && byte == b'.')
        };
        !text.is_empty() && text.len() <= 253 && text.bytes().all(inner)
    };
    if !is_name(name, true) {
        return Err(EvalError::new("Invalid service account name"));
    }
    if !is_name(namespace, false) {
        return Err(EvalError::new("Invalid service account namespace"));
    }
    let user = Some(format!("system:serviceaccount:{namespace}:{name}").into());
    Ok(Value::library(LibraryValue::Authorizer(Asker { user, ..asker.clone() })))
}

fn resource<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (LibraryValue::GroupCheck(check), texts) = receiver(args)? else {
        return Err(EvalError::no_such_overload());
    };
    let [resource] = texts[..] else { return Err(EvalError::no_such_overload()) };
    if resource.trim().is_empty() {
        return Err(EvalError::new("resource must not be empty"));
    }
    let question = ResourceQuestion {
        group: check.group.clone(),
        resource: resource.into(),
        ..ResourceQuestion::default()
    };
    let asker = check.asker.clone();
    Ok(Value::library(LibraryValue::ResourceCheck(ResourceCheck { asker, question })))
}

fn with<'a>(
    args: &[Value<'a>],
    set: fn(&mut ResourceQuestion, String),
) -> Result<Value<'a>, EvalError> {
    let (LibraryValue::ResourceCheck(check), texts) = receiver(args)? else {
        return Err(EvalError::no_such_overload());
    };
    let [text] = texts[..] else { return Err(EvalError::no_such_overload()) };
    let mut check = check.clone();
    set(&mut check.question, text.into());
    Ok(Value::library(LibraryValue::ResourceCheck(check)))
}

fn check<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (value, texts) = receiver(args)?;
    let [verb] = texts[..] else { return Err(EvalError::no_such_overload()) };
    let decision = match value {
        LibraryValue::PathCheck(check) => {
            let user = check.asker.user.as_deref();
            check.asker.authorizer.may_path(user, &check.path, verb)
        }
        LibraryValue::ResourceCheck(check) => {
            let user = check.asker.user.as_deref();
            check.asker.authorizer.may(user, &check.question, verb)
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::library(LibraryValue::Decision(decision)))
}

fn decision<'v>(args: &'v [Value<'_>]) -> Result<&'v Decision, EvalError> {
    match receiver(args)? {
        (LibraryValue::Decision(decision), _) => Ok(decision),
        _ => Err(EvalError::no_such_overload()),
    }
}
