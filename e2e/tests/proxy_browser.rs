//! Chromium at `polis proxy run`: a page over HTTP/2 with a hundred fetches at
//! once, an upload and a WebSocket, before and after the proxy is replaced.

mod browser;
mod proxy_kit;
mod proxy_parts;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::{Running, Scratch, free_base_port, peer_at, wait_for};
use proxy_kit::{Ca, Leaf};
use proxy_parts::Proxy;
use rcgen::{KeyPair, PublicKeyData as _};

/// A browser starts slowly on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Whoever has this key may be trusted with the page.
fn start_chromium(profile: &Scratch, key: &str, url: &str) -> Running {
    let key = KeyPair::from_pem(key).expect("a key").subject_public_key_info();
    let key = STANDARD.encode(digest(&SHA256, &key));
    let mut command = Command::new(peer_at("chromium/bin/chromium-headless-shell"));
    // Root has no sandbox, and little systems no shared memory.
    command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--ignore-certificate-errors-spki-list={key}"));
    // It stays open, and asks nobody else.
    command.args(["--remote-debugging-port=0", "--disable-background-networking"]);
    Running::spawn(command.env("HOME", profile.path()).arg(url))
}

#[test]
fn chromium_fetches_uploads_and_talks_through_the_proxy_and_its_successor() {
    let again = Arc::new(AtomicBool::new(false));
    let (site, socket) = (browser::site(again.clone()), browser::socket());
    let (port, scratch) = (free_base_port(), Scratch::new("proxy-browser"));
    let [_, key] = Ca::new("browser").issue_to(&scratch, "web", &Leaf::default());
    let key = std::fs::read_to_string(key).expect("read");
    let mut proxy = Proxy::start_in(
        scratch,
        &format!(
            r#"
[[listener]]
name = "web"
address = "127.0.0.1:{port}"
tls = {{ cert = "{{DIR}}/web.crt", key = "{{DIR}}/web.key" }}
[[listener.route]]
name = "socket"
match = {{ path = "/socket" }}
cluster = "socket"
[[listener.route]]
name = "site"
response_headers = {{ set = {{ content-type = "text/html" }} }}
cluster = "site"
[[cluster]]
name = "site"
endpoints = [{{ address = "{{SITE}}" }}]
[[cluster]]
name = "socket"
endpoints = [{{ address = "{{SOCKET}}" }}]
"#
        ),
        &[("SITE", site.address), ("SOCKET", socket)],
    );
    let profile = Scratch::new("chromium");
    let chromium = start_chromium(&profile, &key, &format!("https://127.0.0.1:{port}/"));
    let reports = || {
        let asked = site.asked().into_iter().filter(|asked| asked.head.contains(browser::REPORT));
        let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
        asked.map(|asked| text(asked.body)).collect::<Vec<_>>()
    };
    let expected = r#"{"fetched":100,"uploaded":"3000000","talked":"3,1000 true","spoken":"h2"}"#;
    let check = |count: usize| {
        let all = wait_for("the page to say how it went", LIMIT, || {
            Some(reports()).filter(|all| all.len() >= count)
        });
        assert_eq!(all, vec![expected; count], "{}", chromium.printed());
    };
    check(1);
    // The page asks whether to do it again all the while.
    let mut old = proxy.replace();
    assert!(old.wait(LIMIT).success(), "{}", old.printed());
    again.store(true, Ordering::SeqCst);
    check(2);
}
