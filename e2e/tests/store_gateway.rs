//! The JSON gateway and the pages beside those of a real etcd: the same
//! requests to both.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use e2e::{Etcd, Running, Scratch, free_base_port, request};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

struct Pair {
    ours: SocketAddr,
    etcd: Etcd,
    store: Running,
    data: Scratch,
}

// === impl Pair ===

impl Pair {
    fn start(name: &str) -> Pair {
        let etcd = Etcd::start(&format!("{name}-etcd"));
        let data = Scratch::new(name);
        let ours = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let store = start(&data, ours, &[]);
        Pair { ours, etcd, store, data }
    }

    /// Both answer alike, in status and in everything that names no server.
    fn same(&self, path: &str, body: &str) -> Value {
        let [ours, theirs] = [self.ours, self.etcd.address].map(|address| {
            let answer = request(address.port(), "POST", path, &[], body.as_bytes());
            (answer.status, nameless(answer.json()))
        });
        assert_eq!(ours, theirs, "{path} {body}: ours and theirs");
        ours.1
    }
}

fn start(data: &Scratch, address: SocketAddr, more: &[&str]) -> Running {
    let folder = data.join("data").display().to_string();
    let url = format!("http://{address}");
    let args = ["store", "--data-dir", &folder, "--listen-client-urls", &url, "--insecure"];
    let args: Vec<&str> = args.iter().chain(more).copied().collect();
    let mut store = Running::start(&args);
    store.wait_for_line("ready to serve client requests", LIMIT);
    store
}

/// Without ids and terms, and without the seconds that are left of a lease.
fn nameless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => {
            if let Some(granted) = object.get("grantedTTL").cloned() {
                object.insert("TTL".into(), granted);
            }
            for name in ["cluster_id", "member_id", "raft_term"] {
                object.remove(name);
            }
            object.values_mut().for_each(|inner| *inner = nameless(inner.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| *inner = nameless(inner.take())),
        _ => {}
    }
    value
}

/// `n` lines of an answer that goes on.
fn lines(address: SocketAddr, path: &str, body: &str, n: usize) -> Vec<Value> {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: store\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).expect("sent");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    let json = lines.filter(|line| line.starts_with('{'));
    json.take(n).map(|line| nameless(serde_json::from_str(&line).expect("JSON"))).collect()
}

