//! Real SOFARPC and Dubbo through two of our proxies, one behind the other:
//! routed by a header and by an argument, refused in words a client knows, and
//! served while the proxies are told anew, drained and replaced.

mod proxy_parts;

use std::{collections::BTreeSet, fs, net::SocketAddr, time::Duration};

use e2e::{Java, Running, Scratch, free_base_port, wait_for};
use proxy_parts::{Proxy, curl};

/// Java starts slowly on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

struct Peer {
    class: &'static str,
    library: &'static str,
    protocol: &'static str,
    /// Where a call names its user.
    named: &'static str,
}

const SOFA: Peer = Peer { class: "Sofa", library: "sofa", protocol: "bolt", named: "bolt_header" };
const DUBBO_2: Peer =
    Peer { class: "Dubbo", library: "dubbo2", protocol: "dubbo", named: "attachment" };
const DUBBO_3: Peer = Peer { library: "dubbo3", ..DUBBO_2 };

/// Beside the application: everything goes to a gateway.
const SIDECAR: &str = r#"
[limits]
threads = 1
[[listener]]
name = "calls"
address = "127.0.0.1:0"
protocol = "auto"
[[listener.route]]
name = "out"
cluster = "gateways"
request_headers = { set = { polis-hop = "{HOP}" } }
[[listener.route]]
name = "page"
match = { path = "/here" }
respond = { status = 418, body = "short and stout" }
[[cluster]]
name = "gateways"
protocol = "{PROTOCOL}"
endpoints = [{GATEWAYS}]
"#;

/// Before the services: even users live in a, odd ones in b.
const GATEWAY: &str = r#"
admin = { listen = "127.0.0.1:{ADMIN}" }
[limits]
threads = 1
drain_timeout = "60s"
[[listener]]
name = "calls"
address = "127.0.0.1:{PORT}"
protocol = "{PROTOCOL}"
[[listener.route]]
name = "find"
match = { service = "{CLASS}$*", methods = ["find"] }
key = { argument = "0.user", slice = [-1, 0] }
map = "homes"
[[listener.route]]
name = "rest"
key = { {NAMED} = "polis-uid", argument = "0", slice = [-1, 0] }
map = "homes"
request_headers = { set = { polis-stamp = "epoch=17" } }
[[map]]
name = "homes"
entries = { 0 = "a", 1 = "b", 2 = "a", 3 = "b", 4 = "a", 5 = "b", 6 = "a", 7 = "b", 8 = "a", 9 = "b" }
[[cluster]]
name = "a"
protocol = "{PROTOCOL}"
endpoints = [{ address = "{A}" }]
[[cluster]]
name = "b"
protocol = "{PROTOCOL}"
endpoints = [{ address = "{B}" }]
"#;

fn loopback(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

// === impl Peer ===

impl Peer {
    fn java(&self) -> Java {
        Java::compile(self.class, self.library)
    }

    fn gateway(&self, port: u16, (a, b): (u16, u16)) -> Proxy {
        let admin = (port + 1).to_string();
        let text = GATEWAY.replace("{PROTOCOL}", self.protocol).replace("{CLASS}", self.class);
        let text = text.replace("{NAMED}", self.named).replace("{ADMIN}", &admin);
        let text = text.replace("{PORT}", &port.to_string());
        let providers = [("A", loopback(a)), ("B", loopback(b))];
        Proxy::start_in(Scratch::new("gateway"), &text, &providers)
    }

    fn sidecar_text(&self, gateways: &[u16], hop: &str) -> String {
        let endpoint = |port: &u16| format!("{{ address = \"{}\" }}", loopback(*port));
        let gateways: Vec<String> = gateways.iter().map(endpoint).collect();
        let text = SIDECAR.replace("{PROTOCOL}", self.protocol).replace("{HOP}", hop);
        text.replace("{GATEWAYS}", &gateways.join(", "))
    }

    fn sidecar(&self, gateways: &[u16]) -> Proxy {
        Proxy::start(&self.sidecar_text(gateways, "1"), &[])
    }
}

/// Every kind of call arrives where its user lives, and its answer comes back.
fn check_routing(peer: &Peer, stamp_seen: &str) {
    let java = peer.java();
    let ((_a, even), (b, odd)) = (java.provider("a"), java.provider("b"));
    let port = free_base_port();
    let _gateway = peer.gateway(port, (even, odd));
    let sidecar = peer.sidecar(&[port]);
    let door = sidecar.port("calls");
    let printed = java.run(&["once", &door.to_string()]);
    for line in [
        format!("b took 100 of 2088000000000421{stamp_seen}"),
        format!("a took 200 of 2088000000000422{stamp_seen}"),
        // With a string of several chunks, and a reference to itself.
        "found 2088000000000423 true 90000".to_owned(),
        "refused: not for 2088000000000424".to_owned(),
        format!("a took 300 of 2088000000000426{stamp_seen}"),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line:?} in:\n{printed}");
    }
    wait_for("the call that has no answer", LIMIT, || {
        b.printed().contains("noted this of 2088000000000425").then_some(())
    });
    // The same port speaks HTTP.
    let (_, page) = curl(&[&format!("http://{}/here", loopback(door))]);
    assert_eq!(page, "short and stout");
}

