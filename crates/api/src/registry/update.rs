//! Update and patch: one loop that computes the new object from the present
//! one and writes it if nobody was faster.

use kv::{Compare, Op, Txn};
use resources::FieldError;
use serde_json::Value;

use super::{
    ATTEMPTS_MAX, Item, Registry, Stored,
    charge::Charge,
    create::{check_kind, written},
    encode,
};
use crate::{
    admission::Operation,
    failure::Failure,
    kinds::{signing, status},
    look, names, object,
    owners::{self, Owner},
    patch, pods,
    request::{body, options::WriteOptions},
    resource::Resource,
    subresource::Subresource,
};

/// Which part of an object a write may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, where that is another hand's.
    Main,
    Status,
    /// A namespace's own finalizers.
    Finalize,
    /// Owners and finalizers, for the garbage collector: the rest of the object
    /// is not even looked at.
    Metadata,
    /// All of it, as a rule of ours made it.
    Whole,
    /// Of a pod: containers that were added to look into it.
    EphemeralContainers,
    /// Of a certificate's request: what was decided of it.
    Approval,
    /// Of a pod: what its containers may use.
    Resources,
}

pub struct Updated {
    pub object: Item,
    pub warnings: Vec<String>,
}

/// What the caller wants the object to become.
#[derive(Debug)]
pub struct Wanted {
    object: Value,
    /// Fields written twice.
    twice: Vec<String>,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Sent whole.
    Sent,
    Patched,
    /// It says already who owns what.
    Applied,
}

// === impl Part ===

impl Part {
    pub fn of(subresource: Option<Subresource>) -> Part {
        match subresource {
            Some(Subresource::Status) => Part::Status,
            Some(Subresource::Approval) => Part::Approval,
            Some(Subresource::Finalize) => Part::Finalize,
            Some(Subresource::EphemeralContainers) => Part::EphemeralContainers,
            Some(Subresource::Resize) => Part::Resources,
            _ => Part::Main,
        }
    }
}

// === impl Wanted ===

impl Wanted {
    pub fn sent((object, twice): (Value, Vec<String>)) -> Wanted {
        Wanted { object, twice, how: How::Sent }
    }

    pub fn patched((object, twice): (Value, Vec<String>)) -> Wanted {
        Wanted { object, twice, how: How::Patched }
    }

    pub fn applied(object: Value, twice: &[String]) -> Wanted {
        Wanted { object, twice: twice.to_vec(), how: How::Applied }
    }

    /// What to tell of fields that should not be there.
    fn judge(
        &self,
        options: &WriteOptions,
        custom: bool,
        object: &Value,
        unknown: &[String],
    ) -> Result<Vec<String>, Failure> {
        let judged = body::judge(options.validation, custom, &self.twice, unknown);
        judged.map_err(|failure| match self.how {
            How::Patched => patch::strictly_refused(object, failure.message()),
            How::Sent | How::Applied => failure,
        })
    }
}

// === impl Registry ===

impl Registry {
    /// `change` gets the present object; it may be called several times.
    pub async fn update(
        &self,
        name: &str,
        part: Part,
        options: &WriteOptions,
        change: impl Fn(&Value) -> Result<Wanted, Failure>,
    ) -> Result<Updated, Failure> {
        self.update_by(&self.owner(part, options), name, part, options, change).await
    }

    /// As [`Registry::update`]; `change` may ask `owner`.
    pub(super) async fn update_by(
        &self,
        owner: &Owner,
        name: &str,
        part: Part,
        options: &WriteOptions,
        change: impl Fn(&Value) -> Result<Wanted, Failure>,
    ) -> Result<Updated, Failure> {
        let resource = self.resource();
        for _ in 0..ATTEMPTS_MAX {
            let current = self.read(name).await?;
            let wanted = loop {
                let wanted = change(&current.object);
                if !owner.learn(&self.cluster).await? {
                    break wanted?;
                }
            };
            self.check_identity(name, &wanted.object, &current)?;
            let (object, warnings) =
                self.settle_update(wanted, part, options, owner, &current).await?;
            if object == current.object && current.settled {
                return Ok(Updated { object: Item::Made(object), warnings });
            }
            let charge = self.charge(Some(part), &object, Some(&current.object)).await?;
            if options.dry_run {
                return Ok(Updated { object: Item::Made(object), warnings });
            }
            if is_finished(&object) {
                match self.remove(name, &current).await? {
                    true => return Ok(Updated { object: Item::Made(object), warnings }),
                    false => continue,
                }
            }
            if let Some(object) = self.write_charged(name, &object, &current, charge).await? {
                return Ok(Updated { object, warnings });
            }
            // Someone was faster. What names the version it is meant for is
            // refused the next time round, a patch is tried on what is there.
        }
        Err(Failure::modified(resource, name))
    }

