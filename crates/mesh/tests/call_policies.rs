//! What routes are told to do with calls of Bolt, seen at both ends.

// Not all of it is used here.
#[allow(dead_code)]
mod calls_parts;

use std::net::SocketAddr;

use bytes::BytesMut;
use calls_parts::{Client, LIMIT, Provider, Serving, next};
use rpc::bolt::sofa;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

const ROUTED: &str = "limits = { threads = 1 }
{LISTENER}
[[listener.route]]
name = 'all'
cluster = 'one'
{ROUTE}
[[cluster]]
name = 'one'
protocol = 'bolt'
endpoints = [{ address = '{A}' }]";

/// Ends its connections when a call has come as a whole.
struct Breaking {
    address: SocketAddr,
    broken: watch::Receiver<usize>,
}

// === impl Breaking ===

impl Breaking {
    async fn start() -> Breaking {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let (breaks, broken) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(break_under_a_call(stream, breaks.clone()));
            }
        });
        Breaking { address, broken }
    }

    async fn breaks(&mut self, count: usize) {
        let enough = self.broken.wait_for(|broken| *broken >= count);
        timeout(LIMIT, enough).await.expect("they come").expect("it serves");
    }
}

async fn break_under_a_call(mut stream: TcpStream, breaks: watch::Sender<usize>) {
    let mut input = BytesMut::new();
    while matches!(stream.read_buf(&mut input).await, Ok(1..)) {
        while let Some(frame) = next(&mut input) {
            // A heartbeat has no method.
            if sofa::header(&frame, sofa::METHOD).is_some() {
                breaks.send_modify(|broken| *broken += 1);
                return;
            }
        }
    }
}

/// What a call is told whose connection breaks, where another provider is well.
async fn told_after_a_break(route: &str) -> (u32, u16, String) {
    let (mut breaking, provider) = (Breaking::start().await, Provider::start().await);
    // The first turn is the first endpoint's.
    let both = format!(
        "balance = 'round-robin'\nendpoints = [{{ address = '{}' }}, {{ address = '{{A}}' }}]",
        breaking.address
    );
    let config =
        ROUTED.replace("{ROUTE}", route).replace("endpoints = [{ address = '{A}' }]", &both);
    let proxy = Serving::start(&config, &[&provider]).await;
    let mut client = Client::connect(proxy.address).await;
    let told = client.ask(1, "say").await;
    breaking.breaks(1).await;
    drop(client);
    proxy.drain().await;
    let port = provider.address.port().to_string();
    (told.0, told.1, told.2.replace(&port, "provider"))
}

#[tokio::test]
async fn a_call_that_is_as_good_twice_is_sent_to_another_provider_when_its_connection_breaks() {
    let told = told_after_a_break("idempotent = true\nretry = { attempts = 1 }").await;
    assert_eq!(told, (1, 0, "provider".to_owned()));
}

#[tokio::test]
async fn a_call_that_may_not_be_sent_twice_is_told_as_lost() {
    let (id, _, text) = told_after_a_break("retry = { attempts = 1 }").await;
    assert_eq!(id, 1);
    assert!(text.contains("PLS0435") && text.contains("the outcome is unknown"), "{text}");
}

#[tokio::test]
async fn a_fault_ends_a_call_before_anybody_is_asked() {
    let provider = Provider::start().await;
    let fault = ROUTED.replace("{ROUTE}", "fault = { abort = { status = 503 } }");
    let proxy = Serving::start(&fault, &[&provider]).await;
    let mut client = Client::connect(proxy.address).await;
    for id in 1..10 {
        let (told, _, text) = client.ask(id, "say").await;
        assert_eq!(told, id);
        assert!(text.contains("PLS0438"), "{text}");
    }
    assert_eq!(provider.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn calls_beyond_the_rate_are_told_that_the_server_is_busy() {
    const BUSY: u16 = 4;
    let provider = Provider::start().await;
    let limit = ROUTED.replace("{ROUTE}", "rate_limit = { requests = 2, per = '1h' }");
    let proxy = Serving::start(&limit, &[&provider]).await;
    let mut client = Client::connect(proxy.address).await;
    let mut statuses = Vec::new();
    for id in 1..5 {
        statuses.push(client.ask(id, "say").await.1);
    }
    assert_eq!(statuses, [0, 0, BUSY, BUSY]);
    drop(client);
    proxy.drain().await;
}

const SHADOW: &str = "\n[[cluster]]\nname = 'shadow'\nprotocol = 'bolt'
endpoints = [{ address = '{SHADOW}' }]";

async fn mirrored(provider: &Provider, shadow: SocketAddr) -> Serving {
    let config = ROUTED.replace("{ROUTE}", "mirror = { cluster = 'shadow' }") + SHADOW;
    Serving::start(&config.replace("{SHADOW}", &shadow.to_string()), &[provider]).await
}

#[tokio::test]
async fn a_copy_of_a_call_reaches_the_mirror_and_its_answer_nobody() {
    let (provider, shadow) = (Provider::start().await, Provider::start().await);
    let proxy = mirrored(&provider, shadow.address).await;
    let mut client = Client::connect(proxy.address).await;
    client.send(calls_parts::call(1, "hold")).await;
    provider.holds(1).await;
    shadow.holds(1).await;
    // Both answer what they held; only one of them is heard.
    let port = provider.address.port().to_string();
    client.send(calls_parts::call(2, "say")).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(calls_parts::told(&client.receive().await.expect("an answer")));
    }
    seen.sort();
    assert_eq!(seen, [(1, 0, "held".to_owned()), (2, 0, port.clone())]);
    assert_eq!(client.ask(3, "say").await, (3, 0, port));
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn a_mirror_that_breaks_does_not_touch_the_client() {
    let (provider, mut shadow) = (Provider::start().await, Breaking::start().await);
    let proxy = mirrored(&provider, shadow.address).await;
    let mut client = Client::connect(proxy.address).await;
    let port = provider.address.port().to_string();
    for id in 1..4 {
        assert_eq!(client.ask(id, "say").await, (id, 0, port.clone()));
        shadow.breaks(id as usize).await;
    }
    drop(client);
    proxy.drain().await;
}
