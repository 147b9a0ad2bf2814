//! Who may come and whom the proxy goes to: every certificate that does not
//! say so is refused at both ends, and files are replaced while serving.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::Arc,
};

use e2e::{Scratch, wait_for};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

mod proxy_kit;
use proxy_kit::{API, Ca, LIMIT, Leaf, Proxy, Service, curl, read_all, unsound};

fn tls(pair: &[PathBuf; 2]) -> String {
    format!("cert = {:?}\nkey = {:?}\n", pair[0], pair[1])
}

fn cluster(name: &str, service: &Service) -> String {
    format!(
        "[[cluster]]\nname = \"{name}\"\nendpoints = [{{ address = \"{}\" }}]\n",
        service.address
    )
}

#[test]
fn clients_are_who_their_certificates_say_or_refused() {
    let scratch = Scratch::new("proxy-tls-clients");
    let (ca, stranger) = (Ca::new("bank"), Ca::new("stranger"));
    let ca_file = ca.write(&scratch, "ca");
    let own =
        ca.issue_to(&scratch, "own", &Leaf { uris: &["spiffe://bank/edge"], ..Leaf::default() });
    let service = Service::start();
    let config = format!(
        "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\n{}client_ca = {ca_file:?}\n\
         clients = [\"spiffe://bank/ns/pay/*\"]\nforward = \"set\"\n\
         [[listener.route]]\nname = \"api\"\nmatch = {{ client = \"{API}\" }}\ncluster = \"service\"\n\
         [[listener.route]]\nname = \"rest\"\nrespond = {{ status = 403, body = \"not you\" }}\n{}",
        tls(&own),
        cluster("service", &service)
    );
    let proxy = Proxy::start(&scratch, "proxy", &config);
    let port = proxy.port(Some("web"));

    let pair = ca.issue_to(&scratch, "good", &Leaf::default());
    for version in ["--http1.1", "--http2"] {
        let lie = ["-H", "x-forwarded-client-cert: URI=spiffe://bank/root", version];
        let answer = curl(port, &lie, &ca_file, Some(&pair));
        let head = String::from_utf8_lossy(&answer.stdout).into_owned();
        let told: Vec<&str> =
            head.lines().filter_map(|l| l.strip_prefix("x-forwarded-client-cert: ")).collect();
        let [told] = told.as_slice() else { panic!("{answer:?}") };
        assert!(told.starts_with("By=spiffe://bank/edge;Hash="), "{told}");
        assert!(told.ends_with(&format!(";URI={API}")), "{told}");
    }
    let other = Leaf { uris: &["spiffe://bank/ns/pay/sa/other"], ..Leaf::default() };
    let other = ca.issue_to(&scratch, "other", &other);
    assert_eq!(curl(port, &[], &ca_file, Some(&other)).stdout, b"not you");

    let seen = service.heads().len();
    let refuse = |reason: &str, pair: Option<&[PathBuf; 2]>| {
        let before = proxy.refused(reason);
        let answer = curl(port, &[], &ca_file, pair);
        assert!(!answer.status.success() && answer.stdout.is_empty(), "{reason}: {answer:?}");
        wait_for(&format!("{pair:?} counted as {reason}"), LIMIT, || {
            (proxy.refused(reason) == before + 1).then_some(())
        });
    };
    refuse("no-certificate", None);
    for (name, reason, leaf) in unsound(&[ExtendedKeyUsagePurpose::ServerAuth]) {
        refuse(reason, Some(&ca.issue_to(&scratch, name, &leaf)));
    }
    refuse("untrusted", Some(&stranger.issue_to(&scratch, "stranger", &Leaf::default())));
    assert_eq!(service.heads().len(), seen, "nothing of those came through");
    wait_for("it to be told why", LIMIT, || {
        proxy.running.printed().contains("no handshake of TLS").then_some(())
    });
    assert!(curl(port, &[], &ca_file, Some(&pair)).status.success());
    proxy.wait_until_quiet();
}

