//! The language of `kinds/*.api`.
//!
//! ```text
//! group apps v1 as=apps.v1 proto=k8s.io.api.apps.v1 openapi=io.k8s.api.apps.v1
//!
//! kind Deployment deployments deployment short=deploy categories=all scope=Namespaced
//!   sub scale autoscaling.v1.Scale get,patch,update
//!   sub status Deployment get,patch,update
//! # Keeps a number of equal Pods running and replaces them in steps.
//! type Deployment root
//!   metadata+ 1 meta.v1.ObjectMeta
//!   # What is wanted.
//!   spec!+ 2 DeploymentSpec
//!
//! type DeploymentSpec
//!   replicas* 1 int32 default=1
//!   conditions 6 []DeploymentCondition list=map(type) patch=merge(type)
//!   inline 2 VolumeSource
//! ```
//!
//! Lines, words with spaces between; a word without `=` stands at its place.
//! Lines of `#` describe the type or field below them, to people.
//!
//! - `group GROUP VERSION`: once, first. `core` is the group without a name.
//!   `as` is the prefix under which other sources refer to its types.
//! - `kind KIND PLURAL SINGULAR`: something served. `verbs=` when not all,
//!   `fields=LABEL[@PATH],…` for field selectors. The type of that name and,
//!   if there is one, the type `KINDList` belong to it.
//! - `sub NAME TYPE VERBS`: a subresource of the kind above.
//! - `type NAME`: an object. `root` gives it `apiVersion` and `kind`; `atomic`
//!   lets it be owned and replaced as one value. With a type expression after
//!   the name it is that instead: `type Verbs []string`. Where the expression
//!   is a list, protobuf wraps it in a message with the items as field 1;
//!   where it is `any`, in one with JSON's bytes as field 1.
//! - `FIELD NUMBER TYPE`: protobuf's number, 0 for none. Behind the name:
//!   `!` required, `*` an empty value is kept ([`Presence::Kept`]), `+` it is
//!   written even when empty ([`Presence::Always`]), neither: left out.
//! - `inline NUMBER TYPE`: the fields of that type, which JSON shows as this
//!   type's own.
//!
//! Types: `string bool int32 int64 double bytes time microtime quantity
//! duration intorstring any`, `Name` of the same source, `core.v1.Name` of
//! another, `[]T` lists, `{}T` maps.
//!
//! Of fields: `default=JSON`, `enum=A,B` (`_` for a space, `""` for the
//! empty text), `list=set|map(KEY,…)` (atomic else),
//! `map=atomic`, `patch=merge|merge(KEY)`, `retainKeys`.

use std::{collections::HashMap, sync::Arc};

use resources::Scope;
use serde_json::Value;

use super::{Kind, Package, Selectable, Subresource, Tables, Type, VERBS};
use crate::{
    Checks, Field, Form, List, ListKind, Object, PatchRule, Presence, Schema, Shape, TypeId,
};

/// Deep enough for the deepest there is (2); a circle would not end.
const INLINE_DEPTH_MAX: usize = 4;

type Result<T> = std::result::Result<T, String>;

/// A `type` as written.
#[derive(Clone, Copy)]
struct Block {
    group: &'static str,
    version: &'static str,
    package: Package,
    name: &'static str,
    /// The words behind the name.
    head: &'static str,
    /// The whole source, and where its description and fields are.
    about: &'static str,
    body: &'static str,
}

struct Parser {
    blocks: Vec<Block>,
    ids: HashMap<String, TypeId>,
    texts: HashMap<String, Arc<str>>,
    /// Most fields are one of few types without more.
    schemas: HashMap<String, Arc<Schema>>,
}

