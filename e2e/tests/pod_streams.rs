//! What the real kubectl does in pods: exec, attach, port-forward and logs, over
//! WebSockets and over SPDY.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    time::Duration,
};

use e2e::{Estate, Running, request, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);

/// As older clients have it.
const SPDY: [(&str, &str); 2] =
    [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

/// kubectl against the unit's own door.
fn kubectl(estate: &Estate, args: &[&str]) -> Command {
    let mut command = estate.kubectl_command();
    command.args(["--context", "rz01", "--namespace", "payments"]).args(args);
    command
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("run kubectl")
}

/// As [`run`], with `input` to read.
fn run_with(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start kubectl");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It may end before it has read all.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("wait for kubectl")
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn works(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn fails(output: &Output, with: &str) {
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains(with), "not {with:?}: {said}");
}

fn create(estate: &Estate, name: &str, containers: Value) {
    create_by(&|args| kubectl(estate, args), "east-1", name, containers);
}

fn create_by(kubectl: &dyn Fn(&[&str]) -> Command, node: &str, name: &str, containers: Value) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "payments" },
        "spec": {
            "nodeName": node,
            "runtimeClassName": "package",
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
        },
    });
    works(&run_with(&mut kubectl(&["apply", "-f", "-"]), pod.to_string().as_bytes()));
    // All of it: one container of several makes the phase `Running` too.
    wait_for("the pod runs", LIMIT, || {
        let pod = run(&mut kubectl(&["get", "pod", name, "-o", "json"]));
        let pod: Value = serde_json::from_slice(&pod.stdout).ok()?;
        let statuses = pod["status"]["containerStatuses"].as_array()?;
        statuses.iter().all(|status| status["state"]["running"].is_object()).then_some(())
    });
}

fn sleeper(name: &str) -> Value {
    json!({
        "name": name,
        "command": ["sleep", "600"],
        "env": [{ "name": "COLOUR", "value": format!("red of {name}") }],
    })
}

/// Bytes without a pattern that a cut or a repetition would keep.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}

#[test]
fn commands_run_beside_a_container_and_say_how_they_ended() {
    let estate = Estate::up("streams-exec", "1");
    create(&estate, "box", json!([sleeper("main")]));
    create(&estate, "pair", json!([sleeper("one"), sleeper("two")]));
    for env in [[].as_slice(), &SPDY] {
        let exec = |args: &[&str]| {
            let mut command = kubectl(&estate, &["exec"]);
            command.args(args).envs(env.iter().copied());
            command
        };
        let said = run(&mut exec(&["box", "--", "sh", "-c", "echo $COLOUR; echo no >&2; exit 3"]));
        assert_eq!(said.status.code(), Some(3), "{}", text(&said.stderr));
        assert_eq!(text(&said.stdout), "red of main\n");
        assert_eq!(text(&said.stderr), "no\ncommand terminated with exit code 3\n");
        assert_eq!(works(&run(&mut exec(&["box", "--", "true"]))), "");

        let bytes = noise((5 << 20) + 7);
        let echoed = run_with(&mut exec(&["-i", "box", "--", "cat"]), &bytes);
        assert!(echoed.status.success() && echoed.stdout == bytes, "{}", text(&echoed.stderr));
        // One that does not read its input to the end.
        let head = run_with(&mut exec(&["-i", "box", "--", "head", "-c", "3"]), b"abcdef\n");
        assert_eq!(works(&head), "abc");

        let two = run(&mut exec(&["pair", "-c", "two", "--", "sh", "-c", "echo $COLOUR"]));
        assert_eq!(works(&two), "red of two\n");
        fails(&run(&mut exec(&["box", "--", "no-such-command"])), "no-such-command");
        fails(&run(&mut exec(&["pair", "-c", "x", "--", "true"])), "x");
        fails(&run(&mut exec(&["nobody", "--", "true"])), "not found");
        terminal(&mut exec(&["-it", "box", "--", "sh"]));
    }
    refused(&estate);
}

