//! What holds of all sources, and what some of them say.

use std::{collections::HashSet, sync::Arc};

use super::{describe, find, get, kind, kinds, source, types};
use crate::{Field, Form, ListKind, Object, Presence, Schema, Shape, TypeId};

/// Every schema below `schema`, without following names: each type is met
/// once by itself.
fn walk(path: &str, schema: &Schema, seen: &mut dyn FnMut(&str, &Schema)) {
    seen(path, schema);
    match &schema.shape {
        Shape::Object(object) => {
            for field in &object.fields {
                walk(&format!("{path}.{}", field.name), &field.schema, seen);
            }
            if let Some(additional) = &object.additional {
                walk(&format!("{path}.*"), additional, seen);
            }
        }
        Shape::List(list) => walk(&format!("{path}[]"), &list.items, seen),
        _ => {}
    }
}

fn object_of(schema: &Schema) -> Option<&Object> {
    match &schema.shape {
        Shape::Named(id) => object_of(get(*id)),
        Shape::Object(object) => Some(object),
        _ => None,
    }
}

fn object(name: &str) -> &'static Object {
    object_of(get(find(name).expect(name))).expect(name)
}

fn field(of: &str, name: &str) -> &'static Field {
    object(of).field(name).expect(name)
}

#[test]
fn all_sources_parse_and_no_name_stands_for_a_name() {
    assert!(types().count() > 500);
    for (id, it) in types() {
        assert!(!matches!(it.schema.shape, Shape::Named(_)), "{}", it.short());
        assert_eq!(find(&it.short()), Some(id));
        assert_eq!(find(&it.openapi()), Some(id));
        assert!(std::ptr::eq(get(id), &describe(id).schema));
    }
}

#[test]
fn numbers_and_names_are_unique_in_a_type() {
    for (_, it) in types() {
        let Some(object) = object_of(&it.schema) else { continue };
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        for field in &object.fields {
            assert!(names.insert(&field.name), "{}.{}", it.short(), field.name);
            let at = (&field.within, field.number);
            let new = numbers.insert(at) || field.number == 0;
            assert!(new, "{}.{}", it.short(), field.name);
            // A message around it is no field beside it.
            if let Some(outer) = field.within.first() {
                assert!(!object.fields.iter().any(|f| f.within.is_empty() && f.number == *outer));
            }
        }
    }
}

#[test]
fn keys_of_lists_are_fields_of_their_items() {
    let mut lists = 0;
    for (_, it) in types() {
        walk(&it.short(), &it.schema, &mut |path, schema| {
            let Shape::List(list) = &schema.shape else { return };
            let ListKind::Map(keys) = &list.kind else { return };
            lists += 1;
            let items = object_of(&list.items).expect(path);
            assert!(keys.iter().all(|key| items.field(key).is_some()), "{path}: {keys:?}");
        });
        for field in object_of(&it.schema).map_or(&[][..], |object| &object.fields) {
            let Some(key) = field.patch.as_ref().and_then(|patch| patch.key.as_ref()) else {
                continue;
            };
            let Shape::List(list) = &field.schema.shape else { panic!("{}", field.name) };
            assert!(object_of(&list.items).expect(key).field(key).is_some(), "{}", it.short());
        }
    }
    assert!(lists > 50, "{lists}");
}

#[test]
fn defaults_are_of_the_type_they_stand_for() {
    for (_, it) in types() {
        walk(&it.short(), &it.schema, &mut |path, schema| {
            let Some(default) = &schema.default else { return };
            let fits = match &schema.shape {
                Shape::Text(_) => default.is_string(),
                Shape::Integer(_) => default.is_i64(),
                Shape::Boolean => default.is_boolean(),
                Shape::IntOrText => default.is_i64() || default.is_string(),
                Shape::List(_) => default.is_array(),
                Shape::Named(_) => default.is_object(),
                _ => false,
            };
            assert!(fits, "{path}: {default}");
            if let Some(checks) = &schema.checks {
                assert!(checks.values.contains(default), "{path}: {default}");
            }
        });
    }
}

