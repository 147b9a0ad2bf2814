//! What operators see and say: the access log, readiness, and a drain by their
//! page.

mod proxy_parts;

use std::{
    fs,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use e2e::{free_base_port, request, wait_for};
use proxy_parts::{Act, Origin, Proxy};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

const WEB: &str = r#"
admin = { listen = "127.0.0.1:{PORT}" }
access_log = { path = "{DIR}/access.log" }
[limits]
threads = 2
[[listener]]
name = "web"
address = "127.0.0.1:0"
[[listener.route]]
name = "pay"
match = { path_prefix = "/pay" }
cluster = "bank"
[[cluster]]
name = "bank"
endpoints = [{ address = "{BANK}" }]
"#;

/// Lines of the log, parsed.
fn lines(proxy: &Proxy) -> Vec<Value> {
    let text = fs::read_to_string(proxy.folder().join("access.log")).expect("it is there");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn a_drain_is_seen_ends_what_is_under_way_and_leaves_a_whole_log() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let bank = Origin::start(move |asked| {
        if asked.head.starts_with("POST /pay/slow ") {
            wait_for("the gate", LIMIT, || gate.load(Ordering::SeqCst).then_some(()));
        }
        Act::Answer(200, "paid".into())
    });
    let admin = free_base_port();
    let text = WEB.replace("{PORT}", &admin.to_string());
    let mut proxy = Proxy::start(&text, &[("BANK", bank.address)]);
    let port = proxy.port("web");
    assert_eq!(request(admin, "GET", "/ready", &[], b"").status, 200);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("traceparent: 00-{trace}-b7ad6b7169203331-01");
    for _ in 0..50 {
        let answer = request(port, "GET", "/pay?n=1", &["x-request-id: r-1", &traceparent], b"");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(request(port, "GET", "/none", &[], b"").status, 404);
    let slow = thread::spawn(move || request(port, "POST", "/pay/slow", &[], b"x"));
    wait_for("the slow request", LIMIT, || (bank.asked().len() == 51).then_some(()));

    assert_eq!(request(admin, "POST", "/nothing", &[], b"").status, 404);
    assert_eq!(request(admin, "GET", "/drain", &[], b"").status, 405);
    assert_eq!(request(admin, "POST", "/drain", &[], b"").status, 202);
    wait_for("readiness to end", LIMIT, || {
        let ready = request(admin, "GET", "/ready", &[], b"");
        (ready.status == 503 && ready.body == "draining\n").then_some(())
    });
    assert_eq!(request(admin, "GET", "/live", &[], b"").status, 200);
    wait_for("nobody to be let in", LIMIT, || TcpStream::connect(("127.0.0.1", port)).err());
    open.store(true, Ordering::SeqCst);
    let answer = slow.join().expect("answered");
    assert_eq!((answer.status, &*answer.body), (200, "paid"));
    assert!(proxy.process.wait(LIMIT).success());

    let lines = lines(&proxy);
    assert_eq!(lines.len(), 52, "none is lost at the end");
    let first = &lines[0];
    assert_eq!(first["endpoint"], json!(bank.address.to_string()));
    let said = ["method", "path", "route", "status", "tries", "request_id", "trace_id"];
    assert_eq!(
        json!(said.map(|name| &first[name])),
        json!(["GET", "/pay?n=1", "pay", 200, 1, "r-1", trace])
    );
    let none = lines.iter().find(|line| line["path"] == "/none").expect("logged too");
    assert_eq!((&none["route"], &none["status"]), (&Value::Null, &json!(404)));
    assert_eq!(lines[51]["path"], "/pay/slow", "when it ended, not when it began");
}