/// kubectl in a terminal of its own, resized before it starts.
fn terminal(exec: &mut Command) {
    let words = exec.get_args().map(|word| format!("'{}'", word.display())).collect::<Vec<_>>();
    let line = format!(
        "stty cols 97 rows 31; exec '{}' {}",
        exec.get_program().display(),
        words.join(" ")
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    script.envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Sizes have a channel of their own, so what is typed may be there first.
    let input =
        b"for n in $(seq 600); do test \"$(stty size)\" = '31 97' && break; sleep 0.1; done\n\
                  test -t 0 && echo a terminal of $(stty size)\nexit 7\n";
    let said = run_with(&mut script, input);
    let out = text(&said.stdout);
    assert!(out.contains("a terminal of 31 97"), "{out}");
    assert_eq!(said.status.code(), Some(7), "{out}");
}

/// Who may not, and what is no command.
fn refused(estate: &Estate) {
    let pods = "/api/v1/namespaces/payments/pods";
    let raw = |path: &str| run(&mut kubectl(estate, &["get", "--raw", path]));
    fails(&raw(&format!("{pods}/box/exec?command=id&stdout=1")), "Upgrade request required");
    fails(&raw(&format!("{pods}/..%2fbox/exec?command=id")), "NotFound");
    fails(&raw(&format!("{pods}/box/exec/more")), "NotFound");
    fails(&raw("/api/v1/nodes/east-1/exec"), "NotFound");

    let server = server(estate);
    let mut stranger = estate.kubectl_command();
    stranger.args(["--kubeconfig", "/dev/null", "--insecure-skip-tls-verify", "--server", &server]);
    let stranger = stranger.args(["-n", "payments", "exec", "box", "--", "id"]);
    assert!(!run(stranger).status.success(), "nobody knows them");
}

/// Where the unit's own door is.
fn server(estate: &Estate) -> String {
    let path = "jsonpath={.clusters[0].cluster.server}";
    works(&run(&mut kubectl(estate, &["config", "view", "--minify", "-o", path])))
}

#[test]
fn ports_of_a_pod_are_forwarded_and_no_others() {
    let estate = Estate::up("streams-forward", "1");
    let program = std::env::current_exe().expect("a test knows its own file");
    let port = estate.base_port + 250;
    let server = json!({
        "name": "main",
        "command": [program, "--ignored", "--exact", "helper_that_serves", "--nocapture"],
        "env": [{ "name": "HELPER_PORT", "value": port.to_string() }],
    });
    create(&estate, "server", json!([server]));
    wait_for("it listens", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
    // The API server listens on the same loopback, and is not the pod's.
    let other = estate.base_port;
    for env in [[].as_slice(), &SPDY] {
        let ports = format!(":{port}");
        let others = format!(":{other}");
        let mut command = kubectl(&estate, &["port-forward", "pod/server", &ports, &others]);
        let mut forward = Running::spawn(command.envs(env.iter().copied()));
        forward.wait_for_line(&format!("-> {other}"), LIMIT);
        let printed = forward.printed();
        let local = |remote: u16| {
            let line = printed.lines().find(|line| line.ends_with(&format!("-> {remote}")));
            let local = line.and_then(|line| line.split("127.0.0.1:").nth(1)?.split(' ').next());
            local.and_then(|port| port.parse::<u16>().ok()).expect("it says where")
        };
        let big = noise(4 << 20);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let answer = request(local(port), "GET", "/big", &[], b"");
                    assert!(answer.status == 200 && answer.body.as_bytes() == hex(&big).as_bytes());
                });
            }
        });
        let body = hex(&noise(3 << 20));
        let answer = request(local(port), "POST", "/echo", &[], body.as_bytes());
        assert!(answer.status == 200 && answer.body == body, "{}", answer.body.len());

        let mut refused = TcpStream::connect(("127.0.0.1", local(other))).expect("connect");
        let _ = refused.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let _ = refused.read(&mut [0; 16]);
        forward_says(&mut forward, &format!("no process of the pod listens on port {other}"));
    }
}

fn forward_says(forward: &mut Running, what: &str) {
    wait_for(what, LIMIT, || forward.printed().contains(what).then_some(()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small HTTP server, run as a container by the test above.
#[test]
#[ignore = "a helper"]
fn helper_that_serves() {
    let port: u16 = std::env::var("HELPER_PORT").expect("a port").parse().expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("listen");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream.try_clone().expect("clone"));
            let (mut line, mut len) = (String::new(), 0);
            let mut first = String::new();
            loop {
                line.clear();
                reader.read_line(&mut line).expect("a head");
                if first.is_empty() {
                    first.clone_from(&line);
                }
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    len = value.trim().parse().expect("a length");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; len];
            reader.read_exact(&mut body).expect("a body");
            if first.starts_with("GET /big") {
                body = hex(&noise(4 << 20)).into_bytes();
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
            let mut stream = stream;
            let _ = stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes());
            let _ = stream.write_all(&body);
        });
    }
}