/// An answer of our own is an error that a caller understands.
fn check_refusals(peer: &Peer, busy: &str) {
    const DOOR: &str = r#"
[[listener]]
name = "calls"
address = "127.0.0.1:0"
protocol = "{PROTOCOL}"
[[listener.route]]
name = "by-user"
key = { argument = "0" }
map = "users"
[[map]]
name = "users"
entries = { 2088000000000422 = "a", 2088000000000428 = "full", 2088000000000427 = "gone" }
[[cluster]]
name = "a"
protocol = "{PROTOCOL}"
endpoints = [{ address = "{A}" }]
[[cluster]]
name = "full"
protocol = "{PROTOCOL}"
limits = { requests = 0 }
endpoints = [{ address = "{A}" }]
[[cluster]]
name = "gone"
protocol = "{PROTOCOL}"
endpoints = [{ address = "{GONE}" }]
"#;
    let java = peer.java();
    let (_provider, port) = java.provider("a");
    let places = [("A", loopback(port)), ("GONE", loopback(free_base_port()))];
    let proxy = Proxy::start(&DOOR.replace("{PROTOCOL}", peer.protocol), &places);
    let users = [28, 29, 27, 22].map(|n| format!("20880000000004{n}"));
    let mut args = vec!["refused".to_owned(), proxy.port("calls").to_string()];
    args.extend(users.clone());
    let printed = java.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    for (user, error) in users.iter().zip([busy, "knows no way for this key", "PLS0434"]) {
        let said = format!("refused {user}: ");
        let line = printed.lines().find_map(|line| line.strip_prefix(&said[..]));
        assert!(line.is_some_and(|line| line.contains(error)), "{error:?} in:\n{printed}");
    }
    // The connection is as good as before.
    assert!(printed.contains("not refused: a took 100"), "{printed}");
}

/// A provider is told what is left of the time that its caller waits, which is 30
/// seconds: not what passes on the way, and no more than the way itself allows.
fn check_deadline(peer: &Peer) {
    const DOOR: &str = r#"
[[listener]]
name = "calls"
address = "127.0.0.1:0"
protocol = "dubbo"
[[listener.route]]
name = "all"
cluster = "a"
timeout = "{TIMEOUT}"
fault = { delay = { time = "500ms" } }
[[cluster]]
name = "a"
protocol = "dubbo"
endpoints = [{ address = "{A}" }]
"#;
    let java = peer.java();
    let (_provider, port) = java.provider("a");
    for (timeout, most) in [("0s", 29_500), ("20s", 19_500)] {
        let proxy = Proxy::start(&DOOR.replace("{TIMEOUT}", timeout), &[("A", loopback(port))]);
        let printed = java.run(&["hurried", &proxy.port("calls").to_string()]);
        let left = printed.lines().find_map(|line| {
            let told = line.strip_prefix("a took 100 of 2088000000000420 with ")?;
            told.strip_suffix(" ms left")?.parse::<u32>().ok()
        });
        assert!(left.is_some_and(|left| (1..=most).contains(&left)), "{timeout}: {printed}");
    }
}

/// How many calls a client under load has said to have made.
fn calls(client: &Running) -> u64 {
    let printed = client.printed();
    let mut counts = printed.lines().filter_map(|line| line.strip_prefix("calls ")?.parse().ok());
    counts.next_back().unwrap_or(0)
}

fn more_calls(client: &Running) {
    let before = calls(client);
    wait_for("more calls", LIMIT, || (calls(client) >= before + 1_000).then_some(()));
}

/// Calls that a gateway has answered.
fn answered(gateway: &Proxy, port: u16) -> u64 {
    let page = gateway.page(port + 1, "/metrics");
    let name = "polis_proxy_requests_total{listener=\"calls\",route=\"rest\",class=\"2xx\"} ";
    let count = page.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
    count.unwrap_or(0)
}

fn drain(mut gateway: Proxy) {
    gateway.terminate();
    assert!(gateway.process.wait(LIMIT).success());
    let printed = gateway.process.printed();
    assert!(!printed.contains("drain timed out"), "{printed}");
}

/// Told anew, drained and replaced one after the other, under load.
fn check_changes(peer: &Peer) {
    let java = peer.java();
    let ((_a, even), (_b, odd)) = (java.provider("a"), java.provider("b"));
    let ports = [free_base_port(), free_base_port()];
    let [first, second] = ports.map(|port| peer.gateway(port, (even, odd)));
    let sidecar = peer.sidecar(&ports);
    let door = sidecar.port("calls").to_string();
    let mut client = java.start(&["load", &door, "8"]);
    more_calls(&client);
    sidecar.rewrite(&peer.sidecar_text(&ports, "2"), &[]);
    let took = "took over a new configuration";
    wait_for(took, LIMIT, || sidecar.process.printed().contains(took).then_some(()));
    more_calls(&client);
    drain(first);
    more_calls(&client);
    let first = peer.gateway(ports[0], (even, odd));
    wait_for("calls over the new gateway", LIMIT, || {
        (answered(&first, ports[0]) > 500).then_some(())
    });
    drain(second);
    more_calls(&client);
    client.end_input();
    assert!(client.wait(LIMIT).success());
    let printed = client.printed();
    assert!(printed.contains("calls, 0 failed"), "{printed}");
}

