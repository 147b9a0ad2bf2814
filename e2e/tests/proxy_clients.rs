//! The field's own load generators at `polis proxy run`, while its
//! configuration or the proxy itself is replaced: every request is answered.

mod proxy_kit;
mod proxy_parts;

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{Running, Scratch, free_base_port, peer_at, request, wait_for};
use proxy_kit::{Ca, Leaf};
use proxy_parts::{Act, Origin, Proxy};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(60);
/// Of one run of h2load.
const REQUESTS: usize = 1_200;
/// After so many the origin waits until what is to happen has happened.
const BEFORE: usize = 300;

/// An origin that counts, and that answers only so many until it is told.
struct Counted {
    address: SocketAddr,
    come: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
}

// === impl Counted ===

impl Counted {
    fn start(name: &'static str, open: bool) -> Counted {
        let (come, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(open)));
        let origin = {
            let (come, open) = (come.clone(), open.clone());
            Origin::start(move |asked| {
                // What the test asks itself is neither counted nor held.
                if asked.head.contains(" /load ")
                    && come.fetch_add(1, Ordering::SeqCst) >= BEFORE
                    && !open.load(Ordering::SeqCst)
                {
                    wait_for("the origin's leave", LIMIT, || {
                        open.load(Ordering::SeqCst).then_some(())
                    });
                }
                Act::Answer(200, name.into())
            })
        };
        Counted { address: origin.address, come, open }
    }

    fn come(&self) -> usize {
        self.come.load(Ordering::SeqCst)
    }
}

/// Two origins and a proxy, plain and with TLS, that asks the first of them.
struct Place {
    blue: Counted,
    green: Counted,
    proxy: Proxy,
    port: u16,
}

// === impl Place ===

impl Place {
    fn new() -> Place {
        let (blue, green) = (Counted::start("blue", false), Counted::start("green", true));
        let (port, scratch) = (free_base_port(), Scratch::new("proxy-clients"));
        Ca::new("clients").issue_to(&scratch, "web", &Leaf::default());
        let origins = [("BLUE", blue.address), ("GREEN", green.address)];
        let proxy = Proxy::start_in(scratch, &text(port, "blue"), &origins);
        Place { blue, green, proxy, port }
    }

    fn url(&self, scheme: &str) -> String {
        let port = if scheme == "https" { self.port + 1 } else { self.port };
        format!("{scheme}://127.0.0.1:{port}/load")
    }

    /// With requests under way: all later ones go to the other origin.
    fn turn_green(&self) {
        self.wait_until_held();
        let origins = [("BLUE", self.blue.address), ("GREEN", self.green.address)];
        self.proxy.rewrite(&text(self.port, "green"), &origins);
        wait_for("the new configuration", LIMIT, || {
            (request(self.port, "GET", "/probe", &[], b"").body == "green").then_some(())
        });
        self.blue.open.store(true, Ordering::SeqCst);
    }

    fn wait_until_held(&self) {
        wait_for("load", LIMIT, || (self.blue.come() > BEFORE).then_some(()));
    }

    /// With requests under way at the one that goes.
    fn replace(&mut self) -> Running {
        self.wait_until_held();
        let old = self.proxy.replace();
        self.blue.open.store(true, Ordering::SeqCst);
        old
    }
}

/// One thread carries all: once one request takes the new way, all do.
fn text(port: u16, cluster: &str) -> String {
    let tls = port + 1;
    let route =
        format!("[[listener.route]]\nname = \"all\"\ntimeout = \"60s\"\ncluster = \"{cluster}\"");
    format!(
        r#"
[limits]
threads = 1
drain_timeout = "60s"
[[listener]]
name = "plain"
address = "127.0.0.1:{port}"
{route}
[[listener]]
name = "tls"
address = "127.0.0.1:{tls}"
tls = {{ cert = "{{DIR}}/web.crt", key = "{{DIR}}/web.key" }}
{route}
[[cluster]]
name = "blue"
endpoints = [{{ address = "{{BLUE}}" }}]
[[cluster]]
name = "green"
endpoints = [{{ address = "{{GREEN}}" }}]
"#
    )
}

