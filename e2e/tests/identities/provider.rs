//! An OpenID Connect provider: it says where its keys are, over TLS, and signs
//! what the test has it sign. Its keys are real ones and can be replaced.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rustls::{ServerConfig, ServerConnection, Stream, pki_types::pem::PemObject as _};
use serde_json::{Value, json};

use super::Authority;

pub struct Provider {
    pub issuer: String,
    /// Published.
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
}

pub struct Key {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Curve(EcdsaKeyPair),
}

// === impl Key ===

impl Key {
    pub fn rsa(id: &str) -> Key {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        Key { id: id.to_owned(), pair: Pair::Rsa(pair) }
    }

    pub fn curve(id: &str) -> Key {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Key { id: id.to_owned(), pair: Pair::Curve(pair) }
    }

    /// An ID token.
    pub fn sign(&self, claims: &Value) -> String {
        let algorithm = match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Curve(_) => "ES256",
        };
        let header = json!({ "alg": algorithm, "kid": self.id, "typ": "JWT" });
        let part = |value: &Value| BASE64.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let (random, text) = (SystemRandom::new(), signed.as_bytes());
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).expect("it signs");
                signature
            }
            Pair::Curve(pair) => pair.sign(&random, text).expect("it signs").as_ref().to_vec(),
        };
        format!("{signed}.{}", BASE64.encode(signature))
    }

    /// As it is published.
    fn public(&self) -> Value {
        let part = |bytes: &[u8]| BASE64.encode(bytes);
        match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public_key().into();
                json!({ "kty": "RSA", "use": "sig", "kid": self.id, "n": part(&n), "e": part(&e) })
            }
            Pair::Curve(pair) => {
                // A point as two numbers behind a byte that says so.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "use": "sig", "crv": "P-256", "kid": self.id,
                    "x": part(x), "y": part(y),
                })
            }
        }
    }
}

// === impl Provider ===

impl Provider {
    /// Serves until the test ends, with a certificate of `authority`.
    pub fn start(authority: &Authority, folder: &Path) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        let issuer = format!("https://{address}/realms/bank");
        let tls = server_tls(authority, folder);
        let (keys, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let provider = Provider { issuer, keys: keys.clone(), asked: asked.clone() };
        std::thread::spawn(move || serve(&listener, address, &tls, &keys, &asked));
        provider
    }

    /// These, and no others, from now on.
    pub fn publish(&self, keys: &[&Key]) {
        let public = keys.iter().map(|key| key.public()).collect();
        *self.keys.lock().expect("no holder panics") = public;
    }

    /// How often its keys were fetched.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn server_tls(authority: &Authority, folder: &Path) -> Arc<ServerConfig> {
    let [certificate, key] = authority.issue(folder, "provider", None);
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(certificate).expect("PEM");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(key).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.expect("a sound certificate"))
}

fn serve(
    listener: &TcpListener,
    address: SocketAddr,
    tls: &Arc<ServerConfig>,
    keys: &Mutex<Vec<Value>>,
    asked: &AtomicUsize,
) {
    for mut socket in listener.incoming().flatten() {
        let mut connection = ServerConnection::new(tls.clone()).expect("a connection");
        let mut stream = Stream::new(&mut connection, &mut socket);
        let mut line = String::new();
        // Whoever gives up is no concern of the provider.
        let mut reader = BufReader::new(&mut stream);
        let Ok(_) = reader.read_line(&mut line) else { continue };
        let base = format!("https://{address}/realms/bank");
        let document = match line.split(' ').nth(1) {
            Some("/realms/bank/.well-known/openid-configuration") => json!({
                "issuer": base,
                "jwks_uri": format!("{base}/keys"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            }),
            Some("/realms/bank/keys") => {
                asked.fetch_add(1, Ordering::Relaxed);
                json!({ "keys": *keys.lock().expect("no holder panics") })
            }
            _ => continue,
        };
        let body = document.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
        connection.send_close_notify();
        let _ = connection.write_tls(&mut socket);
    }
}
