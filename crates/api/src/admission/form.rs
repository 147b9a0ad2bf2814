//! The version of an object that a webhook knows: its rules may name another
//! one than was written, and it is shown that.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use super::{Question, hook::Hook, matching};
use crate::{cluster::Cluster, failure::Failure, object, resource::Resource};

/// How one webhook sees one write.
pub struct Form {
    /// None for the kind as it was written.
    other: Option<Arc<Resource>>,
}

// === impl Form ===

impl Form {
    /// As it was written.
    pub fn own() -> Form {
        Form { other: None }
    }

    /// The first that a rule of the hook covers; none when none does.
    pub fn of(cluster: &Cluster, hook: &Hook, question: &Question<'_>) -> Option<Form> {
        let own = question.resource();
        if matching::covers(hook, question, own) {
            return Some(Form { other: None });
        }
        if !hook.equivalent {
            return None;
        }
        let others = cluster.catalog().equivalents(own);
        let covered = |other: &&Arc<Resource>| matching::covers(hook, question, other);
        others.iter().find(covered).map(|other| Form { other: Some(other.clone()) })
    }

    pub fn resource<'a>(&'a self, question: &'a Question<'_>) -> &'a Resource {
        self.other.as_deref().unwrap_or_else(|| question.resource())
    }

    pub async fn show<'a>(
        &self,
        cluster: &Cluster,
        question: &Question<'_>,
        object: Option<&'a Value>,
    ) -> Result<Option<Cow<'a, Value>>, Failure> {
        match (object, &self.other) {
            (None, _) => Ok(None),
            // A part of the object has one form whatever the object's is.
            (Some(object), Some(other)) if question.part.is_none() => {
                let shown = change(cluster, question.resource(), other, object).await?;
                Ok(Some(Cow::Owned(shown)))
            }
            (Some(object), _) => Ok(Some(Cow::Borrowed(object))),
        }
    }

    /// What became of what was shown, as it was written.
    pub async fn back(
        &self,
        cluster: &Cluster,
        question: &Question<'_>,
        object: Value,
    ) -> Result<Value, Failure> {
        match &self.other {
            Some(other) if question.part.is_none() => {
                change(cluster, other, question.resource(), &object).await
            }
            _ => Ok(object),
        }
    }
}

/// An object of one version of a kind as another version has it.
async fn change(
    cluster: &Cluster,
    from: &Resource,
    to: &Resource,
    object: &Value,
) -> Result<Value, Failure> {
    let mut object = object.clone();
    if let (Some(custom), Some(_)) = (to.custom(), from.custom()) {
        let conversion = &custom.conversion;
        let changed = conversion.convert(cluster, vec![object], custom.api_version()).await;
        let changed = changed.map_err(|failure| Failure::internal(failure.message()))?.pop();
        return changed.ok_or_else(|| Failure::internal("an object was lost on its way"));
    }
    if let Some(kept) = from.kept_as {
        (kept.to)(&mut object);
    }
    if let Some(kept) = to.kept_as {
        (kept.from)(&mut object);
    }
    object::set_kind(&mut object, to);
    Ok(object)
}