#[test]
fn servers_are_who_their_certificates_say_or_not_gone_to() {
    let scratch = Scratch::new("proxy-tls-servers");
    let (ca, stranger) = (Ca::new("bank"), Ca::new("stranger"));
    let ca_file = ca.write(&scratch, "ca");
    let service = Service::start();
    let mut cases: Vec<(&str, &str, [PathBuf; 2])> =
        vec![("good", "", ca.issue_to(&scratch, "good", &Leaf::default()))];
    for (name, reason, leaf) in unsound(&[ExtendedKeyUsagePurpose::ClientAuth]) {
        cases.push((name, reason, ca.issue_to(&scratch, name, &leaf)));
    }
    let leaf = stranger.issue_to(&scratch, "stranger", &Leaf::default());
    cases.push(("stranger", "untrusted", leaf));
    // The far one ends mutual TLS with each of those certificates, and hides
    // the good one behind a name as well.
    let mut far = cluster("service", &service);
    for (name, _, pair) in &cases {
        far += &format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\n{}client_ca = {ca_file:?}\n\
             clients = [\"spiffe://bank/edge\"]\nforward = \"set\"\n\
             [[listener.route]]\nname = \"all\"\ncluster = \"service\"\n",
            tls(pair)
        );
    }
    let far = Proxy::start(&scratch, "far", &far);
    let by_name = format!(
        "[[listener]]\nname = \"names\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tls-passthrough\"\n\
         [[listener.route]]\nname = \"api\"\nmatch = {{ sni = \"api.bank.example\" }}\ncluster = \"good\"\n\
         [[cluster]]\nname = \"good\"\nprotocol = \"tcp\"\nendpoints = [{{ address = \"127.0.0.1:{}\" }}]\n",
        far.port(Some("good"))
    );
    let by_name = Proxy::start(&scratch, "names", &by_name);

    let own =
        ca.issue_to(&scratch, "own", &Leaf { uris: &["spiffe://bank/edge"], ..Leaf::default() });
    let mut near = String::from("[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n");
    let mut clusters = String::new();
    let names = by_name.port(Some("names"));
    let mut ways: Vec<(&str, u16, &str)> =
        cases.iter().map(|(name, _, _)| (*name, far.port(Some(name)), "")).collect();
    ways.push(("named", names, "server_name = \"api.bank.example\"\n"));
    ways.push(("nameless", names, ""));
    for (name, port, more) in ways {
        near += &format!(
            "[[listener.route]]\nname = \"{name}\"\nmatch = {{ path = \"/{name}\" }}\ncluster = \"{name}\"\n\
             retry = {{ attempts = 0 }}\n"
        );
        clusters += &format!(
            "[[cluster]]\nname = \"{name}\"\nendpoints = [{{ address = \"127.0.0.1:{port}\" }}]\n\
             connect_timeout = \"10s\"\n[cluster.tls]\nca = {ca_file:?}\n{}servers = [\"{API}\"]\n{more}",
            tls(&own)
        );
    }
    let near = Proxy::start(&scratch, "near", &(near + &clusters));
    let ask =
        |name: &str| e2e::request(near.port(Some("web")), "GET", &format!("/{name}"), &[], b"");

    for name in ["good", "named"] {
        let answer = ask(name);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(answer.body.contains(";URI=spiffe://bank/edge\r\n"), "{}", answer.body);
    }
    assert_ne!(ask("nameless").status, 200, "without `server_name` no name is sent");
    for (name, reason, _) in &cases[1..] {
        let answer = ask(name);
        assert_eq!((answer.status, answer.code().as_str()), (503, "PLS0434"), "{name}");
        let metric =
            format!("cluster_handshakes_failed_total{{cluster=\"{name}\",reason=\"{reason}\"}}");
        assert_eq!(near.metric(&metric), 1, "{metric}");
    }
    assert_eq!(service.heads().len(), 2, "nothing was sent to the others");
}

#[test]
fn no_name_and_no_identity_is_never_unverified() {
    let scratch = Scratch::new("proxy-tls-empty");
    let ca = Ca::new("bank").write(&scratch, "ca");
    for (tls, why) in [
        ("", "whom to expect is missing"),
        ("server_name = \"\"\n", "`` is no name of a server"),
        ("servers = []\n", "whom to expect is missing"),
        ("servers = [\"spiffe://*\"]\n", "`spiffe://*` is no identity"),
        ("servers = [\"spiffe://bank/ns*\"]\n", "`spiffe://bank/ns*` is no identity"),
    ] {
        let file = scratch.join("p.toml");
        let config = format!(
            "[[cluster]]\nname = \"a\"\nendpoints = [{{ address = \"127.0.0.1:1\" }}]\n[cluster.tls]\nca = {ca:?}\n{tls}"
        );
        fs::write(&file, config).expect("write");
        let checked = e2e::run(&["proxy", "check", "--config", file.to_str().expect("text")]);
        let told = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && told.contains(why), "{tls}: {told}");
    }
}

