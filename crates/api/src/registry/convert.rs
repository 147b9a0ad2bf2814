//! Custom kinds whose versions differ: what the store has becomes what was
//! asked for, and what was sent becomes what is stored. Of all other kinds the
//! stored bytes pass as they are.

use std::borrow::Cow;

use futures::{StreamExt, stream};
use kv::KeyValue;
use serde_json::Value;

use super::{
    Item, Registry,
    item::encode_shown,
    watch::{Before, Change, Moment, Moments},
};
use crate::{
    custom::{Conversion, Custom},
    failure::Failure,
    owners::Owner,
};

/// Changes that a watch converts at once, if so many came.
const CHANGES_MAX: usize = 64;

// === impl Registry ===

impl Registry {
    /// How objects of this version are made of others; none when stored bytes
    /// can be read as they are.
    pub(super) fn converter(&self) -> Option<(&Custom, &Conversion)> {
        let custom = self.resource().custom()?;
        custom.conversion.asks().then_some((custom, &*custom.conversion))
    }

    /// What the store has, as this version shows it.
    pub(super) async fn show(
        &self,
        kvs: Vec<KeyValue>,
    ) -> Result<Box<dyn Iterator<Item = Item> + Send>, Failure> {
        let Some((custom, conversion)) = self.converter() else {
            return Ok(Box::new(kvs.into_iter().map(Item::Kept)));
        };
        let (mut items, mut others, mut objects) = (Vec::new(), Vec::new(), Vec::new());
        for (at, kv) in kvs.into_iter().enumerate() {
            if !custom.is_own(&kv.value) {
                let object: Result<Value, _> = serde_json::from_slice(&kv.value);
                let mut object = object.map_err(|_| Failure::corrupt(&kv.key))?;
                if custom.is_other(&object) {
                    conversion.complete(&mut object);
                    others.push(at);
                    objects.push(object);
                }
            }
            items.push(Item::Kept(kv));
        }
        let resource = self.resource();
        let shown = conversion.convert(&self.cluster, objects, custom.api_version()).await?;
        for (at, object) in others.into_iter().zip(shown) {
            if let Item::Kept(kv) = &items[at] {
                let value = encode_shown(resource, &object).into();
                items[at] = Item::Shown(KeyValue { value, ..kv.clone() });
            }
        }
        Ok(Box::new(items.into_iter()))
    }

    pub(super) async fn show_one(&self, kv: KeyValue) -> Result<Item, Failure> {
        if self.converter().is_none() {
            return Ok(Item::Kept(kv));
        }
        let shown = self.show(vec![kv]).await?.next();
        shown.ok_or_else(|| Failure::internal("an object was lost on its way"))
    }

    /// The object as it is to be stored.
    pub(super) async fn storable<'a>(&self, object: &'a Value) -> Result<Cow<'a, Value>, Failure> {
        let Some((_, conversion)) = self
            .converter()
            .filter(|(custom, conversion)| custom.api_version() != conversion.storage())
        else {
            return Ok(Cow::Borrowed(object));
        };
        let storage = conversion.storage();
        let stored = conversion.convert(&self.cluster, vec![object.clone()], storage).await?.pop();
        stored.map(Cow::Owned).ok_or_else(|| Failure::internal("an object was lost on its way"))
    }

    /// Records in `object` who owns what of it.
    pub(super) async fn track(
        &self,
        owner: &Owner,
        live: Option<&Value>,
        object: &mut Value,
    ) -> Result<(), Failure> {
        if !owner.compares() {
            owner.track(live, object);
            return Ok(());
        }
        loop {
            let mut tracked = object.clone();
            owner.track(live, &mut tracked);
            if !owner.learn(&self.cluster).await? {
                *object = tracked;
                return Ok(());
            }
        }
    }

    /// The changes as this version shows them; `selective` tells whether it
    /// matters what an object was before. The first that cannot be converted is
    /// the last that is told.
    pub(super) fn show_moments(&self, moments: Moments, selective: bool) -> Moments {
        if self.converter().is_none() {
            return moments;
        }
        let registry = self.clone();
        let shown = moments.ready_chunks(CHANGES_MAX).then(move |chunk| {
            let registry = registry.clone();
            async move { stream::iter(registry.show_changes(chunk, selective).await) }
        });
        Box::pin(shown.flatten())
    }

    async fn show_changes(
        &self,
        mut chunk: Vec<Result<Moment, Failure>>,
        selective: bool,
    ) -> Vec<Result<Moment, Failure>> {
        let kvs = seen(&mut chunk, selective).map(|item| match item {
            Item::Kept(kv) | Item::Shown(kv) => Some(kv.clone()),
            Item::Made(_) => None,
        });
        // Changes come from the store: none was made here.
        let kvs: Vec<KeyValue> = kvs.flatten().collect();
        let shown = match self.show(kvs).await {
            Ok(shown) => shown,
            Err(failure) => return vec![Err(failure)],
        };
        for (item, shown) in seen(&mut chunk, selective).zip(shown) {
            *item = shown;
        }
        chunk
    }
}

/// What of the changes is looked at.
fn seen(chunk: &mut [Result<Moment, Failure>], selective: bool) -> impl Iterator<Item = &mut Item> {
    let changes = chunk.iter_mut().filter_map(|moment| match moment {
        Ok(Moment::Change(change)) => Some(&mut **change),
        _ => None,
    });
    changes.flat_map(move |change: &mut Change| {
        let before = match (&change.now, &mut change.before) {
            (now, Before::Object(item)) if now.is_none() || selective => Some(item),
            _ => None,
        };
        before.into_iter().chain(change.now.as_mut())
    })
}
