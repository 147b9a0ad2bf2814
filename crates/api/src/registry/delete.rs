//! Delete: at once, or gracefully, or when the last finalizer is gone.

use kv::{Compare, DeleteRequest, KeyRange, Op, Txn};
use serde_json::Value;
use time::Duration;

use super::{ATTEMPTS_MAX, Item, Page, Registry, Stored};
use crate::{
    admission::Operation,
    collect::{FOREGROUND, ORPHAN},
    custom,
    failure::Failure,
    object::{self, timestamp},
    request::options::{DeleteOptions, ListOptions, Propagation},
};

/// What became of an object that was to be deleted.
pub enum Deleted {
    /// As it was last seen.
    Gone(Value),
    /// Marked; whoever runs it or holds it finishes.
    Going(Value),
}

// === impl Registry ===

impl Registry {
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Deleted, Failure> {
        if self.has_webhooks().await? {
            let current = self.read(name).await?;
            let (delete, dry_run) = (Operation::Delete, options.is_dry_run());
            self.admit(delete, name, dry_run, None, Some(&current.object)).await?;
        }
        if self.resource().is_core("Namespace") {
            return self.delete_namespace(name, options).await;
        }
        if self.resource().is_definition() {
            let going = self.mark_deleted(name, options, 0, custom::mark).await?;
            return Ok(Deleted::Going(going));
        }
        for _ in 0..ATTEMPTS_MAX {
            let current = self.read(name).await?;
            self.check_preconditions(name, &current, options)?;
            let own = (self.resource().rules.grace_s)(&current.object).unwrap_or(0);
            let asked = options.grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
            let grace_s = if own == 0 { 0 } else { asked.unwrap_or(own) };
            let finalizers = self.finalizers(&current.object, options);
            if grace_s > 0 || !finalizers.is_empty() {
                let set = |object: &mut Value| {
                    let finalizers = self.finalizers(object, options);
                    let metadata = object::metadata(object);
                    match finalizers.is_empty() {
                        true => metadata.remove("finalizers"),
                        false => metadata.insert("finalizers".into(), finalizers.into()),
                    };
                };
                let marked = self.mark_deleted(name, options, grace_s, set).await?;
                return Ok(Deleted::Going(marked));
            }
            if options.is_dry_run() || self.remove(name, &current).await? {
                return Ok(Deleted::Gone(current.object));
            }
        }
        Err(Failure::modified(self.resource(), name))
    }

    /// Who must agree before the object goes, by what is to become of its
    /// dependents.
    fn finalizers(&self, object: &Value, options: &DeleteOptions) -> Vec<Value> {
        let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let mut finalizers = list.cloned().unwrap_or_default();
        let has = |list: &[Value], name: &str| list.iter().any(|one| one == name);
        let said = has(&finalizers, ORPHAN) || has(&finalizers, FOREGROUND);
        let wanted = match options.propagation() {
            Some(wanted) => wanted,
            None if said => return finalizers,
            None if self.resource().rules.orphans => Propagation::Orphan,
            None => return finalizers,
        };
        let own = match wanted {
            Propagation::Orphan => Some(ORPHAN),
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Background => None,
        };
        finalizers
            .retain(|one| one == own.unwrap_or_default() || (one != ORPHAN && one != FOREGROUND));
        if let Some(own) = own
            && !has(&finalizers, own)
        {
            finalizers.push(own.into());
        }
        finalizers
    }

    /// Deletes everything that is selected; what was already gone is left out.
    pub async fn delete_collection(
        &self,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Page, Failure> {
        let page = self.list(list).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for item in page.items {
            match self.delete(&item.name(), options).await {
                Ok(Deleted::Gone(object) | Deleted::Going(object)) => {
                    items.push(Item::Made(object))
                }
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Page { items, ..page })
    }

    /// Says when the object is to be gone; an earlier date wins over a later.
    pub(super) async fn mark_deleted(
        &self,
        name: &str,
        options: &DeleteOptions,
        grace_s: u64,
        also: impl Fn(&mut Value),
    ) -> Result<Value, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let current = self.read(name).await?;
            self.check_preconditions(name, &current, options)?;
            let mut object = current.object.clone();
            let pending = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
            if object::is_deleting(&object) && pending.unwrap_or(0) <= grace_s {
                also(&mut object);
                if object == current.object || options.is_dry_run() {
                    return Ok(object);
                }
                match self.write(name, &object, &current).await? {
                    Some(object) => return object.into_object(self.resource()),
                    None => continue,
                }
            }
            let wait = Duration::seconds(i64::try_from(grace_s).unwrap_or(i64::MAX));
            let at = object::now().checked_add(wait).unwrap_or_else(object::now);
            let metadata = object::metadata(&mut object);
            metadata.insert("deletionTimestamp".into(), timestamp(at).into());
            metadata.insert("deletionGracePeriodSeconds".into(), grace_s.into());
            if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
                metadata.insert("generation".into(), (generation + 1).into());
            }
            also(&mut object);
            if options.is_dry_run() {
                return Ok(object);
            }
            if let Some(object) = self.write(name, &object, &current).await? {
                return object.into_object(self.resource());
            }
        }
        Err(Failure::modified(self.resource(), name))
    }

    /// Deletes exactly `current`; false when that is no longer there.
    pub(super) async fn remove(&self, name: &str, current: &Stored) -> Result<bool, Failure> {
        let key = self.place.key(name);
        let delete =
            Op::Delete(DeleteRequest { range: KeyRange::key(key.clone()), prev_kv: false });
        let txn = Txn::when(vec![Compare::modified_at(key, current.revision)]).then(vec![delete]);
        let removed = self.kv().txn(txn).await?.succeeded;
        if removed && let Some(namespace) = &self.place.namespace {
            self.settle(namespace).await?;
        }
        Ok(removed)
    }

    fn check_preconditions(
        &self,
        name: &str,
        current: &Stored,
        options: &DeleteOptions,
    ) -> Result<(), Failure> {
        let wanted = &options.preconditions;
        let (uid, version) = (object::uid(&current.object), current.revision.to_string());
        let why = match (wanted.uid.as_deref(), wanted.resource_version.as_deref()) {
            (Some(asked), _) if asked != uid => format!(
                "Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}"
            ),
            (_, Some(asked)) if asked != version => format!(
                "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {version}"
            ),
            _ => return Ok(()),
        };
        Err(Failure::conflict(self.resource(), name, &why))
    }
}
