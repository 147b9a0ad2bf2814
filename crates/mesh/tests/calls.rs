//! Calls of Bolt through the engine, at the edges of what peers do.

mod calls_parts;

use std::{collections::HashSet, sync::atomic::Ordering::SeqCst};

use calls_parts::{Client, Provider, Serving, call, told};
use rpc::bolt::{Frame, Version};

const PLAIN: &str = "limits = { threads = 1, stall_timeout = '200ms', frame_bytes = 100000 }
{LISTENER}
[[listener.route]]
name = 'all'
cluster = 'one'
timeout = '{TIMEOUT}'
[[cluster]]
name = 'one'
protocol = 'bolt'
endpoints = [{ address = '{A}' }]";

async fn plain(provider: &Provider) -> Serving {
    Serving::start(&PLAIN.replace("{TIMEOUT}", "30s"), &[provider]).await
}

#[tokio::test]
async fn clients_share_one_connection_and_keep_their_ids() {
    let provider = Provider::start().await;
    let proxy = plain(&provider).await;
    let (mut a, mut b) =
        (Client::connect(proxy.address).await, Client::connect(proxy.address).await);
    // Both use the same id, and the first is answered last.
    a.send(call(7, "hold")).await;
    a.send(call(8, "hold")).await;
    a.send(Frame::heartbeat(Version::V1, 99)).await;
    // That one is ours to answer.
    assert_eq!(told(&a.receive().await.expect("alive")).0, 99);
    provider.holds(2).await;
    let port = provider.address.port().to_string();
    assert_eq!(b.ask(7, "say").await, (7, 0, port));
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(told(&a.receive().await.expect("held until b called")));
    }
    seen.sort();
    assert_eq!(seen, [(7, 0, "held".to_owned()), (8, 0, "held".to_owned())]);
    assert_eq!(provider.connections.load(SeqCst), 1);
    drop((a, b));
    proxy.drain().await;
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_outcome_unknown_and_the_next_call_well() {
    let provider = Provider::start().await;
    let proxy = plain(&provider).await;
    let mut client = Client::connect(proxy.address).await;
    let (id, status, text) = client.ask(1, "die").await;
    assert_eq!((id, status), (1, 0), "SOFARPC raises the text of an answer that is an error");
    assert!(text.contains("PLS0435") && text.contains("the outcome is unknown"), "{text}");
    assert_eq!(client.ask(2, "say").await.1, 0);
    assert_eq!(provider.connections.load(SeqCst), 2);
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn one_port_takes_calls_beside_others_and_ends_what_is_neither() {
    let provider = Provider::start().await;
    let mixed = PLAIN.replace("{TIMEOUT}", "30s").replace(
        "{LISTENER}",
        "[[listener]]\nname = 'calls'\naddress = '127.0.0.1:0'\nprotocol = 'auto'\n",
    );
    let proxy = Serving::start(&mixed, &[&provider]).await;
    let mut client = Client::connect(proxy.address).await;
    let bytes = call(1, "say").into_parts().into_bytes();
    // A client may begin with less than tells what it speaks.
    client.send_bytes(&bytes[..1]).await;
    client.send_bytes(&bytes[1..]).await;
    assert_eq!(told(&client.receive().await.expect("an answer")).0, 1);
    let mut neither = Client::connect(proxy.address).await;
    neither.send_bytes(&[0, 1, 2]).await;
    assert!(neither.receive().await.is_none());
    drop((client, neither));
    proxy.drain().await;
}

/// What is nobody's, and who waits for the server to speak first, is carried as
/// bytes where a route is for them.
#[tokio::test]
async fn one_port_takes_what_it_does_not_know_for_bytes() {
    const OTHERS: &str = "limits = { threads = 1 }
[[listener]]
name = 'calls'
address = '127.0.0.1:0'
protocol = 'auto'
detect_timeout = '{TIMEOUT}'
[[listener.route]]
name = 'calls'
cluster = 'one'
[[listener.route]]
name = 'rest'
cluster = 'rest'
[[cluster]]
name = 'one'
protocol = 'bolt'
endpoints = [{ address = '{A}' }]
[[cluster]]
name = 'rest'
protocol = 'tcp'
endpoints = [{ address = '{B}' }]";
    let (calls, greeter) = (Provider::start().await, Provider::greeter().await);
    let check = async |timeout: &str, first: &[u8]| {
        let text = OTHERS.replace("{TIMEOUT}", timeout);
        let proxy = Serving::start(&text, &[&calls, &greeter]).await;
        let mut bytes = Client::connect(proxy.address).await;
        bytes.send_bytes(first).await;
        assert_eq!(bytes.read(b"I speak first\n".len()).await, b"I speak first\n", "{first:?}");
        // Who says it in time has his call answered.
        let mut client = Client::connect(proxy.address).await;
        assert_eq!(client.ask(1, "say").await.2, calls.address.port().to_string());
        drop((bytes, client));
        proxy.drain().await;
    };
    check("60s", &[0, 1, 2]).await;
    check("1s", b"").await;
    // Of a frame that was begun, no more.
    check("1s", &[1, 1]).await;
}

#[tokio::test]
async fn what_is_late_ends_in_the_protocols_own_status() {
    let provider = Provider::start().await;
    let proxy = Serving::start(&PLAIN.replace("{TIMEOUT}", "100ms"), &[&provider]).await;
    let mut client = Client::connect(proxy.address).await;
    assert_eq!(client.ask(1, "never").await, (1, 7, String::new()));
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn a_frame_too_large_and_half_a_frame_end_the_connection() {
    let provider = Provider::start().await;
    let proxy = plain(&provider).await;
    let bytes = call(1, "say").into_parts().into_bytes();
    let mut large = bytes[..24].to_vec();
    // The length of the content, where version 1 has it.
    large[18..22].copy_from_slice(&u32::MAX.to_be_bytes());
    for wrong in [&large[..], &bytes[..100], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = Client::connect(proxy.address).await;
        client.send_bytes(wrong).await;
        assert!(client.receive().await.is_none());
    }
    assert_eq!(provider.connections.load(SeqCst), 0);
    proxy.drain().await;
}

#[tokio::test]
async fn an_endpoint_that_says_goodbye_answers_what_it_has_and_gets_no_more() {
    let (a, b) = (Provider::start().await, Provider::start().await);
    let proxy = Serving::start(
        "limits = { threads = 1 }
{LISTENER}
[[listener.route]]
name = 'all'
cluster = 'both'
[[cluster]]
name = 'both'
protocol = 'bolt'
balance = 'round-robin'
endpoints = [{ address = '{A}' }, { address = '{B}' }]",
        &[&a, &b],
    )
    .await;
    let mut client = Client::connect(proxy.address).await;
    let mut ports = HashSet::new();
    for id in 0..4 {
        ports.insert(client.ask(id, "say").await.2);
    }
    assert_eq!(ports.len(), 2);
    let (_, _, left) = client.ask(4, "leave").await;
    for id in 5..15 {
        assert_ne!(client.ask(id, "say").await.2, left);
    }
    drop(client);
    proxy.drain().await;
}

#[tokio::test]
async fn a_drain_lets_calls_end_and_tells_who_heeds_it() {
    let provider = Provider::start().await;
    let proxy = plain(&provider).await;
    let (address, version) = (proxy.address, Version::V1);
    let (mut old, mut ours) = (Client::connect(address).await, Client::connect(address).await);
    ours.send(Frame::hello(version, 1)).await;
    assert_eq!(told(&ours.receive().await.expect("a heartbeat too")).0, 1);
    old.send(call(1, "hold")).await;
    old.send(Frame::heartbeat(version, 2)).await;
    assert_eq!(told(&old.receive().await.expect("read behind the call")).0, 2);
    provider.holds(1).await;
    let draining = tokio::spawn(proxy.drain());
    assert!(ours.receive().await.expect("a goodbye").is_go_away());
    // The old connection is served as before, until it is quiet: both are
    // answered, and then it may end at any time.
    old.send(call(3, "say")).await;
    let mut answered = Vec::new();
    for _ in 0..2 {
        answered.push(told(&old.receive().await.expect("an answer")).0);
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
    drop((old, ours));
    draining.await.expect("whole");
}

/// Old clients know no goodbye: their connections outlive the process.
#[tokio::test]
async fn connections_go_on_with_the_successor_between_two_calls() {
    let door = std::env::temp_dir().join(format!("polis-calls-door-{}", std::process::id()));
    let provider = Provider::start().await;
    let config = PLAIN.replace("{TIMEOUT}", "30s");
    let first = Serving::start_behind(&door, &config, &[&provider]).await;
    let address = first.address;
    let (mut idle, mut busy) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!(idle.ask(1, "say").await.1, 0);
    busy.send(call(1, "hold")).await;
    provider.holds(1).await;
    let second = Serving::start_behind(&door, &config, &[&provider]).await;
    assert_eq!(idle.ask(2, "say").await.1, 0);
    // Its call is the first's until it is answered, which another one does.
    busy.send(call(2, "say")).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(told(&busy.receive().await.expect("an answer")).0);
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
    first.succeeded().await;
    for id in 3..6 {
        assert_eq!(idle.ask(id, "say").await.0, id);
        assert_eq!(busy.ask(id, "say").await.0, id);
    }
    assert_eq!(provider.connections.load(SeqCst), 2, "one of each proxy");
    drop((idle, busy));
    second.drain().await;
}

/// What the next one would not take, such as what it wants a certificate for, is
/// left to end with the first.
#[tokio::test]
async fn connections_that_the_successor_does_not_take_are_not_given() {
    let door = std::env::temp_dir().join(format!("polis-calls-other-{}", std::process::id()));
    let provider = Provider::start().await;
    let config = PLAIN.replace("{TIMEOUT}", "30s");
    let first = Serving::start_behind(&door, &config, &[&provider]).await;
    let mut client = Client::connect(first.address).await;
    assert_eq!(client.ask(1, "say").await.1, 0);
    let listener = "[[listener]]\nname = 'other'\naddress = '127.0.0.1:0'\nprotocol = 'bolt'\n";
    let other = config.replace("{LISTENER}", listener);
    let second = Serving::start_behind(&door, &other, &[&provider]).await;
    assert!(client.receive().await.is_none(), "the first closes it once it is quiet");
    first.succeeded().await;
    second.drain().await;
}

/// What is left of it: the service need not work for one who has left.
#[tokio::test]
async fn a_deadline_is_passed_on_as_what_is_left_of_it() {
    let provider = Provider::start().await;
    let slow = PLAIN
        .replace("{TIMEOUT}", "30s")
        .replace("cluster = 'one'", "cluster = 'one'\nfault = { delay = { time = '300ms' } }");
    let proxy = Serving::start(&slow, &[&provider]).await;
    let mut client = Client::connect(proxy.address).await;
    let mut frame = call(1, "left");
    frame.set_timeout_ms(20_000);
    client.send(frame).await;
    let (_, _, left) = told(&client.receive().await.expect("an answer"));
    let left: u32 = left.parse().expect("a number");
    assert!((1..=19_700).contains(&left), "{left}");
    // The route's own bound is shorter than what this caller gives.
    let mut frame = call(2, "left");
    frame.set_timeout_ms(600_000);
    client.send(frame).await;
    let (_, _, left) = told(&client.receive().await.expect("an answer"));
    assert!(left.parse::<u32>().expect("a number") <= 29_700, "{left}");
    drop(client);
    proxy.drain().await;
}
