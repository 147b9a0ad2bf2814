//! What one kind tells the generic server: its names, where it is served, how
//! it is shown, and its few rules. There is no handler per kind.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use resources::{FieldError, Kind, Scope};
use serde_json::Value;

use schema::{Schema, builtin};

use crate::{
    caller::Caller,
    custom::Custom,
    kinds, own, scale,
    subresource::Subresource,
    table::{self, Column},
};

/// A name: known when this was built, or of a custom kind.
pub type Text = Cow<'static, str>;

/// One version of one kind.
pub struct Resource {
    /// Empty for the core group.
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub list_kind: Text,
    pub plural: Text,
    pub singular: Text,
    pub short_names: Vec<Text>,
    pub categories: Vec<Text>,
    pub scope: Scope,
    /// How it is served at `/`.
    pub federation: Face,
    /// How it is served at `/units/NAME`.
    pub unit: Face,
    pub subresources: Vec<Subresource>,
    /// Whether `metadata.generation` counts changes of intent.
    pub generation: bool,
    pub names: NameRule,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<Selectable>,
    pub columns: &'static [Column],
    pub schema: Arc<Schema>,
    pub origin: Origin,
    /// Of the subresource `scale`.
    pub scale: Option<scale::Paths>,
    /// Kept in the form of another kind, which has the same objects.
    pub kept_as: Option<KeptAs>,
    pub rules: Rules,
    /// Objects go by themselves after this many seconds.
    pub ttl_s: Option<u64>,
    /// Objects are shown otherwise than they are stored.
    pub looks_inside: bool,
    /// See [`Resource::head`].
    pub head: OnceLock<String>,
}

