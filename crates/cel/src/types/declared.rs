//! What variables are declared to hold.
//!
//! A declaration says more than a type: how JSON is read, and how large a value
//! can get, which is what costs are estimated by.

use std::sync::Arc;

use schema::{Checks, Form, ListKind, Schema, Shape};

use super::escape::escape;
use super::format::Type;

/// The largest body of a request; nothing in an object is larger.
const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;
/// The longest RFC 3339 time, and any duration, with quotes.
const TIME_BYTES_MAX: u64 = 32;
/// An RFC 3339 date with quotes.
const DATE_BYTES: u64 = 12;

#[derive(Clone, Debug, PartialEq)]
pub struct Decl {
    pub kind: DeclKind,
    /// Elements, or bytes of a text, that it can have at most; 0 where that
    /// means nothing.
    pub elements_max: u64,
    /// Bytes that its JSON has at least.
    pub bytes_min: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DeclKind {
    /// Whatever it is.
    Dyn,
    Bool,
    Int,
    Double,
    Text,
    Bytes,
    Duration,
    Date,
    Timestamp,
    List {
        items: Arc<Decl>,
        kind: ListKind,
    },
    Map(Arc<Decl>),
    Object(Arc<Object>),
    /// A value that may be missing.
    Optional(Arc<Decl>),
    /// A value that the host makes: never read from JSON.
    Host(Type),
}

/// The fields of an object that expressions see. Objects are told apart by
/// their names.
#[derive(Clone, Debug)]
pub struct Object {
    pub name: Arc<str>,
    /// By identifier.
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// As expressions write it.
    pub identifier: Arc<str>,
    /// As JSON has it.
    pub name: Arc<str>,
    pub decl: Arc<Decl>,
}

// === impl Decl ===

impl Decl {
    #[must_use]
    pub fn of(kind: DeclKind) -> Decl {
        let bytes_min = match kind {
            DeclKind::Bool => 4,
            DeclKind::Duration => 3,
            DeclKind::Date => DATE_BYTES,
            DeclKind::Timestamp => 21,
            DeclKind::Dyn | DeclKind::Int | DeclKind::Double | DeclKind::Host(_) => 1,
            _ => 2,
        };
        Decl { kind, elements_max: 0, bytes_min }
    }

    #[must_use]
    pub fn dynamic() -> Arc<Decl> {
        Arc::new(Decl::of(DeclKind::Dyn))
    }

    /// A value of the host, such as an authorizer.
    #[must_use]
    pub fn host(of: Type) -> Arc<Decl> {
        Arc::new(Decl::of(DeclKind::Host(of)))
    }

    /// What may be missing, such as `oldSelf` where a rule is asked for it.
    #[must_use]
    pub fn optional(of: Arc<Decl>) -> Arc<Decl> {
        Arc::new(Decl::of(DeclKind::Optional(of)))
    }

    /// An object whose fields are told by name.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Arc<Decl>)>) -> Arc<Decl> {
        let fields = fields
            .into_iter()
            .filter_map(|(name, decl)| {
                let identifier = escape(&name)?.into();
                Some(Field { identifier, name: name.into(), decl })
            })
            .collect();
        Arc::new(Decl::of(DeclKind::Object(Arc::new(Object::new(name, fields)))))
    }

    /// What expressions see of values of `schema`; `None` if nothing. `name` is
    /// what errors call its objects. The root of a resource has its kind and
    /// name whatever its schema says.
    #[must_use]
    pub fn from_schema(schema: &Schema, name: &str, root: bool) -> Option<Arc<Decl>> {
        from_schema(schema, name, root).map(Arc::new)
    }

    #[must_use]
    pub fn cel_type(&self) -> Type {
        match &self.kind {
            DeclKind::Dyn => Type::Dyn,
            DeclKind::Bool => Type::Bool,
            DeclKind::Int => Type::Int,
            DeclKind::Double => Type::Double,
            DeclKind::Text => Type::Text,
            DeclKind::Bytes => Type::Bytes,
            DeclKind::Duration => Type::Duration,
            DeclKind::Date | DeclKind::Timestamp => Type::Timestamp,
            DeclKind::List { items, .. } => Type::list(items.cel_type()),
            DeclKind::Map(values) => Type::map(Type::Text, values.cel_type()),
            DeclKind::Object(object) => Type::Object(object.clone()),
            DeclKind::Optional(of) => Type::optional(of.cel_type()),
            DeclKind::Host(of) => of.clone(),
        }
    }

    /// How often a value as small as this can be within one object at most.
    #[must_use]
    pub fn cardinality_max(&self) -> u64 {
        REQUEST_BYTES_MAX / (self.bytes_min + 1)
    }

    /// What lies at `path` below this.
    pub(crate) fn at(&self, path: &[Arc<str>]) -> Option<&Decl> {
        if let DeclKind::Optional(of) = &self.kind {
            return of.at(path);
        }
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        match (&self.kind, &**step) {
            (DeclKind::List { items, .. }, "@items") => items.at(rest),
            (DeclKind::Map(values), "@values") => values.at(rest),
            (DeclKind::Map(_), "@keys") => KEY.at(rest),
            (DeclKind::Object(object), field) => object.field(field)?.decl.at(rest),
            _ => None,
        }
    }
}

/// Keys of maps are texts without a bound of their own.
const KEY: &Decl = &Decl { kind: DeclKind::Text, elements_max: 0, bytes_min: 2 };

// === impl Object ===

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.name == other.name
    }
}