pub(super) fn parse(sources: &[&'static str]) -> Result<Tables> {
    let mut parser = Parser {
        blocks: Vec::new(),
        ids: HashMap::new(),
        texts: HashMap::new(),
        schemas: HashMap::new(),
    };
    for source in sources {
        parser.gather(source)?;
    }
    let mut tables = Tables::default();
    for id in 0..parser.blocks.len() {
        let block = parser.blocks[id];
        let parsed = parser.type_of(&block).map_err(|fault| format!("{}: {fault}", block.name))?;
        tables.types.push(parsed);
    }
    for source in sources {
        parser.kinds(source, &mut tables.kinds)?;
    }
    tables.by_name = parser.ids;
    for (id, it) in (0..).zip(&tables.types) {
        tables.by_name.insert(it.openapi(), TypeId(id));
    }
    Ok(tables)
}

// === impl Parser ===

impl Parser {
    /// First pass: where types are, so that they can refer to each other.
    fn gather(&mut self, source: &'static str) -> Result<()> {
        let (group, version, package) = header(source)?;
        // Byte offsets of the description above, and of the body below.
        let (mut about_at, mut at) = (None, 0);
        for line in source.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let line = line.trim_end();
            if line.starts_with('#') {
                about_at.get_or_insert(start);
                continue;
            }
            let about = about_at.take().map_or("", |from| &source[from..start]);
            let Some(head) = line.strip_prefix("type ") else { continue };
            let (name, head) = head.split_once(' ').unwrap_or((head, ""));
            let rest = &source[at..];
            let body = &rest[..rest.find("\n\n").map_or(rest.len(), |end| end + 1)];
            // An empty line right below: no fields.
            let body = if rest.starts_with('\n') { "" } else { body };
            let id = TypeId(u32::try_from(self.blocks.len()).expect("a few hundred types"));
            if self.ids.insert(format!("{}.{name}", package.short), id).is_some() {
                return Err(format!("{}.{name} is there twice", package.short));
            }
            self.blocks.push(Block { group, version, package, name, head, about, body });
        }
        Ok(())
    }

    fn type_of(&mut self, block: &Block) -> Result<Type> {
        let mut root = false;
        let mut shape = None;
        let mut object = Object::default();
        for word in block.head.split(' ').filter(|word| !word.is_empty()) {
            match word {
                "root" => root = true,
                "atomic" => object.atomic = true,
                expression => shape = Some(self.shape(block, expression, &Marks::default())?),
            }
        }
        let shape = match shape {
            Some(shape) => shape,
            None => {
                if root {
                    object.fields = self.envelope();
                }
                object.fields.extend(self.fields(block, 0)?);
                Shape::Object(object)
            }
        };
        let schema = Schema { about: self.text(&plain(block.about)), ..Schema::of(shape) };
        let Block { group, version, name, package, .. } = *block;
        Ok(Type { group, version, name, root, schema, package })
    }

    /// What every object says of itself first.
    fn envelope(&mut self) -> Vec<Field> {
        let abouts = [
            ("apiVersion", "The group and version in which this object is written."),
            ("kind", "What this object is."),
        ];
        let field = |(name, about): (&str, &str)| Field {
            name: self.text(name),
            presence: Presence::Sparse,
            schema: Arc::new(Schema {
                about: self.text(about),
                ..Schema::of(Shape::Text(Form::Plain))
            }),
            ..Field::default()
        };
        abouts.map(field).into()
    }

    fn fields(&mut self, block: &Block, depth: usize) -> Result<Vec<Field>> {
        if depth > INLINE_DEPTH_MAX {
            return Err("inlines go in circles".to_owned());
        }
        let mut fields = Vec::new();
        let mut about = String::new();
        for line in block.body.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix('#') {
                join(&mut about, text);
                continue;
            }
            let mut words = line.splitn(4, ' ');
            let (name, number) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let number = number.parse().map_err(|_| format!("{line:?}: no number"))?;
            let expression = words.next().ok_or_else(|| format!("{line:?}: no type"))?;
            if name == "inline" {
                let inner = self.blocks[self.resolve(block, expression)?.0 as usize];
                for mut field in self.fields(&inner, depth + 1)? {
                    field.within.insert(0, number);
                    fields.push(field);
                }
                about.clear();
                continue;
            }
            let marks = Marks::parse(words.next().unwrap_or(""))
                .map_err(|fault| format!("{name}: {fault}"))?;
            let bare = name.trim_end_matches(['!', '*', '+']);
            let flags = &name[bare.len()..];
            fields.push(Field {
                name: self.text(bare),
                number,
                within: Vec::new(),
                required: flags.contains('!'),
                presence: match () {
                    () if flags.contains('*') => Presence::Kept,
                    () if flags.contains('+') => Presence::Always,
                    () => Presence::Sparse,
                },
                patch: marks.patch.clone(),
                schema: self.schema(block, expression, &marks, &about)?,
            });
            about.clear();
        }
        Ok(fields)
    }

    fn schema(
        &mut self,
        block: &Block,
        expression: &str,
        marks: &Marks,
        about: &str,
    ) -> Result<Arc<Schema>> {
        let shareable = about.is_empty() && marks.is_plain();
        let key = || format!("{}/{expression}", block.package.short);
        if shareable && let Some(known) = self.schemas.get(&key()) {
            return Ok(known.clone());
        }
        let shape = self.shape(block, expression, marks)?;
        let checks = match shape {
            Shape::Text(_) => marks.checks(),
            _ => None,
        };
        let schema = Arc::new(Schema {
            about: self.text(about),
            default: marks.default.clone(),
            checks,
            ..Schema::of(shape)
        });
        if shareable {
            self.schemas.insert(key(), schema.clone());
        }
        Ok(schema)
    }

    fn shape(&mut self, block: &Block, expression: &str, marks: &Marks) -> Result<Shape> {
        // The values of an enum are those of the innermost type, all else is
        // said of the outermost.
        let inner = || Marks { values: marks.values.clone(), ..Marks::default() };
        if let Some(items) = expression.strip_prefix("[]") {
            let items = self.schema(block, items, &inner(), "")?;
            return Ok(Shape::List(List { items, kind: marks.list.clone() }));
        }
        if let Some(values) = expression.strip_prefix("{}") {
            let additional = Some(self.schema(block, values, &inner(), "")?);
            return Ok(Shape::Object(Object {
                additional,
                atomic: marks.atomic,
                ..Object::default()
            }));
        }
        Ok(match expression {
            "string" => Shape::Text(Form::Plain),
            "bytes" => Shape::Text(Form::Bytes),
            "time" => Shape::Text(Form::Time),
            "microtime" => Shape::Text(Form::MicroTime),
            "quantity" => Shape::Text(Form::Quantity),
            "duration" => Shape::Text(Form::Duration),
            "bool" => Shape::Boolean,
            "int32" => Shape::Integer(32),
            "int64" => Shape::Integer(64),
            "double" => Shape::Number,
            "intorstring" => Shape::IntOrText,
            "any" => Shape::Any,
            name => Shape::Named(self.resolve(block, name)?),
        })
    }

    fn resolve(&self, block: &Block, name: &str) -> Result<TypeId> {
        let full = match name.contains('.') {
            true => name.to_owned(),
            false => format!("{}.{name}", block.package.short),
        };
        self.ids.get(&full).copied().ok_or_else(|| format!("there is no type {full}"))
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(text.to_owned(), new.clone());
        new
    }

    fn kinds(&self, source: &'static str, kinds: &mut Vec<Kind>) -> Result<()> {
        let (group, version, package) = header(source)?;
        let find = |name: &str| {
            let full = match name.contains('.') {
                true => name.to_owned(),
                false => format!("{}.{name}", package.short),
            };
            self.ids.get(&full).copied()
        };
        let known = |name: &str| find(name).ok_or_else(|| format!("there is no type {name}"));
        for line in source.lines() {
            if let Some(rest) = line.strip_prefix("  sub ") {
                let [name, spoken, verbs] = words(rest)?;
                let kind = kinds.last_mut().ok_or_else(|| format!("sub {name}: of what?"))?;
                let verbs = verbs.split(',').collect();
                kind.subresources.push(Subresource { name, id: known(spoken)?, verbs });
            } else if let Some(rest) = line.strip_prefix("kind ") {
                let mut parts = rest.splitn(4, ' ');
                let mut next = || parts.next().ok_or_else(|| format!("{line:?}: too short"));
                let (kind, plural, singular) = (next()?, next()?, next()?);
                let option = Options(next()?);
                let verbs = option.list("verbs");
                kinds.push(Kind {
                    group,
                    version,
                    kind,
                    plural,
                    singular,
                    short_names: option.list("short"),
                    categories: option.list("categories"),
                    scope: match option.get("scope") {
                        Some("Namespaced") => Scope::Namespaced,
                        Some("Cluster") => Scope::Cluster,
                        _ => return Err(format!("{kind}: scope is Namespaced or Cluster")),
                    },
                    verbs: if verbs.is_empty() { VERBS.to_vec() } else { verbs },
                    subresources: Vec::new(),
                    selectable: option.list("fields").into_iter().map(selectable).collect(),
                    id: known(kind)?,
                    list: find(&format!("{kind}List")),
                });
            }
        }
        Ok(())
    }
}

