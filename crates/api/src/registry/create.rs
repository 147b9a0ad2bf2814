//! Create.

use kv::{Compare, Op, PutRequest, Txn};
use serde_json::Value;

use super::{ATTEMPTS_MAX, Registry, encode, namespaces, read};
use crate::{
    caller::Caller,
    failure::Failure,
    names,
    object::{self, timestamp},
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
    pub object: Value,
    pub warnings: Vec<String>,
}

// === impl Registry ===

impl Registry {
    pub async fn create(
        &self,
        caller: &Caller,
        object: Value,
        twice: &[String],
        options: WriteOptions,
    ) -> Result<Created, Failure> {
        let resource = self.resource();
        let mut object = self.identify(object)?;
        let prefix = object::text(&object, "/metadata/generateName").to_owned();
        let generated = object::name(&object).is_empty() && !prefix.is_empty();
        if generated {
            name_from(&mut object, &prefix);
        }
        self.prepare_create(&mut object);
        let findings = resource.schema.look(&mut object);
        let warnings = body::judge(options.validation, twice, &findings.unknown)?;
        let mut errors = findings.errors;
        if errors.is_empty() {
            (resource.rules.default)(&mut object);
            errors = names::metadata(&object, resource);
            errors.extend((resource.rules.validate)(&object));
        }
        if !errors.is_empty() {
            return Err(Failure::invalid(resource, object::name(&object), &errors));
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.try_create(caller, &mut object, options).await {
                Err(failure) if generated && failure.code() == http::StatusCode::CONFLICT => {
                    name_from(&mut object, &prefix);
                }
                Ok(()) => return Ok(Created { object, warnings }),
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
        for field in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"]
        {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), timestamp(object::now()).into());
        metadata.remove("generation");
        if resource.generation {
            metadata.insert("generation".into(), 1.into());
        }
        // An agent registers its node with the status it starts with.
        if resource.status
            && resource.kind != "Node"
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        (resource.rules.create)(object);
    }

    async fn try_create(
        &self,
        caller: &Caller,
        object: &mut Value,
        options: WriteOptions,
    ) -> Result<(), Failure> {
        let resource = self.resource();
        let name = object::name(object).to_owned();
        let key = self.place.key(&name);
        for _ in 0..ATTEMPTS_MAX {
            let mut compares = vec![Compare::absent(key.clone())];
            let mut ops = Vec::new();
            if let Some(namespace) = &self.place.namespace {
                let guard =
                    namespaces::guard(self.kv(), caller, namespace, &name, resource).await?;
                compares.push(guard.compare);
                ops.extend(guard.provision);
            }
            if options.dry_run {
                return match read(self.kv(), resource, key).await? {
                    Some(_) => Err(Failure::already_exists(resource, &name)),
                    None => Ok(()),
                };
            }
            let mut put = PutRequest::new(key.clone(), encode(object));
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
                object::set_version(object, outcome.revision);
                return Ok(());
            }
            if namespaces::found_one(&outcome) {
                return Err(Failure::already_exists(resource, &name));
            }
            // The namespace changed in between; look again.
        }
        Err(Failure::modified(resource, &name))
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