/// A client of the listener `web` with TLS of its own.
struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Client {
    fn config(ca: &PathBuf, pair: Option<&[PathBuf; 2]>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("authority")).expect("add");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match pair {
            None => builder.with_no_client_auth(),
            Some([cert, key]) => {
                let cert = CertificateDer::from_pem_file(cert).expect("certificate");
                let key = PrivateKeyDer::from_pem_file(key).expect("key");
                builder.with_client_auth_cert(vec![cert], key).expect("pair")
            }
        })
    }

    fn connect(port: u16, config: &Arc<ClientConfig>) -> Client {
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(config.clone(), name).expect("client");
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(LIMIT)).expect("set a timeout");
        Client { stream: StreamOwned::new(connection, stream) }
    }

    /// Whether a request on this very connection is answered.
    fn ask(&mut self) -> std::io::Result<bool> {
        self.stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"hello") {
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Ok(false);
            }
            bytes.extend_from_slice(&piece[..read]);
        }
        Ok(true)
    }

    fn leaf(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().expect("shown")[0].to_vec()
    }

    fn kind(&self) -> Option<HandshakeKind> {
        self.stream.conn.handshake_kind()
    }
}

#[test]
fn certificates_are_replaced_while_serving() {
    let scratch = Scratch::new("proxy-tls-rotation");
    let ca = Ca::new("bank");
    let ca_file = ca.write(&scratch, "ca");
    let own = ca.issue_to(&scratch, "own", &Leaf::default());
    let config = format!(
        "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\n{}\
         [[listener.route]]\nname = \"all\"\nrespond = {{ status = 200, body = \"hello\" }}\n",
        tls(&own)
    );
    let mut proxy = Proxy::start(&scratch, "proxy", &config);
    let port = proxy.port(Some("web"));
    let config = Client::config(&ca_file, None);
    let mut first = Client::connect(port, &config);
    assert!(first.ask().expect("answered"));
    let old = first.leaf();
    let mut resumed = Client::connect(port, &config);
    assert!(resumed.ask().expect("answered"));
    assert_eq!(resumed.kind(), Some(HandshakeKind::Resumed), "tickets are taken");

    // The certificate is there and its key is not: the old pair stays.
    let (cert, key) = ca.issue(&Leaf::default());
    fs::write(&own[0], &cert).expect("write");
    proxy.running.wait_for_line("the new configuration is not taken", LIMIT);
    let fresh = Client::config(&ca_file, None);
    let mut second = Client::connect(port, &fresh);
    assert!(second.ask().expect("answered"));
    assert_eq!(second.leaf(), old);
    // Nor is half of a key.
    fs::write(&own[1], &key[..key.len() / 2]).expect("write");
    wait_for("it to be told", LIMIT, || {
        proxy.running.printed().contains("own.key holds no usable private key").then_some(())
    });
    fs::write(&own[1], &key).expect("write");
    proxy.running.wait_for_line("took over a new configuration", LIMIT);

    let new = CertificateDer::from_pem_slice(cert.as_bytes()).expect("certificate").to_vec();
    wait_for("the new leaf", LIMIT, || {
        let mut third = Client::connect(port, &config);
        assert!(third.ask().expect("answered"));
        (third.leaf() == new).then(|| {
            assert_eq!(third.kind(), Some(HandshakeKind::Full), "old tickets are forgotten");
        })
    });
    for open in [&mut first, &mut resumed, &mut second] {
        assert!(open.ask().expect("answered"), "what is open goes on");
        assert_eq!(open.leaf(), old);
    }
}

#[test]
fn a_session_does_not_outlive_its_certificate() {
    let scratch = Scratch::new("proxy-tls-session");
    let ca = Ca::new("bank");
    let ca_file = ca.write(&scratch, "ca");
    let own = ca.issue_to(&scratch, "own", &Leaf::default());
    let config = format!(
        "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\n{}client_ca = {ca_file:?}\n\
         clients = [\"{API}\"]\n\
         [[listener.route]]\nname = \"all\"\nrespond = {{ status = 200, body = \"hello\" }}\n",
        tls(&own)
    );
    let proxy = Proxy::start(&scratch, "proxy", &config);
    let port = proxy.port(Some("web"));
    // Long enough to come once on a busy machine.
    let short = ca.issue_to(&scratch, "short", &Leaf { lifetime_s: 20, ..Leaf::default() });
    let config = Client::config(&ca_file, Some(&short));
    assert!(Client::connect(port, &config).ask().expect("answered"));
    wait_for("the session to be refused", LIMIT, || {
        let mut again = Client::connect(port, &config);
        let answered = matches!(again.ask(), Ok(true));
        assert_eq!(again.kind(), Some(HandshakeKind::Resumed));
        (!answered).then_some(())
    });
    wait_for("it to be counted", LIMIT, || (proxy.refused("expired") == 1).then_some(()));
    let mut nobody = Client::connect(port, &Client::config(&ca_file, None));
    assert!(!matches!(nobody.ask(), Ok(true)));
    assert!(read_all(&mut nobody.stream).is_empty());
}
