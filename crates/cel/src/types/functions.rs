//! The functions that expressions may call, by their signatures.
//!
//! A signature is a line of text: `size(list(A)) -> int` for a function,
//! `string . size() -> int` for a method. One capital letter is any type, and
//! within one line the same; `COMPARABLE` and `SUMMABLE` make a line for each
//! type of theirs.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::format::{Library, Type};
use crate::env::Features;
use crate::library::SIGNATURES;

#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
}

#[derive(Debug, PartialEq)]
pub struct Overload {
    pub method: bool,
    /// With the receiver of a method first.
    pub params: Vec<Type>,
    pub result: Type,
}

/// All functions of an environment, by name.
pub type Functions = HashMap<&'static str, Function>;

const COMPARABLE: [&str; 8] =
    ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];
const SUMMABLE: [&str; 4] = ["int", "uint", "double", "duration"];

pub fn functions(features: Features) -> &'static Functions {
    static KUBERNETES: LazyLock<Functions> = LazyLock::new(|| read(Features::Kubernetes));
    static EXTENDED: LazyLock<Functions> = LazyLock::new(|| read(Features::Extended));
    match features {
        Features::Kubernetes => &KUBERNETES,
        Features::Extended => &EXTENDED,
    }
}

fn read(features: Features) -> Functions {
    let mut functions = Functions::new();
    for (of, text) in SIGNATURES {
        if *of == Features::Extended && features == Features::Kubernetes {
            continue;
        }
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, overloads) = signature(line);
            functions
                .entry(name)
                .or_insert(Function { name, overloads: Vec::new() })
                .overloads
                .extend(overloads);
        }
    }
    functions
}

fn signature(line: &'static str) -> (&'static str, Vec<Overload>) {
    const FORM: &str = "signatures are `type . name(types) -> type`";
    let (call, result) = line.rsplit_once(" -> ").expect(FORM);
    let (receiver, call) = match call.split_once(" . ") {
        Some((receiver, call)) => (Some(receiver), call),
        None => (None, call),
    };
    let (name, params) = call.split_once('(').expect(FORM);
    let params = params.strip_suffix(')').expect(FORM);
    let each = |all: &[&str], word: &str| -> Vec<Overload> {
        let with = |text: &str, of: &str| self::parse(&text.replace(word, of));
        all.iter()
            .map(|of| Overload {
                method: receiver.is_some(),
                params: receiver
                    .into_iter()
                    .chain(split(params))
                    .map(|param| with(param, of))
                    .collect(),
                result: with(result, of),
            })
            .collect()
    };
    let overloads = if line.contains("COMPARABLE") {
        each(&COMPARABLE, "COMPARABLE")
    } else if line.contains("SUMMABLE") {
        each(&SUMMABLE, "SUMMABLE")
    } else {
        each(&[""], "\0")
    };
    (name, overloads)
}

/// By the commas that are in no brackets.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list[begin..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn parse(text: &str) -> Type {
    if let Some((outer, inner)) = text.split_once('(') {
        let inner = inner.strip_suffix(')').expect("brackets of types are closed");
        let parts = split(inner);
        return match outer {
            "list" => Type::list(parse(parts[0])),
            "map" => Type::map(parse(parts[0]), parse(parts[1])),
            "optional" => Type::optional(parse(parts[0])),
            "type" => Type::Type(Some(parse(parts[0]).into())),
            _ => unreachable!("no type of a signature: {text}"),
        };
    }
    match text {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "ip" => Type::Library(Library::Ip),
        "cidr" => Type::Library(Library::Cidr),
        "quantity" => Type::Library(Library::Quantity),
        "url" => Type::Library(Library::Url),
        "semver" => Type::Library(Library::Semver),
        "format" => Type::Library(Library::Format),
        "authorizer" => Type::Library(Library::Authorizer),
        "path_check" => Type::Library(Library::PathCheck),
        "group_check" => Type::Library(Library::GroupCheck),
        "resource_check" => Type::Library(Library::ResourceCheck),
        "decision" => Type::Library(Library::Decision),
        _ => {
            let letter = text.chars().next().filter(|c| text.len() == 1 && c.is_ascii_uppercase());
            Type::Param(u32::from(letter.expect("a type of a signature is known")))
        }
    }
}
