//! Who the client is, told by a balancer in front and to services behind.

mod proxy_parts;

use proxy_parts::{Origin, Proxy, curl, raw};

#[test]
fn who_the_client_is_is_believed_from_the_balancer_in_front() {
    let origin = Origin::named("origin");
    let proxy = Proxy::start(
        r#"
[[listener]]
name = "web"
address = "127.0.0.1:0"
proxy_protocol = true
[[listener.route]]
name = "all"
cluster = "origin"
[[cluster]]
name = "origin"
endpoints = [{ address = "{ORIGIN}" }]
"#,
        &[("ORIGIN", origin.address)],
    );
    let address = proxy.address("web");
    let asked = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let seen = raw(address, format!("PROXY TCP4 10.1.2.3 10.0.0.1 4711 80\r\n{asked}").as_bytes());
    assert!(seen.contains("origin GET /"), "{seen}");
    assert_eq!(origin.asked().pop().expect("asked").header("x-forwarded-for"), Some("10.1.2.3"));
    let (good, seen) = curl(&["--haproxy-protocol", &format!("http://{address}/")]);
    assert!(good && seen.contains("origin"), "{seen}");
    assert_eq!(raw(address, asked.as_bytes()), "", "without it nothing is answered");
}

/// Bytes have no header for it: the service is told in the PROXY protocol. What
/// hears it here is a listener of ours, that curl has shown above to hear aright.
#[test]
fn who_the_client_is_is_told_to_services_of_bytes() {
    let origin = Origin::named("origin");
    for version in ["v1", "v2"] {
        let back = Proxy::start(
            r#"
[[listener]]
name = "web"
address = "127.0.0.1:0"
proxy_protocol = true
[[listener.route]]
name = "all"
cluster = "origin"
[[cluster]]
name = "origin"
endpoints = [{ address = "{ORIGIN}" }]
"#,
            &[("ORIGIN", origin.address)],
        );
        let front = r#"
[[listener]]
name = "bytes"
address = "127.0.0.1:0"
protocol = "tcp"
proxy_protocol = true
[[listener.route]]
name = "all"
cluster = "back"
[[cluster]]
name = "back"
protocol = "tcp"
proxy_protocol = "{VERSION}"
endpoints = [{ address = "{BACK}" }]
"#;
        let front = front.replace("{VERSION}", version);
        let front = Proxy::start(&front, &[("BACK", back.address("web"))]);
        let asked = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        for client in ["TCP4 10.1.2.3 10.0.0.1", "TCP6 fd00::7 fd00::1"] {
            let said = format!("PROXY {client} 4711 80\r\n{asked}");
            assert!(raw(front.address("bytes"), said.as_bytes()).contains("origin GET /"));
            let seen = origin.asked().pop().expect("asked");
            // Nobody can say that one of IPv6 came to an address of IPv4.
            let told = if client.starts_with("TCP4") { "10.1.2.3" } else { "127.0.0.1" };
            assert_eq!(seen.header("x-forwarded-for"), Some(told), "{version}");
        }
    }
}
