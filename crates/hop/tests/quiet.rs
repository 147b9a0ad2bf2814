//! A line that was put away is as good as new until its endpoint is heard.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use hop::{Io, Stream};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Long enough for a loaded machine, short enough to fail a test run.
const PATIENCE: Duration = Duration::from_secs(20);

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (ours.expect("connect"), accepted.expect("accept").0)
}

fn is_quiet(line: &mut Io) -> bool {
    line.is_quiet(&mut Context::from_waker(Waker::noop()))
}

async fn heard(line: &mut Io) {
    let heard = poll_fn(|cx| if line.is_quiet(cx) { Poll::Pending } else { Poll::Ready(()) });
    tokio::time::timeout(PATIENCE, heard).await.expect("the endpoint has spoken");
}

#[tokio::test]
async fn a_line_is_quiet_until_the_endpoint_speaks_or_ends() {
    let (ours, mut endpoint) = pair().await;
    let mut line = Io::new(Stream::Plain(ours));
    assert!(is_quiet(&mut line));
    endpoint.write_all(b"x").await.expect("write");
    heard(&mut line).await;

    let (ours, endpoint) = pair().await;
    let mut line = Io::new(Stream::Plain(ours));
    drop(endpoint);
    heard(&mut line).await;
}

#[tokio::test]
async fn tickets_of_tls_are_not_heard() {
    let name = "polis.test";
    let key = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let certificate = key.cert.der().clone();
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private)
        .expect("a certificate and its key");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

    let (ours, theirs) = pair().await;
    let name = name.try_into().expect("a name");
    let (ours, theirs) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name, ours),
        TlsAcceptor::from(Arc::new(server)).accept(theirs),
    );
    let (ours, mut endpoint) = (ours.expect("connect"), theirs.expect("accept"));
    let mut first = [0; 1];
    let ticket = ours.get_ref().0.peek(&mut first);
    let ticket = tokio::time::timeout(PATIENCE, ticket).await.expect("a ticket").expect("peek");
    assert_eq!(ticket, 1);
    let mut line = Io::new(Stream::Connected(Box::new(ours)));
    assert!(is_quiet(&mut line));
    endpoint.write_all(b"x").await.expect("write");
    endpoint.flush().await.expect("write");
    heard(&mut line).await;
}
