//! What must hold for any schema and any object; see `fuzz/`.

use serde_json::Value;

use crate::{Schema, Shape, builtin, structural};

/// A schema as OpenAPI writes it, a zero byte, an object, a zero byte, what the
/// object was before.
pub fn schema(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().and_then(|part| serde_json::from_slice::<Value>(part).ok());
    let Some(open_api) = next() else { return };
    let object = next().unwrap_or_else(|| open_api.clone());
    let old = next();
    let metadata = builtin::find("meta.v1.ObjectMeta").expect("the sources describe it");
    let metadata = std::sync::Arc::new(Schema::of(Shape::Named(metadata)));
    let _ = structural::judge(&open_api, "spec", true, &metadata);
    let _ = structural::is_structural(&open_api, "spec");
    admit(&structural::read(&open_api, &metadata), object.clone(), old.as_ref());
    let pod = builtin::find("core.v1.Pod").expect("the sources describe it");
    admit(&Schema::of(Shape::Named(pod)), object, old.as_ref());
}

/// Looked at, filled in and judged: a second time finds nothing new.
fn admit(schema: &Schema, mut object: Value, old: Option<&Value>) {
    if schema.look(&mut object).malformed.is_some() {
        return;
    }
    assert!(schema.look(&mut object).unknown.is_empty(), "what is unknown goes at once");
    schema.fill(&mut object);
    let filled = object.clone();
    schema.fill(&mut object);
    assert_eq!(object, filled, "defaults are filled in once");
    let errors = schema.check(&object, old);
    if old.is_none() {
        let _ = errors.iter().map(ToString::to_string).count();
    }
}
