//! Create.

use kv::{Compare, Op, PutRequest, Txn};
use serde_json::Value;

use super::{ATTEMPTS_MAX, Item, Part, Registry, encode, namespaces};
use crate::{
    admission::Operation,
    caller::Caller,
    failure::Failure,
    look, names,
    object::{self, timestamp},
    owners::Owner,
    request::{body, options::WriteOptions},
};

/// Characters that `generateName` appends, from an alphabet without vowels, so
/// that no words appear.
const SUFFIX_LEN: usize = 5;
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Longest prefix that leaves room for the suffix (Kubernetes' own bound).
const GENERATE_NAME_LEN_MAX: usize = 58;

/// What became of a write, and what the caller should be told besides.
pub struct Created {
    pub object: Item,
    pub warnings: Vec<String>,
}

// === impl Registry ===

impl Registry {
    pub async fn create(
        &self,
        caller: &Caller,
        object: Value,
        twice: &[String],
        options: &WriteOptions,
    ) -> Result<Created, Failure> {
        self.create_by(caller, object, twice, options, Some(&self.owner(Part::Main, options))).await
    }

    /// An object that says already who owns what.
    pub(super) async fn create_applied(
        &self,
        caller: &Caller,
        object: Value,
        twice: &[String],
        options: &WriteOptions,
    ) -> Result<Created, Failure> {
        self.create_by(caller, object, twice, options, None).await
    }

    async fn create_by(
        &self,
        caller: &Caller,
        object: Value,
        twice: &[String],
        options: &WriteOptions,
        owner: Option<&Owner>,
    ) -> Result<Created, Failure> {
        let resource = self.resource();
        if resource.custom().is_some_and(|custom| custom.terminating) {
            let message = "create not allowed while custom resource definition is terminating";
            return Err(Failure::method_not_allowed(message, "GET, PUT, PATCH, DELETE"));
        }
        let mut object = self.identify(object)?;
        let prefix = object::text(&object, "/metadata/generateName").to_owned();
        let generated = object::name(&object).is_empty() && !prefix.is_empty();
        if generated {
            name_from(&mut object, &prefix);
        }
        self.prepare_create(&mut object);
        (resource.rules.asked_by)(&mut object, caller);
        let found = look::look(resource, &mut object)?;
        let custom = !resource.is_builtin();
        let mut warnings = body::judge(options.validation, custom, twice, &found.unknown)?;
        let mut errors = found.errors;
        if errors.is_empty() {
            look::fill(resource, &mut object);
            let name = object::name(&object).to_owned();
            let (create, dry_run) = (Operation::Create, options.dry_run);
            object = self.admit_change(create, &name, dry_run, object, None, &mut warnings).await?;
            errors = names::metadata(&object, resource);
            errors.extend(look::judge(resource, &object, None));
        }
        if !errors.is_empty() {
            return Err(Failure::invalid(resource, object::name(&object), &errors));
        }
        self.judge(&object, None)?;
        if let Some(owner) = owner {
            self.track(owner, None, &mut object).await?;
        }
        let name = object::name(&object);
        warnings.extend(
            self.admit(Operation::Create, name, options.dry_run, Some(&object), None).await?,
        );
        for _ in 0..ATTEMPTS_MAX {
            match self.try_create(caller, &mut object, options).await {
                Err(failure) if generated && failure.code() == http::StatusCode::CONFLICT => {
                    name_from(&mut object, &prefix);
                }
                Ok(None) => return Ok(Created { object: Item::Made(object), warnings }),
                Ok(Some(kept)) => return Ok(Created { object: kept, warnings }),
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::already_exists(resource, object::name(&object)))
    }

    /// Checks that the object is what the path says.
    fn identify(&self, mut object: Value) -> Result<Value, Failure> {
        let resource = self.resource();
        check_kind(&object, resource)?;
        object::set_kind(&mut object, resource);
        if !object::text(&object, "/metadata/resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Failure::bad_request(message));
        }
        let place = self.place.namespace.as_deref().unwrap_or_default();
        let own = object::namespace(&object);
        if !own.is_empty() && own != place {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if resource.is_namespaced() {
            object::metadata(&mut object).insert("namespace".into(), place.into());
        }
        Ok(object)
    }

    /// Sets what the server says of every new object.
    fn prepare_create(&self, object: &mut Value) {
        let resource = self.resource();
        let metadata = object::metadata(object);
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), timestamp(object::now()).into());
        metadata.remove("generation");
        if resource.generation {
            metadata.insert("generation".into(), 1.into());
        }
        // An agent registers its node with the status it starts with.
        if resource.has_status()
            && !resource.is_core("Node")
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        (resource.rules.create)(object);
    }

    /// The object as it was written; none when nothing was to be written.
    async fn try_create(
        &self,
        caller: &Caller,
        object: &mut Value,
        options: &WriteOptions,
    ) -> Result<Option<Item>, Failure> {
        let resource = self.resource();
        let name = object::name(object).to_owned();
        let key = self.place.key(&name);
        let value: kv::Value = encode(resource, &*self.storable(object).await?).into();
        for attempt in 0..ATTEMPTS_MAX {
            let mut compares = vec![Compare::absent(key.clone())];
            let mut ops = Vec::new();
            if let Some(namespace) = &self.place.namespace {
                let (cluster, fresh) = (&self.cluster, attempt > 0);
                let guard =
                    namespaces::guard(cluster, fresh, caller, namespace, &name, resource).await?;
                compares.push(guard.compare);
                ops.extend(guard.provision);
            }
            // Held until the transaction is through.
            let charge = self.charge(None, object, None).await?;
            compares.extend(charge.compares.iter().cloned());
            ops.extend(charge.ops.iter().cloned());
            if options.dry_run {
                return match self.find(&name).await? {
                    Some(_) => Err(Failure::already_exists(resource, &name)),
                    None => Ok(None),
                };
            }
            let mut put = PutRequest::new(key.clone(), value.clone());
            let lease = self.lease().await?;
            put.lease = lease;
            ops.push(Op::Put(put));
            let txn = Txn::when(compares).then(ops).otherwise(vec![Op::get(key.clone())]);
            let outcome = match self.kv().txn(txn).await {
                Err(kv::Error::LeaseNotFound) if let Some(lease) = lease => {
                    self.cluster.expiry.forget(lease).await;
                    continue;
                }
                outcome => outcome?,
            };
            if outcome.succeeded {
                let written = written(key, value, outcome.revision);
                return Ok(Some(self.show_one(written).await?));
            }
            if namespaces::found_one(&outcome) {
                return Err(Failure::already_exists(resource, &name));
            }
            // The namespace or a quota changed in between; look again.
        }
        Err(Failure::modified(resource, &name))
    }
}

/// What a write leaves, as far as answers need it.
pub(super) fn written(key: String, value: kv::Value, revision: kv::Revision) -> kv::KeyValue {
    kv::KeyValue {
        key: key.into(),
        value,
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: None,
    }
}

/// The body's kind must be the path's, when it says one.
pub(super) fn check_kind(
    object: &Value,
    resource: &crate::resource::Resource,
) -> Result<(), Failure> {
    let wanted = resource.api_version();
    let version = object::text(object, "/apiVersion");
    let kind = object::text(object, "/kind");
    if !version.is_empty() && version != wanted {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(Failure::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            resource.kind
        )));
    }
    Ok(())
}

fn name_from(object: &mut Value, prefix: &str) {
    let mut name: String = prefix.chars().take(GENERATE_NAME_LEN_MAX).collect();
    let random = uuid::Uuid::new_v4();
    for byte in &random.as_bytes()[..SUFFIX_LEN] {
        name.push(char::from(SUFFIX_ALPHABET[usize::from(*byte) % SUFFIX_ALPHABET.len()]));
    }
    object::metadata(object).insert("name".into(), name.into());
}