/// Where a kind comes from.
#[derive(Clone)]
pub enum Origin {
    /// Kubernetes.
    Builtin(&'static builtin::Kind),
    /// Polis, with what the general schema does not say.
    Own(&'static own::Schema),
    /// A CustomResourceDefinition.
    Custom(Arc<Custom>),
}

/// How objects of one kind are kept as those of another: `events` of two
/// groups, two versions of one kind.
#[derive(Clone, Copy)]
pub struct KeptAs {
    pub group: &'static str,
    pub version: &'static str,
    /// From this kind's form to the kept one, and back.
    pub to: fn(&mut Value),
    pub from: fn(&mut Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Absent,
    /// Kept in this door's own keyspace.
    Stored,
    /// A read-only view over all units.
    Merged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Dots allowed, 253 characters.
    Subdomain,
    /// No dots, 63 characters: it becomes part of other names.
    Label,
    /// Whatever can stand between two slashes of a path.
    Segment,
}

/// A field that `fieldSelector` may name, and where it is.
#[derive(Clone, Debug)]
pub struct Selectable {
    pub label: Text,
    pub pointer: Text,
}

/// Pure functions over the object's JSON.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Fills in what was left out; must be idempotent.
    pub default: fn(&mut Value),
    /// Sets what only the server may say of a new object.
    pub create: fn(&mut Value),
    /// Sets what the server says of who asks for a new object.
    pub asked_by: fn(&mut Value, &Caller),
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// `(new, old)`: changes that are not allowed.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Seconds that a deletion waits for whoever runs the object; none
    /// deletes at once.
    pub grace_s: fn(&Value) -> Option<u64>,
    /// What belongs to an object is let go when nothing else was asked for.
    pub orphans: bool,
}

// === impl Resource ===

impl Resource {
    /// A kind of ours, stored at the federation.
    pub(crate) fn of<K: Kind>(
        schema: &'static own::Schema,
        columns: &'static [Column],
    ) -> Resource {
        Resource {
            group: K::GROUP.into(),
            version: K::VERSION.into(),
            kind: K::KIND.into(),
            list_kind: format!("{}List", K::KIND).into(),
            plural: K::PLURAL.into(),
            singular: K::SINGULAR.into(),
            short_names: texts(K::SHORT_NAMES),
            categories: texts(&["polis"]),
            scope: K::SCOPE,
            federation: Face::Stored,
            unit: Face::Absent,
            subresources: vec![Subresource::Status],
            generation: true,
            names: NameRule::Label,
            selectable: Vec::new(),
            columns,
            schema: Arc::new(schema.general()),
            origin: Origin::Own(schema),
            scale: None,
            kept_as: None,
            rules: kinds::ours::rules::<K>(),
            ttl_s: None,
            looks_inside: false,
            head: OnceLock::new(),
        }
    }

    /// A kind of Kubernetes, stored at every door but for what the federation
    /// shows of all units.
    pub(crate) fn builtin(kind: &'static builtin::Kind) -> Resource {
        let merged = kind.group.is_empty() && matches!(kind.kind, "Pod" | "Node");
        let subresources = kind.subresources.iter();
        let schema = Schema { shape: schema::Shape::Named(kind.id), ..Schema::default() };
        let kept_as = kinds::kept_as(kind);
        Resource {
            group: kind.group.into(),
            version: kind.version.into(),
            kind: kind.kind.into(),
            list_kind: format!("{}List", kind.kind).into(),
            plural: kind.plural.into(),
            singular: kind.singular.into(),
            short_names: texts(&kind.short_names),
            categories: texts(&kind.categories),
            scope: kind.scope,
            federation: if merged { Face::Merged } else { Face::Stored },
            unit: Face::Stored,
            subresources: subresources.filter_map(|sub| Subresource::parse(sub.name)).collect(),
            generation: kinds::counts_intent(kind),
            names: kinds::name_rule(kind),
            selectable: kind.selectable.iter().map(selectable).collect(),
            columns: table::columns(kind),
            schema: Arc::new(schema),
            origin: Origin::Builtin(kind),
            scale: kind.subresource("scale").map(|_| scale::Paths::BUILTIN),
            kept_as,
            rules: kinds::rules(kind),
            ttl_s: (kind.kind == "Event").then_some(kinds::EVENT_TTL_S),
            looks_inside: kept_as.is_some(),
            head: OnceLock::new(),
        }
    }

    /// Whether its objects define kinds.
    pub fn verbs(&self) -> &[&'static str] {
        match &self.origin {
            Origin::Builtin(kind) => &kind.verbs,
            Origin::Own(_) | Origin::Custom(_) => builtin::VERBS,
        }
    }

    /// Kubernetes' own, and not another of that name.
    pub fn is_core(&self, kind: &str) -> bool {
        self.group.is_empty() && self.kind == *kind
    }

    pub fn is_definition(&self) -> bool {
        self.kind == "CustomResourceDefinition" && self.group == "apiextensions.k8s.io"
    }

    /// What its definition says beyond, for a custom kind.
    /// Of Kubernetes' own kinds.
    pub fn is_builtin(&self) -> bool {
        matches!(self.origin, Origin::Builtin(_))
    }

    pub fn custom(&self) -> Option<&Custom> {
        match &self.origin {
            Origin::Custom(custom) => Some(custom),
            _ => None,
        }
    }

    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// What objects written through this version are stored with at their start,
    /// up to the place of the resourceVersion.
    pub fn head(&self) -> &str {
        self.head.get_or_init(|| {
            let version = match (self.kept_as, self.custom()) {
                (Some(KeptAs { group: "", version, .. }), _) => version.to_owned(),
                (Some(KeptAs { group, version, .. }), _) => format!("{group}/{version}"),
                (None, Some(custom)) => custom.conversion.storage().to_owned(),
                (None, None) => self.api_version(),
            };
            self.head_of(&version)
        })
    }

    /// As [`Resource::head`], of an object of another version.
    pub fn head_of(&self, version: &str) -> String {
        format!(
            r#"{{"kind":"{}","apiVersion":"{version}","metadata":{{"resourceVersion":""#,
            self.kind
        )
    }

    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// The status is written by another hand, through its own subresource.
    pub fn has_status(&self) -> bool {
        self.has(Subresource::Status)
    }

    /// `v1`, `polis.dev/v1alpha1`.
    pub fn api_version(&self) -> String {
        match &*self.group {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `pods`, `units.polis.dev`.
    pub fn qualified(&self) -> String {
        match &*self.group {
            "" => self.plural.to_string(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Every object's key starts with this.
    pub fn prefix(&self) -> String {
        let group = self.kept_as.map_or(&*self.group, |kept| kept.group);
        let group = if group.is_empty() { "core" } else { group };
        format!("/registry/{group}/{}/", self.plural)
    }

    pub fn key(&self, namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/{name}", self.prefix()),
            None => format!("{}{name}", self.prefix()),
        }
    }

    /// The path of the collection (or, with a name, the object) below a door.
    pub fn path(&self, namespace: Option<&str>, name: &str) -> String {
        let mut path = match &*self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if !name.is_empty() {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

fn selectable(field: &builtin::Selectable) -> Selectable {
    let pointer = format!("/{}", field.path.replace('.', "/"));
    Selectable { label: field.label.into(), pointer: pointer.into() }
}

pub(crate) fn texts(list: &[&'static str]) -> Vec<Text> {
    list.iter().map(|text| Text::Borrowed(*text)).collect()
}

// === impl Rules ===

impl Rules {
    pub const NONE: Rules = Rules {
        default: |_| {},
        create: |_| {},
        asked_by: |_, _| {},
        validate: |_| Vec::new(),
        validate_update: |_, _| Vec::new(),
        grace_s: |_| None,
        orphans: false,
    };
}
