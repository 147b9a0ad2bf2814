//! Processes beside a container's own.

use std::{fs, path::PathBuf, time::Duration};

use runtime::{Config, ContainerId, Exec, Execution, Exit, Process, Record, Runtime, Size, Spec};

const DEADLINE: Duration = Duration::from_secs(120);

/// A runtime with one container that sleeps; removed at the end.
struct Pod {
    root: PathBuf,
    runtime: Runtime,
    process: Process,
    record: Record,
}

impl Pod {
    async fn start(name: &str) -> Pod {
        let root = std::env::temp_dir().join(format!("polis-exec-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let config = Config { root: root.clone(), die_with_parent: true };
        let (runtime, _) = Runtime::open(config).expect("open the runtime");
        let (process, record) = runtime.start(spec(), 0, None).await.expect("start");
        Pod { root, runtime, process, record }
    }

    async fn sh(&self, script: &str, terminal: bool) -> Execution {
        let exec = Exec {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            input: true,
            stdout: true,
            stderr: !terminal,
            terminal,
        };
        self.runtime.exec(&spec(), exec).await.expect("start beside it")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn spec() -> Spec {
    Spec {
        id: ContainerId {
            namespace: "payments".into(),
            pod: "ledger-0".into(),
            uid: "7c1b4a50-0002".into(),
            container: "ledger".into(),
        },
        program: "sleep".into(),
        args: vec!["600".into()],
        env: vec![("COLOUR".into(), "red".into())],
        working_dir: Some("/".into()),
        digest: 1,
    }
}

async fn all(source: &runtime::Source) -> String {
    let mut text = Vec::new();
    loop {
        text.reserve(4096);
        let read = tokio::time::timeout(DEADLINE, source.read(&mut text)).await.expect("it ends");
        if read.expect("read") == 0 {
            return String::from_utf8(text).expect("tests print UTF-8");
        }
    }
}

async fn exit(execution: &Execution) -> Exit {
    tokio::time::timeout(DEADLINE, execution.process.exited()).await.expect("it ends")
}

#[tokio::test]
async fn a_process_beside_a_container_has_its_environment_and_ends_of_its_own() {
    let pod = Pod::start("ends").await;
    let mut run =
        pod.sh("echo $COLOUR $PWD $POLIS_CONTAINER; cat; echo no >&2; exit 3", false).await;
    let input = run.input.take().expect("an input");
    input.write_all(b"said\n").await.expect("write");
    input.end().await;
    assert_eq!(all(run.stdout.as_ref().expect("an output")).await, "red /\nsaid\n");
    assert_eq!(all(run.stderr.as_ref().expect("another")).await, "no\n");
    assert_eq!(exit(&run).await, Exit::Code(3));
}

#[tokio::test]
async fn a_terminal_is_one_and_has_a_size() {
    let pod = Pod::start("terminal").await;
    let run = pod.sh("tty >/dev/null && read line; stty size; echo $TERM $line", true).await;
    let output = run.stdout.as_ref().expect("an output");
    Size { columns: 123, rows: 45 }.set(output);
    run.input.as_ref().expect("an input").write_all(b"go\n").await.expect("write");
    let text = all(output).await;
    assert!(text.contains("45 123\r\n") && text.contains("xterm go\r\n"), "{text:?}");
    assert_eq!(exit(&run).await, Exit::Code(0));
}

#[tokio::test]
async fn it_is_known_when_the_container_ends() {
    let mut pod = Pod::start("lifetime").await;
    let mut run = pod.sh("sleep 600", false).await;
    let ended = pod.process.kill().await;
    pod.runtime.finish(&mut pod.record, ended).expect("finish");
    tokio::time::timeout(DEADLINE, run.lifetime.ended()).await.expect("it is told");
    assert_eq!(run.process.kill().await, Exit::Signal(9));
    let exec = Exec {
        program: "true".into(),
        args: vec![],
        input: false,
        stdout: false,
        stderr: false,
        terminal: false,
    };
    let refused = pod.runtime.exec(&spec(), exec).await.expect_err("nothing runs");
    assert!(refused.to_string().contains("is not running"), "{refused}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let pod = Pod::start("missing").await;
    let exec = Exec {
        program: "no-such-command".into(),
        args: vec![],
        input: false,
        stdout: true,
        stderr: true,
        terminal: false,
    };
    let error = pod.runtime.exec(&spec(), exec).await.expect_err("there is none").to_string();
    assert!(error.contains("no-such-command") && error.contains("No such file"), "{error}");
}
