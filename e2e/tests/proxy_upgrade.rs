//! A proxy is replaced while it serves, and starts without its file.

use std::{
    fs,
    io::{self, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use e2e::{Running, Scratch, free_base_port, wait_for};
use rustix::{net::sockopt::set_socket_linger, process::Signal};

const LIMIT: Duration = Duration::from_secs(60);
/// Some of every kind at once.
const CLIENTS: u64 = 8;

/// Answers every request with a byte, and keeps connections.
fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while head(&mut reader).is_ok() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
                    if (&stream).write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Sends back what comes.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

/// Lines up to the empty one.
fn head(reader: &mut impl io::BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok(lines),
            text => lines.push(text.to_ascii_lowercase()),
        }
    }
}

/// One request on a connection: whether it may be used again.
fn ask(stream: &TcpStream) -> io::Result<bool> {
    let request = b"POST /pay HTTP/1.1\r\nhost: bank\r\ncontent-length: 2\r\n\r\nhi";
    let mut writer = stream;
    writer.write_all(request)?;
    let mut reader = BufReader::new(stream);
    let lines = head(&mut reader)?;
    if !lines[0].contains(" 200 ") {
        return Err(io::Error::other(lines[0].clone()));
    }
    reader.read_exact(&mut [0])?;
    Ok(!lines.iter().any(|line| line == "connection: close"))
}

/// Clients that never try twice: what fails is counted.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(port: u16) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENTS).map(|number| {
            let (stop, answered) = (stop.clone(), answered.clone());
            thread::spawn(move || {
                let (mut failed, mut kept) = (Vec::new(), None);
                while !stop.load(Relaxed) {
                    let stream = match kept.take() {
                        Some(stream) => Ok(stream),
                        None => TcpStream::connect(("127.0.0.1", port)),
                    };
                    let asked = stream.and_then(|stream| {
                        // Answered connections leave no port behind for a minute.
                        set_socket_linger(&stream, Some(Duration::ZERO))?;
                        Ok((ask(&stream)?, stream))
                    });
                    match asked {
                        // Half of them keep connections as long as they may.
                        Ok((keep, stream)) => {
                            answered.fetch_add(1, Relaxed);
                            kept = Some(stream).filter(|_| keep && number % 2 == 0);
                        }
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                failed
            })
        });
        let clients = clients.collect();
        Load { stop, answered, clients }
    }

    /// So many more are answered.
    fn goes_on(&self) {
        let before = self.answered.load(Relaxed);
        wait_for("load to go on", LIMIT, || {
            (self.answered.load(Relaxed) > before + 200).then_some(())
        });
    }

    fn end(self) {
        self.stop.store(true, Relaxed);
        let failed: Vec<String> =
            self.clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        assert!(failed.is_empty(), "{} of {:?} failed: {failed:?}", failed.len(), self.answered);
    }
}

struct Place {
    scratch: Scratch,
    port: u16,
    tunnel: u16,
    admin: u16,
}

impl Place {
    fn new(name: &str) -> Place {
        let port = free_base_port();
        let place = Place { scratch: Scratch::new(name), port, tunnel: port + 1, admin: port + 2 };
        place.write("proxy.toml", &place.config(origin(), echo()));
        place
    }

    fn config(&self, origin: u16, echo: u16) -> String {
        let Place { port, tunnel, admin, .. } = self;
        format!(
            r#"
admin = {{ listen = "127.0.0.1:{admin}" }}
limits = {{ drain_timeout = "60s" }}

[[listener]]
name = "web"
address = "127.0.0.1:{port}"
[[listener.route]]
name = "pay"
cluster = "pay"

[[listener]]
name = "tunnel"
address = "127.0.0.1:{tunnel}"
protocol = "tcp"
[[listener.route]]
name = "bytes"
cluster = "bytes"

[[cluster]]
name = "pay"
endpoints = [{{ address = "127.0.0.1:{origin}" }}]

[[cluster]]
name = "bytes"
protocol = "tcp"
endpoints = [{{ address = "127.0.0.1:{echo}" }}]
"#
        )
    }

    fn write(&self, name: &str, text: &str) {
        // As a whole: a proxy that looks in between sees the old or the new one.
        fs::write(self.scratch.join("fresh"), text).expect("write");
        fs::rename(self.scratch.join("fresh"), self.scratch.join(name)).expect("rename");
    }

    fn proxy(&self, config: &str) -> Running {
        let path = |name: &str| self.scratch.join(name).display().to_string();
        Running::start(&[
            "proxy",
            "run",
            "--config",
            &path(config),
            "--handover",
            &path("door"),
            "--snapshot",
            &path("snapshot"),
        ])
    }

    fn serving(&self, config: &str) -> Running {
        let mut proxy = self.proxy(config);
        proxy.wait_for_line("the proxy serves", LIMIT);
        proxy
    }

    fn asks(&self) -> io::Result<bool> {
        TcpStream::connect(("127.0.0.1", self.port)).and_then(|stream| ask(&stream))
    }

    fn metric(&self, name: &str) -> String {
        let text = e2e::request(self.admin, "GET", "/metrics", &[], b"").body;
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }
}

