//! A real HTTPS server that answers reviews, as webhooks do.
#![allow(dead_code)]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use identity::{Authority, ClientAuth, Credentials, Files, Leaf, server_config};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Answer = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

/// A webhook, and what it was asked.
pub struct Hook {
    pub address: SocketAddr,
    pub bundle: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Value>>,
    connections: Mutex<usize>,
}

/// What the Service is called that stands before the webhook, if one does.
pub const SERVICE: &str = "hook.default.svc";

impl Hook {
    /// `answer` makes a review with its response of one with a request.
    pub async fn start(
        name: &str,
        answer: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Hook {
        let root = Authority::root("webhooks").expect("a root");
        let leaf = Leaf {
            common_name: "webhook".into(),
            dns_names: vec![SERVICE.into()],
            addresses: vec![[127, 0, 0, 1].into()],
            lifetime: Duration::from_secs(3600),
            ..Leaf::default()
        };
        let issued = root.issue(&leaf).expect("a leaf");
        let bundle = STANDARD.encode(&issued.root_pem);
        let dir = std::env::temp_dir().join(format!("polis-hook-{name}-{}", std::process::id()));
        let files = Files::in_dir(&dir, "hook");
        issued.save(&files).expect("saved");
        let credentials = Credentials::load(&files).expect("loaded");
        std::fs::remove_dir_all(&dir).expect("removed");
        let tls = server_config(&credentials, ClientAuth::Optional, &[b"http/1.1"]).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        tokio::spawn(serve(listener, TlsAcceptor::from(tls), Arc::new(answer), seen.clone()));
        Hook { address, bundle, seen }
    }

    /// The requests of all reviews until now.
    pub fn asked(&self) -> Vec<Value> {
        self.seen.asked.lock().expect("no panic while held").clone()
    }

    pub fn connections(&self) -> usize {
        *self.seen.connections.lock().expect("no panic while held")
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answer: Answer, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        *seen.connections.lock().expect("no panic while held") += 1;
        let (tls, answer, seen) = (tls.clone(), answer.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (answer, seen) = (answer.clone(), seen.clone());
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    let review: Value = serde_json::from_slice(&body).expect("a review");
                    let mut answer = answer(&review);
                    if answer["response"].is_object() {
                        answer["response"]["uid"] = review["request"]["uid"].clone();
                    }
                    seen.asked.lock().expect("no panic while held").push(review["request"].clone());
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(answer.to_string()))))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