impl Object {
    fn new(name: &str, mut fields: Vec<Field>) -> Object {
        fields.sort_by(|one, other| one.identifier.cmp(&other.identifier));
        fields.dedup_by(|one, other| one.identifier == other.identifier);
        Object { name: name.into(), fields }
    }

    #[must_use]
    pub fn field(&self, identifier: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| (*field.identifier).cmp(identifier)).ok()?;
        Some(&self.fields[at])
    }

    /// The declaration of what JSON has under `name`.
    #[must_use]
    pub fn decl_of(&self, name: &str) -> Option<&Arc<Decl>> {
        match self.field(name) {
            Some(field) if *field.name == *name => Some(&field.decl),
            _ => self.fields.iter().find(|field| *field.name == *name).map(|field| &field.decl),
        }
    }
}

fn from_schema(schema: &Schema, name: &str, root: bool) -> Option<Decl> {
    let none = Checks::default();
    let checks = schema.checks.as_deref().unwrap_or(&none);
    let sized = |kind, elements_max| Some(Decl { elements_max, ..Decl::of(kind) });
    match &schema.shape {
        Shape::Any => None,
        Shape::Named(_) => Some(Decl::of(DeclKind::Dyn)),
        Shape::IntOrText => {
            let max = checks.max_length.map_or(REQUEST_BYTES_MAX - 2, |max| max.saturating_mul(4));
            sized(DeclKind::Dyn, max)
        }
        Shape::Integer(_) => Some(Decl::of(DeclKind::Int)),
        Shape::Number => Some(Decl::of(DeclKind::Double)),
        Shape::Boolean => Some(Decl::of(DeclKind::Bool)),
        Shape::Text(form) => Some(text(*form, checks)),
        Shape::List(list) => {
            let embedded = matches!(&list.items.shape, Shape::Object(object) if object.embedded);
            let items = from_schema(&list.items, &format!("{name}.@idx"), embedded)?;
            let max =
                checks.max_items.unwrap_or_else(|| (REQUEST_BYTES_MAX - 2) / (items.bytes_min + 1));
            let kind = list.kind.clone();
            sized(DeclKind::List { items: Arc::new(items), kind }, max)
        }
        Shape::Object(object) => match &object.additional {
            Some(values) if object.fields.is_empty() && !root => {
                let embedded = matches!(&values.shape, Shape::Object(object) if object.embedded);
                let values = from_schema(values, &format!("{name}.@elem"), embedded)?;
                let max = checks
                    .max_properties
                    .unwrap_or_else(|| (REQUEST_BYTES_MAX - 2) / (values.bytes_min + 6));
                sized(DeclKind::Map(Arc::new(values)), max)
            }
            _ => Some(self::object(object, name, root)),
        },
    }
}

/// Lengths are in characters, of up to four bytes each.
fn text(form: Form, checks: &Checks) -> Decl {
    let whole = REQUEST_BYTES_MAX - 2;
    let (kind, max) = match (form, checks.format.as_deref()) {
        (Form::Bytes, _) | (_, Some("byte")) => {
            (DeclKind::Bytes, checks.max_length.unwrap_or(whole))
        }
        (Form::Time | Form::MicroTime, _) | (_, Some("date-time")) => {
            (DeclKind::Timestamp, TIME_BYTES_MAX)
        }
        (_, Some("date")) => (DeclKind::Date, DATE_BYTES),
        (_, Some("duration")) => (DeclKind::Duration, TIME_BYTES_MAX),
        _ => {
            let of_values = (!checks.values.is_empty()).then(|| {
                let texts = checks.values.iter().filter_map(|value| value.as_str());
                texts.map(|text| text.len() as u64).max().unwrap_or(0)
            });
            let of_length = checks.max_length.map(|max| max.saturating_mul(4));
            (DeclKind::Text, of_length.or(of_values).unwrap_or(whole))
        }
    };
    Decl { elements_max: max, ..Decl::of(kind) }
}

fn object(object: &schema::Object, name: &str, root: bool) -> Decl {
    let mut bytes_min = 2;
    let mut fields = Vec::new();
    for field in &object.fields {
        let Some(identifier) = escape(&field.name) else { continue };
        let embedded = matches!(&field.schema.shape, Shape::Object(object) if object.embedded);
        let below = format!("{name}.{identifier}");
        let Some(decl) = from_schema(&field.schema, &below, embedded) else { continue };
        if field.required && field.schema.default.is_none() {
            bytes_min += field.name.len() as u64 + decl.bytes_min + 4;
        }
        fields.push(Field {
            identifier: identifier.into(),
            name: field.name.clone(),
            decl: Arc::new(decl),
        });
    }
    if root {
        add_type_and_name(name, &mut fields);
    }
    let kind = DeclKind::Object(Arc::new(Object::new(name, fields)));
    Decl { bytes_min, ..Decl::of(kind) }
}

/// `kind`, `apiVersion`, `metadata.name` and `metadata.generateName` are seen
/// at the root of every resource.
fn add_type_and_name(name: &str, fields: &mut Vec<Field>) {
    let text = Arc::new(self::text(Form::Plain, &Checks::default()));
    let named = |name: &str, decl: &Arc<Decl>| Field {
        identifier: name.into(),
        name: name.into(),
        decl: decl.clone(),
    };
    fields.retain(|field| !["kind", "apiVersion", "metadata"].contains(&&*field.name));
    let metadata = vec![named("name", &text), named("generateName", &text)];
    let metadata = Object::new(&format!("{name}.metadata"), metadata);
    let metadata = Arc::new(Decl::of(DeclKind::Object(Arc::new(metadata))));
    fields.extend([named("kind", &text), named("apiVersion", &text), named("metadata", &metadata)]);
}
