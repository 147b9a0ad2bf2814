//! Pods of a unit with the real kubectl: apply, watch, logs, describe, delete;
//! and what becomes of them when their process or their center is killed.

use std::{fs, process::Output, time::Duration};

use e2e::{Estate, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(180);

const HELLO: &str = "
apiVersion: v1
kind: Pod
metadata: { name: hello, namespace: payments, labels: { app: hello } }
spec:
  nodeName: east-1
  runtimeClassName: package
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: package
    command: [sh, -c, 'for i in 1 2 3; do echo line $i; done; trap \"\" TERM; while :; do sleep 0.1; done']
";

/// kubectl against the unit's own door.
fn kubectl(estate: &Estate, args: &[&str]) -> Output {
    let mut all = vec!["--context", "rz01", "--namespace", "payments"];
    all.extend(args);
    estate.kubectl(&all)
}

fn works(estate: &Estate, args: &[&str]) -> String {
    let output = kubectl(estate, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn pod(estate: &Estate, name: &str) -> Value {
    let text = works(estate, &["get", "pod", name, "-o", "json"]);
    serde_json::from_str(&text).expect("JSON")
}

/// The restarts of a Pod that is ready.
fn ready(pod: &Value) -> Option<u64> {
    let status = &pod["status"]["containerStatuses"][0];
    status["ready"].as_bool().filter(|ready| *ready)?;
    status["restartCount"].as_u64()
}

/// The process whose environment marks it as this container of `estate`.
fn container(estate: &Estate, name: &str) -> Option<Pid> {
    let mark = format!("POLIS_CONTAINER={}", estate.data.display());
    fs::read_dir("/proc").expect("read /proc").flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environ = fs::read(entry.path().join("environ")).ok()?;
        let environ = String::from_utf8_lossy(&environ).into_owned();
        let marked = environ
            .split('\0')
            .any(|line| line.starts_with(&mark) && line.split('/').any(|part| part == name));
        // A shell's own children carry the mark too; only the leader is meant.
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let session = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?;
        (marked && session == entry.file_name().to_str()?).then(|| Pid::from_raw(pid))?
    })
}

#[test]
fn a_pod_lives_and_ends_as_kubectl_says() {
    let estate = Estate::up("pods", "1");
    let manifest = estate.data.with_file_name("hello.yaml");
    fs::write(&manifest, HELLO).expect("write the manifest");
    works(&estate, &["apply", "-f", &manifest.display().to_string()]);
    wait_for("the pod is ready", LIMIT, || ready(&pod(&estate, "hello")));

    let lines = wait_for("its log is there", LIMIT, || {
        Some(works(&estate, &["logs", "hello"])).filter(|text| text.lines().count() == 3)
    });
    assert_eq!(lines, "line 1\nline 2\nline 3\n");
    assert_eq!(works(&estate, &["logs", "hello", "--tail=1"]), "line 3\n");
    let stamped = works(&estate, &["logs", "hello", "--timestamps", "--tail=1"]);
    assert!(stamped.starts_with("20") && stamped.ends_with("Z line 3\n"), "{stamped}");
    let described = wait_for("its start is told", LIMIT, || {
        Some(works(&estate, &["describe", "pod", "hello"]))
            .filter(|text| text.contains("Started container main"))
    });
    assert!(described.contains("127.0.0.1"), "{described}");
    let row = works(&estate, &["get", "pods", "hello", "--no-headers"]);
    assert!(row.contains("1/1") && row.contains("Running"), "{row}");

    let process = container(&estate, "main").expect("its process");
    works(&estate, &["delete", "pod", "hello"]);
    wait_for("the pod is gone", LIMIT, || {
        (!kubectl(&estate, &["get", "pod", "hello"]).status.success()).then_some(())
    });
    assert!(!fs::exists(format!("/proc/{}", process.as_raw_nonzero())).unwrap_or(true));
}

#[test]
fn a_ledger_comes_back_when_its_process_or_its_center_is_killed() {
    let estate = Estate::up("pods-killed", "1");
    let name = "ledger-rz01-0";
    let before = wait_for("the ledger is ready", LIMIT, || ready(&pod(&estate, name)));
    let process = container(&estate, "ledger").expect("the ledger's process");
    kill_process(process, Signal::KILL).expect("kill the ledger");
    // At least once: the count only ever grows.
    let again = wait_for("the ledger was started again", LIMIT, || {
        ready(&pod(&estate, name)).filter(|restarts| *restarts > before)
    });

    let process = container(&estate, "ledger").expect("the ledger's process");
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let stat = stat.expect("it is alive");
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
    let parent = parent.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    kill_process(parent.expect("its center"), Signal::KILL).expect("kill the center");
    wait_for("the ledger died with its center", LIMIT, || {
        (!fs::exists(format!("/proc/{}", process.as_raw_nonzero())).unwrap_or(true)).then_some(())
    });
    wait_for("the center and its ledger are back", LIMIT, || {
        let output = kubectl(&estate, &["get", "pod", name, "-o", "json"]);
        let pod: Value = serde_json::from_slice(&output.stdout).ok()?;
        ready(&pod).filter(|restarts| *restarts > again)
    });
}
