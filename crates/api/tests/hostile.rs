//! Whatever comes in, an answer goes out.

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use support::{CONFIG_MAPS, PODS, Server, UNITS, admin};

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("api".to_owned()),
        Just("apis".to_owned()),
        Just("v1".to_owned()),
        Just("namespaces".to_owned()),
        Just("default".to_owned()),
        Just("pods".to_owned()),
        Just("units".to_owned()),
        Just("rz01".to_owned()),
        Just("polis.dev".to_owned()),
        Just("v1alpha1".to_owned()),
        Just("status".to_owned()),
        Just("log".to_owned()),
        Just("..".to_owned()),
        Just("%2e%2e".to_owned()),
        Just("%00".to_owned()),
        Just(String::new()),
        "[a-zA-Z0-9._~%-]{0,12}",
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~]{0,8}".prop_map(Into::into),
    ];
    let key = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("name"),
        Just("labels"),
        Just("containers"),
        Just("ports"),
        Just("$patch"),
        Just("$setElementOrder/containers"),
        Just("finalizers"),
        Just("ownerReferences"),
        Just("env"),
        Just("data"),
        Just("homes"),
        Just("deletionTimestamp"),
        Just("generateName"),
        Just("topology"),
        Just("a"),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            proptest::collection::vec((key.clone(), inner), 0..6).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
                serde_json::Value::Object(entries.collect())
            }),
        ]
    })
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_path_is_answered(
        segments in proptest::collection::vec(segment(), 0..8),
        query in "[a-zA-Z=&%,()!+]{0,24}",
        method in prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("PATCH"), Just("DELETE")],
    ) {
        run(async {
            let server = Server::start();
            let path = format!("/{}?{query}", segments.join("/"));
            if path.parse::<http::Uri>().is_ok() && !query.contains("watch") {
                let code = server.send_as(&admin(), method, &path, &[], "{}").await.code;
                prop_assert_ne!(code.as_u16(), 500, "{}", path);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_body_is_answered(body in json(), kind in 0..5_usize) {
        run(async {
            let server = Server::with_units().await;
            server.post(PODS, support::pod("p", "n")).await.expect_code(201);
            let text = body.to_string();
            let apply = "application/apply-patch+yaml";
            let media = ["merge", "strategic", "json", "application/json", apply][kind];
            for path in [UNITS, PODS, CONFIG_MAPS, "/apis/apps.polis.dev/v1alpha1/namespaces/default/cafedeployments"] {
                let code = server.post(path, body.clone()).await.code.as_u16();
                prop_assert!(code < 500, "{code} {path} {text}");
            }
            for path in [format!("{PODS}/p"), format!("{PODS}/p/status"), format!("{UNITS}/rz01")] {
                let named = if media == apply { format!("{path}?fieldManager=me") } else { path.clone() };
                let mut body = body.clone();
                if media == apply && let Some(map) = body.as_object_mut() {
                    map.insert("apiVersion".into(), "v1".into());
                    map.insert("kind".into(), "Pod".into());
                }
                let code = server.patch(&named, media, body).await.code.as_u16();
                prop_assert!(code < 500, "{code} {path} {text}");
                // What was let in can be shown.
                server.table(&path.replace("/status", "")).await.expect_code(200);
            }
            server.delete(&format!("{PODS}/p"), body.clone()).await;
            server.table(PODS).await.expect_code(200);
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        run(async {
            let server = Server::start();
            let mut framed = b"k8s\0".to_vec();
            framed.extend_from_slice(&bytes);
            let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
            for (headers, body) in [(&[][..], bytes), (&protobuf[..], framed)] {
                let answer = server.send_as(&admin(), "POST", CONFIG_MAPS, headers, Bytes::from(body)).await;
                prop_assert!(answer.code.as_u16() < 500);
            }
            Ok(())
        })?;
    }
}
