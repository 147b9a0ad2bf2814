//! From a configuration to scripts for nft. Pure.
//!
//! Everything is in one table of our own, put there and taken away as a whole.
//! With `on_failure = "open"` all rules hang on one element of a set, which the
//! proxy renews and the kernel forgets: a proxy that was killed, or stands
//! still, has its rules out of the way within [`LEASE`], with nobody left to
//! clean up. (A table that the kernel removes with its owner's socket would be
//! gone at once, but could not pass from one process to the next in an upgrade,
//! and would outlast a process that stands still.)

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::block;
use crate::config::{
    Config,
    model::{Intercept, OnFailure},
};

/// Our table; nobody else's is touched.
const TABLE: &str = "inet polis_proxy";
/// Without a sign of life for so long, nothing is captured any more.
const LEASE: Duration = Duration::from_secs(3);
/// Three signs in a lease: a busy machine may lose two.
pub const RENEW: Duration = Duration::from_secs(1);
/// How one gets to a host to repair it. Never captured, whatever anybody says.
const SSH: u16 = 22;

/// What is captured on this host, and what is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    on_failure: OnFailure,
    mark: u32,
    exclude_ports: BTreeSet<u16>,
    /// Inbound only: elsewhere the same port is somebody else's.
    own_ports: BTreeSet<u16>,
    exclude_v4: Vec<String>,
    exclude_v6: Vec<String>,
    exclude_uids: Vec<u32>,
    inbound: Vec<Capture>,
    outbound: Vec<Capture>,
}

/// Connections to these ports go to that one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Capture {
    port: u16,
    /// None: whatever no other captures.
    ports: Vec<u16>,
}

// === impl Rules ===

impl Rules {
    /// Of a configuration that has been checked; none if it intercepts nothing.
    #[must_use]
    pub fn of(config: &Config) -> Option<Rules> {
        let host = config.host.as_ref()?;
        let captures = |way: Intercept| {
            let listeners = config.listener.iter().filter(|l| l.intercept == Some(way));
            let mut captures: Vec<Capture> = listeners
                .map(|listener| Capture {
                    port: listener.address.get_ref().port(),
                    ports: listener.intercept_ports.clone(),
                })
                .collect();
            // The one for all the rest comes last.
            captures.sort_by_key(|capture| capture.ports.is_empty());
            captures
        };
        let (inbound, outbound) = (captures(Intercept::Inbound), captures(Intercept::Outbound));
        if inbound.is_empty() && outbound.is_empty() {
            return None;
        }
        let addresses = config.listener.iter().map(|listener| *listener.address.get_ref());
        let addresses = addresses.chain(config.admin.as_ref().map(|admin| admin.listen));
        let (mut exclude_v4, mut exclude_v6) = (Vec::new(), Vec::new());
        for text in &host.exclude_cidrs {
            let (ip, bits) = block(text.get_ref()).expect("checked: it is a block");
            match ip {
                IpAddr::V4(ip) => exclude_v4.push(format!("{ip}/{bits}")),
                IpAddr::V6(ip) => exclude_v6.push(format!("{ip}/{bits}")),
            }
        }
        Some(Rules {
            on_failure: host.on_failure,
            mark: host.mark,
            exclude_ports: host.exclude_ports.iter().copied().chain([SSH]).collect(),
            own_ports: addresses.map(|address: SocketAddr| address.port()).collect(),
            exclude_v4,
            exclude_v6,
            exclude_uids: host.exclude_uids.clone(),
            inbound,
            outbound,
        })
    }

    /// Whether traffic goes its own way when there is no proxy.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.on_failure == OnFailure::Open
    }

    /// Exactly these, instead of whatever there was: in one step, so that there
    /// is no moment with half of them or with none.
    #[must_use]
    pub fn install(&self) -> String {
        let mut script = Rules::remove();
        script.push_str(&format!("table {TABLE} {{\n"));
        if self.opens() {
            let seconds = LEASE.as_secs();
            script.push_str("  set alive {\n    type inet_proto\n    flags timeout\n");
            let _ = writeln!(script, "    elements = {{ tcp timeout {seconds}s }}\n  }}");
        }
        if !self.inbound.is_empty() {
            chain(&mut script, "inbound", "filter hook prerouting priority -150", self.inbound());
        }
        if !self.outbound.is_empty() {
            chain(&mut script, "outbound", "nat hook output priority -100", self.outbound());
        }
        script.push_str("}\n");
        script
    }

    /// One more lease. Fails when the rules were removed meanwhile.
    #[must_use]
    pub fn renew() -> String {
        let seconds = LEASE.as_secs();
        format!("flush set {TABLE} alive\nadd element {TABLE} alive {{ tcp timeout {seconds}s }}\n")
    }

    /// No rules at all, whatever there were.
    #[must_use]
    pub fn remove() -> String {
        // Made if absent, since only what is there can be deleted.
        format!("table {TABLE} {{}}\ndelete table {TABLE}\n")
    }

    fn inbound(&self) -> Vec<String> {
        let mut rules = self.common();
        rules.push("iifname \"lo\" return".into());
        // What this host only passes on is not its own.
        rules.push("fib daddr type != local return".into());
        let never: BTreeSet<u16> = self.exclude_ports.union(&self.own_ports).copied().collect();
        rules.push(format!("tcp dport {} return", set(&never)));
        rules.extend(self.excluded("saddr"));
        for Capture { port, ports } in &self.inbound {
            let which = which(ports);
            rules.push(format!("meta nfproto ipv4 {which} tproxy ip to 127.0.0.1:{port} accept"));
            rules.push(format!("meta nfproto ipv6 {which} tproxy ip6 to [::1]:{port} accept"));
            if !self.opens() {
                // Nobody listens: the kernel would deliver it past us.
                let first = "tcp flags & (syn | ack) == syn";
                rules.push(format!("{which} {first} reject with tcp reset"));
            }
        }
        rules
    }

    fn outbound(&self) -> Vec<String> {
        let mut rules = self.common();
        rules.push(format!("meta mark {:#x} return", self.mark));
        rules.push("fib daddr type local return".into());
        rules.push(format!("tcp dport {} return", set(&self.exclude_ports)));
        if !self.exclude_uids.is_empty() {
            rules.push(format!("meta skuid {} return", set(&self.exclude_uids)));
        }
        rules.extend(self.excluded("daddr"));
        let captures = self.outbound.iter();
        rules.extend(captures.map(|c| format!("{} redirect to :{}", which(&c.ports), c.port)));
        rules
    }

    fn common(&self) -> Vec<String> {
        let mut rules = vec!["meta l4proto != tcp return".to_owned()];
        if self.opens() {
            rules.push("meta l4proto != @alive return".into());
        }
        rules
    }

    fn excluded(&self, whose: &str) -> Vec<String> {
        let of = |family: &str, blocks: &Vec<String>| {
            (!blocks.is_empty()).then(|| format!("{family} {whose} {} return", set(blocks)))
        };
        of("ip", &self.exclude_v4).into_iter().chain(of("ip6", &self.exclude_v6)).collect()
    }
}

