//! A host whose programs know of no proxy, in a network of its own: what is
//! captured, what never is, and what is left when the proxy is gone. Needs root.

use std::{
    fs,
    process::{Command, Output},
    sync::Mutex,
    time::Duration,
};

use e2e::{Running, Scratch, path_with_nft, polis, wait_for};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(60);
/// Beyond the lease of three seconds.
const BEYOND_LEASE: Duration = Duration::from_secs(5);

/// One at a time: the names of namespaces are the machine's.
static ALONE: Mutex<()> = Mutex::new(());

/// Two namespaces with a cable between them: the host, and somebody else.
struct Lab {
    scratch: Scratch,
    host: String,
    other: String,
}

const HOST: [&str; 2] = ["10.77.0.1", "[fd77::1]"];
const OTHER: [&str; 2] = ["10.77.0.2", "[fd77::2]"];

impl Lab {
    fn new(name: &str) -> Lab {
        let number = std::process::id();
        let (host, other) = (format!("polis-h{number}"), format!("polis-o{number}"));
        let lab = Lab { scratch: Scratch::new(name), host, other };
        let Lab { host, other, .. } = &lab;
        for command in [
            format!("netns add {host}"),
            format!("netns add {other}"),
            format!("-n {host} link add eth0 type veth peer name eth0 netns {other}"),
            format!("-n {host} link set lo up"),
            format!("-n {other} link set lo up"),
            format!("-n {host} link set eth0 up"),
            format!("-n {other} link set eth0 up"),
            format!("-n {host} address add 10.77.0.1/24 dev eth0"),
            format!("-n {other} address add 10.77.0.2/24 dev eth0"),
            format!("-n {host} address add fd77::1/64 dev eth0 nodad"),
            format!("-n {other} address add fd77::2/64 dev eth0 nodad"),
        ] {
            let output = Command::new("ip").args(command.split(' ')).output().expect("run ip");
            assert!(output.status.success(), "{command}: {output:?}");
        }
        lab
    }