    /// The object must be the one that is there.
    fn check_identity(&self, name: &str, wanted: &Value, current: &Stored) -> Result<(), Failure> {
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
            "" | "0" => Ok(()),
            version if version == current.revision.to_string() => Ok(()),
            _ => Err(Failure::modified(resource, name)),
        }
    }

    /// The object to be written: the wanted part over what is there, with
    /// defaults, checked.
    async fn settle_update(
        &self,
        mut wanted: Wanted,
        part: Part,
        options: &WriteOptions,
        owner: &Owner,
        current: &Stored,
    ) -> Result<(Value, Vec<String>), Failure> {
        let resource = self.resource();
        let old = &current.object;
        let mut object = std::mem::take(&mut wanted.object);
        if part == Part::Metadata {
            return Ok((object, Vec::new()));
        }
        let owners = object::metadata(&mut object).remove("managedFields");
        object = merge_part(object, old, part, resource);
        keep_server_fields(&mut object, old);
        object::set_kind(&mut object, resource);
        let found = look::look(resource, &mut object)?;
        let mut warnings =
            wanted.judge(options, !resource.is_builtin(), &object, &found.unknown)?;
        let mut errors = found.errors;
        if errors.is_empty() {
            look::fill(resource, &mut object);
            let (name, update) = (object::name(old), Operation::Update);
            let dry_run = options.dry_run;
            object =
                self.admit_change(update, name, dry_run, object, Some(old), &mut warnings).await?;
            errors = names::metadata(&object, resource);
            let mut judged = |before| errors.extend(look::judge(resource, &object, before));
            match part {
                // These may change what others may not.
                Part::EphemeralContainers | Part::Resources => {
                    judged(None);
                    errors.extend(pods::check_part(part, &object, old));
                }
                _ => judged(Some(old)),
            }
            errors.extend(new_finalizers(&object, old));
        }
        if !errors.is_empty() {
            return Err(Failure::invalid(resource, object::name(old), &errors));
        }
        self.judge(&object, Some(old))?;
        if resource.generation && !object::same_intent(&object, old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object::metadata(&mut object).insert("generation".into(), generation.into());
        }
        if let Some(owners) = owners {
            object::metadata(&mut object).insert("managedFields".into(), owners);
        }
        match wanted.how {
            How::Sent | How::Patched => self.track(owner, Some(old), &mut object).await?,
            // With its defaults it may be just what it was.
            How::Applied if owners::is_same_but_times(&object, old) => object = old.clone(),
            How::Applied => {}
        }
        let (name, update) = (object::name(old), Operation::Update);
        warnings.extend(self.admit(update, name, options.dry_run, Some(&object), Some(old)).await?);
        Ok((object, warnings))
    }

    /// Writes `object` over `current`; none when that is no longer there.
    pub(super) async fn write(
        &self,
        name: &str,
        object: &Value,
        current: &Stored,
    ) -> Result<Option<Item>, Failure> {
        self.write_charged(name, object, current, Charge::default()).await
    }

    async fn write_charged(
        &self,
        name: &str,
        object: &Value,
        current: &Stored,
        charge: Charge,
    ) -> Result<Option<Item>, Failure> {
        let key = self.place.key(name);
        let value = encode(self.resource(), &*self.storable(object).await?);
        let mut put = kv::PutRequest::new(key.clone(), value);
        // An event that is told again lives as long again.
        put.lease = self.lease().await?;
        let mut compares = vec![Compare::modified_at(key.clone(), current.revision)];
        compares.extend(charge.compares.iter().cloned());
        let (lease, value) = (put.lease, put.value.clone());
        let mut ops = vec![Op::Put(put)];
        ops.extend(charge.ops.iter().cloned());
        let txn = Txn::when(compares).then(ops);
        let outcome = match self.kv().txn(txn).await {
            Err(kv::Error::LeaseNotFound) if let Some(lease) = lease => {
                self.cluster.expiry.forget(lease).await;
                return Err(Failure::unavailable("the object's lease was lost; try again"));
            }
            outcome => outcome?,
        };
        match outcome.succeeded {
            true => Ok(Some(self.show_one(written(key, value, outcome.revision)).await?)),
            false => Ok(None),
        }
    }
}

fn merge_part(wanted: Value, old: &Value, part: Part, resource: &Resource) -> Value {
    match part {
        Part::Main => {
            let mut object = wanted;
            if resource.has_status() {
                take(&mut object, old, "status");
            }
            object
        }
        Part::Status => {
            let mut object = old.clone();
            take(&mut object, &wanted, "status");
            let nothing = Value::Null;
            let said = wanted.get("metadata").unwrap_or(&nothing);
            let mut metadata = object::metadata(&mut object).clone().into();
            for field in status::takes_along(resource) {
                take(&mut metadata, said, field);
            }
            object["metadata"] = metadata;
            signing::keep_decision(&mut object, old, resource);
            object
        }
        Part::Approval => signing::decide(&wanted, old),
        Part::Finalize => {
            let mut object = old.clone();
            take(&mut object, &wanted, "spec");
            object
        }
        Part::Metadata | Part::Whole => wanted,
        Part::EphemeralContainers | Part::Resources => pods::merge_part(part, &wanted, old),
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
    let is_namespace = object["kind"] == "Namespace" && object["apiVersion"] == "v1";
    !is_namespace && object::is_deleting(object) && !object::has_finalizers(object) && !waiting
}
