//! What a conversion webhook is asked, and what counts as an answer
//! (`apiextensions.k8s.io`, ConversionReview).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::meta;
use crate::object;

/// A question that is still being put together: text, since the objects are
/// written once and by their size it is known when it is full.
pub(super) struct Review {
    uid: String,
    pub wanted: String,
    text: Vec<u8>,
    empty: bool,
}

/// What is wrong with a converted object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Object(String),
    Metadata(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    api_version: Option<String>,
    kind: Option<String>,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    converted_objects: Option<Vec<Value>>,
    result: Outcome,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Outcome {
    status: String,
    message: String,
}

// === impl Review ===

impl Review {
    /// `version` is the question's own, `GROUP/VERSION`.
    pub fn new(wanted: &str, version: &str) -> Review {
        let uid = uuid::Uuid::new_v4().to_string();
        let text = format!(
            r#"{{"kind":"ConversionReview","apiVersion":"{version}","request":{{"uid":"{uid}","desiredAPIVersion":"{wanted}","objects":["#
        );
        Review { uid, wanted: wanted.to_owned(), text: text.into_bytes(), empty: true }
    }

    pub fn push(&mut self, object: &Value) {
        if !self.empty {
            self.text.push(b',');
        }
        self.empty = false;
        serde_json::to_writer(&mut self.text, object).expect("JSON values have a text form");
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Its id, and its text.
    pub fn end(mut self) -> (String, Bytes) {
        self.text.extend_from_slice(b"]}}");
        (self.uid, self.text.into())
    }
}

/// The converted objects; nothing is said of them yet.
pub(super) fn read(bytes: &[u8], uid: &str, version: &str) -> Result<Vec<Value>, String> {
    let answered: Answered = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (own, kind) = (text(&answered.api_version), text(&answered.kind));
    if own != version || kind != "ConversionReview" {
        return Err(format!(
            "expected webhook response of {version}, Kind=ConversionReview, got {own}, Kind={kind}"
        ));
    }
    let response = answered.response.ok_or("no response provided")?;
    if response.uid != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
    }
    let Outcome { status, message } = response.result;
    match (&*status, &*message) {
        ("Success", _) => Ok(response.converted_objects.unwrap_or_default()),
        (_, "") => Err(format!("response.result.status was '{status}', not 'Success'")),
        _ => Err(message),
    }
}

/// Whether `converted` is `original` in another version; of its metadata only
/// labels and annotations are the webhook's to change, the rest is put back.
pub(super) fn check(
    original: &Value,
    converted: &mut Value,
    wanted: &str,
    kind: &str,
) -> Result<(), Wrong> {
    let object = |why: String| Err(Wrong::Object(why));
    if !converted.is_object() {
        return object("it is no object".to_owned());
    }
    let version = object::text(converted, "/apiVersion");
    if version != wanted {
        return object(format!("invalid groupVersion (expected {wanted}, received {version})"));
    }
    let own = object::text(converted, "/kind");
    if own != kind {
        return object(format!("invalid kind (expected {kind}, received {own})"));
    }
    for (name, pointer) in
        [("name", "/metadata/name"), ("namespace", "/metadata/namespace"), ("UID", "/metadata/uid")]
    {
        let (before, now) = (object::text(original, pointer), object::text(converted, pointer));
        if before != now {
            return object(format!("must have the same {name}: {before} != {now}"));
        }
    }
    meta::restore(original, converted).map_err(Wrong::Metadata)
}

// === impl Wrong ===

impl Wrong {
    /// `at` is the object's place among several.
    pub fn tell(&self, kind: &str, at: Option<usize>) -> String {
        let head = format!("conversion webhook for {kind} returned");
        match (self, at) {
            (Wrong::Object(why), None) if why.starts_with("invalid ") => {
                format!("{head} invalid object at index 0: {why}")
            }
            (Wrong::Object(why), None) => format!("{head} invalid object: {why}"),
            (Wrong::Object(why), Some(at)) => {
                format!("{head} invalid converted object at index {at}: {why}")
            }
            (Wrong::Metadata(why), None) => format!("{head} invalid metadata: {why}"),
            (Wrong::Metadata(why), Some(at)) => {
                format!("{head} invalid metadata in object at index {at}: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const V1: &str = "apiextensions.k8s.io/v1";

    fn answer(response: Value) -> Result<Vec<Value>, String> {
        let review = json!({"kind": "ConversionReview", "apiVersion": V1, "response": response});
        read(review.to_string().as_bytes(), "u", V1)
    }

    #[test]
    fn only_an_answer_to_this_question_that_succeeded_counts() {
        let good = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}]});
        assert_eq!(answer(good).map(|objects| objects.len()), Ok(1));
        let check = |response, expected: &str| {
            assert_eq!(answer(response), Err(expected.to_owned()));
        };
        check(json!(null), "no response provided");
        check(json!({"uid": "o"}), "expected response.uid=\"u\", got \"o\"");
        check(json!({"uid": "u"}), "response.result.status was '', not 'Success'");
        let told = json!({"uid": "u", "result": {"status": "Failure", "message": "no way"}});
        check(told, "no way");
        let odd = json!({"kind": "Other", "apiVersion": "v1"}).to_string();
        assert_eq!(
            read(odd.as_bytes(), "u", V1),
            Err("expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, \
                 got v1, Kind=Other"
                .to_owned())
        );
    }

    #[test]
    fn a_converted_object_is_the_same_object_in_the_wanted_version() {
        let object = |version: &str, name: &str| json!({"apiVersion": version, "kind": "A", "metadata": {"name": name, "uid": "1"}});
        let check = |mut converted: Value, expected: &str| {
            let wrong = check(&object("b.c/v1", "x"), &mut converted, "b.c/v2", "A");
            assert_eq!(wrong, Err(Wrong::Object(expected.to_owned())));
        };
        check(object("b.c/v1", "x"), "invalid groupVersion (expected b.c/v2, received b.c/v1)");
        check(object("b.c/v2", "y"), "must have the same name: x != y");
        check(json!([]), "it is no object");
    }
}
