//! Locks and elections: etcdctl, which contends by itself in etcd's layout,
//! and the store's own services, for the same things.

use std::{net::SocketAddr, time::Duration};

use e2e::{Running, Scratch, etcdctl, etcdctl_until, free_base_port, request};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

struct Store {
    address: SocketAddr,
    _process: Running,
    _data: Scratch,
}

// === impl Store ===

impl Store {
    fn start(name: &str) -> Store {
        let data = Scratch::new(name);
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let folder = data.join("data").display().to_string();
        let url = format!("http://{address}");
        let args = ["store", "--data-dir", &folder, "--listen-client-urls", &url, "--insecure"];
        let mut process = Running::start(&args);
        process.wait_for_line("ready to serve client requests", LIMIT);
        Store { address, _process: process, _data: data }
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        request(self.address.port(), "POST", path, &[], body.to_string().as_bytes()).json()
    }

    fn lease(&self, id: i64) {
        let granted = self.ask("/v3/lease/grant", &json!({"TTL": 3600, "ID": id}));
        assert_eq!(granted["ID"], id.to_string());
    }

    /// Keys below a prefix, which must be given in base64 as its two ends.
    fn keys(&self, key: &str, end: &str) -> usize {
        let found = self.ask("/v3/kv/range", &json!({"key": key, "range_end": end}));
        found["kvs"].as_array().map_or(0, Vec::len)
    }

    fn etcdctl(&self, args: &[&str]) -> String {
        let endpoint = format!("--endpoints=http://{}", self.address);
        let output = etcdctl(&[&[endpoint.as_str()], args].concat());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned()
    }
}

/// `lock` and `lock/` to `lock0` in base64: the keys of the lock.
const LOCK: &str = "bG9jaw==";
const LOCK_KEYS: (&str, &str) = ("bG9jay8=", "bG9jazA=");

#[test]
fn etcdctl_and_the_service_wait_for_each_other() {
    let store = Store::start("lock");
    assert_eq!(store.etcdctl(&["lock", "--ttl=600", "lock", "echo", "held"]), "held");

    store.lease(7);
    let held = store.ask("/v3/lock/lock", &json!({"name": LOCK, "lease": 7}));
    // `lock/7`
    assert_eq!(held["key"], "bG9jay83");
    // Who has it gets it again.
    assert_eq!(store.ask("/v3/lock/lock", &json!({"name": LOCK, "lease": 7}))["key"], "bG9jay83");

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.etcdctl(&["lock", "--ttl=600", "lock", "echo", "mine"]));
        e2e::wait_for("etcdctl to stand in line", LIMIT, || {
            (store.keys(LOCK_KEYS.0, LOCK_KEYS.1) == 2).then_some(())
        });
        assert!(!waiting.is_finished());
        store.ask("/v3/lock/unlock", &json!({"key": "bG9jay83"}));
        assert_eq!(waiting.join().expect("it ended"), "mine");
    });
    assert_eq!(store.keys(LOCK_KEYS.0, LOCK_KEYS.1), 0);
}

#[test]
fn a_caller_that_goes_away_leaves_the_line_and_one_whose_lease_ends_is_told() {
    let store = Store::start("lock-gone");
    for id in [7, 8, 9] {
        store.lease(id);
    }
    store.ask("/v3/lock/lock", &json!({"name": LOCK, "lease": 7}));
    {
        use std::io::Write as _;
        let mut gone = std::net::TcpStream::connect(store.address).expect("connected");
        let body = json!({"name": LOCK, "lease": 8}).to_string();
        let head = format!(
            "POST /v3/lock/lock HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        gone.write_all((head + &body).as_bytes()).expect("sent");
        e2e::wait_for("it to stand in line", LIMIT, || {
            (store.keys(LOCK_KEYS.0, LOCK_KEYS.1) == 2).then_some(())
        });
    }
    e2e::wait_for("it to be out of the line", LIMIT, || {
        (store.keys(LOCK_KEYS.0, LOCK_KEYS.1) == 1).then_some(())
    });
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| store.ask("/v3/lock/lock", &json!({"name": LOCK, "lease": 9})));
        e2e::wait_for("the third to stand in line", LIMIT, || {
            (store.keys(LOCK_KEYS.0, LOCK_KEYS.1) == 2).then_some(())
        });
        store.ask("/v3/lease/revoke", &json!({"ID": 9}));
        store.ask("/v3/lease/revoke", &json!({"ID": 7}));
        let told = waiting.join().expect("it ended");
        assert_eq!(told["message"], "mutex: session is expired");
    });
}

#[test]
fn etcdctl_and_the_service_elect_one_leader() {
    let store = Store::start("elect");
    store.lease(7);
    let name = "ZWxlY3Rpb24=";
    let elected =
        store.ask("/v3/election/campaign", &json!({"name": name, "lease": 7, "value": "b25l"}));
    let leader = &elected["leader"];
    assert_eq!(leader["key"], "ZWxlY3Rpb24vNw==");
    let endpoint = format!("--endpoints=http://{}", store.address);
    let seen = etcdctl_until(&[&endpoint, "elect", "-l", "election"], "one\n", LIMIT);
    assert_eq!(seen, "election/7\none\n");
    store.ask("/v3/election/proclaim", &json!({"leader": leader, "value": "dHdv"}));
    assert_eq!(store.ask("/v3/election/leader", &json!({"name": name}))["kv"]["value"], "dHdv");

    std::thread::scope(|scope| {
        let campaign = scope
            .spawn(|| etcdctl_until(&[&endpoint, "elect", "election", "three"], "three\n", LIMIT));
        e2e::wait_for("a second candidate", LIMIT, || {
            // `election/` to `election0`
            (store.keys("ZWxlY3Rpb24v", "ZWxlY3Rpb24w") == 2).then_some(())
        });
        assert!(!campaign.is_finished());
        store.ask("/v3/election/resign", &json!({"leader": leader}));
        assert!(campaign.join().expect("elected").ends_with("three\n"));
    });
    let stale = store.ask("/v3/election/proclaim", &json!({"leader": leader, "value": "eA=="}));
    assert_eq!(stale["message"], "election: not leader");
}
