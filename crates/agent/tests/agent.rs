//! The agent with real processes, against a small API over real sockets.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::world::{PATIENCE, PODS, World, alive, container, pod, ready, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

#[tokio::test]
async fn a_pod_runs_and_is_ready_once_its_probe_succeeds() {
    let world = World::new().await;
    // Bound, so that the port stays ours, and not listening yet.
    let service = TcpSocket::new_v4().expect("a socket");
    service.bind(([127, 0, 0, 1], 0).into()).expect("bind");
    let address = service.local_addr().expect("address");
    let probe = json!({ "tcpSocket": { "port": "https" } });
    let ports = json!([{ "name": "https", "containerPort": address.port() }]);
    let agent = world.agent(true).await;
    let script = format!("{} exec sleep 1000", world.tell_pid("p"));
    world.create("ledger-0", &script, json!({ "readinessProbe": probe, "ports": ports }));

    let path = pod("ledger-0");
    let seen = world.api.wait(&path, |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(ready(&seen), Some(false));
    assert_eq!(seen["status"]["podIP"], "127.0.0.1");
    let _service = service.listen(64).expect("listen on the port of the service");
    let seen = world.wait_ready("ledger-0").await;
    assert!(container(&seen)["state"]["running"]["startedAt"].is_string());
    assert_eq!(container(&seen)["restartCount"], 0);

    let node = world.api.wait("/units/rz01/api/v1/nodes/east-1", |node| {
        node["status"]["conditions"][0]["status"] == "True"
    });
    let node = node.await;
    assert_eq!(node["metadata"]["labels"]["topology.kubernetes.io/region"], "east");
    let port = &node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
    assert_eq!(*port, agent.address.port());
    let lease = "/units/rz01/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/east-1";
    world.api.wait(lease, |lease| lease["spec"]["renewTime"].is_string()).await;

    let pid = world.pid("p").await;
    agent.drain().await;
    assert!(!alive(pid), "pods end with their agent");
    let seen = world.api.get(&path).expect("the pod is not deleted");
    assert_eq!(ready(&seen), Some(false));
}

#[tokio::test]
async fn a_probe_over_https_needs_no_trust_and_only_a_good_status() {
    let world = World::new().await;
    let credentials = world.server_credentials("ledger");
    let optional = identity::ClientAuth::Optional;
    let tls = identity::server_config(&credentials, optional, &[]).expect("tls");
    let tls = tokio_rustls::TlsAcceptor::from(tls);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            // A probe that has waited for too long goes away, and comes again.
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut head = [0; 1024];
            let Ok(read @ 1..) = stream.read(&mut head).await else { continue };
            assert!(head[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            let nth = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let status = if nth < 3 { "503 Not Yet" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let agent = world.agent(true).await;
    let get = json!({ "port": port, "scheme": "HTTPS", "path": "/readyz" });
    let probe = json!({ "httpGet": get, "timeoutSeconds": 60 });
    world.create("p", "exec sleep 1000", json!({ "readinessProbe": probe }));
    world.wait_ready("p").await;
    // Once it is ready it is asked again, in its period.
    assert!(asked.load(std::sync::atomic::Ordering::SeqCst) >= 4, "only a good status counts");
    agent.drain().await;
}

#[tokio::test]
async fn a_container_that_ends_is_started_again_at_once_and_then_backs_off() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    world.create("p", "exit 3", json!({}));
    let path = pod("p");
    let backs_off =
        |pod: &Value| container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff";
    let seen = world.api.wait(&path, backs_off).await;
    assert_eq!(container(&seen)["restartCount"], 1);
    assert_eq!(container(&seen)["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(seen["status"]["phase"], "Running");
    let events = "/units/rz01/api/v1/namespaces/payments/events/";
    until(|| {
        let events = world.api.under(events);
        events.iter().any(|event| event["reason"] == "BackOff").then_some(())
    })
    .await;
    agent.drain().await;
}

#[tokio::test]
async fn a_pod_that_may_end_is_succeeded_or_failed() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    world.create("good", "exit 0", json!({ "restartPolicy": "OnFailure" }));
    world.create("bad", "kill -KILL $$$$", json!({ "restartPolicy": "Never" }));
    let good = world.api.wait(&pod("good"), |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(container(&good)["state"]["terminated"]["reason"], "Completed");
    let bad = world.api.wait(&pod("bad"), |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(container(&bad)["state"]["terminated"]["signal"], 9);
    assert_eq!(container(&bad)["state"]["terminated"]["exitCode"], 137);
    agent.drain().await;
}

/// A Pod that is ready and lives for as long as there is the service; its process.
async fn probed(world: &World, of_probe: &Value, of_pod: &Value) -> (TcpListener, i32) {
    let service = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = service.local_addr().expect("address").port();
    // It fails by being refused, not by being slow.
    let mut probe = json!({
        "tcpSocket": { "port": port },
        "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 60,
    });
    let with = |own: &mut Value, more: &Value| {
        own.as_object_mut().expect("an object").extend(more.as_object().expect("one too").clone());
    };
    with(&mut probe, of_probe);
    let mut more = json!({ "livenessProbe": probe });
    with(&mut more, of_pod);
    world.create("p", &format!("{} exec sleep 1000", world.tell_pid("pid")), more);
    let first = world.pid("pid").await;
    world.wait_ready("p").await;
    (service, first)
}

#[tokio::test]
async fn a_container_that_no_longer_answers_is_started_again() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    let (service, first) = probed(&world, &json!({}), &json!({})).await;
    drop(service);
    let restarted =
        |pod: &Value| container(pod)["restartCount"].as_u64().is_some_and(|count| count >= 1);
    let seen = world.api.wait(&pod("p"), restarted).await;
    assert_eq!(container(&seen)["lastState"]["terminated"]["signal"], 15);
    assert!(!alive(first));
    agent.drain().await;
}

/// What hangs does not hear that it should end; the probe says how long that is
/// waited for, whatever others are given to end in.
#[tokio::test]
async fn a_container_that_hangs_is_started_again_within_the_grace_of_its_probe() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    let grace = |seconds: u32| json!({ "terminationGracePeriodSeconds": seconds });
    let (service, first) = probed(&world, &grace(1), &grace(3_600)).await;
    let first = rustix::process::Pid::from_raw(first).expect("a process");
    rustix::process::kill_process(first, rustix::process::Signal::STOP).expect("stop it");
    drop(service);
    let restarted =
        |pod: &Value| container(pod)["restartCount"].as_u64().is_some_and(|count| count >= 1);
    let seen = world.api.wait(&pod("p"), restarted).await;
    assert_eq!(container(&seen)["lastState"]["terminated"]["signal"], 9);
    agent.drain().await;
}

#[tokio::test]
async fn a_deleted_pod_stops_within_its_grace_and_is_then_removed() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    let polite = format!(
        "trap 'touch {}; exit 0' TERM; {} while :; do sleep 0.02; done",
        world.folder.join("bye").display(),
        world.tell_pid("polite")
    );
    let stubborn =
        format!("trap '' TERM; {} while :; do sleep 0.02; done", world.tell_pid("stubborn"));
    world.create("polite", &polite, json!({}));
    world.create("stubborn", &stubborn, json!({}));
    let pids = (world.pid("polite").await, world.pid("stubborn").await);
    world.delete("polite", 30);
    world.delete("stubborn", 1);
    world.api.wait_gone(&pod("polite")).await;
    world.api.wait_gone(&pod("stubborn")).await;
    assert!(world.folder.join("bye").exists());
    assert!(!alive(pids.0) && !alive(pids.1));
    until(|| fs::read_dir(world.folder.join("data/pods")).ok()?.next().is_none().then_some(()))
        .await;
    agent.drain().await;
}

#[tokio::test]
async fn a_pod_for_what_packages_cannot_do_is_refused_with_a_code() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    world.create("p", "exit 0", json!({ "volumes": [{ "name": "v" }] }));
    world.create("q", "exit 0", json!({ "env": "not a list" }));
    let refused = world.api.wait(&pod("p"), |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(refused["status"]["reason"], "Unsupported");
    let message = refused["status"]["message"].as_str().expect("a message");
    assert!(message.contains("PLS0603") && message.contains("volumes"), "{message}");
    let invalid = world.api.wait(&pod("q"), |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(invalid["status"]["reason"], "InvalidPod");
    world.delete("p", 30);
    world.api.wait_gone(&pod("p")).await;
    agent.drain().await;
}

#[tokio::test]
async fn a_new_agent_adopts_running_pods_and_stops_those_deleted_meanwhile() {
    let world = World::new().await;
    let agent = world.agent(false).await;
    for name in ["stays", "goes"] {
        world.create(name, &format!("{} exec sleep 1000", world.tell_pid(name)), json!({}));
        world.wait_ready(name).await;
    }
    let (stays, goes) = (world.pid("stays").await, world.pid("goes").await);
    agent.crash().await;
    assert!(alive(stays) && alive(goes), "pods outlive their agent");
    world.api.remove(&pod("goes"));

    let agent = world.agent(false).await;
    until(|| (!alive(goes)).then_some(())).await;
    assert!(alive(stays));
    assert_eq!(container(&world.wait_ready("stays").await)["restartCount"], 0);
    agent.drain().await;
    assert!(alive(stays), "a drain leaves them too");

    let agent = world.agent(false).await;
    world.delete("stays", 5);
    world.api.wait_gone(&pod("stays")).await;
    assert!(!alive(stays));
    agent.drain().await;
}

#[tokio::test]
async fn an_agent_without_an_api_goes_on_with_the_pods_it_has() {
    let world = World::new().await;
    let agent = world.agent(false).await;
    let script = format!("{} exec sleep 1000", world.tell_pid("pid"));
    world.create("p", &script, json!({}));
    world.wait_ready("p").await;
    let first = world.pid("pid").await;
    agent.crash().await;
    world.api.kill();

    let agent = world.agent(true).await;
    assert!(alive(first), "it is adopted without asking anyone");
    fs::remove_file(world.folder.join("pid")).expect("remove");
    kill(first);
    let second = world.pid("pid").await;
    assert_ne!(first, second);
    agent.drain().await;
    assert!(!alive(second));
}

#[tokio::test]
async fn two_agents_never_share_a_folder() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    let error = world.build(true).await.err().expect("the second is refused").to_string();
    assert!(error.contains("PLS0600") && error.contains("folder of its own"), "{error}");
    agent.drain().await;
}

#[tokio::test]
async fn logs_are_for_the_api_server_alone() {
    let world = World::new().await;
    let agent = world.agent(true).await;
    // Of one stream: lines of two come in either order.
    world.create("p", "echo one >&2; echo two >&2; exec sleep 1000", json!({}));
    world.wait_ready("p").await;
    let path = "/containerLogs/payments/p/main?tailLines=1";
    let ask = |account: &'static str, path: &'static str| get(&world, agent.address, account, path);
    let answer = until_contains(|| ask("apiserver", path), "two\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("one"), "{answer}");
    assert!(ask("edge", path).await.starts_with("HTTP/1.1 403"));
    assert!(ask("edge", "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(ask("edge", "/metrics").await.contains("polis_agent_pods 1"));
    assert!(ask("apiserver", "/pods").await.contains("\"PodList\""));
    let missing = ask("apiserver", "/containerLogs/payments/none/main").await;
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("PLS0605"), "{missing}");
    let bad = ask("apiserver", "/containerLogs/payments/p/main?tailLines=x").await;
    assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("tailLines"), "{bad}");
    assert!(ask("apiserver", "/containerLogs/payments/p/..").await.starts_with("HTTP/1.1 404"));
    assert_eq!(world.api.under(PODS).len(), 1);
    agent.drain().await;
}

async fn get(world: &World, address: std::net::SocketAddr, account: &str, path: &str) -> String {
    let tls = tokio_rustls::TlsConnector::from(world.client_tls(account));
    let stream = TcpStream::connect(address).await.expect("connect");
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    let mut stream = tls.connect(name, stream).await.expect("a handshake");
    let request = format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn until_contains<F: Future<Output = String>>(ask: impl Fn() -> F, wanted: &str) -> String {
    let asking = async {
        loop {
            let answer = ask().await;
            if answer.contains(wanted) {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the answer contains it")
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
}
