//! Server-side apply: the object is made when it is not there.

use serde_json::Value;

use super::{ATTEMPTS_MAX, Item, Registry, create::check_kind, update::Wanted};
use crate::{
    caller::Caller, failure::Failure, object, owners::Owner, registry::Part,
    request::options::WriteOptions,
};

/// What was applied, what the caller should be told, and whether it is new.
pub struct Applied {
    pub object: Item,
    pub warnings: Vec<String>,
    pub is_new: bool,
}

// === impl Registry ===

impl Registry {
    /// `may_create` is asked when there is nothing to apply it to.
    pub async fn apply(
        &self,
        caller: &Caller,
        patch: &Value,
        twice: &[String],
        options: &WriteOptions,
        may_create: impl Fn() -> Result<(), Failure>,
    ) -> Result<Applied, Failure> {
        let resource = self.resource();
        let name = self.place.name.as_deref().unwrap_or_default();
        let force = options.force == Some(true);
        let part = Part::of(self.place.subresource);
        let owner = self.owner(part, options);
        for _ in 0..ATTEMPTS_MAX {
            let found = self.find(name).await?;
            if found.is_none() && self.place.subresource.is_none() {
                may_create()?;
                let object = self.begin(name, &owner.apply(None, patch, force)?)?;
                match self.create_applied(caller, object, twice, options).await {
                    Err(failure) if failure.is_already_exists() => continue,
                    outcome => {
                        let created = outcome?;
                        let (object, warnings) = (created.object, created.warnings);
                        return Ok(Applied { object, warnings, is_new: true });
                    }
                }
            }
            let outcome = self
                .update_by(&owner, name, part, options, |live| {
                    Ok(Wanted::applied(owner.apply(Some(live), patch, force)?, twice))
                })
                .await;
            match outcome {
                // It went in between.
                Err(failure) if failure.is_not_found() && found.is_some() => {}
                outcome => {
                    let updated = outcome?;
                    let (object, warnings) = (updated.object, updated.warnings);
                    return Ok(Applied { object, warnings, is_new: false });
                }
            }
        }
        Err(Failure::modified(resource, name))
    }

    /// Who writes.
    pub(super) fn owner(&self, part: Part, options: &WriteOptions) -> Owner {
        let subresource = self.place.subresource.map_or("", |subresource| subresource.as_str());
        Owner::new(self.resource(), part, subresource, &options.manager)
    }

    /// A new object must be the one that the path names.
    fn begin(&self, name: &str, applied: &Value) -> Result<Value, Failure> {
        let resource = self.resource();
        check_kind(applied, resource)?;
        let mut object = applied.clone();
        let (own, uid) = (object::name(applied), object::uid(applied));
        if !own.is_empty() && own != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({name})"
            )));
        }
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object \
                 was found"
            );
            return Err(Failure::conflict(resource, name, &why));
        }
        object::metadata(&mut object).insert("name".into(), name.into());
        Ok(object)
    }
}
