//! Update and patch: one loop that computes the new object from the present
//! one and writes it if nobody was faster.

use kv::{Compare, Op, Txn};
use resources::FieldError;
use serde_json::Value;

use super::{ATTEMPTS_MAX, Registry, Stored, create::check_kind, encode};
use crate::{
    failure::Failure,
    names, object,
    request::{body, options::WriteOptions},
};

/// Which part of an object a write may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, where that is another hand's.
    Main,
    Status,
    /// A namespace's own finalizers.
    Finalize,
}

pub struct Updated {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// What the caller wants the object to become, and fields written twice.
pub type Wanted = (Value, Vec<String>);

// === impl Registry ===

impl Registry {
    /// `change` gets the present object; it may be called several times.
    pub async fn update(
        &self,
        name: &str,
        part: Part,
        options: WriteOptions,
        change: impl Fn(&Value) -> Result<Wanted, Failure>,
    ) -> Result<Updated, Failure> {
        let resource = self.resource();
        for _ in 0..ATTEMPTS_MAX {
            let current = self.read(name).await?;
            let (wanted, twice) = change(&current.object)?;
            let conditional = self.check_identity(name, &wanted, &current)?;
            let (object, warnings) = self.settle_update(wanted, &twice, part, options, &current)?;
            if object == current.object || options.dry_run {
                return Ok(Updated { object, warnings });
            }
            if is_finished(&object) {
                match self.remove(name, &current).await? {
                    true => return Ok(Updated { object, warnings }),
                    false => continue,
                }
            }
            if let Some(object) = self.write(name, object, &current).await? {
                return Ok(Updated { object, warnings });
            }
            if conditional {
                return Err(Failure::modified(resource, name));
            }
        }
        Err(Failure::modified(resource, name))
    }

    /// The object must be the one that is there. Says whether the caller named
    /// the version that it must have.
    fn check_identity(
        &self,
        name: &str,
        wanted: &Value,
        current: &Stored,
    ) -> Result<bool, Failure> {
        let resource = self.resource();
        check_kind(wanted, resource)?;
        let own = object::name(wanted);
        if !own.is_empty() && own != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({name})"
            )));
        }
        let namespace = object::namespace(wanted);
        if !namespace.is_empty() && self.place.namespace.as_deref() != Some(namespace) {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let (uid, present) = (object::uid(wanted), object::uid(&current.object));
        if !uid.is_empty() && uid != present {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"
            );
            return Err(Failure::conflict(resource, name, &why));
        }
        match object::text(wanted, "/metadata/resourceVersion") {
            "" | "0" => Ok(false),
            version if version == current.revision.to_string() => Ok(true),
            _ => Err(Failure::modified(resource, name)),
        }
    }

    /// The object to be written: the wanted part over what is there, with
    /// defaults, checked.
    fn settle_update(
        &self,
        wanted: Value,
        twice: &[String],
        part: Part,
        options: WriteOptions,
        current: &Stored,
    ) -> Result<(Value, Vec<String>), Failure> {
        let resource = self.resource();
        let old = &current.object;
        let mut object = merge_part(wanted, old, part, resource.status);
        keep_server_fields(&mut object, old);
        object::set_kind(&mut object, resource);
        let findings = resource.schema.look(&mut object);
        let warnings = body::judge(options.validation, twice, &findings.unknown)?;
        let mut errors = findings.errors;
        if errors.is_empty() {
            (resource.rules.default)(&mut object);
            errors = names::metadata(&object, resource);
            errors.extend((resource.rules.validate)(&object));
            errors.extend((resource.rules.validate_update)(&object, old));
            errors.extend(new_finalizers(&object, old));
        }
        if !errors.is_empty() {
            return Err(Failure::invalid(resource, object::name(old), &errors));
        }
        if resource.generation && !object::same_intent(&object, old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object::metadata(&mut object).insert("generation".into(), generation.into());
        }
        Ok((object, warnings))
    }

    /// Writes `object` over `current`; none when that is no longer there.
    pub(super) async fn write(
        &self,
        name: &str,
        mut object: Value,
        current: &Stored,
    ) -> Result<Option<Value>, Failure> {
        let key = self.place.key(name);
        let mut put = kv::PutRequest::new(key.clone(), encode(&object));
        // An event that is told again lives as long again.
        put.lease = self.lease().await?;
        let compare = Compare::modified_at(key, current.revision);
        let lease = put.lease;
        let txn = Txn::when(vec![compare]).then(vec![Op::Put(put)]);
        let outcome = match self.kv().txn(txn).await {
            Err(kv::Error::LeaseNotFound) if let Some(lease) = lease => {
                self.cluster.expiry.forget(lease).await;
                return Err(Failure::unavailable("the object's lease was lost; try again"));
            }
            outcome => outcome?,
        };
        Ok(outcome.succeeded.then(|| {
            object::set_version(&mut object, outcome.revision);
            object
        }))
    }
}

fn merge_part(wanted: Value, old: &Value, part: Part, has_status: bool) -> Value {
    match part {
        Part::Main => {
            let mut object = wanted;
            if has_status {
                take(&mut object, old, "status");
            }
            object
        }
        Part::Status => {
            let mut object = old.clone();
            take(&mut object, &wanted, "status");
            object
        }
        Part::Finalize => {
            let mut object = old.clone();
            take(&mut object, &wanted, "spec");
            object
        }
    }
}

fn take(object: &mut Value, from: &Value, field: &str) {
    let Some(map) = object.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.remove(field);
        }
    }
}

/// What only the server says is not changed by anyone.
fn keep_server_fields(object: &mut Value, old: &Value) {
    const OWN: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let metadata = object::metadata(object);
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    for field in OWN {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
}

fn new_finalizers(object: &Value, old: &Value) -> Option<FieldError> {
    if !object::is_deleting(old) {
        return None;
    }
    let list = |object: &Value| {
        let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let before = list(old);
    let added: Vec<Value> =
        list(object).into_iter().filter(|finalizer| !before.contains(finalizer)).collect();
    (!added.is_empty()).then(|| {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers {}",
            Value::Array(added)
        );
        FieldError::not_supported("metadata.finalizers", detail)
    })
}

/// Going, nobody left to agree, and no time left to wait.
fn is_finished(object: &Value) -> bool {
    let waiting = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
    object["kind"] != "Namespace"
        && object::is_deleting(object)
        && !object::has_finalizers(object)
        && !waiting
}