/// The ports that clients of `door` have on their side, as the kernel knows them.
fn clients_of(door: u16) -> BTreeSet<String> {
    const ESTABLISHED: &str = "01";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables = tables.map(|table| table.expect("the kernel tells"));
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    let clients = rows.filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let to = fields[2].ends_with(&format!(":{door:04X}"));
        (to && fields[3] == ESTABLISHED).then(|| fields[1].to_owned())
    });
    clients.collect()
}

/// A client that has never heard of a goodbye keeps its very connection while both
/// proxies on its way are upgraded twice.
fn check_upgrades(peer: &Peer) {
    let java = peer.java();
    let ((_a, even), (_b, odd)) = (java.provider("a"), java.provider("b"));
    let (door, port) = (free_base_port(), free_base_port());
    let mut gateway = peer.gateway(port, (even, odd));
    let text = peer.sidecar_text(&[port], "1").replace("127.0.0.1:0", &loopback(door).to_string());
    let mut sidecar = Proxy::start_in(Scratch::new("sidecar"), &text, &[]);
    let mut client = java.start(&["load", &door.to_string(), "8"]);
    more_calls(&client);
    let connections = clients_of(door);
    assert!(!connections.is_empty());
    for _ in 0..2 {
        for proxy in [&mut sidecar, &mut gateway] {
            let mut before = proxy.replace();
            assert!(before.wait(LIMIT).success());
            assert!(!before.printed().contains("drain timed out"), "{}", before.printed());
            more_calls(&client);
        }
    }
    assert_eq!(clients_of(door), connections);
    client.end_input();
    assert!(client.wait(LIMIT).success());
    let printed = client.printed();
    assert!(printed.contains("calls, 0 failed"), "{printed}");
}

#[test]
fn sofarpc_keeps_its_connection_while_proxies_are_upgraded() {
    check_upgrades(&SOFA);
}

#[test]
fn dubbo_2_keeps_its_connection_while_proxies_are_upgraded() {
    check_upgrades(&DUBBO_2);
}

#[test]
fn dubbo_3_keeps_its_connection_while_proxies_are_upgraded() {
    check_upgrades(&DUBBO_3);
}

#[test]
fn sofarpc_is_routed_by_header_and_argument() {
    check_routing(&SOFA, "");
}

#[test]
fn dubbo_2_is_routed_by_attachment_and_argument() {
    check_routing(&DUBBO_2, " epoch=17");
}

#[test]
fn dubbo_3_is_routed_by_attachment_and_argument() {
    check_routing(&DUBBO_3, " epoch=17");
}

#[test]
fn sofarpc_understands_a_refusal() {
    check_refusals(&SOFA, "busy");
}

#[test]
fn dubbo_2_understands_a_refusal() {
    check_refusals(&DUBBO_2, "as many requests as allowed");
}

#[test]
fn dubbo_3_understands_a_refusal() {
    check_refusals(&DUBBO_3, "as many requests as allowed");
}

#[test]
fn dubbo_2_tells_its_provider_what_is_left_of_a_deadline() {
    check_deadline(&DUBBO_2);
}

#[test]
fn dubbo_3_tells_its_provider_what_is_left_of_a_deadline() {
    check_deadline(&DUBBO_3);
}

#[test]
fn gateways_are_replaced_under_sofarpc_without_a_failed_call() {
    check_changes(&SOFA);
}

#[test]
fn gateways_are_replaced_under_dubbo_2_without_a_failed_call() {
    check_changes(&DUBBO_2);
}

#[test]
fn gateways_are_replaced_under_dubbo_3_without_a_failed_call() {
    check_changes(&DUBBO_3);
}

/// A client that heeds a goodbye, and knows two doors.
#[test]
fn clients_of_dubbo_3_leave_a_proxy_that_ends_without_a_failed_call() {
    let java = DUBBO_3.java();
    let ((_a, even), (_b, odd)) = (java.provider("a"), java.provider("b"));
    let ports = [free_base_port(), free_base_port()];
    let [going, staying] = ports.map(|port| {
        let proxy = DUBBO_3.gateway(port, (even, odd));
        let text = fs::read_to_string(proxy.config()).expect("written before");
        proxy.rewrite(&text.replacen("protocol", "readonly = true\nprotocol", 1), &[]);
        let took = "took over a new configuration";
        wait_for(took, LIMIT, || proxy.process.printed().contains(took).then_some(()));
        proxy
    });
    let mut client = java.start(&["load", &format!("{},{}", ports[0], ports[1]), "8"]);
    for (proxy, port) in [(&going, ports[0]), (&staying, ports[1])] {
        wait_for("calls by both", LIMIT, || (answered(proxy, port) > 500).then_some(()));
    }
    drain(going);
    more_calls(&client);
    client.end_input();
    assert!(client.wait(LIMIT).success());
    assert!(client.printed().contains("calls, 0 failed"), "{}", client.printed());
}
