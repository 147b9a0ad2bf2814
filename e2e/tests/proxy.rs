//! `polis proxy run` between curl and origins that behave as the test wants.

mod proxy_parts;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
};

use e2e::{request, wait_for};
use proxy_parts::{Act, LIMIT, Origin, Proxy, curl, raw};

/// One listener `web`, whose routes and clusters are the test's.
fn web(rest: &str) -> String {
    format!("[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n{rest}")
}

#[test]
fn requests_go_where_their_key_says_in_both_versions_of_http() {
    let (blue, green) = (Origin::named("blue"), Origin::named("green"));
    let proxy = Proxy::start(
        &web(r#"
[[listener.route]]
name = "by-header"
match = { path_prefix = "/h" }
key = { header = "polis-uid", cookie = "uid", query = "uid", slice = [-1, 0] }
map = "users"
request_headers = { set = { x-stamp = "1" }, remove = ["x-secret"] }
response_headers = { set = { x-via = "polis" } }
[[listener.route]]
name = "by-body"
match = { path_prefix = "/b", methods = ["POST"] }
key = { json_field = "payer.id" }
map = "users"
[[listener.route]]
name = "here"
match = { path = "/here" }
respond = { status = 418, body = "short and stout" }
[[map]]
name = "users"
entries = { "1" = "green", "2" = "blue" }
[[cluster]]
name = "blue"
endpoints = [{ address = "{BLUE}" }]
[[cluster]]
name = "green"
endpoints = [{ address = "{GREEN}" }]
"#),
        &[("BLUE", blue.address), ("GREEN", green.address)],
    );
    let url = |path: &str| format!("http://{}{path}", proxy.address("web"));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let check = |args: &[&str], path: &str, expected: &str| {
            let mut all = vec![version];
            all.extend(args);
            let url = url(path);
            all.push(&url);
            let (_, seen) = curl(&all);
            assert!(seen.contains(expected), "{version} {args:?} {path}: {seen}");
        };
        check(&["-H", "polis-uid: 2088001"], "/h", "green GET /h HTTP/1.1 0");
        check(&["-b", "a=b; uid=22"], "/h/x?y=z", "blue GET /h/x?y=z HTTP/1.1 0");
        check(&[], "/h?uid=1", "green GET");
        check(&["-H", "polis-uid: 3"], "/h", "PLS0432");
        check(&[], "/hello", "PLS0430");
        check(&["-d", r#"{"payer":{"id":1}}"#], "/b", "green POST /b HTTP/1.1 18");
        check(
            &["-d", r#"{"payer":{"id":2}}"#, "-H", "transfer-encoding: chunked"],
            "/b",
            "blue POST /b",
        );
        check(&["-d", "no json"], "/b", "PLS0432");
        check(&["-i"], "/here", "short and stout");
        check(&["-i", "-H", "polis-uid: 1"], "/h", "x-via: polis");
        check(&["-I", "-H", "polis-uid: 1"], "/h", "200");
    }
    let (_, seen) = curl(&[
        "-H",
        "x-secret: s",
        "-H",
        "polis-uid: 1",
        "-H",
        "x-forwarded-for: 9.9.9.9",
        &url("/h"),
    ]);
    assert!(seen.contains("green"), "{seen}");
    let asked = green.asked().pop().expect("it was asked");
    assert_eq!((asked.header("x-stamp"), asked.header("x-secret")), (Some("1"), None));
    assert_eq!(asked.header("x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(asked.header("traceparent").map(str::len), Some(55));
    assert_eq!(asked.header("x-request-id").map(str::len), Some(32));
}

#[test]
fn large_bodies_pass_both_ways_in_both_versions() {
    let echo =
        Origin::start(|asked| Act::Answer(200, String::from_utf8_lossy(&asked.body).into_owned()));
    let proxy = Proxy::start(
        &web(r#"
[[listener.route]]
name = "all"
cluster = "echo"
[[cluster]]
name = "echo"
endpoints = [{ address = "{ECHO}" }]
"#),
        &[("ECHO", echo.address)],
    );
    let body: String = (0..400_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let file = proxy.folder().join("body");
    std::fs::write(&file, &body).expect("write");
    let data = format!("@{}", file.display());
    let url = format!("http://{}/", proxy.address("web"));
    for args in [
        vec!["--http1.1"],
        vec!["--http1.1", "-H", "transfer-encoding: chunked"],
        vec!["--http1.1", "-H", "expect: 100-continue"],
        vec!["--http1.0"],
        vec!["--http2-prior-knowledge"],
        vec!["--http2-prior-knowledge", "-H", "content-length:"],
    ] {
        let mut all = args.clone();
        all.extend(["--data-binary", &data, &url]);
        let (good, seen) = curl(&all);
        assert!(good && seen == body, "{args:?}: {} bytes", seen.len());
    }
}

#[test]
fn what_was_not_seen_is_tried_elsewhere_and_what_may_not_is_told_as_unknown() {
    let dead = SocketAddr::from(([127, 0, 0, 1], e2e::free_base_port()));
    let alive = Origin::named("alive");
    let rude = Origin::start(|_| Act::HangUp);
    let busy = AtomicU32::new(0);
    let flaky = Origin::start(move |_| match busy.fetch_add(1, Ordering::SeqCst) % 3 {
        0 | 1 => Act::Answer(503, "busy".into()),
        _ => Act::Answer(200, "well".into()),
    });
    let babble = Origin::start(|_| {
        Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx".to_vec())
    });
    let proxy = Proxy::start(
        &web(r#"
[[listener.route]]
name = "pair"
match = { path_prefix = "/pair" }
cluster = "pair"
[[listener.route]]
name = "rude"
match = { path_prefix = "/rude" }
retry = { attempts = 2 }
cluster = "rude"
[[listener.route]]
name = "flaky"
match = { path_prefix = "/flaky" }
retry = { attempts = 2, on = [503] }
mirror = { cluster = "alive" }
cluster = "flaky"
[[listener.route]]
name = "broke"
match = { path_prefix = "/broke" }
retry = { attempts = 9, on = [503], budget_percent = 0, budget_min = 0 }
cluster = "flaky"
[[listener.route]]
name = "babble"
match = { path_prefix = "/babble" }
cluster = "babble"
[[cluster]]
name = "pair"
balance = "round-robin"
endpoints = [{ address = "{DEAD}" }, { address = "{ALIVE}" }]
[[cluster]]
name = "alive"
endpoints = [{ address = "{ALIVE}" }]
[[cluster]]
name = "rude"
endpoints = [{ address = "{RUDE}" }]
[[cluster]]
name = "flaky"
endpoints = [{ address = "{FLAKY}" }]
[[cluster]]
name = "babble"
endpoints = [{ address = "{BABBLE}" }]
"#),
        &[
            ("DEAD", dead),
            ("ALIVE", alive.address),
            ("RUDE", rude.address),
            ("FLAKY", flaky.address),
            ("BABBLE", babble.address),
        ],
    );
    let port = proxy.port("web");
    for _ in 0..6 {
        let answer = request(port, "POST", "/pair", &[], b"body");
        assert_eq!((answer.status, answer.body.contains("alive")), (200, true), "{answer:?}");
    }
    // Sent and not answered: a POST once, a GET as often as the route says.
    let answer = request(port, "POST", "/rude", &[], b"pay");
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("PLS0435") && answer.body.contains("unknown"), "{answer:?}");
    assert_eq!(rude.asked().len(), 1);
    assert_eq!(request(port, "GET", "/rude", &[], b"").status, 502);
    assert_eq!(rude.asked().len(), 4, "one and two more");
    assert_eq!(request(port, "POST", "/rude", &["idempotency-key: k"], b"pay").status, 502);
    assert_eq!(rude.asked().len(), 7);
    assert!(
        rude.asked()[4..].iter().all(|asked| asked.body == b"pay"),
        "the body is sent again whole"
    );
    // An answer that counts as a failure.
    assert_eq!(request(port, "GET", "/flaky", &[], b"").body, "well");
    assert_eq!(flaky.asked().len(), 3, "as often as the route says");
    // Where it may not be tried again the service's own answer counts, even of a
    // body that is kept.
    let answer = request(port, "POST", "/flaky", &[], b"x");
    assert_eq!((answer.status, &*answer.body), (503, "busy"), "it is not idempotent");
    let answer = request(port, "GET", "/broke", &[], b"");
    assert_eq!((answer.status, &*answer.body), (503, "busy"), "there is no budget");
    assert_eq!(flaky.asked().len(), 5);
    let answer = request(port, "GET", "/babble", &[], b"");
    assert_eq!((answer.status, answer.body.contains("PLS0439")), (502, true), "{answer:?}");
}

#[test]
fn breakers_limits_deadlines_and_faults_answer_for_the_service() {
    let (open, gate) = (Arc::new(AtomicBool::new(false)), AtomicU32::new(0));
    let slow = {
        let open = open.clone();
        Origin::start(move |_| {
            gate.fetch_add(1, Ordering::SeqCst);
            wait_for("the gate", LIMIT, || open.load(Ordering::SeqCst).then_some(()));
            Act::Answer(200, "late".into())
        })
    };
    let quick = Origin::named("quick");
    let proxy = Proxy::start(
        &web(r#"
[[listener.route]]
name = "slow"
match = { path_prefix = "/slow" }
timeout = "60s"
cluster = "slow"
[[listener.route]]
name = "impatient"
match = { path_prefix = "/impatient" }
timeout = "2s"
cluster = "free"
[[listener.route]]
name = "limited"
match = { path_prefix = "/limited" }
key = { header = "polis-uid" }
rate_limit = { requests = 1, per = "1h", by = "key" }
cluster = "quick"
[[listener.route]]
name = "faulty"
match = { path_prefix = "/faulty" }
fault = { abort = { status = 503 } }
cluster = "quick"
[[listener.route]]
name = "moved"
match = { path_prefix = "/moved" }
redirect = { to = "https://elsewhere.example{path}", status = 308 }
[[listener.route]]
name = "quick"
mirror = { cluster = "mirror" }
cluster = "quick"
[[cluster]]
name = "slow"
limits = { requests = 1 }
endpoints = [{ address = "{SLOW}" }]
[[cluster]]
name = "free"
endpoints = [{ address = "{SLOW}" }]
[[cluster]]
name = "quick"
endpoints = [{ address = "{QUICK}" }]
[[cluster]]
name = "mirror"
endpoints = [{ address = "{MIRROR}" }]
"#),
        &[("SLOW", slow.address), ("QUICK", quick.address), ("MIRROR", slow.address)],
    );
    let port = proxy.port("web");
    let first = std::thread::spawn(move || request(port, "GET", "/slow", &[], b""));
    wait_for("the first to be there", LIMIT, || (!slow.asked().is_empty()).then_some(()));
    let second = request(port, "GET", "/slow", &[], b"");
    assert_eq!((second.status, second.body.contains("PLS0433")), (503, true), "{second:?}");
    let late = request(port, "GET", "/impatient", &[], b"");
    assert_eq!((late.status, late.body.contains("PLS0436")), (504, true), "{late:?}");
    let late = request(port, "GET", "/slow2", &["polis-deadline-ms: 60000"], b"");
    assert_eq!(late.status, 200, "only what is slow is late: {late:?}");
    open.store(true, Ordering::SeqCst);
    assert_eq!(first.join().expect("whole").body, "late");
    let ask = |uid: &str| request(port, "GET", "/limited", &[&format!("polis-uid: {uid}")], b"");
    assert_eq!([ask("1").status, ask("1").status, ask("2").status], [200, 429, 200]);
    assert!(ask("1").head.to_ascii_lowercase().contains("retry-after: "));
    assert!(request(port, "GET", "/faulty", &[], b"").body.contains("PLS0438"));
    let moved = request(port, "GET", "/moved/x?y", &[], b"");
    assert_eq!(
        (moved.status, moved.head.contains("location: https://elsewhere.example/moved/x?y")),
        (308, true)
    );
    let quick_asked = quick.asked();
    assert_eq!(quick_asked.last().and_then(|asked| asked.header("polis-deadline-ms")), None);
    let _ = request(port, "POST", "/copy", &["polis-deadline-ms: 60000"], b"copied");
    let copy = wait_for("the mirrored copy", LIMIT, || {
        slow.asked().into_iter().find(|asked| asked.body == b"copied")
    });
    assert!(copy.head.starts_with("POST /copy"), "{copy:?}");
    let left = quick
        .asked()
        .pop()
        .and_then(|asked| asked.header("polis-deadline-ms")?.parse::<u64>().ok());
    // The time of the route is nearer.
    assert!(left.is_some_and(|left| (1..=15_000).contains(&left)), "{left:?}");
}

#[test]
fn endpoints_that_fail_are_left_alone_and_come_back() {
    let good = Origin::named("good");
    let ill = Arc::new(AtomicBool::new(true));
    let bad = {
        let ill = ill.clone();
        Origin::start(move |_| match ill.load(Ordering::SeqCst) {
            true => Act::Answer(500, "ill".into()),
            false => Act::Answer(200, "healed".into()),
        })
    };
    let admin = e2e::free_base_port();
    let proxy = Proxy::start(
        &format!(
            "[admin]\nlisten = \"127.0.0.1:{admin}\"\n{}",
            web(r#"
[[listener.route]]
name = "ejecting"
match = { path_prefix = "/eject" }
cluster = "ejecting"
[[listener.route]]
name = "checking"
cluster = "checking"
[[cluster]]
name = "ejecting"
balance = "round-robin"
endpoints = [{ address = "{GOOD}" }, { address = "{BAD}" }]
outlier = { consecutive = 3, base = "1h" }
[[cluster]]
name = "checking"
balance = "round-robin"
endpoints = [{ address = "{GOOD}" }, { address = "{BAD}" }]
health = { path = "/health", interval = "50ms", healthy = 1, unhealthy = 1 }
"#)
        ),
        &[("GOOD", good.address), ("BAD", bad.address)],
    );
    let port = proxy.port("web");
    let statuses: Vec<u16> =
        (0..40).map(|_| request(port, "GET", "/eject", &[], b"").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 3, "{statuses:?}");
    assert!(proxy.page(admin, "/clusters").contains("\"ejected\": true"));
    let all_good = || (0..6).all(|_| request(port, "GET", "/check", &[], b"").status == 200);
    wait_for("the ill one to be known", LIMIT, || all_good().then_some(()));
    ill.store(false, Ordering::SeqCst);
    wait_for("the healed one to be asked", LIMIT, || {
        (request(port, "GET", "/check", &[], b"").body == "healed").then_some(())
    });
    // A request is counted once its answer has gone out.
    wait_for("the failures to be counted", LIMIT, || {
        let counted =
            "polis_proxy_requests_total{listener=\"web\",route=\"ejecting\",class=\"5xx\"} 3";
        proxy.page(admin, "/metrics").contains(counted).then_some(())
    });
    assert!(proxy.page(admin, "/config").contains("\"ejecting\""));
}

#[test]
fn a_new_file_is_taken_over_under_load_and_a_bad_one_is_not() {
    let (blue, green) = (Origin::named("blue"), Origin::named("green"));
    let origins = [("BLUE", blue.address), ("GREEN", green.address)];
    let text = |cluster: &str| {
        web(&format!(
            r#"
[[listener.route]]
name = "all"
cluster = "{cluster}"
[[cluster]]
name = "blue"
endpoints = [{{ address = "{{BLUE}}" }}]
[[cluster]]
name = "green"
endpoints = [{{ address = "{{GREEN}}" }}]
"#
        ))
    };
    let mut proxy = Proxy::start(&text("blue"), &origins);
    let port = proxy.port("web");
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, failed) = (stop.clone(), stopped.clone());
            std::thread::spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::SeqCst) {
                    count += 1;
                    if request(port, "GET", "/", &[], b"").status != 200 {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
                count
            })
        })
        .collect();
    let served = |name: &str| request(port, "GET", "/", &[], b"").body.starts_with(name);
    assert!(served("blue"));
    proxy.rewrite(&text("green"), &origins);
    wait_for("the new route", LIMIT, || served("green").then_some(()));
    proxy.rewrite(&text("grene"), &origins);
    proxy.process.wait_for_line("cluster `grene` is not declared", LIMIT);
    assert!(served("green"), "the old one stays");
    let second = text("blue")
        + "\n[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:{PORT}\"\n[[listener.route]]\nname = \"r\"\ncluster = \"green\"\n";
    let second_port = e2e::free_base_port();
    proxy.rewrite(&second.replace("{PORT}", &second_port.to_string()), &origins);
    wait_for("the second listener", LIMIT, || TcpStream::connect(("127.0.0.1", second_port)).ok());
    assert!(request(second_port, "GET", "/", &[], b"").body.starts_with("green"));
    proxy.rewrite(&text("blue"), &origins);
    wait_for("the second listener to go", LIMIT, || {
        TcpStream::connect(("127.0.0.1", second_port)).is_err().then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    let count: u32 = load.into_iter().map(|thread| thread.join().expect("whole")).sum();
    assert!(count > 0);
    assert_eq!(stopped.load(Ordering::SeqCst), 0, "of {count}");
}

#[test]
fn a_drain_finishes_what_has_begun_and_ends_what_idles() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let slow = Origin::start(move |asked| {
        if asked.head.starts_with("GET /slow") {
            let _ = gone.lock().expect("whole").recv_timeout(LIMIT);
        }
        Act::Answer(200, "done".into())
    });
    let mut proxy = Proxy::start(
        &web(
            "[[listener.route]]\nname = \"all\"\ntimeout = \"60s\"\ncluster = \"slow\"\n[[cluster]]\nname = \"slow\"\nendpoints = [{ address = \"{SLOW}\" }]\n[limits]\ndrain_timeout = \"60s\"\n",
        ),
        &[("SLOW", slow.address)],
    );
    let address = proxy.address("web");
    let mut idle = TcpStream::connect(address).expect("connect");
    idle.set_read_timeout(Some(LIMIT)).expect("set a timeout");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("write");
    // All of the answer, in however many pieces: what comes next is the end.
    let (mut bytes, mut answer) = ([0; 512], Vec::<u8>::new());
    while !answer.ends_with(b"done") {
        let read = idle.read(&mut bytes).expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..read]);
    }
    let busy = std::thread::spawn(move || raw(address, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"));
    wait_for("the slow request to be there", LIMIT, || {
        slow.asked().iter().any(|asked| asked.head.starts_with("GET /slow")).then_some(())
    });
    proxy.terminate();
    assert_eq!(idle.read(&mut bytes).expect("its end"), 0, "what idles is closed");
    wait_for("no more to be accepted", LIMIT, || {
        TcpStream::connect(address).is_err().then_some(())
    });
    go.send(()).expect("the origin waits");
    let answer = busy.join().expect("whole");
    assert!(
        answer.contains("200 OK")
            && answer.contains("connection: close")
            && answer.ends_with("done"),
        "{answer}"
    );
    assert!(proxy.process.wait(LIMIT).success());
}

#[test]
fn connections_go_over_to_other_protocols_and_bytes_pass_as_they_are() {
    let echo = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let echo_address = echo.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in echo.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = stream.try_clone().expect("clone");
                let _ = std::io::copy(&mut reader, &mut stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    // After the head of its own answer it echoes.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let socket_address = socket.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0; 1];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            assert!(
                head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
                "{head}"
            );
            let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nfirst");
            let mut reader = stream.try_clone().expect("clone");
            let _ = std::io::copy(&mut reader, &mut stream);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    });
    let proxy = Proxy::start(
        r#"
[[listener]]
name = "web"
address = "127.0.0.1:0"
[[listener.route]]
name = "all"
cluster = "socket"
[[listener]]
name = "bytes"
address = "127.0.0.1:0"
protocol = "tcp"
[[listener.route]]
name = "all"
cluster = "echo"
[[cluster]]
name = "socket"
endpoints = [{ address = "{SOCKET}" }]
[[cluster]]
name = "echo"
protocol = "tcp"
endpoints = [{ address = "{ECHO}" }]
"#,
        &[("SOCKET", socket_address), ("ECHO", echo_address)],
    );
    let talk = |address, bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(LIMIT)).expect("set a timeout");
        stream.write_all(bytes).expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("our end");
        let mut seen = String::new();
        stream.read_to_string(&mut seen).expect("text");
        seen
    };
    let large = "ping".repeat(100_000);
    assert!(talk(proxy.address("bytes"), large.as_bytes()) == large, "bytes as they are");
    let hello = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n";
    let seen = talk(proxy.address("web"), format!("{hello}and more").as_bytes());
    let (head, rest) = seen.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    assert_eq!(rest, "firstand more");
}

/// gRPC with streams both ways and trailers: etcdctl and its store.
#[test]
fn grpc_passes_with_its_streams_and_trailers() {
    let store = e2e::Store::start("behind-proxy", &[]);
    let proxy = Proxy::start(
        &web(r#"
[[listener.route]]
name = "etcd"
timeout = "0s"
cluster = "etcd"
[[cluster]]
name = "etcd"
protocol = "http2"
endpoints = [{ address = "{STORE}" }]
"#),
        &[("STORE", store.address)],
    );
    let through = proxy.address("web");
    e2e::done(through, &["put", "greeting", "hello"]);
    assert!(e2e::done(through, &["get", "greeting"]).contains("hello"));
    // An error is trailers alone.
    let (good, seen) = e2e::ctl(through, &["get", "greeting", "--rev", "9999"]);
    assert!(!good && seen.contains("required revision is a future revision"), "{seen}");
    let mut command = std::process::Command::new(e2e::peer("etcdctl"));
    command.args(["--endpoints", &format!("http://{through}"), "watch", "greeting"]);
    let mut watch = e2e::Running::spawn(&mut command);
    wait_for("the watch to see a change", LIMIT, || {
        e2e::done(through, &["put", "greeting", "again"]);
        watch.printed().contains("again").then_some(())
    });
    assert!(watch.ended().is_none(), "a stream goes on: {}", watch.printed());
    // Many keys: an answer of several frames.
    let value = "v".repeat(100_000);
    for key in ["a", "b", "c"] {
        e2e::done(through, &["put", key, &value]);
    }
    assert!(e2e::done(through, &["get", "a", "d"]).len() > 300_000);
}
