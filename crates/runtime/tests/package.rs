//! Containers of class `package`, with real processes.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use runtime::{Config, ContainerId, Exit, Finished, Process, Record, Runtime, Spec, logs};

const DEADLINE: Duration = Duration::from_secs(120);

/// A folder of its own for each test; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("polis-runtime-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn open(&self) -> (Runtime, Vec<runtime::Found>) {
        open(&self.0, false)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(root: &std::path::Path, die_with_parent: bool) -> (Runtime, Vec<runtime::Found>) {
    Runtime::open(Config { root: root.to_owned(), die_with_parent }).expect("open the runtime")
}

fn id() -> ContainerId {
    ContainerId {
        namespace: "payments".into(),
        pod: "ledger-0".into(),
        uid: "7c1b4a50-0001".into(),
        container: "ledger".into(),
    }
}

fn shell(script: &str) -> Spec {
    Spec {
        id: id(),
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![],
        working_dir: None,
        digest: 1,
    }
}

async fn run(runtime: &Runtime, spec: Spec, attempt: u32) -> (Exit, Record) {
    let (process, mut record) = runtime.start(spec, attempt, None).await.expect("start");
    let exit = tokio::time::timeout(DEADLINE, process.exited()).await.expect("it ends");
    runtime.finish(&mut record, exit).expect("finish");
    (exit, record)
}

async fn text(runtime: &Runtime, options: logs::ReadOptions) -> String {
    let mut chunks = runtime.logs(&id(), options).expect("open the log");
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.expect("read the log"));
    }
    String::from_utf8(text).expect("logs of tests are UTF-8")
}

