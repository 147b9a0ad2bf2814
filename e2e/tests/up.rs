//! `polis up`: starts, says what is wrong when it cannot, leaves nothing
//! running, and finds its data again.

use std::{fs, net::TcpListener, process::Output, time::Duration};

use e2e::{Estate, Running, Scratch, free_base_port, run, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

fn fails(output: &Output, code: &str) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains(code), "{text}");
    text
}

/// Process ids below `/proc` whose command line names this folder.
fn processes_of(data: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("read /proc").flatten();
    let named = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(data))
    };
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(named).collect()
}

#[test]
fn what_cannot_start_says_why_and_what_to_do() {
    let scratch = Scratch::new("up-errors");
    let data = scratch.join("data").display().to_string();
    let base = free_base_port();
    let port = base.to_string();

    let taken = TcpListener::bind(("127.0.0.1", base + 20)).expect("take a port");
    let text = fails(&run(&["up", "--data", &data, "--base-port", &port]), "PLS0004");
    assert!(text.contains(&(base + 20).to_string()) && text.contains("--base-port"), "{text}");
    drop(taken);

    let file = scratch.join("file");
    fs::write(&file, "").expect("write");
    let below = file.join("data").display().to_string();
    let text = fails(&run(&["up", "--data", &below, "--base-port", &port]), "PLS0002");
    assert!(text.contains("--data"), "{text}");

    fails(&run(&["up", "--data", &data, "--base-port", "80"]), "PLS0009");
    fails(&run(&["status", "--data", &data]), "PLS0003");
    fails(&run(&["explain", "PLS9999"]), "PLS0010");
    let explained = run(&["explain", "PLS0004"]);
    assert!(String::from_utf8_lossy(&explained.stdout).contains("--base-port"));
}

#[test]
fn an_estate_stops_in_order_and_finds_its_data_again() {
    let estate = Estate::up("up", "1");
    let data = estate.data.display().to_string();
    let second = run(&["up", "--data", &data, "--base-port", "31000"]);
    fails(&second, "PLS0001");

    let body = json!({"uid": "2088000000420", "currency": "CNY", "opening_balance": 500});
    let opened =
        estate.edge(0, "POST", "/v1/accounts", &["polis-uid: 2088000000420"], &body.to_string());
    assert_eq!(opened.status, 201, "{opened:?}");

    // It serves before the last of its controllers has said that all is well.
    let status = wait_for("no alarms", LIMIT, || {
        let status = estate.polis(&["status", "-o", "json"]);
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        (status["alarms"] == json!([])).then_some(status)
    });
    assert_eq!(status["centers"][0]["serving"], "00-99");

    let mut estate = estate.again("1");
    let account = estate.edge(0, "GET", "/v1/accounts/2088000000420", &[], "");
    assert_eq!(account.json()["balance"], 500, "{account:?}");
    estate.stop();
    wait_for("every process to end", LIMIT, || processes_of(&data).is_empty().then_some(()));

    let other = run(&["up", "--data", &data, "--layout", "2+1"]);
    fails(&other, "PLS0005");
}

#[test]
fn nothing_outlives_a_killed_up() {
    let scratch = Scratch::new("up-killed");
    let data = scratch.join("data");
    let shown = data.display().to_string();
    let mut estate = Estate::start(data, free_base_port(), "1");
    let running: &mut Running = &mut estate.up;
    assert!(processes_of(&shown).len() > 2, "up, store, center and ledger run");
    running.signal(Signal::KILL);
    running.wait(LIMIT);
    wait_for("every process to end", LIMIT, || processes_of(&shown).is_empty().then_some(()));
}
