//! What must hold for any objects and any patches; see `fuzz/`.

use schema::builtin;
use serde_json::Value;

use crate::{
    apply::{Managed, Share, Write, apply, track},
    fields::Fields,
    strategic,
};

/// An object that is there, a zero byte, a strategic merge patch, a zero byte,
/// what is applied.
pub fn patch(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().and_then(|part| serde_json::from_slice::<Value>(part).ok());
    let Some(live) = next() else { return };
    let patch = next().unwrap_or_else(|| live.clone());
    let mut applied = next().unwrap_or_else(|| patch.clone());
    let kind = builtin::kind("apps", "v1", "Deployment").expect("a source describes it");
    let write = Write {
        schema: builtin::get(kind.id),
        api_version: "apps/v1",
        kind: "Deployment",
        subresource: "",
        share: Share::AllButStatus,
        manager: "kubectl",
        time: "2026-01-01T00:00:00Z",
    };
    let mut patched = live.clone();
    if strategic::merge(&mut patched, patch, write.schema).is_ok() {
        assert!(patched.is_object(), "a patch leaves an object");
    }
    track(Some(&live), &mut patched, &write);
    let mut new = live.clone();
    track(None, &mut new, &write);
    for object in [&patched, &new] {
        if let Ok(managed) = Managed::of(Some(object)) {
            assert!(managed.iter().all(|(_, fields)| round_trips(fields)));
        }
    }
    if let Some(map) = applied.as_object_mut() {
        map.insert("apiVersion".into(), write.api_version.into());
        map.insert("kind".into(), write.kind.into());
    }
    let live = live.is_object().then_some(&live);
    if let Ok(once) = apply(live, &applied, &write, true) {
        apply(Some(&once), &applied, &write, false).expect("what one owns is no conflict");
    }
}

/// Two field sets, as objects keep them, with a zero byte between.
pub fn fields(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let mut next = || {
        let part = parts.next().unwrap_or_default();
        let json = serde_json::from_slice::<Value>(part).ok()?;
        Fields::from_json(&json).ok()
    };
    let Some(one) = next() else { return };
    assert!(round_trips(&one));
    assert!(one.difference(&one).is_empty());
    assert_eq!((one.union(&one), one.intersection(&one)), (one.clone(), one.clone()));
    let Some(other) = next() else { return };
    let (union, common) = (one.union(&other), one.intersection(&other));
    assert_eq!((&union, &common), (&other.union(&one), &other.intersection(&one)));
    let (left, right) = (one.difference(&other), other.difference(&one));
    assert!(left.intersection(&other).is_empty() && right.intersection(&one).is_empty());
    assert_eq!(left.union(&common), one);
    assert_eq!(left.union(&common).union(&right), union);
    for fields in [&union, &common, &left] {
        assert!(round_trips(fields));
    }
    let mut paths = Fields::default();
    union.for_each(&mut |path| {
        assert!(union.has(path) && (one.has(path) || other.has(path)));
        paths.insert(path);
    });
    assert_eq!(paths, union);
}

fn round_trips(fields: &Fields) -> bool {
    Fields::from_json(&fields.to_json()).as_ref() == Ok(fields)
}