#[test]
fn logs_and_attach_follow_one_run_of_a_container() {
    let estate = Estate::up("streams-logs", "1");
    let (gate, tick) = (estate.data.with_file_name("gate"), estate.data.with_file_name("tick"));
    let said = format!(
        "echo run of $$$$; echo aside >&2; \
         while ! test -e {0}; do test -e {1} && echo tick; sleep 0.05; done; \
         rm {0}; echo the end",
        gate.display(),
        tick.display()
    );
    create(&estate, "runner", json!([{ "name": "main", "command": ["sh", "-c", said] }]));
    let logs = |args: &[&str]| {
        let mut command = kubectl(&estate, &["logs", "runner"]);
        command.args(args);
        command
    };
    let first = wait_for("its first line", LIMIT, || {
        Some(works(&run(&mut logs(&[])))).filter(|text| text.lines().count() == 2)
    });
    fails(
        &run(&mut logs(&["-p"])),
        "previous terminated container \"main\" in pod \"runner\" not found",
    );
    fails(&run(&mut logs(&["--tail=-5"])), "");
    fails(&run(&mut logs(&["-c", "x"])), "container x is not valid for pod runner");
    fails(
        &run(&mut kubectl(&estate, &["attach", "-i", "runner"])),
        "was not started with an input",
    );

    let mut follower = Running::spawn(&mut logs(&["-f"]));
    follower.wait_for_line("run of", LIMIT);
    let mut attached = Running::spawn(&mut kubectl(&estate, &["attach", "runner"]));
    fs::write(&tick, "").expect("have it speak");
    attached.wait_for_line("tick", LIMIT);
    fs::remove_file(&tick).expect("have it be silent");
    fs::write(&gate, "").expect("open the gate");
    assert!(follower.wait(LIMIT).success() && attached.wait(LIMIT).success());
    assert!(follower.printed().ends_with("the end"), "{}", follower.printed());
    assert!(attached.printed().ends_with("the end"), "{}", attached.printed());
    assert!(!attached.printed().contains("run of"), "{}", attached.printed());

    let second = wait_for("it runs again", LIMIT, || {
        let text = works(&run(&mut logs(&[])));
        Some(text).filter(|text| text.lines().count() == 2 && *text != first)
    });
    let previous = works(&run(&mut logs(&["-p"])));
    assert!(previous.starts_with(&first) && previous.ends_with("tick\nthe end\n"), "{previous}");
    assert_eq!(works(&run(&mut logs(&["--limit-bytes=4"]))), second[..4]);
    let all = works(&run(&mut logs(&["--all-containers", "--prefix", "--tail=1"])));
    assert!(all.starts_with("[pod/runner/main] "), "{all}");
}

/// Processes that were started beside containers of this estate.
fn commands(estate: &Estate) -> Vec<Pid> {
    let mark = format!("POLIS_EXEC={}", estate.data.display());
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    let marked = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environ = fs::read(entry.path().join("environ")).ok()?;
        let marked = environ.split(|byte| *byte == 0).any(|line| line.starts_with(mark.as_bytes()));
        marked.then(|| Pid::from_raw(pid))?
    });
    marked.collect()
}

/// Memory in use by all that `up` started.
fn resident_kib(up: Pid) -> u64 {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    let resident = entries.filter_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let started = field("PPid:")? == u64::from(up.as_raw_nonzero().get().unsigned_abs());
        started.then(|| field("VmRSS:")).flatten()
    });
    resident.sum()
}

fn parent(pid: Pid) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let stat = stat.expect("it is alive");
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
    parent.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("its parent")
}

#[test]
fn a_client_that_is_slow_or_gone_and_an_agent_that_is_killed_end_cleanly() {
    let estate = Estate::up("streams-ends", "2+1");
    // Through the API server of one center to the agent of another. The address
    // in the kubeconfig leads to any of them, also to the one that is killed.
    let server = format!("https://127.0.0.1:{}/units/rz02", estate.api_port(0));
    let kubectl = |args: &[&str]| {
        let mut command = kubectl(&estate, &["--server", &server]);
        command.args(args);
        command
    };
    let nodes = ["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"];
    let node = works(&run(&mut kubectl(&nodes)));
    assert_ne!(node, "east-1", "the unit is elsewhere");
    create_by(&kubectl, &node, "box", json!([sleeper("main")]));

    // One that stops reading holds what fits into queues, and no more.
    let mut yes = kubectl(&["exec", "box", "--", "yes"]);
    let mut idle = yes.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start kubectl");
    let command = wait_for("the command runs", LIMIT, || commands(&estate).first().copied());
    let center = parent(command);
    let before = resident_kib(parent(center));
    let cpu = |pid: Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    let mut spent = cpu(command);
    wait_for("the command waits for its reader", LIMIT, || {
        let now = cpu(command);
        let same = now.is_some() && now == spent;
        spent = now;
        same.then_some(())
    });
    let after = resident_kib(parent(center));
    assert!(after < before + (32 << 10), "{before} KiB, then {after} KiB");
    idle.kill().expect("kill kubectl");
    idle.wait().expect("it ends");
    wait_for("its command went with it", LIMIT, || commands(&estate).is_empty().then_some(()));

    // An agent that is killed takes commands along, and clients are told.
    let command = ["exec", "box", "--", "sh", "-c", "echo it runs; exec sleep 600"];
    let mut exec = Running::spawn(&mut kubectl(&command));
    let mut forward = Running::spawn(&mut kubectl(&["port-forward", "box", ":1"]));
    // By its client: before that the whole way is not there yet.
    exec.wait_for_line("it runs", LIMIT);
    forward.wait_for_line("Forwarding from", LIMIT);
    kill_process(center, Signal::KILL).expect("kill the center");
    assert!(!exec.wait(LIMIT).success());
    let told = format!("agent of node {node:?} was lost");
    assert!(exec.printed().contains(&told), "{}", exec.printed());
    assert!(!forward.wait(LIMIT).success());
    assert!(forward.printed().contains("lost connection to pod"), "{}", forward.printed());
    wait_for("its command went with it", LIMIT, || commands(&estate).is_empty().then_some(()));
}