async fn wait_for_log(runtime: &Runtime, wanted: &str) {
    let options = logs::ReadOptions { follow: true, ..Default::default() };
    let mut chunks = runtime.logs(&id(), options).expect("open the log");
    let found = async {
        let mut text = String::new();
        while !text.contains(wanted) {
            let chunk = chunks.next().await.expect("the log goes on").expect("read the log");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the log says it");
}

fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn wait_until_gone(pid: i32) {
    let gone = async {
        while alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the process goes");
}

#[tokio::test]
async fn a_container_has_a_clean_environment_and_only_three_open_files() {
    let folder = Folder::new("clean");
    let null = fs::File::open("/dev/null").expect("open");
    // As whoever started us may have left one: open across exec.
    let _inherited = rustix::io::dup(&null).expect("dup");
    let (runtime, _) = folder.open();
    let mut spec = shell(
        "env | cut -d= -f1 | grep -v -e PWD -e SHLVL -e _ | sort; ls /proc/self/fd | grep -v 3; exit 7",
    );
    spec.env = vec![("UNIT".into(), "rz01".into())];
    let (exit, _) = run(&runtime, spec, 0).await;
    assert_eq!(exit, Exit::Code(7));
    let text = text(&runtime, logs::ReadOptions::default()).await;
    assert_eq!(text.lines().collect::<Vec<_>>(), ["HOME", "PATH", "UNIT", "0", "1", "2"]);
}

#[tokio::test]
async fn a_command_that_cannot_start_says_which_and_why() {
    let folder = Folder::new("missing");
    let (runtime, _) = folder.open();
    let spec = Spec { program: "no-such-program".into(), ..shell("") };
    let error = runtime.start(spec, 0, None).await.expect_err("cannot start").to_string();
    assert!(error.contains("no-such-program") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_stop_waits_for_a_polite_end_and_kills_a_stubborn_group() {
    let folder = Folder::new("stop");
    let (runtime, _) = folder.open();
    let polite = shell(
        "exec 2>/dev/null; trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done",
    );
    let (process, mut record) = runtime.start(polite, 0, None).await.expect("start");
    wait_for_log(&runtime, "up").await;
    let exit = process.stop(DEADLINE).await;
    assert_eq!(exit, Exit::Code(3));
    runtime.finish(&mut record, exit).expect("finish");
    assert_eq!(text(&runtime, logs::ReadOptions::default()).await, "up\nbye\n");

    let stubborn = shell("trap '' TERM; sleep 1000 & echo $!; wait");
    let (process, _) = runtime.start(stubborn, 1, None).await.expect("start");
    wait_for_log(&runtime, "\n").await;
    let child = text(&runtime, logs::ReadOptions::default()).await.trim().parse().expect("a pid");
    let exit = process.stop(Duration::from_millis(50)).await;
    assert_eq!(exit, Exit::Signal(9));
    wait_until_gone(child).await;
}

#[tokio::test]
async fn what_a_container_leaves_behind_goes_with_it() {
    let folder = Folder::new("leftover");
    let (runtime, _) = folder.open();
    let (exit, _) = run(&runtime, shell("sleep 1000 & echo $!"), 0).await;
    assert_eq!(exit, Exit::Code(0));
    let child = text(&runtime, logs::ReadOptions::default()).await.trim().parse().expect("a pid");
    wait_until_gone(child).await;
}

#[tokio::test]
async fn a_new_runtime_adopts_what_still_runs_with_its_log() {
    let folder = Folder::new("adopt");
    let (runtime, found) = folder.open();
    assert!(found.is_empty());
    let script = "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exec sleep 1000";
    let (process, record) = runtime.start(shell(script), 4, None).await.expect("start");
    wait_for_log(&runtime, "before").await;
    let pid = process.pid();
    drop((process, runtime));
    fs::write(folder.0.join("7c1b4a50-0001/ledger/work/go"), "").expect("write");

    let (runtime, mut found) = folder.open();
    let found = found.pop().expect("the container is found");
    assert_eq!((found.record.attempt, found.record.id.clone()), (4, id()));
    assert_eq!(found.record, record);
    let process: Process = found.process.expect("it is alive");
    assert_eq!(process.pid(), pid);
    wait_for_log(&runtime, "after").await;
    process.kill().await;
    wait_until_gone(pid).await;
}

#[tokio::test]
async fn a_process_that_only_has_the_same_number_is_not_adopted() {
    let folder = Folder::new("reuse");
    let (runtime, _) = folder.open();
    let (process, _) = runtime.start(shell("exec sleep 1000"), 0, None).await.expect("start");
    drop(runtime);
    let path = folder.0.join("7c1b4a50-0001/ledger/record.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("read")).expect("parse");
    let ticks = record["running"]["start_ticks"].as_u64().expect("ticks");
    record["running"]["start_ticks"] = (ticks + 1).into();
    fs::write(&path, record.to_string()).expect("write");

    let (_runtime, found) = folder.open();
    assert!(found[0].process.is_none());
    assert_eq!(found[0].record.finished.map(|Finished { exit, .. }| exit), Some(Exit::Unknown));
    assert!(alive(process.pid()), "a stranger is left alone");
    process.kill().await;
}

#[tokio::test]
async fn a_process_whose_pid_was_never_recorded_is_found_by_its_mark() {
    let folder = Folder::new("mark");
    let (runtime, _) = folder.open();
    let (process, _) = runtime.start(shell("exec sleep 1000"), 2, None).await.expect("start");
    drop(runtime);
    let path = folder.0.join("7c1b4a50-0001/ledger/record.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("read")).expect("parse");
    record["running"] = serde_json::Value::Null;
    fs::write(&path, record.to_string()).expect("write");

    let (_runtime, found) = folder.open();
    assert_eq!(found[0].process.as_ref().map(Process::pid), Some(process.pid()));
    process.kill().await;
}

#[tokio::test]
async fn a_log_is_read_by_its_end_by_time_by_size_and_by_attempt() {
    let folder = Folder::new("logs");
    let (runtime, _) = folder.open();
    run(&runtime, shell("echo first attempt"), 0).await;
    run(&runtime, shell("for i in 1 2 3 4 5; do echo line $i; done"), 1).await;
    let all = logs::ReadOptions::default();
    let tail = |n| logs::ReadOptions { tail_lines: Some(n), ..Default::default() };
    assert_eq!(text(&runtime, tail(2)).await, "line 4\nline 5\n");
    assert_eq!(text(&runtime, tail(0)).await, "");
    assert_eq!(text(&runtime, tail(99)).await, text(&runtime, all.clone()).await);
    let limited = logs::ReadOptions { limit_bytes: Some(10), ..all.clone() };
    assert_eq!(text(&runtime, limited).await, "line 1\nlin");
    let previous = logs::ReadOptions { previous: true, ..all.clone() };
    assert_eq!(text(&runtime, previous).await, "first attempt\n");
    let stamped = text(&runtime, logs::ReadOptions { timestamps: true, ..tail(1) }).await;
    assert!(stamped.starts_with("20") && stamped.ends_with("Z line 5\n"), "{stamped}");
    let later = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    assert_eq!(text(&runtime, logs::ReadOptions { since: Some(later), ..all }).await, "");
    assert!(!folder.0.join("7c1b4a50-0001/ledger/1.out").exists(), "spools go with the process");
}

#[tokio::test]
async fn followers_see_the_end_of_a_container_as_the_end_of_its_log() {
    let folder = Folder::new("follow");
    let (runtime, _) = folder.open();
    let (process, mut record) =
        runtime.start(shell("echo one; sleep 0.2; echo two"), 0, None).await.expect("start");
    let follow = logs::ReadOptions { follow: true, ..Default::default() };
    let (text, ()) = tokio::join!(text(&runtime, follow), async {
        let exit = process.exited().await;
        runtime.finish(&mut record, exit).expect("finish");
    });
    assert_eq!(text, "one\ntwo\n");
}

/// Runs in a process of its own, started by the next test.
#[tokio::test]
#[ignore = "a helper"]
async fn helper_that_starts_a_container_and_waits_to_be_killed() {
    let Some(root) = std::env::var_os("POLIS_TEST_ROOT") else { return };
    let (runtime, _) = open(root.as_ref(), true);
    let (process, _) = runtime.start(shell("exec sleep 1000"), 0, None).await.expect("start");
    process.exited().await;
}

#[tokio::test]
async fn containers_die_with_a_parent_that_is_killed_if_they_are_asked_to() {
    let folder = Folder::new("parent");
    let mut parent = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "helper_that_starts_a_container_and_waits_to_be_killed", "--ignored"])
        .env("POLIS_TEST_ROOT", &folder.0)
        .stdout(Stdio::null())
        .spawn()
        .expect("start the parent");
    let path = folder.0.join("7c1b4a50-0001/ledger/record.json");
    let pid = async {
        loop {
            let record = fs::read(&path).unwrap_or_default();
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
            if let Some(pid) = record["running"]["pid"].as_i64() {
                return i32::try_from(pid).expect("a pid");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let pid = tokio::time::timeout(DEADLINE, pid).await.expect("the container starts");
    assert!(alive(pid));
    parent.kill().expect("kill the parent");
    parent.wait().expect("reap the parent");
    wait_until_gone(pid).await;
}