// === impl Marks ===

/// What a field's line says beyond its type.
#[derive(Default)]
struct Marks {
    default: Option<Value>,
    values: Vec<Value>,
    list: ListKind,
    atomic: bool,
    patch: Option<PatchRule>,
}

impl Marks {
    fn parse(text: &str) -> Result<Marks> {
        let mut marks = Marks::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let fault = || format!("what is {word:?}?");
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "default" => {
                    marks.default = Some(serde_json::from_str(value).map_err(|_| fault())?)
                }
                "enum" => marks.values = value.split(',').map(enumerated).collect(),
                "list" if value == "set" => marks.list = ListKind::Set,
                "list" => {
                    let keys = argument(value, "map").ok_or_else(fault)?;
                    marks.list = ListKind::Map(keys.split(',').map(Arc::from).collect());
                }
                "map" if value == "atomic" => marks.atomic = true,
                "patch" if value == "merge" => marks.patch_mut().merge = true,
                "patch" => {
                    let key = argument(value, "merge").ok_or_else(fault)?;
                    let patch = marks.patch_mut();
                    patch.merge = true;
                    patch.key = Some(key.into());
                }
                "retainKeys" => marks.patch_mut().retain_keys = true,
                _ => return Err(fault()),
            }
        }
        Ok(marks)
    }

    fn patch_mut(&mut self) -> &mut PatchRule {
        self.patch.get_or_insert_default()
    }

    /// Whether the type alone tells the whole schema.
    fn is_plain(&self) -> bool {
        self.default.is_none()
            && self.values.is_empty()
            && self.list == ListKind::Atomic
            && !self.atomic
    }

    fn checks(&self) -> Option<Box<Checks>> {
        if self.values.is_empty() {
            return None;
        }
        Some(Box::new(Checks { values: self.values.clone(), ..Checks::default() }))
    }
}

