//! What is written down of a request: an `Event` of `audit.k8s.io/v1`, one JSON
//! object a line. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, value::RawValue};
use time::OffsetDateTime;

use super::policy::{Level, Reference, Stage};
use crate::caller::{Caller, Extra};

/// As kube-apiserver cuts what a client says of itself.
const USER_AGENT_BYTES_MAX: usize = 1024;
const CUT: &str = "...TRUNCATED";

/// Says that bodies were left out because they were too large.
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// What a line without bodies has room for at first.
const LINE_BYTES: usize = 1024;

#[derive(Clone, Debug)]
pub struct Event {
    pub level: Level,
    pub id: String,
    pub uri: String,
    pub verb: String,
    /// None when nobody has shown who they are.
    pub user: Option<Caller>,
    pub impersonated: Option<Caller>,
    pub source_ips: Vec<String>,
    pub user_agent: String,
    /// None of what is no resource.
    pub object: Option<Reference>,
    pub status: Option<Status>,
    /// On one line each.
    pub request: Option<Box<RawValue>>,
    pub response: Option<Box<RawValue>>,
    pub received: OffsetDateTime,
    pub annotations: BTreeMap<String, String>,
}

/// What came of it; the fields of a `Status` that say so.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    pub(super) metadata: Empty,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
    pub code: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Empty {}

/// The wire's names and order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'static str,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<User<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[String]>::is_empty")]
    source_ips: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<Object<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<&'a RawValue>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Default, Serialize)]
struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<&'a Extra>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    resource_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

// === impl Event ===

impl Event {
    /// One line, with its end; without bodies where it would be longer than
    /// `bytes_max`.
    pub fn line(&self, stage: Stage, at: OffsetDateTime, bytes_max: Option<usize>) -> Vec<u8> {
        let bodies = (self.request.as_deref(), self.response.as_deref());
        let line = self.write(stage, at, bodies, &self.annotations);
        let cut = bytes_max.is_some_and(|max| line.len() > max);
        if !cut || (bodies.0.is_none() && bodies.1.is_none()) {
            return line;
        }
        let mut annotations = self.annotations.clone();
        annotations.insert(TRUNCATED.into(), "true".into());
        self.write(stage, at, (None, None), &annotations)
    }

    fn write(
        &self,
        stage: Stage,
        at: OffsetDateTime,
        (request_object, response_object): (Option<&RawValue>, Option<&RawValue>),
        annotations: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        let bodies = [request_object, response_object].into_iter().flatten();
        let bodies: usize = bodies.map(|body| body.get().len()).sum();
        let mut out = Vec::with_capacity(LINE_BYTES + bodies);
        let line = Line {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: self.level.as_str(),
            audit_id: &self.id,
            stage: stage.as_str(),
            request_uri: &self.uri,
            verb: &self.verb,
            user: self.user.as_ref().map(User::of).unwrap_or_default(),
            impersonated_user: self.impersonated.as_ref().map(User::of),
            source_ips: &self.source_ips,
            user_agent: &self.user_agent,
            object_ref: self.object.as_ref().map(Object::of),
            response_status: self.status.as_ref(),
            request_object,
            response_object,
            request_received_timestamp: micro_time(self.received),
            stage_timestamp: micro_time(at),
            annotations,
        };
        serde_json::to_writer(&mut out, &line).expect("text has a JSON form");
        out.push(b'\n');
        out
    }
}

// === impl Status ===

impl Status {
    pub fn of_code(code: u16) -> Status {
        Status { code, ..Status::default() }
    }

    /// What a `Status` object says; none when `object` is none.
    pub fn read(object: &Value) -> Option<Status> {
        if object["kind"] != "Status" || object["apiVersion"] != "v1" {
            return None;
        }
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        Some(Status {
            status: text("status"),
            message: text("message"),
            reason: text("reason"),
            details: object["details"].clone(),
            ..Status::default()
        })
    }
}

// === impl User ===

impl User<'_> {
    fn of(caller: &Caller) -> User<'_> {
        User {
            username: &caller.name,
            uid: &caller.uid,
            groups: &caller.groups,
            extra: (!caller.extra.is_empty()).then_some(&caller.extra),
        }
    }
}

