//! Clients that mean harm: each is refused for what it does, others are served
//! meanwhile, and nothing is left behind.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread::sleep,
    time::Duration,
};

use e2e::{Scratch, wait_for};

mod proxy_kit;
use proxy_kit::{
    Ca, LIMIT, Leaf, Proxy, Service,
    h2::{self, Rude, frame},
    raw, read_all,
};

/// A proxy that is quick to lose patience, though not with an honest client that
/// is not scheduled for a while, and a route without a timeout.
fn start(scratch: &Scratch, service: &Service) -> (Proxy, u16) {
    let config = format!(
        "[limits]\nthreads = 1\nhead_timeout = \"5s\"\nstall_timeout = \"5s\"\nconnections = 20000\n\
         [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[listener.route]]\nname = \"all\"\ncluster = \"service\"\ntimeout = \"0s\"\n\
         [[cluster]]\nname = \"service\"\nendpoints = [{{ address = \"{}\" }}]\n",
        service.address
    );
    let proxy = Proxy::start(scratch, "proxy", &config);
    let port = proxy.port(Some("web"));
    (proxy, port)
}

fn is_served(port: u16) {
    assert_eq!(e2e::request(port, "GET", "/honest", &[], b"").status, 200);
}

/// The first status of what came back; 0 if nothing did.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Each says its length once.
fn answers(all: &str) -> usize {
    all.matches("\r\ncontent-length: ").count()
}

fn in_flight(proxy: &Proxy) -> u64 {
    proxy.metric("cluster_requests_in_flight{cluster=\"service\"}")
}

/// All that was taken has been given back.
fn is_clean(proxy: &Proxy, port: u16) {
    is_served(port);
    proxy.wait_until_quiet();
    wait_for("no request left", LIMIT, || (in_flight(proxy) == 0).then_some(()));
}

