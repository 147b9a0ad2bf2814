//! The types of CEL, and how errors name them.

use std::fmt;
use std::sync::Arc;

use super::declared::Object;

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Of what could not be checked; agrees with everything.
    Error,
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    /// Of a type, as a value: `type(int)`.
    Type(Option<Arc<Type>>),
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// An object of the API.
    Object(Arc<Object>),
    /// A type of a library.
    Library(Library),
    /// To be found out: in signatures a letter, in a check a number.
    Param(u32),
}

/// What the libraries of Kubernetes add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    Ip,
    Cidr,
    Quantity,
    Url,
    Semver,
    Format,
    Authorizer,
    PathCheck,
    GroupCheck,
    ResourceCheck,
    Decision,
}

// === impl Type ===

impl Type {
    #[must_use]
    pub fn list(of: Type) -> Type {
        Type::List(Arc::new(of))
    }

    #[must_use]
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    #[must_use]
    pub fn optional(of: Type) -> Type {
        Type::Optional(Arc::new(of))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// What an optional holds, and whether it was one.
    pub(crate) fn unwrap_optional(&self) -> (&Type, bool) {
        match self {
            Type::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }

    /// Its name without what it is made of.
    pub(crate) fn name(&self) -> String {
        match self {
            Type::List(_) => "list".into(),
            Type::Map(..) => "map".into(),
            Type::Optional(_) => "optional_type".into(),
            Type::Type(_) => "type".into(),
            Type::Null => "null_type".into(),
            Type::Duration => "google.protobuf.Duration".into(),
            Type::Timestamp => "google.protobuf.Timestamp".into(),
            other => other.to_string(),
        }
    }

    /// One size whatever the value.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Type::Bool
            | Type::Double
            | Type::Duration
            | Type::Int
            | Type::Timestamp
            | Type::Uint => true,
            Type::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Error => "!error!",
            Type::Dyn | Type::Param(_) => "dyn",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::Text => "string",
            Type::Bytes => "bytes",
            Type::Duration => "duration",
            Type::Timestamp => "timestamp",
            Type::Type(None) => "type",
            Type::Type(Some(of)) => return write!(f, "type({of})"),
            Type::List(of) => return write!(f, "list({of})"),
            Type::Map(key, value) => return write!(f, "map({key}, {value})"),
            Type::Optional(of) => return write!(f, "optional_type({of})"),
            Type::Object(object) => &object.name,
            Type::Library(library) => library.name(),
        })
    }
}

// === impl Library ===

impl Library {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Library::Ip => "net.IP",
            Library::Cidr => "net.CIDR",
            Library::Quantity => "kubernetes.Quantity",
            Library::Url => "kubernetes.URL",
            Library::Semver => "kubernetes.Semver",
            Library::Format => "kubernetes.NamedFormat",
            Library::Authorizer => "kubernetes.authorization.Authorizer",
            Library::PathCheck => "kubernetes.authorization.PathCheck",
            Library::GroupCheck => "kubernetes.authorization.GroupCheck",
            Library::ResourceCheck => "kubernetes.authorization.ResourceCheck",
            Library::Decision => "kubernetes.authorization.Decision",
        }
    }

    /// Some are objects without fields, some nothing but a name.
    pub(crate) fn is_opaque(self) -> bool {
        matches!(self, Library::Ip | Library::Cidr)
    }
}
