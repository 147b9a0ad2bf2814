//! A proxy from a file, services behind it, certificates, and raw clients.

#![allow(dead_code, reason = "each test takes what it needs")]

pub mod h2;

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use e2e::{Running, Scratch};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

pub const LIMIT: Duration = Duration::from_secs(60);
pub const API: &str = "spiffe://bank/ns/pay/sa/api";

// === A proxy ===

pub struct Proxy {
    pub running: Running,
    pub file: PathBuf,
}

impl Proxy {
    /// Serves `config`; addresses in it have port 0. It has an admin page.
    pub fn start(scratch: &Scratch, name: &str, config: &str) -> Proxy {
        let file = scratch.join(&format!("{name}.toml"));
        fs::write(&file, format!("[admin]\nlisten = \"127.0.0.1:0\"\n{config}")).expect("write");
        let mut command = Command::new(e2e::polis());
        command.args(["proxy", "run", "--config"]).arg(&file);
        let mut running = Running::spawn(&mut command);
        running.wait_for_line("operators' pages", LIMIT);
        Proxy { running, file }
    }

    /// The port of a listener; `None` is the admin page.
    pub fn port(&self, listener: Option<&str>) -> u16 {
        let needle = listener.map(|name| format!("\"listener\":\"{name}\""));
        let needle = needle.unwrap_or_else(|| "operators' pages".into());
        let printed = self.running.printed();
        let line = printed.lines().find(|line| line.contains(&needle)).expect(&needle);
        let (_, rest) = line.split_once("\"address\":\"127.0.0.1:").expect("an address");
        rest.split('"').next().expect("a port").parse().expect("a number")
    }

    /// One line of the metrics, by its name with labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = e2e::request(self.port(None), "GET", "/metrics", &[], b"").body;
        let name = format!("polis_proxy_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    pub fn refused(&self, reason: &str) -> u64 {
        self.metric(&format!("handshakes_failed_total{{reason=\"{reason}\"}}"))
    }

    /// Waits until no client is left.
    pub fn wait_until_quiet(&self) {
        e2e::wait_for("no connection left", LIMIT, || {
            (self.metric("connections") == 0).then_some(())
        });
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

// === A service ===

/// Answers every request with its head as the body, and notes all that came.
pub struct Service {
    pub address: SocketAddr,
    pub heads: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = heads.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                thread::spawn(move || drop(serve(stream, &noted)));
            }
        });
        Service { address, heads }
    }

    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no service panics").clone()
    }
}

fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = input.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            if fill(&mut stream, &mut input)? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        input.drain(..end);
        heads.lock().expect("no service panics").push(head.clone());
        let chunked = head.contains("transfer-encoding: chunked");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        while input.len() < length || (chunked && !input.ends_with(b"0\r\n\r\n")) {
            if fill(&mut stream, &mut input)? == 0 {
                return Ok(());
            }
        }
        input.drain(..if chunked { input.len() } else { length });
        if head.starts_with("GET /big ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")?;
            for _ in 0..1_000 {
                stream.write_all(&[b'x'; 1_000_000])?;
            }
            continue;
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        stream.write_all(answer.as_bytes())?;
    }
}

fn fill(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut bytes = [0; 16 << 10];
    let read = stream.read(&mut bytes)?;
    input.extend_from_slice(&bytes[..read]);
    Ok(read)
}

// === Certificates ===

pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a leaf says; the default is sound for both sides of a connection.
pub struct Leaf<'a> {
    pub uris: &'a [&'a str],
    /// From now on, in seconds; it began a day ago.
    pub lifetime_s: i64,
    pub usages: &'a [KeyUsagePurpose],
    pub purposes: &'a [ExtendedKeyUsagePurpose],
    pub is_ca: bool,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Leaf {
            uris: &[API],
            lifetime_s: 3_600,
            usages: &[KeyUsagePurpose::DigitalSignature],
            purposes: &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            is_ca: false,
        }
    }
}