#[test]
fn no_request_hides_in_another() {
    let scratch = Scratch::new("proxy-hostile-smuggling");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let cases: &[(&str, u16, &str)] = &[
        ("length and chunks", 400, "content-length: 4\r\ntransfer-encoding: chunked\r\n"),
        ("chunks and length", 400, "transfer-encoding: chunked\r\ncontent-length: 4\r\n"),
        ("two lengths", 400, "content-length: 0\r\ncontent-length: 39\r\n"),
        ("a list of lengths", 400, "content-length: 0, 39\r\n"),
        ("a signed length", 400, "content-length: +39\r\n"),
        ("a length in hex", 400, "content-length: 0x27\r\n"),
        ("two codings", 501, "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("an unknown coding", 501, "transfer-encoding: xchunked\r\n"),
        ("a list of codings", 501, "transfer-encoding: identity, chunked\r\n"),
        ("a tab in the coding", 501, "transfer-encoding: \x0bchunked\r\n"),
        ("a space before the colon", 400, "transfer-encoding : chunked\r\n"),
        ("a folded line", 400, "x: y\r\n transfer-encoding: chunked\r\n"),
        ("a bare newline", 400, "x: y\ntransfer-encoding: chunked\r\n"),
        ("a bare return", 400, "x: y\rtransfer-encoding: chunked\r\n"),
        ("a second host", 400, "host: b\r\n"),
        ("a zero byte", 400, "x: \0\r\n"),
    ];
    for (what, expected, lines) in cases {
        let bytes = format!("POST /first HTTP/1.1\r\nhost: a\r\n{lines}\r\n0\r\n\r\n{hidden}");
        let answer = raw(port, bytes.as_bytes(), LIMIT);
        // What is no header at all may be told as either.
        let told = status(&answer);
        assert!(told == *expected || (*expected == 501 && told == 400), "{what}: {answer}");
        assert_eq!(answers(&answer), 1, "{what}: {answer}");
    }
    for chunks in ["5\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n"]
    {
        let head = "POST /first HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = raw(port, format!("{head}{chunks}{hidden}").as_bytes(), LIMIT);
        assert_eq!((status(&answer), answers(&answer)), (400, 1), "{answer}");
    }
    let seen = service.heads().into_iter().filter(|head| head.contains("/hidden")).count();
    assert_eq!(seen, 0, "the service has seen what was hidden");
    is_clean(&proxy, port);
}

#[test]
fn heads_are_bounded_in_size_and_time() {
    let scratch = Scratch::new("proxy-hostile-heads");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    let with = |lines: String| {
        raw(
            port,
            format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\n").as_bytes(),
            LIMIT,
        )
    };
    assert_eq!(status(&with(format!("x: {}\r\n", "y".repeat(61 << 10)))), 431);
    assert_eq!(status(&with("x: y\r\n".repeat(101))), 431);
    assert_eq!(status(&with("x: y\r\n".repeat(90))), 200);
    // A line at a time, never an end.
    let mut slow = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    slow.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
    slow.write_all(b"GET / HTTP/1.1\r\n").expect("write");
    let answer = wait_for("the slow head to be refused", LIMIT, || {
        let _ = slow.write_all(b"x: y\r\n");
        Some(read_all(&mut slow)).filter(|answer| !answer.is_empty())
    });
    assert_eq!(status(&answer), 408);
    // Nothing at all, many times.
    let silent: Vec<_> =
        (0..500).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connect")).collect();
    is_served(port);
    is_clean(&proxy, port);
    drop(silent);
    assert_eq!(service.heads().iter().filter(|head| head.contains("x: y")).count(), 1);
}

#[test]
fn a_body_of_a_byte_now_and_then_ends() {
    let scratch = Scratch::new("proxy-hostile-bodies");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    let mut slow = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    slow.set_read_timeout(Some(Duration::from_millis(150))).expect("set a timeout");
    slow.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        .expect("write");
    let answer = wait_for("the slow body to be refused", LIMIT, || {
        let _ = slow.write_all(b"x");
        Some(read_all(&mut slow)).filter(|answer| !answer.is_empty())
    });
    assert_eq!(status(&answer), 408, "{answer}");
    // The rest of it may come later.
    slow.set_read_timeout(Some(LIMIT)).expect("set a timeout");
    let answer = answer + &read_all(&mut slow);
    assert!(answer.contains("PLS0408"), "{answer}");
    drop(slow);
    // A slow line that is honest is not cut off.
    let mut slow = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    slow.set_read_timeout(Some(LIMIT)).expect("set a timeout");
    slow.write_all(
        b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 7000\r\n\r\n",
    )
    .expect("write");
    for _ in 0..70 {
        #[expect(clippy::disallowed_methods, reason = "the client itself is slow")]
        sleep(Duration::from_millis(100));
        slow.write_all(&[b'x'; 100]).expect("taken");
    }
    assert_eq!(status(&read_all(&mut slow)), 200);
    // Whoever asks for much and takes nothing.
    let mut deaf = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    deaf.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").expect("write");
    wait_for("the deaf one to be on its way", LIMIT, || {
        service.heads().iter().any(|head| head.contains("/big")).then_some(())
    });
    is_clean(&proxy, port);
    drop(deaf);
}

#[test]
fn floods_of_http2_end_their_connection_alone() {
    let scratch = Scratch::new("proxy-hostile-h2");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    let open = h2::END_HEADERS | h2::END_STREAM;
    // Rapid reset, in bursts and one at a time.
    for burst in [1_000, 1] {
        let floods = proxy.metric("floods_total");
        let mut rude = Rude::connect(port);
        let mut stream = 1;
        let ended = loop {
            let mut bytes = Vec::new();
            for _ in 0..burst {
                bytes.extend(frame(h2::HEADERS, open, stream, h2::GET));
                bytes.extend(frame(h2::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                stream += 2;
            }
            if !rude.send(&bytes) || stream > 2_000_000 {
                break stream <= 2_000_000;
            }
        };
        assert!(ended, "it was never told to stop");
        is_served(port);
        wait_for("the flood to be counted", LIMIT, || {
            (proxy.metric("floods_total") > floods).then_some(())
        });
    }
    // A head that never ends.
    let mut rude = Rude::connect(port);
    rude.send(&frame(h2::HEADERS, h2::END_STREAM, 1, h2::GET));
    let more = frame(h2::CONTINUATION, 0, 1, &[0; 1_000]);
    let sent = (0..100_000).take_while(|_| rude.send(&more)).count();
    assert!(sent < 100_000, "a head without an end was read on and on");
    // A frame that is said to be larger than allowed.
    let mut rude = Rude::connect(port);
    rude.send(&[0xff, 0xff, 0xff, h2::DATA, 0, 0, 0, 0, 1]);
    assert_eq!(rude.read_until(|said| said.goaway.is_some()).goaway, Some(6));
    // More streams than allowed, none of which ends.
    let mut rude = Rude::connect(port);
    // At once, so that none is late before the last has come.
    let all = (0..400).flat_map(|at| frame(h2::HEADERS, h2::END_HEADERS, at * 2 + 1, h2::GET));
    rude.send(&all.collect::<Vec<_>>());
    let said = rude.read_until(|said| said.resets.len() >= 400 - 128);
    assert!(said.resets.iter().all(|reason| *reason == 7), "{said:?}");
    assert!(in_flight(&proxy) <= 128);
    drop(rude);
    // A table entry of 4 KB, named ten thousand times.
    let mut rude = Rude::connect(port);
    let mut block = h2::GET.to_vec();
    block.extend([0x40, 1, b'x', 0x7f, 0x81, 0x1e]);
    block.extend([b'y'; 4_000]);
    block.extend([0xbe; 10_000]);
    rude.send(&frame(h2::HEADERS, open, 1, &block));
    let said =
        rude.read_until(|said| said.answers + said.resets.len() > 0 || said.goaway.is_some());
    assert!(said.answers + said.resets.len() > 0 || said.goaway.is_some(), "{said:?}");
    drop(rude);
    assert!(!service.heads().iter().any(|head| head.len() > 60 << 10));
    is_clean(&proxy, port);
}

#[test]
fn what_is_asked_and_never_read_is_not_kept() {
    let scratch = Scratch::new("proxy-hostile-deaf");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    is_served(port);
    let before = proxy.rss_kib();
    for (kind, payload) in [(h2::PING, &[0; 8][..]), (h2::SETTINGS, &[][..])] {
        let bytes = frame(kind, 0, 0, payload).repeat(10_000);
        let mut rude = Rude::connect(port);
        let sent = (0..1_000).take_while(|_| rude.send(&bytes)).count();
        assert!(sent < 1_000, "{} frames were taken and none of the answers", sent * 10_000);
        is_served(port);
        let now = proxy.rss_kib();
        println!("{sent}0000 frames of kind {kind}, nothing read: {before} -> {now} KiB");
        assert!(now < before + (16 << 10), "{before} -> {now} KiB");
    }
    is_clean(&proxy, port);
}

#[test]
fn half_a_handshake_is_not_waited_for() {
    let scratch = Scratch::new("proxy-hostile-handshake");
    let own = Ca::new("bank").issue_to(&scratch, "own", &Leaf::default());
    let config = format!(
        "[limits]\nhead_timeout = \"5s\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         tls = {{ cert = {:?}, key = {:?} }}\n\
         [[listener.route]]\nname = \"all\"\nrespond = {{ status = 200 }}\n",
        own[0], own[1]
    );
    let proxy = Proxy::start(&scratch, "proxy", &config);
    let port = proxy.port(Some("web"));
    let open: Vec<_> = (0..300)
        .map(|at| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
            // Nothing, or a record that is said to hold 16 KiB.
            let _ = stream.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc][..at % 2 * 9]);
            stream
        })
        .collect();
    wait_for("all to be given up", LIMIT, || (proxy.refused("slow") == 300).then_some(()));
    proxy.wait_until_quiet();
    drop(open);
    // Bytes that are no TLS at all.
    raw(port, b"GET / HTTP/1.1\r\n\r\n", LIMIT);
    wait_for("it to be counted", LIMIT, || (proxy.refused("other") == 1).then_some(()));
}