/// What `h2load` counts: asked for, answered well, with a status of 2xx.
#[derive(Debug, PartialEq)]
struct Counts {
    total: usize,
    succeeded: usize,
    failed: usize,
    timeout: usize,
    good: usize,
}

// === impl Counts ===

impl Counts {
    /// Out of `requests: 10 total, 10 started, …` and `status codes: 10 2xx, …`.
    fn of(printed: &str) -> Counts {
        let number = |line: &str, name: &str| {
            let line = printed.lines().find_map(|printed| printed.strip_prefix(line));
            let part = line.and_then(|line| line.split(", ").find(|part| part.ends_with(name)));
            let digits = part.and_then(|part| part.split_whitespace().next()?.parse().ok());
            digits.unwrap_or_else(|| panic!("no {name} in {printed}"))
        };
        Counts {
            total: number("requests: ", " total"),
            succeeded: number("requests: ", " succeeded"),
            failed: number("requests: ", " failed"),
            timeout: number("requests: ", " timeout"),
            good: number("status codes: ", " 2xx"),
        }
    }

    fn all_good(count: usize) -> Counts {
        Counts { total: count, succeeded: count, failed: 0, timeout: 0, good: count }
    }
}

fn h2load(args: &[&str], url: &str) -> Running {
    let mut command = Command::new(peer_at("nghttp2/bin/h2load"));
    command.args(["-n", &REQUESTS.to_string(), "-c", "4"]).args(args).arg(url);
    Running::spawn(&mut command)
}

fn check_h2load_under_a_new_configuration(scheme: &str, args: &[&str]) {
    let place = Place::new();
    let mut load = h2load(args, &place.url(scheme));
    place.turn_green();
    assert!(load.wait(LIMIT).success(), "{}", load.printed());
    assert_eq!(Counts::of(&load.printed()), Counts::all_good(REQUESTS), "{}", load.printed());
    let (blue, green) = (place.blue.come(), place.green.come());
    assert_eq!(blue + green, REQUESTS, "none was asked twice");
    assert!(blue > BEFORE && green > 0, "{blue} before and {green} after");
}

#[test]
fn h2load_fails_no_request_of_http_2_when_the_configuration_changes() {
    check_h2load_under_a_new_configuration("http", &["-m", "20"]);
}

#[test]
fn h2load_fails_no_request_of_http_2_over_tls_when_the_configuration_changes() {
    check_h2load_under_a_new_configuration("https", &["-m", "20"]);
}

#[test]
fn h2load_fails_no_request_of_http_1_when_the_configuration_changes() {
    check_h2load_under_a_new_configuration("http", &["--h1"]);
    check_h2load_under_a_new_configuration("https", &["--h1"]);
}

#[test]
fn h2load_fails_no_upload_when_the_configuration_changes() {
    let scratch = Scratch::new("upload");
    let body = scratch.join("body");
    std::fs::write(&body, vec![b'x'; 20_000]).expect("write");
    let body = body.display().to_string();
    check_h2load_under_a_new_configuration("https", &["-m", "8", "-d", &body]);
}

/// A connection of HTTP/2 ends with what has begun on it; h2load makes no other.
#[test]
fn h2load_has_all_that_it_began_answered_when_the_proxy_is_replaced() {
    for scheme in ["http", "https"] {
        let mut place = Place::new();
        let mut load = h2load(&["-m", "20"], &place.url(scheme));
        let mut old = place.replace();
        assert!(load.wait(LIMIT).success(), "{}", load.printed());
        let counts = Counts::of(&load.printed());
        let answered = place.blue.come();
        assert!(answered > BEFORE, "{answered}");
        assert_eq!((counts.succeeded, counts.good), (answered, answered), "{}", load.printed());
        assert!(old.wait(LIMIT).success(), "{}", old.printed());
    }
}

#[test]
fn h2load_fails_no_request_of_http_1_when_the_proxy_is_replaced() {
    for scheme in ["http", "https"] {
        let mut place = Place::new();
        let mut load = h2load(&["--h1"], &place.url(scheme));
        let mut old = place.replace();
        assert!(load.wait(LIMIT).success(), "{}", load.printed());
        assert_eq!(Counts::of(&load.printed()), Counts::all_good(REQUESTS), "{}", load.printed());
        assert_eq!(place.blue.come(), REQUESTS, "none was asked twice");
        assert!(old.wait(LIMIT).success(), "{}", old.printed());
    }
}