fn chain(script: &mut String, name: &str, hook: &str, rules: Vec<String>) {
    let _ = writeln!(script, "  chain {name} {{\n    type {hook}; policy accept;");
    for rule in rules {
        let _ = writeln!(script, "    {rule}");
    }
    script.push_str("  }\n");
}

fn which(ports: &[u16]) -> String {
    if ports.is_empty() {
        return "meta l4proto tcp".into();
    }
    format!("tcp dport {}", set(ports))
}

fn set<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(host: &str) -> Rules {
        let text = format!(
            r#"
[admin]
listen = "127.0.0.1:9901"
[host]
{host}
[[listener]]
name = "out"
address = "127.0.0.1:15001"
protocol = "tcp"
intercept = "outbound"
[[listener.route]]
name = "all"
cluster = "original"
[[listener]]
name = "web"
address = "127.0.0.1:15002"
intercept = "outbound"
intercept_ports = [80, 8080]
[[listener.route]]
name = "all"
cluster = "original-http"
[[listener]]
name = "in"
address = "127.0.0.1:15006"
intercept = "inbound"
intercept_ports = [8080]
[[listener.route]]
name = "all"
cluster = "original-http"
[[cluster]]
name = "original"
protocol = "tcp"
original = true
[[cluster]]
name = "original-http"
original = true
"#
        );
        let config = Config::parse(&text, "host.toml").unwrap_or_else(|error| panic!("{error}"));
        Rules::of(&config).expect("it intercepts")
    }

    #[test]
    fn an_open_host_captures_while_the_proxy_lives() {
        let expected = r#"table inet polis_proxy {}
delete table inet polis_proxy
table inet polis_proxy {
  set alive {
    type inet_proto
    flags timeout
    elements = { tcp timeout 3s }
  }
  chain inbound {
    type filter hook prerouting priority -150; policy accept;
    meta l4proto != tcp return
    meta l4proto != @alive return
    iifname "lo" return
    fib daddr type != local return
    tcp dport { 22, 9901, 15001, 15002, 15006 } return
    tcp dport { 8080 } tproxy_v4
    tcp dport { 8080 } tproxy_v6
  }
  chain outbound {
    type nat hook output priority -100; policy accept;
    meta l4proto != tcp return
    meta l4proto != @alive return
    meta mark 0x706c return
    fib daddr type local return
    tcp dport { 22 } return
    tcp dport { 80, 8080 } redirect to :15002
    meta l4proto tcp redirect to :15001
  }
}
"#;
        let expected = expected
            .replace(
                "tcp dport { 8080 } tproxy_v4",
                "meta nfproto ipv4 tcp dport { 8080 } tproxy ip to 127.0.0.1:15006 accept",
            )
            .replace(
                "tcp dport { 8080 } tproxy_v6",
                "meta nfproto ipv6 tcp dport { 8080 } tproxy ip6 to [::1]:15006 accept",
            );
        assert_eq!(rules("on_failure = \"open\"").install(), expected);
    }

    #[test]
    fn a_closed_host_lets_nothing_past_a_proxy_that_is_gone() {
        let script = rules("on_failure = \"closed\"").install();
        assert!(!script.contains("alive"), "{script}");
        let reset = "tcp dport { 8080 } tcp flags & (syn | ack) == syn reject with tcp reset";
        assert!(script.contains(reset), "{script}");
    }

    #[test]
    fn what_is_excluded_is_left_alone_and_ssh_always() {
        let host = r#"
on_failure = "open"
mark = 7
exclude_ports = [9100]
exclude_cidrs = ["169.254.169.254/32", "10.0.0.0/8", "fd00::/8"]
exclude_uids = [33, 1000]"#;
        let script = rules(host).install();
        for rule in [
            "meta mark 0x7 return",
            "meta skuid { 33, 1000 } return",
            "tcp dport { 22, 9100 } return",
            "tcp dport { 22, 9100, 9901, 15001, 15002, 15006 } return",
            "ip daddr { 169.254.169.254/32, 10.0.0.0/8 } return",
            "ip6 saddr { fd00::/8 } return",
        ] {
            assert!(script.contains(rule), "{rule}\n{script}");
        }
    }

    #[test]
    fn a_lease_is_renewed_in_one_step() {
        let expected = "flush set inet polis_proxy alive\n\
                        add element inet polis_proxy alive { tcp timeout 3s }\n";
        assert_eq!(Rules::renew(), expected);
    }
}
