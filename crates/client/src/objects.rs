//! Reading and writing objects of one kind through one door.

use std::{future::Future, marker::PhantomData};

use http::{Method, Request, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Door, Entity, Error};

/// A page of a list: enough to be one round trip for what we keep, bounded for
/// what we do not expect.
const PAGE_OBJECTS_MAX: usize = 500;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Objects of kind `T`, in a namespace or in all.
#[derive(Clone)]
pub struct Objects<T> {
    door: Door,
    namespace: Option<String>,
    kind: PhantomData<fn() -> T>,
}

/// Objects as of one resourceVersion.
#[derive(Clone, Debug)]
pub struct List<T> {
    pub resource_version: String,
    pub items: Vec<T>,
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

// === impl Objects ===

impl<T: Entity> Objects<T> {
    pub(crate) fn new(door: Door, namespace: Option<String>) -> Objects<T> {
        Objects { door, namespace, kind: PhantomData }
    }

    pub async fn get(&self, name: &str) -> Result<T, Error> {
        self.send(Method::GET, self.path_of(name), "", Vec::new()).await
    }

    /// As [`Objects::get`], with absence as a value.
    pub async fn find(&self, name: &str) -> Result<Option<T>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects; `query` holds selectors already encoded (`labelSelector=…`).
    pub async fn list(&self, query: &str) -> Result<List<T>, Error> {
        self.list_as(query).await
    }

    /// As [`Objects::list`], for who parses objects one by one.
    pub(crate) async fn list_raw(&self, query: &str) -> Result<List<Value>, Error> {
        self.list_as(query).await
    }

    async fn list_as<A: DeserializeOwned>(&self, query: &str) -> Result<List<A>, Error> {
        let mut list = List { resource_version: String::new(), items: Vec::new() };
        let mut next = String::new();
        loop {
            let mut path = format!("{}?limit={PAGE_OBJECTS_MAX}", self.path());
            for (name, value) in [("", query), ("continue=", next.as_str())] {
                if !value.is_empty() {
                    path = format!("{path}&{name}{value}");
                }
            }
            let page: Page<A> = self.send(Method::GET, path, "", Vec::new()).await?;
            list.items.extend(page.items);
            list.resource_version = page.metadata.resource_version;
            if page.metadata.next.is_empty() {
                return Ok(list);
            }
            next = encode(&page.metadata.next);
        }
    }

    pub async fn create(&self, object: &T) -> Result<T, Error> {
        self.send(Method::POST, self.path(), JSON, json(object)?).await
    }

    /// Creates the object unless one of this name exists, which is then given
    /// back as it is.
    pub async fn create_if_absent(&self, object: &T) -> Result<T, Error> {
        match self.create(object).await {
            Err(error) if error.is_already_exists() => self.get(object.name()).await,
            answer => answer,
        }
    }

    /// Replaces the object (its status apart) if it is still at its
    /// resourceVersion.
    pub async fn update(&self, object: &T) -> Result<T, Error> {
        self.replace(object, self.path_of(object.name())).await
    }

    /// Replaces the status of the object if it is still at its resourceVersion.
    pub async fn update_status(&self, object: &T) -> Result<T, Error> {
        self.replace(object, self.path_of(object.name()) + "/status").await
    }

    /// Applies a JSON merge patch (RFC 7396): conflicts with nobody who writes
    /// other fields.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<T, Error> {
        self.send(Method::PATCH, self.path_of(name), MERGE_PATCH, json(patch)?).await
    }

    /// As [`Objects::patch`], through the status subresource.
    pub async fn patch_status(&self, name: &str, patch: &Value) -> Result<T, Error> {
        let path = self.path_of(name) + "/status";
        self.send(Method::PATCH, path, MERGE_PATCH, json(patch)?).await
    }

    /// Asks for the deletion. True when there was something to delete.
    pub async fn delete(&self, name: &str, options: &DeleteOptions<'_>) -> Result<bool, Error> {
        let deleted: Result<Value, Error> =
            self.send(Method::DELETE, self.path_of(name), JSON, json(&options.body())?).await;
        match deleted {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn replace(&self, object: &T, path: String) -> Result<T, Error> {
        if object.resource_version().is_none() {
            return Err(Error::Incomplete("an update needs the resourceVersion that was read"));
        }
        self.send(Method::PUT, path, JSON, json(object)?).await
    }

    pub(crate) fn path(&self) -> String {
        self.door.path::<T>(self.namespace.as_deref())
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}/{}", self.path(), encode(name))
    }

    async fn send<A: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<A, Error> {
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, JSON);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(body).map_err(|error| Error::Unreachable(Box::new(error)))?;
        self.in_time(async {
            let text = self.door.client().raw().request_text(request).await?;
            serde_json::from_str(&text).map_err(Error::Malformed)
        })
        .await
    }

    async fn in_time<A>(&self, answer: impl Future<Output = Result<A, Error>>) -> Result<A, Error> {
        let limit = self.door.client().request_timeout();
        let timed_out = || Error::TimedOut(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

/// How an object is deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteOptions<'a> {
    /// Only this incarnation of the name.
    pub uid: Option<&'a str>,
    /// None leaves the kind's own grace.
    pub grace_seconds: Option<u32>,
}

// === impl DeleteOptions ===

impl DeleteOptions<'_> {
    fn body(&self) -> Value {
        let mut body = serde_json::json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
        if let Some(uid) = self.uid {
            body["preconditions"] = serde_json::json!({ "uid": uid });
        }
        if let Some(seconds) = self.grace_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        body
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(Error::Malformed)
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_survive_the_trip_in_a_query() {
        assert_eq!(encode("app=ledger,x!=y z"), "app%3Dledger%2Cx%21%3Dy%20z");
        assert_eq!(encode("rz01-0.a_b~c"), "rz01-0.a_b~c");
    }
}