/// Everything at once: a new proxy, then a new configuration.
#[test]
fn wrk_fails_no_request_when_the_proxy_and_its_configuration_are_replaced() {
    const CONNECTIONS: usize = 8;
    for scheme in ["http", "https"] {
        let mut place = Place::new();
        let mut command = Command::new(peer_at("wrk/bin/wrk"));
        // It is told to end long before.
        command.args(["--threads", "1", "--duration", "600s", "--timeout", "60s"]);
        command.args(["--connections", &CONNECTIONS.to_string(), &place.url(scheme)]);
        let mut load = Running::spawn(&mut command);
        let mut old = place.replace();
        assert!(old.wait(LIMIT).success(), "{}", old.printed());
        let before = place.blue.come();
        wait_for("load to go on", LIMIT, || (place.blue.come() > before + BEFORE).then_some(()));
        place.turn_green();
        wait_for("load elsewhere", LIMIT, || (place.green.come() > BEFORE).then_some(()));
        load.signal(Signal::INT);
        assert!(load.wait(LIMIT).success(), "{}", load.printed());
        let printed = load.printed();
        assert!(!printed.contains("Socket errors") && !printed.contains("Non-2xx"), "{printed}");
        let line = printed.lines().find_map(|line| line.trim().split_once(" requests in "));
        let counted: usize =
            line.and_then(|(count, _)| count.parse().ok()).expect("it says how many");
        let come = place.blue.come() + place.green.come();
        // Those that were under way at its end it does not count.
        assert!((come - CONNECTIONS..=come).contains(&counted), "{counted} of {come}: {printed}");
    }
}

/// Whatever a client may do with frames, the request is the same.
#[test]
fn nghttp_is_answered_however_it_puts_its_frames() {
    const BODY: usize = 70_000;
    let scratch = Scratch::new("nghttp");
    let body = scratch.join("body");
    std::fs::write(&body, vec![b'x'; BODY]).expect("write");
    let body = body.display().to_string();
    let (scratch, port) = (Scratch::new("proxy-clients"), free_base_port());
    Ca::new("clients").issue_to(&scratch, "web", &Leaf::default());
    let origin = Origin::start(|asked| {
        let large = asked.header("continuation-test-1").map_or(0, str::len);
        Act::Answer(200, format!("[{} and {large}]", asked.body.len()))
    });
    let origins = [("BLUE", origin.address), ("GREEN", origin.address)];
    let _proxy = Proxy::start_in(scratch, &text(port, "blue"), &origins);
    let check = |args: &[&str], expected: &str| {
        for url in [format!("http://127.0.0.1:{port}/"), format!("https://127.0.0.1:{}/", port + 1)]
        {
            let mut command = Command::new(peer_at("nghttp2/bin/nghttp"));
            command.args(["--no-verify-peer", "--timeout=60s"]).args(args).arg(&url);
            let output = command.output().expect("run nghttp");
            let seen = String::from_utf8_lossy(&output.stdout);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && seen == expected, "{args:?} {url}: {seen}{said}");
        }
    };
    let uploaded = format!("[{BODY} and 0]");
    check(&["--multiply=100"], &"[0 and 0]".repeat(100));
    check(&["--peer-max-concurrent-streams=1", "--multiply=5"], &"[0 and 0]".repeat(5));
    check(&["--padding=200", "--data", &body], &uploaded);
    check(&["--header-table-size=0", "--multiply=5"], &"[0 and 0]".repeat(5));
    check(&["--header-table-size=65536", "--multiply=5"], &"[0 and 0]".repeat(5));
    check(&["--encoder-header-table-size=0", "--multiply=5"], &"[0 and 0]".repeat(5));
    check(&["--data", &body, "--trailer=x-sum: 1"], &uploaded);
    check(&["--data", &body, "--no-content-length"], &uploaded);
    check(&["--data", &body, "--expect-continue"], &uploaded);
    check(&["--data", &body, "--window-bits=10", "--connection-window-bits=12"], &uploaded);
    check(&["--no-rfc7540-pri"], "[0 and 0]");
    check(&["--continuation"], "[0 and 4096]");
}