#[test]
fn the_gateway_answers_as_etcd_s() {
    let pair = Pair::start("gateway");
    for (path, body) in [
        ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
        ("/v3/kv/put", r#"{"key":"Zm9vMg==","value":"","prev_kv":true}"#),
        ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmF6","prevKv":true}"#),
        ("/v3/kv/range", r#"{"key":"Zm9v"}"#),
        (
            "/v3/kv/range",
            r#"{"key":"Zm9v","range_end":"AA==","limit":"1","sort_order":"DESCEND","sort_target":"MOD"}"#,
        ),
        ("/v3/kv/range", r#"{"key":"Zm9v","rangeEnd":"AA==","countOnly":true,"what is this":[1]}"#),
        ("/v3/kv/range", r#"{"key":"Zm9v","revision":99}"#),
        ("/v3/kv/range", r#"{"key":""}"#),
        ("/v3/kv/range", ""),
        (
            "/v3/kv/txn",
            r#"{"compare":[{"target":"VERSION","key":"Zm9v","version":"2"}],"success":[{"requestRange":{"key":"Zm9v"}},{"request_put":{"key":"eA==","value":"eQ=="}}]}"#,
        ),
        (
            "/v3/kv/txn",
            r#"{"success":[{"requestPut":{"key":"eA=="}},{"requestPut":{"key":"eA=="}}]}"#,
        ),
        ("/v3/kv/deleterange", r#"{"key":"eA==","prev_kv":true}"#),
        ("/v3/kv/compaction", r#"{"revision":"2"}"#),
        ("/v3/kv/compaction", r#"{"revision":"1"}"#),
        ("/v3/lease/grant", r#"{"TTL":"100","ID":7}"#),
        ("/v3/lease/grant", r#"{"TTL":"100","ID":7}"#),
        ("/v3/lease/timetolive", r#"{"ID":7,"keys":true}"#),
        ("/v3/kv/lease/timetolive", r#"{"ID":8}"#),
        ("/v3/lease/leases", "{}"),
        ("/v3/lease/revoke", r#"{"ID":"8"}"#),
        ("/v3/lock/lock", r#"{"name":"bA==","lease":99}"#),
        ("/v3/lock/lock", r#"{"name":"bA==","lease":7}"#),
        ("/v3/lock/unlock", r#"{"key":"bC83"}"#),
        ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
        ("/v3/election/campaign", r#"{"name":"ZQ==","lease":"7","value":"bWU="}"#),
        ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
        ("/v3/election/proclaim", r#"{"value":"eW91"}"#),
        ("/v3/election/resign", r#"{"leader":{"name":"ZQ==","key":"ZS83","rev":"9","lease":"7"}}"#),
        ("/v3/lease/revoke", r#"{"ID":"7"}"#),
        ("/v3/auth/status", "{}"),
        ("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#),
        ("/v3/auth/user/list", ""),
        ("/v3/maintenance/alarm", "{}"),
    ] {
        pair.same(path, body);
    }
    for body in ["{bad", r#"{"key":7}"#] {
        let refused = request(pair.ours.port(), "POST", "/v3/kv/range", &[], body.as_bytes());
        assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!(3)), "{body}");
    }
    assert_eq!(request(pair.ours.port(), "POST", "/v3/kv/nothing", &[], b"{}").status, 404);
    assert_eq!(request(pair.ours.port(), "GET", "/v3/kv/range", &[], b"").status, 405);
}

#[test]
fn streams_come_line_by_line() {
    let pair = Pair::start("gateway-streams");
    pair.same("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#);
    pair.same("/v3/lease/grant", r#"{"TTL":"100","ID":7}"#);
    let same = |path, body, n| {
        let ours = lines(pair.ours, path, body, n);
        assert_eq!(ours, lines(pair.etcd.address, path, body, n), "{path} {body}");
        ours
    };
    let watched = same("/v3/watch", r#"{"create_request":{"key":"Zm9v","start_revision":"1"}}"#, 2);
    assert_eq!(watched[1]["result"]["events"][0]["kv"]["value"], "YmFy");
    let alive = same("/v3/lease/keepalive", r#"{"ID":7} {"ID":"8"}"#, 2);
    assert_eq!(alive[0]["result"]["TTL"], "100");
    pair.same("/v3/election/campaign", r#"{"name":"ZQ==","lease":"7","value":"bWU="}"#);
    let observed = same("/v3/election/observe", r#"{"name":"ZQ=="}"#, 1);
    assert_eq!(observed[0]["result"]["kv"]["value"], "bWU=");
    let refused = request(pair.ours.port(), "POST", "/v3/watch", &[], b"{x");
    assert_eq!(refused.status, 400);
}

#[test]
fn a_keyspace_is_named_by_a_header() {
    let pair = Pair::start("gateway-keyspace");
    let port = pair.ours.port();
    let keyspace = ["polis-keyspace: other"];
    let put = r#"{"key":"Zm9v","value":"YmFy"}"#;
    assert_eq!(request(port, "POST", "/v3/kv/put", &keyspace, put.as_bytes()).status, 200);
    let get = |headers: &[&str]| {
        let answer = request(port, "POST", "/v3/kv/range", headers, br#"{"key":"Zm9v"}"#);
        answer.json()["count"].clone()
    };
    assert_eq!((get(&keyspace), get(&[])), (json!("1"), Value::Null));
}

#[test]
fn probes_and_figures_have_etcd_s_names() {
    let mut pair = Pair::start("gateway-pages");
    let get = |path: &str| {
        let answer = request(pair.ours.port(), "GET", path, &[], b"");
        (answer.status, answer.body)
    };
    let healthy = (200, r#"{"health":"true","reason":""}"#.to_owned());
    assert_eq!(get("/health"), healthy);
    assert_eq!(get("/health?serializable=true&exclude=NOSPACE"), healthy);
    let theirs = request(pair.etcd.address.port(), "GET", "/health", &[], b"");
    assert_eq!((theirs.status, theirs.body), healthy);
    assert_eq!(get("/livez"), (200, "ok\n".into()));
    assert_eq!(get("/livez?verbose"), (200, "[+]serializable_read ok\nok\n".into()));
    assert_eq!(get("/readyz/linearizable_read"), (200, "ok\n".into()));
    let (_, verbose) = get("/readyz?verbose&exclude=non_learner");
    assert_eq!(
        verbose,
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n"
    );
    assert_eq!(get("/livez/non_learner").0, 404);
    assert_eq!(request(pair.ours.port(), "POST", "/health", &[], b"").status, 405);
    assert!(get("/version").1.contains(r#""etcdserver":"3."#));
    assert_eq!(get("/debug/vars").0, 200);

    // Every figure that we name like etcd is one that etcd has.
    let figures = |page: &str| -> Vec<String> {
        let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        kinds.map(str::to_owned).collect()
    };
    let theirs = request(pair.etcd.address.port(), "GET", "/metrics", &[], b"").body;
    let theirs = figures(&theirs);
    let (_, ours) = get("/metrics");
    let newer = ["etcd_server_healthcheck", "etcd_server_healthchecks_total"];
    let strange: Vec<_> = figures(&ours)
        .into_iter()
        .filter(|figure| !figure.starts_with("polis_") && !theirs.contains(figure))
        .filter(|figure| !newer.iter().any(|newer| figure.starts_with(newer)))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");

    // A port of its own for whoever scrapes.
    let metrics = free_base_port();
    pair.store.signal(rustix::process::Signal::TERM);
    pair.store.wait(LIMIT);
    let url = format!("--listen-metrics-urls=http://127.0.0.1:{metrics}");
    let second = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
    let both = format!("--listen-client-urls=http://{},http://{second}", pair.ours);
    let folder = pair.data.join("data").display().to_string();
    let mut store = Running::start(&["store", "--data-dir", &folder, &both, &url, "--insecure"]);
    store.wait_for_line("ready to serve client requests", LIMIT);
    assert_eq!(request(metrics, "GET", "/health", &[], b"").status, 200);
    assert!(
        request(metrics, "GET", "/metrics", &[], b"").body.contains("etcd_server_has_leader 1")
    );
    assert_eq!(request(metrics, "POST", "/v3/kv/range", &[], br#"{"key":"YQ=="}"#).status, 405);
    assert_eq!(
        request(second.port(), "POST", "/v3/kv/range", &[], br#"{"key":"YQ=="}"#).status,
        200
    );
}

#[test]
fn flags_come_from_a_file_and_the_environment_and_etcd_s_own_are_known() {
    let data = Scratch::new("store-flags");
    let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
    let file = data.join("store.toml");
    let folder = data.join("data");
    let text = format!(
        "name = 'from-file'\ndata-dir = '{}'\nlisten-client-urls = ['http://{address}']\ninsecure = true\n\
         advertise-client-urls = ['http://store.example:2379']\nmax-txn-ops = 1\n",
        folder.display()
    );
    std::fs::write(&file, text).expect("written");
    let mut store = Running::spawn(
        Command::new(e2e::polis())
            .args(["store", "--snapshot-count=5", "--heartbeat-interval", "100", "--config-file"])
            .arg(&file)
            .env("POLIS_STORE_MAX_TXN_OPS", "2"),
    );
    store.wait_for_line("ready to serve client requests", LIMIT);
    store.wait_for_line("--snapshot-count is etcd's and means nothing here", LIMIT);
    let members = request(address.port(), "POST", "/v3/cluster/member/list", &[], b"").json();
    assert_eq!(members["members"][0]["name"], "from-file");
    assert_eq!(members["members"][0]["clientURLs"], json!(["http://store.example:2379"]));
    let get = r#"{"requestRange":{"key":"YQ=="}}"#;
    let txn = |n: usize| {
        let body = format!(r#"{{"success":[{}]}}"#, vec![get; n].join(","));
        request(address.port(), "POST", "/v3/kv/txn", &[], body.as_bytes()).status
    };
    assert_eq!((txn(2), txn(3)), (200, 400));

    let refused = e2e::run(&["store", "--data-dir=x", "--insecure", "--wal-dir=/elsewhere"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("the log is in --data-dir"), "{text}");
    let version = e2e::run(&["store", "--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains("etcd Version: 3."));
}