#[test]
fn what_is_compressed_stays_so() {
    let scratch = Scratch::new("proxy-hostile-gzip");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    let bomb = Command::new("sh").args(["-c", "head -c 200000000 /dev/zero | gzip -1"]).output();
    let bomb = bomb.expect("run gzip").stdout;
    let before = proxy.rss_kib();
    let answer = e2e::request(port, "POST", "/", &["content-encoding: gzip"], &bomb);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(&format!("content-length: {}\r\n", bomb.len())), "{answer:?}");
    let now = proxy.rss_kib();
    println!("{} bytes that are 200 MB inflated: {before} -> {now} KiB", bomb.len());
    assert!(now < before + (16 << 10), "{before} -> {now} KiB");
    is_clean(&proxy, port);
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    const COUNT: usize = 9_900;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // The proxy inherits it.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("raise");
    let scratch = Scratch::new("proxy-hostile-idle");
    let service = Service::start();
    let (proxy, port) = start(&scratch, &service);
    is_served(port);
    let before = proxy.rss_kib();
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..COUNT {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        // One request each: what idles has been used.
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("write");
        let mut bytes = [0; 1024];
        assert!(stream.read(&mut bytes).expect("answered") > 0);
        open.push(stream);
    }
    let now = proxy.rss_kib();
    let each = (now - before.min(now)) * 1024 / COUNT as u64;
    println!("{COUNT} idle connections: {before} -> {now} KiB, {each} bytes each");
    assert_eq!(proxy.metric("connections"), COUNT as u64);
    assert!(each < 16 << 10, "{each} bytes each");
    is_served(port);
    drop(open);
    is_clean(&proxy, port);
}