#[test]
fn upgrades_under_load_fail_no_request_and_leave_tunnels_alone() {
    let place = Place::new("proxy-upgrade");
    let mut old = place.serving("proxy.toml");
    let load = Load::start(place.port);
    load.goes_on();
    for _ in 0..3 {
        let mut tunnel = TcpStream::connect(("127.0.0.1", place.tunnel)).expect("connect");
        let mut echoed = [0; 2];
        tunnel.write_all(b"on").and_then(|()| tunnel.read_exact(&mut echoed)).expect("echoed");
        let new = place.serving("proxy.toml");
        old.wait_for_line("handed over to another process", LIMIT);
        load.goes_on();
        // It stands still as long as it is used, beyond the change.
        tunnel.write_all(b"go").and_then(|()| tunnel.read_exact(&mut echoed)).expect("echoed");
        assert_eq!(&echoed, b"go");
        drop(tunnel);
        assert!(old.wait(LIMIT).success(), "{}", old.printed());
        load.goes_on();
        old = new;
    }
    load.end();
    old.signal(Signal::TERM);
    assert!(old.wait(LIMIT).success());
    assert!(!place.scratch.join("door").exists(), "the last one takes its door along");
}

#[test]
fn a_successor_that_fails_at_any_step_fails_no_request() {
    let place = Place::new("proxy-upgrade-fails");
    let config = fs::read_to_string(place.scratch.join("proxy.toml")).expect("read");
    let mut old = place.serving("proxy.toml");
    let load = Load::start(place.port);
    load.goes_on();

    // Before it asks: its file is not sound, and no snapshot of its own.
    place.write("bad.toml", "listener = 1");
    let bad = place.scratch.join("bad.toml").display().to_string();
    let door = place.scratch.join("door").display().to_string();
    let mut failed = Running::start(&["proxy", "run", "--config", &bad, "--handover", &door]);
    assert!(!failed.wait(LIMIT).success());

    // With the sockets in its hands: another address is taken.
    let taken = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = taken.local_addr().expect("bound");
    let more = format!(
        "{config}\n[[listener]]\nname = \"more\"\naddress = \"{address}\"\n\
         [[listener.route]]\nname = \"r\"\ncluster = \"pay\"\n"
    );
    place.write("more.toml", &more);
    let mut failed = place.proxy("more.toml");
    assert!(!failed.wait(LIMIT).success());
    assert!(failed.printed().contains("PLS0420"), "{}", failed.printed());
    load.goes_on();

    // Whoever connects and says nothing, or nonsense.
    drop(UnixStream::connect(place.scratch.join("door")).expect("connect"));
    let mut nonsense = UnixStream::connect(place.scratch.join("door")).expect("connect");
    nonsense.write_all(b"\0\0\0\x02hi").expect("say");
    drop(nonsense);

    // Killed while it starts, sooner and later, but before it serves.
    old.wait_for_line("a handover did not come about", LIMIT);
    for _ in 0..3 {
        let killed = place.proxy("more.toml");
        killed.signal(Signal::KILL);
        load.goes_on();
    }
    assert!(old.ended().is_none());

    // And one that works, after all these.
    let mut new = place.serving("proxy.toml");
    load.goes_on();
    // The old one is killed in the middle of its drain, unless it is through
    // with it: nobody notices.
    old.wait_for_line("handed over to another process", LIMIT);
    load.end();
    if old.ended().is_none() {
        old.signal(Signal::KILL);
    }
    assert!(place.asks().is_ok());
    // A proxy that died leaves its door: the next one is the first in line.
    new.signal(Signal::KILL);
    new.wait(LIMIT);
    let _next = place.serving("proxy.toml");
    assert!(place.asks().is_ok());
}

#[test]
fn a_proxy_without_a_sound_file_serves_what_was_kept_and_says_so() {
    let place = Place::new("proxy-snapshot");
    let config = fs::read_to_string(place.scratch.join("proxy.toml")).expect("read");
    let mut proxy = place.serving("proxy.toml");
    assert_eq!(place.metric("polis_proxy_from_snapshot "), "polis_proxy_from_snapshot 0");
    // What is not sound is not kept.
    place.write("proxy.toml", "listener = 1");
    proxy.wait_for_line("the new configuration is not taken", LIMIT);
    proxy.signal(Signal::KILL);
    proxy.wait(LIMIT);

    let mut proxy = place.serving("proxy.toml");
    assert!(proxy.printed().contains("PLS0461"), "{}", proxy.printed());
    assert!(proxy.printed().contains("proxy.toml:1:"), "{}", proxy.printed());
    assert!(place.asks().is_ok());
    assert_eq!(place.metric("polis_proxy_from_snapshot "), "polis_proxy_from_snapshot 1");
    // The file is well again.
    place.write("proxy.toml", &config);
    proxy.wait_for_line("took over a new configuration", LIMIT);
    assert_eq!(place.metric("polis_proxy_from_snapshot "), "polis_proxy_from_snapshot 0");
    proxy.signal(Signal::TERM);
    assert!(proxy.wait(LIMIT).success());

    // Neither is usable: it says both and serves nothing.
    fs::remove_file(place.scratch.join("proxy.toml")).expect("remove");
    spoil(&place.scratch.join("snapshot"));
    let mut proxy = place.proxy("proxy.toml");
    assert!(!proxy.wait(LIMIT).success());
    assert!(proxy.printed().contains("checksum"), "{}", proxy.printed());
}

fn spoil(path: &Path) {
    let text = fs::read_to_string(path).expect("read");
    fs::write(path, text.replace("pay", "pry")).expect("write");
}
