//! A proxy under test, and origins behind it whose behaviour a test decides.
#![allow(dead_code)] // Each test file uses its part.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use e2e::{Running, Scratch, polis, wait_for};
use rustix::process::Signal;

pub const LIMIT: Duration = Duration::from_secs(60);

/// What an origin was asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Request line and headers as they came.
    pub head: String,
    pub body: Vec<u8>,
}

/// What it does then.
pub enum Act {
    Answer(u16, String),
    /// These bytes as they are, and the connection's end.
    Raw(Vec<u8>),
    /// The connection's end without a word.
    HangUp,
}

/// An HTTP/1.1 server with a thread for each connection.
#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// `polis proxy run` on a configuration of the test's.
pub struct Proxy {
    pub process: Running,
    folder: Scratch,
}

// === impl Origin ===

impl Origin {
    /// The listener lives as long as the process of the test.
    pub fn start(act: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let (act, asked) = (Arc::new(act), Arc::new(Mutex::new(Vec::new())));
        let origin = Origin { address, asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (act, asked) = (act.clone(), asked.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some(next) = read(&mut reader) {
                        asked.lock().expect("whole").push(next.clone());
                        let bytes = match act(&next) {
                            Act::Answer(status, body) => {
                                let length = body.len();
                                format!(
                                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}"
                                )
                                .into_bytes()
                            }
                            Act::Raw(bytes) => {
                                let _ = reader.get_mut().write_all(&bytes);
                                return;
                            }
                            Act::HangUp => return,
                        };
                        if reader.get_mut().write_all(&bytes).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        origin
    }

    /// Says its name and what it was asked.
    pub fn named(name: &'static str) -> Origin {
        Origin::start(move |asked| {
            let line = asked.head.lines().next().unwrap_or_default();
            Act::Answer(200, format!("{name} {line} {}", asked.body.len()))
        })
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("whole").clone()
    }
}

// === impl Asked ===

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut asked = Asked { head, body: Vec::new() };
    if let Some(length) = asked.header("content-length") {
        asked.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut asked.body).ok()?;
    } else if asked.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(line(reader)?.trim(), 16).ok()?;
            if size == 0 {
                // Trailers, and the line behind them.
                while line(reader)? != "\r\n" {}
                break;
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            asked.body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(asked)
}

/// With its end; none at the end of all.
fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then_some(line)
}

// === impl Proxy ===

impl Proxy {
    /// `{NAME}` in the text stands for the address of the origin of that name,
    /// `{DIR}` for a folder of its own. Listeners take port 0.
    pub fn start(text: &str, origins: &[(&str, SocketAddr)]) -> Proxy {
        let folder = Scratch::new("proxy");
        std::fs::write(folder.join("proxy.toml"), fill(text, origins, &folder)).expect("write");
        let process = launch(&folder, false);
        Proxy { process, folder }
    }

    /// One that may be replaced, with certificates, say, that are there already.
    pub fn start_in(folder: Scratch, text: &str, origins: &[(&str, SocketAddr)]) -> Proxy {
        std::fs::write(folder.join("proxy.toml"), fill(text, origins, &folder)).expect("write");
        let process = launch(&folder, true);
        Proxy { process, folder }
    }

    /// A successor takes over: it serves, and the one before, which drains, is
    /// given back. Addresses must be without port 0.
    pub fn replace(&mut self) -> Running {
        let mut next = launch(&self.folder, true);
        next.wait_for_line("the proxy serves", LIMIT);
        self.process.wait_for_line("handed over to another process", LIMIT);
        std::mem::replace(&mut self.process, next)
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("proxy.toml")
    }

    pub fn folder(&self) -> &Scratch {
        &self.folder
    }

    /// Where the listener of that name is reached.
    pub fn address(&self, listener: &str) -> SocketAddr {
        wait_for(&format!("listener {listener}"), LIMIT, || {
            let printed = self.process.printed();
            let line = printed
                .lines()
                .find(|line| line.contains(&format!("\"listener\":\"{listener}\"")))?;
            let (_, rest) = line.split_once("\"address\":\"")?;
            rest.split_once('"')?.0.parse().ok()
        })
    }

    pub fn port(&self, listener: &str) -> u16 {
        self.address(listener).port()
    }

    /// Puts a new configuration in the place of the old one.
    pub fn rewrite(&self, text: &str, origins: &[(&str, SocketAddr)]) {
        let beside = self.folder.join("proxy.toml.new");
        std::fs::write(&beside, fill(text, origins, &self.folder)).expect("write");
        std::fs::rename(beside, self.config()).expect("rename");
    }

    /// A page of the operators' address, `{admin}` in the configuration.
    pub fn page(&self, port: u16, path: &str) -> String {
        e2e::request(port, "GET", path, &[], b"").body
    }

    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }
}

fn fill(text: &str, origins: &[(&str, SocketAddr)], folder: &Scratch) -> String {
    let text = text.replace("{DIR}", &folder.path().display().to_string());
    origins.iter().fold(text, |text, (name, address)| {
        text.replace(&format!("{{{name}}}"), &address.to_string())
    })
}

fn launch(folder: &Scratch, replaceable: bool) -> Running {
    let mut command = Command::new(polis());
    command.args(["proxy", "run", "--config"]).arg(folder.join("proxy.toml"));
    if replaceable {
        command.arg("--handover").arg(folder.join("door"));
    }
    command.env("NO_COLOR", "1");
    let mut process = Running::spawn(&mut command);
    process.wait_for_line("\"listener\"", LIMIT);
    process
}

/// What curl prints, and how it ends.
pub fn curl(args: &[&str]) -> (bool, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(args)
        .output()
        .expect("curl is not installed: apt-get install curl");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Sends bytes as they are and reads until the other side ends.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("set a timeout");
    let _ = stream.write_all(bytes);
    let mut seen = Vec::new();
    let _ = stream.read_to_end(&mut seen);
    String::from_utf8_lossy(&seen).into_owned()
}
