//! Protobuf and YAML, in and out.

mod support;

use api::Caller;
use bytes::Bytes;
use http_body_util::BodyExt;
use schema::{
    builtin,
    proto::{self, Envelope},
};
use serde_json::{Value, json};
use support::{Server, admin};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const BINARY: &str = "application/vnd.kubernetes.protobuf";

fn sealed(version: &str, kind: &str, name: &str, object: &Value) -> Bytes {
    let schema = builtin::get(builtin::find(name).expect("a built-in type"));
    let mut message = Vec::new();
    proto::write(schema, object, &mut message).expect("of the type");
    proto::seal(version, kind, &message).into()
}

fn opened(bytes: &[u8], name: &str) -> Value {
    let schema = builtin::get(builtin::find(name).expect("a built-in type"));
    let envelope = Envelope::open(bytes).expect("an envelope");
    proto::read(schema, envelope.message).expect("a message").object.into()
}

async fn send(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> (u16, String, Bytes) {
    let caller: Caller = admin();
    let response = server.raw(&caller, method, path, headers, body).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let media_type = parts.headers["content-type"].to_str().expect("text").to_owned();
    (parts.status.as_u16(), media_type, bytes)
}

#[tokio::test]
async fn objects_go_and_come_as_protobuf() {
    let server = Server::start();
    let map = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}});
    let body = sealed("v1", "ConfigMap", "core.v1.ConfigMap", &map);
    let headers = [("content-type", BINARY), ("accept", BINARY)];
    let (code, media_type, bytes) = send(&server, "POST", MAPS, &headers, body).await;
    assert_eq!((code, media_type.as_str()), (201, BINARY), "{}", bytes.escape_ascii());
    let made = opened(&bytes, "core.v1.ConfigMap");
    assert_eq!(made["data"], json!({"k": "v"}));
    assert!(made["metadata"]["uid"].is_string(), "{made}");

    // In a list, as metadata alone, and as JSON.
    let get = |accept| (accept, [("accept", accept)]);
    let (_, headers) = get(BINARY);
    let (_, _, bytes) = send(&server, "GET", MAPS, &headers, Bytes::new()).await;
    let list = opened(&bytes, "core.v1.ConfigMapList");
    let named =
        list["items"].as_array().expect("items").iter().find(|i| i["metadata"]["name"] == "a");
    assert_eq!(named.expect("listed")["data"], json!({"k": "v"}));
    let (_, headers) = get(
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    );
    let (_, media_type, bytes) = send(&server, "GET", MAPS, &headers, Bytes::new()).await;
    assert_eq!(media_type, BINARY);
    let list = opened(&bytes, "meta.v1.PartialObjectMetadataList");
    assert!(list["items"][0]["metadata"]["uid"].is_string(), "{list}");

    // Refusals too; rubbish is one.
    let headers = [("content-type", BINARY), ("accept", BINARY)];
    let (code, _, bytes) =
        send(&server, "POST", MAPS, &headers, Bytes::from_static(b"k8s\0\x0a")).await;
    assert_eq!(code, 400);
    let status = opened(&bytes, "meta.v1.Status");
    assert_eq!(status["message"], "the object provided is unrecognized: unexpected EOF");

    let options = json!({"preconditions": {"uid": "other"}});
    let body = sealed("v1", "DeleteOptions", "meta.v1.DeleteOptions", &options);
    let path = format!("{MAPS}/a");
    let (code, _, _) = send(&server, "DELETE", &path, &headers, body).await;
    assert_eq!(code, 409);
}

#[tokio::test]
async fn a_watch_is_framed_by_lengths() {
    let server = Server::start();
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    server.post(MAPS, map).await.expect_code(201);
    let accept = [("accept", "application/vnd.kubernetes.protobuf,application/json")];
    let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name=a");
    let response = server.raw(&admin(), "GET", &path, &accept, Bytes::new()).await;
    assert_eq!(response.headers()["content-type"], format!("{BINARY};stream=watch"));
    let mut body = Box::pin(response.into_body());
    let frame = body.frame().await.expect("a frame").expect("infallible");
    let frame = frame.into_data().expect("data");
    let (len, event) = frame.split_first_chunk::<4>().expect("a length");
    assert_eq!(u32::from_be_bytes(*len) as usize, event.len());
    // Field 1 is the type, field 2 an object whose field 1 is a sealed body.
    assert_eq!(&event[..7], b"\x0a\x05ADDED");
    let start = event.windows(4).position(|four| four == proto::MAGIC).expect("sealed");
    let object = opened(&event[start..], "core.v1.ConfigMap");
    assert_eq!(object["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn yaml_is_read_and_written() {
    let server = Server::start();
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let text = "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: a\ndata:\n  k: |\n    v\n";
    let (code, media_type, bytes) = send(&server, "POST", MAPS, &headers, text.into()).await;
    assert_eq!((code, media_type.as_str()), (201, "application/yaml"));
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    assert!(text.contains("data:\n  k: \"v\\n\"\n"), "{text}");
}

#[tokio::test]
async fn what_is_read_by_nobody_is_refused_before_it_is_done() {
    let server = Server::start();
    let headers = [("accept", BINARY)];
    let city = json!({"metadata": {"name": "sha"}}).to_string();
    let path = "/apis/polis.dev/v1alpha1/cities";
    let (code, _, bytes) = send(&server, "POST", path, &headers, city.into()).await;
    assert_eq!(code, 406, "{}", bytes.escape_ascii());
    server.get(&format!("{path}/sha")).await.expect_code(404);
}
