//! OpenAPI: an index and one document for each group and version (3.0), and one
//! of everything (2.0, also as gnostic's protobuf). kubectl explains, checks
//! and merges by them.
//!
//! Documents are made when they are first asked for and kept as bytes, plain
//! and compressed. A cluster's custom kinds come in documents of their own; all
//! others are shared by every cluster. Addresses change with the text, so that
//! clients may keep what they have for ever.

mod operation;
mod paths;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use schema::{
    TypeId, builtin, gnostic,
    openapi::{Components, Version},
};
use serde_json::{Map, Value, json};

use crate::{
    answer,
    catalog::Catalog,
    discovery,
    failure::Failure,
    request::{accept::Accept, path::Door},
    resource::{Origin, Resource},
    response::{self, Body},
};

/// Catalogs whose documents are kept. Those of built-in kinds are few and
/// shared; beyond this, the longest unused go.
const CATALOGS_MAX: usize = 32;

/// A document as it is sent.
pub struct Page {
    pub bytes: Bytes,
    pub etag: String,
    gzip: OnceLock<Bytes>,
}

/// The documents of one catalog at one kind of door.
#[derive(Default)]
struct Set {
    versions: Mutex<BTreeMap<(String, String), Arc<Page>>>,
    v2: OnceLock<Arc<Page>>,
    gnostic: OnceLock<Arc<Page>>,
}

/// Which kind of door, and the catalog's number.
type Key = (u8, u64);

/// By key, and in which order they were made.
type Sets = (HashMap<Key, Arc<Set>>, VecDeque<Key>);

/// All documents that were made.
#[derive(Default)]
pub struct Documents {
    sets: Mutex<Sets>,
}

// === impl Documents ===

impl Documents {
    /// Where the documents are. Each address names its document's hash.
    pub fn index(&self, catalog: &Catalog, door: &Door) -> Page {
        let mut paths = Map::new();
        for (group, version) in discovery::groups(catalog, door) {
            let Ok(page) = self.document(catalog, door, group, version) else { continue };
            let url = path(door, group, version);
            let start = door.prefix().len() + "/openapi/v3/".len();
            let name = url.get(start..).unwrap_or_default().to_owned();
            let url = format!("{url}?hash={}", page.etag);
            paths.insert(name, json!({ "serverRelativeURL": url }));
        }
        Page::new(&json!({ "paths": paths }))
    }

    /// Of one group and version.
    pub fn document(
        &self,
        catalog: &Catalog,
        door: &Door,
        group: &str,
        version: &str,
    ) -> Result<Arc<Page>, Failure> {
        let here = |r: &&Arc<Resource>| r.group == group && r.version == version;
        let custom = |r: &Arc<Resource>| matches!(r.origin, Origin::Custom(_));
        // What no custom kind is part of is the same in every cluster.
        let shared = !catalog.at(door).filter(here).any(custom);
        let catalog = if shared { Catalog::builtin() } else { catalog };
        if !discovery::groups(catalog, door).contains(&(group, version)) {
            return Err(Failure::no_such_path());
        }
        let set = self.set(catalog, door);
        let mut versions = set.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (group.to_owned(), version.to_owned());
        let page = versions.entry(key).or_insert_with(|| {
            let all = discovery::served(catalog, door);
            let here = all.iter().filter(|one| one.group() == group && one.version() == version);
            Arc::new(Page::new(&v3(here)))
        });
        Ok(page.clone())
    }

    /// Of everything, in version 2.
    pub fn v2(&self, catalog: &Catalog, door: &Door) -> Arc<Page> {
        let set = self.set(catalog, door);
        set.v2.get_or_init(|| Arc::new(Page::new(&v2(catalog, door)))).clone()
    }

    pub fn v2_protobuf(&self, catalog: &Catalog, door: &Door) -> Arc<Page> {
        let set = self.set(catalog, door);
        let make = || Arc::new(Page::of(gnostic::encode(&v2(catalog, door)).into()));
        set.gnostic.get_or_init(make).clone()
    }

    fn set(&self, catalog: &Catalog, door: &Door) -> Arc<Set> {
        let class = match door {
            Door::Federation => 0,
            Door::Cluster => 1,
            Door::Unit(_) => 2,
        };
        let key = (class, catalog.number());
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_key, order) = &mut *sets;
        if !by_key.contains_key(&key) {
            if order.len() >= CATALOGS_MAX
                && let Some(oldest) = order.pop_front()
            {
                by_key.remove(&oldest);
            }
            order.push_back(key);
        }
        by_key.entry(key).or_default().clone()
    }
}