    fn inside(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]).env("PATH", path_with_nft());
        command
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.scratch.join(name);
        fs::write(&path, text).expect("write");
        path.display().to_string()
    }

    /// Services on three ports of a namespace, which say who they are.
    fn services(&self, namespace: &str) -> Running {
        let mut text = String::new();
        for (port, body) in [(22, "ssh"), (80, "web"), (8080, "app")] {
            text.push_str(&format!(
                "[[listener]]\nname = \"s{port}\"\naddress = \"[::]:{port}\"\n\
                 [[listener.route]]\nname = \"r\"\nrespond = {{ status = 200, body = \"{body}\" }}\n"
            ));
        }
        let file = self.write(&format!("{namespace}.toml"), &text);
        let polis = polis().display().to_string();
        let mut running = Running::spawn(
            self.inside(namespace, &polis).args(["proxy", "run", "--config", &file]),
        );
        running.wait_for_line("the proxy serves", LIMIT);
        running
    }

    fn proxy(&self, on_failure: &str) -> Running {
        let file = self.write("host.toml", &config(on_failure));
        let door = self.scratch.join("door").display().to_string();
        let polis = polis().display().to_string();
        let mut command = self.inside(&self.host, &polis);
        command.args(["proxy", "host", "--config", &file, "--handover", &door]);
        let mut running = Running::spawn(&mut command);
        running.wait_for_line("the proxy serves", LIMIT);
        running
    }

    /// Head and body of a page, as unmodified curl sees it from a namespace.
    fn curl(&self, from: &str, address: &str, port: u16) -> Option<String> {
        let url = format!("http://{address}:{port}/");
        let mut curl = self.inside(from, "curl");
        let output = curl.args(["-s", "-g", "-i", "-m", "20", &url]).output().expect("run curl");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn through(&self, from: &str, address: &str, port: u16) -> Option<String> {
        let page = self.curl(from, address, port)?;
        let header = page.lines().find_map(|line| line.strip_prefix("x-through: "));
        Some(header.unwrap_or("nobody").trim().to_owned())
    }

    fn cleanup(&self) -> Output {
        let polis = polis().display().to_string();
        self.inside(&self.host, &polis).args(["proxy", "host", "--cleanup"]).output().expect("run")
    }

    fn has_rules(&self) -> bool {
        let mut nft = self.inside(&self.host, "nft");
        let output = nft.args(["list", "table", "inet", "polis_proxy"]).output().expect("run nft");
        output.status.success()
    }

    /// Both ways and both families go by the proxy; port 22 never does. A proxy
    /// that was not scheduled for as long as its lease captures again when it is.
    fn is_captured(&self) {
        let (host, other) = (&self.host, &self.other);
        let through = |from, to: &str, port| self.through(from, to, port).unwrap_or_default();
        let goes = |from, to: &str, port, expected: &str| {
            wait_for(&format!("port {port} of {to} to be reached by {expected}"), LIMIT, || {
                (through(from, to, port) == expected).then_some(())
            });
        };
        goes(host, OTHER[0], 80, "outbound-v4");
        goes(host, OTHER[1], 80, "outbound-v6");
        for family in [0, 1] {
            goes(other, HOST[family], 8080, "inbound");
            assert_eq!(through(host, OTHER[family], 22), "nobody");
            assert_eq!(through(other, HOST[family], 22), "nobody");
        }
    }

    fn is_open(&self) -> bool {
        let nobody =
            |from, to: &str, port| self.through(from, to, port).as_deref() == Some("nobody");
        [0, 1].into_iter().all(|family| {
            nobody(&self.host, OTHER[family], 80) && nobody(&self.other, HOST[family], 8080)
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.other] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

fn config(on_failure: &str) -> String {
    format!(
        r#"
[admin]
listen = "127.0.0.1:9901"

[host]
on_failure = "{on_failure}"

[limits]
drain_timeout = "5s"

[[listener]]
name = "out-web"
address = "127.0.0.1:15001"
intercept = "outbound"
intercept_ports = [80]
[[listener.route]]
name = "v4"
match = {{ destination = "10.77.0.0/24:80" }}
cluster = "original-http"
response_headers = {{ set = {{ x-through = "outbound-v4" }} }}
[[listener.route]]
name = "rest"
cluster = "original-http"
response_headers = {{ set = {{ x-through = "outbound-v6" }} }}

[[listener]]
name = "out-rest"
address = "127.0.0.1:15002"
intercept = "outbound"
protocol = "tcp"
[[listener.route]]
name = "rest"
cluster = "original"

[[listener]]
name = "in"
address = "127.0.0.1:15006"
intercept = "inbound"
[[listener.route]]
name = "all"
cluster = "original-http"
response_headers = {{ set = {{ x-through = "inbound" }} }}

[[cluster]]
name = "original-http"
original = true

[[cluster]]
name = "original"
protocol = "tcp"
original = true
"#
    )
}

#[test]
fn an_open_host_is_captured_both_ways_and_free_again_after_kill_9() {
    let _alone = ALONE.lock();
    let lab = Lab::new("proxy-host-open");
    let _here = lab.services(&lab.host);
    let _there = lab.services(&lab.other);
    wait_for("the cable to be up", LIMIT, || lab.is_open().then_some(()));

    let proxy = lab.proxy("open");
    lab.is_captured();
    // Another port is carried as bytes, which shows in the count alone, and
    // there only once both ends are closed.
    let metrics = lab.curl(&lab.host, "127.0.0.1", 9901);
    assert!(metrics.is_some(), "the operators' port is not captured");
    let carried = || {
        let page = Command::new("ip")
            .args(["netns", "exec", &lab.host, "curl", "-s", "http://127.0.0.1:9901/metrics"])
            .output()
            .expect("run curl");
        let name =
            "polis_proxy_requests_total{listener=\"out-rest\",route=\"rest\",class=\"2xx\"} ";
        let page = String::from_utf8_lossy(&page.stdout).into_owned();
        page.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    wait_for("bytes to be carried", LIMIT, || {
        assert_eq!(lab.through(&lab.host, OTHER[0], 8080).as_deref(), Some("nobody"));
        (carried() > 0).then_some(())
    });
    // Whoever comes to a listener of ours itself is not sent round in circles.
    assert_eq!(lab.curl(&lab.host, "127.0.0.1", 15001), None);

    // A program of another kind, as unmodified.
    let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/java/Fetch.java");
    let java = lab.inside(&lab.host, "java").args([fetch, "http://10.77.0.2/"]).output();
    let java = java.expect("run java");
    let said = String::from_utf8_lossy(&java.stdout).into_owned();
    assert!(said.contains("x-through: outbound-v4") && said.contains("web"), "{java:?}");

    proxy.signal(Signal::KILL);
    wait_for("the way to be open", LIMIT, || lab.is_open().then_some(()));

    // What the dead one left is replaced, and goes with an orderly end.
    let mut proxy = lab.proxy("open");
    lab.is_captured();
    let mut successor = lab.proxy("open");
    assert!(proxy.wait(LIMIT).success());
    lab.is_captured();
    successor.signal(Signal::TERM);
    assert!(successor.wait(LIMIT).success());
    assert!(!lab.has_rules());
    assert!(lab.is_open());
}

#[test]
fn a_closed_host_stays_closed_until_it_is_cleaned_up() {
    let _alone = ALONE.lock();
    let lab = Lab::new("proxy-host-closed");
    let _here = lab.services(&lab.host);
    let _there = lab.services(&lab.other);
    let proxy = lab.proxy("closed");
    lab.is_captured();
    proxy.signal(Signal::KILL);
    #[expect(clippy::disallowed_methods, reason = "that nothing changes shows in time alone")]
    std::thread::sleep(BEYOND_LEASE);
    for family in [0, 1] {
        assert_eq!(lab.curl(&lab.host, OTHER[family], 80), None);
        assert_eq!(lab.curl(&lab.other, HOST[family], 8080), None);
        let ssh = lab.through(&lab.other, HOST[family], 22);
        assert_eq!(ssh.as_deref(), Some("nobody"), "the way in to repair it");
    }
    let cleaned = lab.cleanup();
    assert!(cleaned.status.success(), "{cleaned:?}");
    assert!(!lab.has_rules());
    assert!(lab.is_open());
    assert!(lab.cleanup().status.success(), "nothing to clean up is no failure");
}
