//! The federation's view over all units, read-only.

use std::sync::Arc;

use http::{Response, StatusCode};
use kv::{KeyRange, RangeRequest};
use serde_json::Value;
use topology::UnitName;

use crate::{
    catalog,
    cluster::Clusters,
    failure::Failure,
    handler::{Ask, Handler},
    object,
    registry::{self, Page},
    request::{options::ListOptions, path::Place},
    response::{self, Body},
    table::UNIT_ANNOTATION,
    verbs::{Showing, Verb},
};

/// Where an object of the view keeps its unit's own resourceVersion.
const VERSION_ANNOTATION: &str = "polis.dev/resource-version";

pub struct Mergers {}
impl Mergers {
    pub fn new(_: Arc<Clusters>) -> Mergers {
        Mergers {}
    }
}

impl Handler {
    pub(crate) async fn serve_merged(
        &self,
        verb: Verb,
        ask: &Ask<'_>,
        place: &Place,
        showing: &Showing,
    ) -> Result<Response<Body>, Failure> {
        let table = showing.table(place);
        match verb {
            Verb::Get => {
                let name = place.name.as_deref().unwrap_or_default();
                let (_, object) = self.only_one(place, name).await?;
                Ok(response::object(StatusCode::OK, showing.shape, &table, object))
            }
            Verb::List => {
                let options = ListOptions::parse(&ask.query, place)?;
                let mut page = Page::default();
                for unit in units(&self.shared.clusters).await? {
                    let response = self
                        .shared
                        .clusters
                        .unit(&unit)
                        .kv
                        .range(RangeRequest::new(KeyRange::prefix(place.prefix())))
                        .await?;
                    for kv in &response.kvs {
                        let mut object = registry::decode(place.resource, kv)?;
                        mark(&mut object, &unit);
                        if options.labels.matches(&object) && options.fields.matches(&object) {
                            page.items.push(object);
                        }
                    }
                }
                Ok(response::list(showing.shape, &table, place.resource, page))
            }
            _ => Err(Failure::internal("not yet")),
        }
    }

    pub(crate) async fn unit_of(&self, place: &Place, name: &str) -> Result<UnitName, Failure> {
        Ok(self.only_one(place, name).await?.0)
    }

    /// The one object of this name, in whichever unit.
    async fn only_one(&self, place: &Place, name: &str) -> Result<(UnitName, Value), Failure> {
        let mut found = Vec::new();
        for unit in units(&self.shared.clusters).await? {
            let kv = self.shared.clusters.unit(&unit).kv.clone();
            if let Some(stored) = registry::read(&*kv, place.resource, place.key(name)).await? {
                found.push((unit, stored.object));
            }
        }
        if found.len() > 1 {
            let units: Vec<String> = found.iter().map(|(unit, _)| unit.to_string()).collect();
            let why = format!(
                "several units have one of this name: read it at /units/NAME, with NAME one of {}",
                units.join(", ")
            );
            return Err(Failure::conflict(place.resource, name, &why));
        }
        let (unit, mut object) =
            found.pop().ok_or_else(|| Failure::not_found(place.resource, name))?;
        mark(&mut object, &unit);
        Ok((unit, object))
    }
}

fn mark(object: &mut Value, unit: &UnitName) {
    let version = object::text(object, "/metadata/resourceVersion").to_owned();
    let metadata = object::metadata(object);
    let annotations = metadata.entry("annotations").or_insert_with(|| serde_json::json!({}));
    if annotations.is_object() {
        annotations[UNIT_ANNOTATION] = unit.as_str().into();
        annotations[VERSION_ANNOTATION] = version.into();
    }
}

async fn units(clusters: &Clusters) -> Result<Vec<UnitName>, Failure> {
    let mut request = RangeRequest::new(KeyRange::prefix(catalog::units().prefix()));
    request.keys_only = true;
    let response = clusters.federation().kv.range(request).await?;
    let name = |key: &[u8]| {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&catalog::units().prefix())?.parse().ok()
    };
    Ok(response.kvs.iter().filter_map(|kv| name(&kv.key)).collect())
}