// === impl Page ===

impl Page {
    fn new(document: &Value) -> Page {
        Page::of(serde_json::to_vec(document).expect("JSON values have a text form").into())
    }

    fn of(bytes: Bytes) -> Page {
        let etag = answer::tag(&bytes);
        Page { bytes, etag, gzip: OnceLock::new() }
    }

    /// The document, or 304 for who has it.
    pub fn show(&self, headers: &HeaderMap, media_type: &'static str) -> Response<Body> {
        let etag = format!("\"{}\"", self.etag);
        let zipped = answer::reads_gzip(headers);
        let mut response = if answer::has(headers, &etag) {
            response::with_type(StatusCode::NOT_MODIFIED, media_type, Bytes::new())
        } else if zipped {
            let bytes = self.gzip.get_or_init(|| answer::gzip(&self.bytes)).clone();
            let mut response = response::with_type(StatusCode::OK, media_type, bytes);
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            response
        } else {
            response::with_type(StatusCode::OK, media_type, self.bytes.clone())
        };
        let into = response.headers_mut();
        into.append(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            into.insert(header::ETAG, etag);
        }
        response
    }

    /// [`Page::show`] under an address that may name the text: kept for ever if
    /// it does, sent on to the right one if it names another.
    pub fn show_at(&self, headers: &HeaderMap, hash: Option<&str>, path: &str) -> Response<Body> {
        let mut response = match hash {
            Some(hash) if !hash.is_empty() && hash != self.etag => {
                let mut response = response::text(StatusCode::MOVED_PERMANENTLY, Bytes::new());
                let place = format!("{path}?hash={}", self.etag);
                if let Ok(place) = HeaderValue::from_str(&place) {
                    response.headers_mut().insert(header::LOCATION, place);
                }
                return response;
            }
            _ => self.show(headers, "application/json"),
        };
        if hash.is_some_and(|hash| !hash.is_empty()) {
            let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
            response.headers_mut().insert(header::CACHE_CONTROL, forever);
        }
        response
    }
}

/// How the document of everything is wanted.
pub enum Form {
    Json,
    Protobuf,
}

/// What gnostic's form is called.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The older of its two names has an `@`, which is no letter of a media type.
pub fn wanted_v2(headers: &HeaderMap) -> Result<Form, Failure> {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let clauses = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    for clause in clauses {
        match clause.split(';').next().unwrap_or_default().trim() {
            V2_PROTOBUF | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => {
                return Ok(Form::Protobuf);
            }
            "application/json" | "application/*" | "*/*" => return Ok(Form::Json),
            _ => {}
        }
    }
    // Fails where nothing that can be sent was named.
    Accept::parse(headers).map(|_| Form::Json)
}

/// Where the document of a group and version is.
pub fn path(door: &Door, group: &str, version: &str) -> String {
    let below = match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    };
    format!("{}/openapi/v3/{below}", door.prefix())
}

fn info() -> Value {
    json!({ "title": "Polis", "version": crate::version::GIT_VERSION })
}

fn v3<'a>(served: impl Iterator<Item = &'a discovery::Served>) -> Value {
    let mut components = Components::new(Version::V3);
    let mut paths = Map::new();
    for one in served {
        paths.extend(paths::of(one, Version::V3, &mut components));
    }
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": { "schemas": components.finish(kinds_of) },
    })
}

fn v2(catalog: &Catalog, door: &Door) -> Value {
    let mut components = Components::new(Version::V2);
    let mut paths = Map::new();
    for one in &discovery::served(catalog, door) {
        paths.extend(paths::of(one, Version::V2, &mut components));
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths,
        "definitions": components.finish(kinds_of),
    })
}

/// Which kinds a built-in type is.
fn kinds_of(id: TypeId) -> Map<String, Value> {
    let one = builtin::describe(id);
    let mut more = Map::new();
    if one.root {
        let kind = json!([{ "group": one.group, "version": one.version, "kind": one.name }]);
        more.insert("x-kubernetes-group-version-kind".into(), kind);
    }
    more
}