#[test]
fn kinds_have_unlike_names_and_what_they_refer_to() {
    let mut names = HashSet::new();
    for kind in kinds() {
        assert!(names.insert((kind.group, kind.version, kind.plural)));
        let of = describe(kind.id);
        assert!(of.root && of.name == kind.kind, "{}", kind.kind);
        assert_eq!((of.group, of.version), (kind.group, kind.version));
        assert!(!of.schema.about.is_empty(), "{} has no description", kind.kind);
        assert_eq!(kind.list.is_some(), kind.verbs.contains(&"list"), "{}", kind.kind);
        let list = kind.list.map(describe).and_then(|list| object_of(&list.schema));
        assert!(list.is_none_or(|list| list.field("items").is_some()));
        for selectable in &kind.selectable {
            let mut at = object_of(&of.schema).expect("a root");
            let mut parts = selectable.path.split('.').peekable();
            while let Some(part) = parts.next() {
                let field = at.field(part).expect(selectable.label);
                if parts.peek().is_some() {
                    at = object_of(&field.schema).expect(selectable.label);
                }
            }
        }
    }
    assert!(names.len() > 60, "{}", names.len());
    let pod = kind("", "v1", "Pod").expect("a Pod");
    assert_eq!(pod.api_version(), "v1");
    let eviction = pod.subresource("eviction").expect("evicted");
    assert_eq!((describe(eviction.id).group, &*eviction.verbs), ("policy", &["create"][..]));
    assert!(
        kind("authorization.k8s.io", "v1", "SubjectAccessReview").is_some_and(|it| !it.is_stored())
    );
}

#[test]
fn names_are_those_of_protobuf_and_openapi() {
    let crd = find("apiextensions.v1.CustomResourceDefinition").expect("a definition");
    assert_eq!(
        describe(crd).openapi(),
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    );
    assert_eq!(
        describe(crd).message(),
        "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    );
}

#[test]
fn what_is_inline_is_shown_outside_and_numbered_inside() {
    let secret = field("core.v1.Volume", "secret");
    assert_eq!((secret.number, &*secret.within), (6, &[2][..]));
    let scope = field("admissionregistration.v1.NamedRuleWithOperations", "scope");
    assert_eq!((scope.number, &*scope.within), (4, &[2, 2][..]));
    let image = field("core.v1.EphemeralContainer", "image");
    assert_eq!(&*image.within, &[1]);
}

#[test]
fn fields_are_as_kubernetes_has_them() {
    let containers = field("core.v1.PodSpec", "containers");
    assert!(containers.required);
    assert_eq!(containers.presence, Presence::Always);
    let Shape::List(list) = &containers.schema.shape else { panic!("no list") };
    assert_eq!(list.kind, ListKind::Map(vec![Arc::from("name")]));
    assert_eq!(containers.patch.as_ref().and_then(|it| it.key.as_deref()), Some("name"));
    assert!(field("core.v1.PodSpec", "volumes").patch.as_ref().is_some_and(|it| it.retain_keys));
    let policy = field("core.v1.PodSpec", "restartPolicy");
    assert_eq!(policy.schema.default, Some("Always".into()));
    assert_eq!(policy.presence, Presence::Sparse);
    let checks = policy.schema.checks.as_ref().expect("an enum");
    assert_eq!(checks.values, ["Always", "Never", "OnFailure"]);
    assert_eq!(field("apps.v1.DeploymentSpec", "replicas").presence, Presence::Kept);
    let Shape::Object(limits) = &field("core.v1.ResourceRequirements", "limits").schema.shape
    else {
        panic!("no map")
    };
    let quantity = Shape::Text(Form::Quantity);
    assert_eq!(limits.additional.as_ref().map(|it| &it.shape), Some(&quantity));
    let Shape::Object(selector) = &field("core.v1.PodSpec", "nodeSelector").schema.shape else {
        panic!("no map")
    };
    assert!(selector.atomic && object("meta.v1.LabelSelector").atomic);
    let kind = &object("core.v1.Pod").fields[1];
    assert_eq!((&*kind.name, kind.number), ("kind", 0));
}

#[test]
fn a_source_with_a_mistake_says_where() {
    let check = |body: &'static str, fault: &str| {
        let found = source::parse(&[body]).expect_err("a mistake");
        assert!(found.contains(fault), "{found}");
    };
    check("group x", "no header");
    check("group x v1 as=x proto=x openapi=x\n\ntype A\n  b 1 B\n", "A: there is no type x.B");
    check("group x v1 as=x proto=x openapi=x\n\ntype A\n  b one int32\n", "no number");
    check("group x v1 as=x proto=x openapi=x\n\ntype A\n  b 1 int32 defalt=1\n", "defalt");
    check("group x v1 as=x proto=x openapi=x\n\ntype A\n  inline 1 A\n", "circles");
    check("group x v1 as=x proto=x openapi=x\n\nkind A as a\n", "too short");
    assert_eq!(TypeId(0), find("core.v1.Binding").expect("the first"));
}