/// Words cannot be empty or have spaces: `""` and `_` stand for them.
fn enumerated(value: &str) -> Value {
    Value::String(if value == "\"\"" { String::new() } else { value.replace('_', " ") })
}

/// What is between the brackets of `NAME(…)`.
fn argument<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

// === impl Options ===

/// Words of the form `key=value`.
#[derive(Clone, Copy)]
struct Options(&'static str);

impl Options {
    fn get(self, key: &str) -> Option<&'static str> {
        self.0
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .find(|it| it.0 == key)
            .map(|it| it.1)
    }

    fn list(self, key: &str) -> Vec<&'static str> {
        self.get(key).map_or(Vec::new(), |list| list.split(',').collect())
    }
}

fn header(source: &'static str) -> Result<(&'static str, &'static str, Package)> {
    let line = source.lines().next().unwrap_or_default();
    let fault = || format!("{line:?} is no header");
    let mut parts = line.strip_prefix("group ").ok_or_else(fault)?.splitn(3, ' ');
    let (Some(group), Some(version), Some(rest)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(fault());
    };
    let option = |key| Options(rest).get(key).ok_or_else(fault);
    let package =
        Package { short: option("as")?, proto: option("proto")?, openapi: option("openapi")? };
    let group = if matches!(group, "core" | "-") { "" } else { group };
    Ok((group, if version == "-" { "" } else { version }, package))
}

fn words<const N: usize>(text: &'static str) -> Result<[&'static str; N]> {
    let words: Vec<_> = text.split(' ').collect();
    words.try_into().map_err(|_| format!("{text:?}: {N} words are wanted"))
}

fn selectable(word: &'static str) -> Selectable {
    let (label, path) = word.split_once('@').unwrap_or((word, word));
    Selectable { label, path }
}

/// A description's lines as one.
fn plain(about: &str) -> String {
    let mut text = String::new();
    for line in about.lines() {
        join(&mut text, line.trim_start_matches('#'));
    }
    text
}

fn join(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line.trim());
}