impl Ca {
    pub fn new(name: &str) -> Ca {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("sign").pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    pub fn write(&self, scratch: &Scratch, name: &str) -> PathBuf {
        let path = scratch.join(&format!("{name}.crt"));
        fs::write(&path, &self.pem).expect("write");
        path
    }

    /// Certificate and key as PEM.
    pub fn issue(&self, leaf: &Leaf<'_>) -> (String, String) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("parameters");
        params.distinguished_name = named("leaf");
        let loopback = SanType::IpAddress([127, 0, 0, 1].into());
        params.subject_alt_names.push(loopback);
        for uri in leaf.uris {
            let uri = (*uri).try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.key_usages = leaf.usages.to_vec();
        params.extended_key_usages = leaf.purposes.to_vec();
        if leaf.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let now = OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::days(1);
        params.not_after = now + time::Duration::seconds(leaf.lifetime_s);
        let cert = params.signed_by(&key, &self.issuer).expect("sign");
        (cert.pem(), key.serialize_pem())
    }

    /// Issues to `NAME.crt` and `NAME.key`.
    pub fn issue_to(&self, scratch: &Scratch, name: &str, leaf: &Leaf<'_>) -> [PathBuf; 2] {
        let (cert, key) = self.issue(leaf);
        let paths = ["crt", "key"].map(|end| scratch.join(&format!("{name}.{end}")));
        fs::write(&paths[0], cert).expect("write");
        fs::write(&paths[1], key).expect("write");
        paths
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(rcgen::DnType::CommonName, name);
    names
}

/// Every way in which a certificate can fail to say who shows it, and the
/// reason that is counted. `purpose` is that of the other side.
pub fn unsound(purpose: &[ExtendedKeyUsagePurpose]) -> Vec<(&'static str, &'static str, Leaf<'_>)> {
    let with = |uris| Leaf { uris, ..Leaf::default() };
    vec![
        ("nouri", "identity", with(&[])),
        ("twouris", "identity", with(&[API, "spiffe://bank/ns/pay/sa/other"])),
        ("sametwice", "identity", with(&[API, API])),
        ("domain", "identity", with(&["spiffe://evil/ns/pay/sa/api"])),
        ("path", "identity", with(&["spiffe://bank/ns/payroll/sa/api"])),
        ("noid", "identity", with(&["https://bank/ns/pay/sa/api"])),
        ("expired", "expired", Leaf { lifetime_s: -60, ..Leaf::default() }),
        ("purpose", "usage", Leaf { purposes: purpose, ..Leaf::default() }),
        ("sign", "usage", Leaf { usages: &[KeyUsagePurpose::CrlSign], ..Leaf::default() }),
        ("agree", "usage", Leaf { usages: &[KeyUsagePurpose::KeyAgreement], ..Leaf::default() }),
        ("authority", "usage", Leaf { is_ca: true, ..Leaf::default() }),
    ]
}

// === Clients ===

/// Runs curl on `https://127.0.0.1:PORT/`.
pub fn curl(port: u16, args: &[&str], ca: &Path, pair: Option<&[PathBuf; 2]>) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--cacert"]).arg(ca);
    if let Some([cert, key]) = pair {
        command.arg("--cert").arg(cert).arg("--key").arg(key);
    }
    command.args(args).arg(format!("https://127.0.0.1:{port}/"));
    command.output().expect("run curl")
}

/// Sends bytes and reads until the other side ends, or for `patience`.
pub fn raw(port: u16, bytes: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(patience)).expect("set a timeout");
    let _ = stream.write_all(bytes);
    read_all(&mut stream)
}

/// All until the end, an error or the stream's timeout.
pub fn read_all(stream: &mut impl Read) -> String {
    let (mut all, mut bytes) = (Vec::new(), [0; 16 << 10]);
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        all.extend_from_slice(&bytes[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