// === impl Object ===

impl Object<'_> {
    fn of(reference: &Reference) -> Object<'_> {
        Object {
            resource: &reference.resource,
            namespace: &reference.namespace,
            name: &reference.name,
            uid: &reference.uid,
            api_group: &reference.group,
            api_version: &reference.version,
            resource_version: &reference.resource_version,
            subresource: &reference.subresource,
        }
    }
}

/// What a client says of itself, as much of it as is kept.
pub fn user_agent(text: &str) -> String {
    match text.get(..USER_AGENT_BYTES_MAX) {
        Some(start) if text.len() > USER_AGENT_BYTES_MAX => format!("{start}{CUT}"),
        _ => text.to_owned(),
    }
}

/// As Go's `MicroTime`.
fn micro_time(at: OffsetDateTime) -> String {
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, micros) = (at.hour(), at.minute(), at.second(), at.microsecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn event() -> Event {
        Event {
            level: Level::Request,
            id: "one".into(),
            uri: "/api/v1/namespaces/shop/pods?x=1".into(),
            verb: "create".into(),
            user: Some(Caller::exactly("ann", vec!["dev".into()]).with_uid("7")),
            impersonated: None,
            source_ips: vec!["127.0.0.1".into()],
            user_agent: user_agent("kubectl"),
            object: Some(Reference {
                resource: "pods".into(),
                namespace: "shop".into(),
                version: "v1".into(),
                ..Reference::default()
            }),
            status: Some(Status::of_code(201)),
            request: Some(RawValue::from_string(r#"{"b":1,"a":2}"#.into()).expect("JSON")),
            response: None,
            received: datetime!(2026-11-23 08:00:00.000012 UTC),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_line_has_the_fields_in_kubernetes_order() {
        let line =
            event().line(Stage::ResponseComplete, datetime!(2026-11-23 08:00:01.5 UTC), None);
        let expected = concat!(
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"one","#,
            r#""stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods?x=1","#,
            r#""verb":"create","user":{"username":"ann","uid":"7","groups":["dev"]},"#,
            r#""sourceIPs":["127.0.0.1"],"userAgent":"kubectl","#,
            r#""objectRef":{"resource":"pods","namespace":"shop","apiVersion":"v1"},"#,
            r#""responseStatus":{"metadata":{},"code":201},"requestObject":{"b":1,"a":2},"#,
            r#""requestReceivedTimestamp":"2026-11-23T08:00:00.000012Z","#,
            r#""stageTimestamp":"2026-11-23T08:00:01.500000Z"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line).expect("text"), expected);
    }

    #[test]
    fn a_line_that_is_too_long_goes_without_bodies_and_says_so() {
        let at = datetime!(2026-11-23 08:00:00 UTC);
        let whole = event().line(Stage::ResponseComplete, at, None);
        let same = event().line(Stage::ResponseComplete, at, Some(whole.len()));
        assert_eq!(same, whole);
        let cut = event().line(Stage::ResponseComplete, at, Some(whole.len() - 1));
        let cut: Value = serde_json::from_slice(&cut).expect("JSON");
        assert_eq!(cut["annotations"], json!({ TRUNCATED: "true" }));
        assert!(cut.get("requestObject").is_none());
        assert!(user_agent(&"x".repeat(2000)).ends_with(CUT));
    }

    #[test]
    fn a_refusal_says_what_its_status_says() {
        let object = json!({"kind": "Status", "apiVersion": "v1", "metadata": {"continue": "x"},
            "status": "Failure", "message": "gone", "reason": "NotFound", "code": 404});
        let status = Status { code: 404, ..Status::read(&object).expect("a Status") };
        let shown = serde_json::to_string(&status).expect("JSON");
        let expected = concat!(
            r#"{"metadata":{},"status":"Failure","message":"gone","reason":"NotFound","#,
            r#""code":404}"#
        );
        assert_eq!(shown, expected);
        assert_eq!(Status::read(&json!({"kind": "Pod", "apiVersion": "v1"})), None);
    }
}
