//! Real SOFARPC and Dubbo through what `crates/rpc` reads and writes: routed by
//! a header and by an argument, multiplexed, refused, and drained without a
//! failed call.

mod rpc_relay;

use std::{sync::atomic::Ordering, time::Duration};

use e2e::{Java, wait_for};
use rpc_relay::{Bolt, Dubbo, Relay, Wire};

/// Java starts slowly on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

const SOFA: (&str, &str) = ("Sofa", "sofa");
const DUBBO_2: (&str, &str) = ("Dubbo", "dubbo2");
const DUBBO_3: (&str, &str) = ("Dubbo", "dubbo3");

/// Tasks of the relay run while the test waits for Java.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

/// Every kind of call arrives where its user lives, and its answer comes back.
fn check_routing<W: Wire>((class, library): (&'static str, &str), stamp_seen: &str) {
    let java = Java::compile(class, library);
    let ((_a, even), (b, odd)) = (java.provider("a"), java.provider("b"));
    let runtime = runtime();
    let (relay, port) = runtime.block_on(Relay::<W>::start(even, odd));
    let printed = java.run(&["once", &port.to_string()]);
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
    let seen = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::SeqCst);
    assert_eq!((seen(&relay.seen.by_name), seen(&relay.seen.by_argument)), (1, 5));
}

/// An answer of our own is an error that a caller understands.
fn check_refusals<W: Wire>((class, library): (&'static str, &str), busy: &str, nobody: &str) {
    let java = Java::compile(class, library);
    let (_provider, port) = java.provider("a");
    let runtime = runtime();
    let (_relay, port) = runtime.block_on(Relay::<W>::start(port, port));
    let users = ["2088000000000428", "2088000000000429", "2088000000000422"];
    let printed = java.run(&["refused", &port.to_string(), users[0], users[1], users[2]]);
    for (user, error) in [(users[0], busy), (users[1], nobody)] {
        let said = format!("refused {user}: ");
        let line = printed.lines().find_map(|line| line.strip_prefix(&said[..]));
        assert!(line.is_some_and(|line| line.contains(error)), "{error:?} in:\n{printed}");
    }
    // The connection is as good as before.
    assert!(printed.contains("not refused: a took 100"), "{printed}");
}

/// A client that has nothing to say asks whether we are there, and stays.
fn check_heartbeats<W: Wire>((class, library): (&'static str, &str)) {
    let java = Java::compile(class, library);
    let (_provider, port) = java.provider("a");
    let runtime = runtime();
    let (relay, port) = runtime.block_on(Relay::<W>::start(port, port));
    let mut client = java.start(&["idle", &port.to_string()]);
    client.wait_for_line("a took 100", LIMIT);
    wait_for("several heartbeats", LIMIT, || {
        (relay.seen.heartbeats.load(Ordering::SeqCst) >= 5).then_some(())
    });
    client.end_input();
    assert!(client.wait(LIMIT).success());
    assert!(client.printed().contains("a took 200"), "{}", client.printed());
}

/// A provider is replaced under load; its calls end first.
fn check_replacement<W: Wire>((class, library): (&'static str, &str)) {
    let java = Java::compile(class, library);
    let ((mut old, even), (_b, odd)) = (java.provider("a"), java.provider("b"));
    let (_new, next) = java.provider("a");
    let runtime = runtime();
    let (relay, port) = runtime.block_on(Relay::<W>::start(even, odd));
    let mut client = java.start(&["load", &port.to_string(), "8"]);
    let calls = || relay.seen.calls.load(Ordering::SeqCst);
    wait_for("calls", LIMIT, || (calls() > 1000).then_some(()));
    let left = runtime.block_on(relay.replace_even(next));
    wait_for("the calls under way", LIMIT, || left.is_idle().then_some(()));
    old.signal(rustix::process::Signal::KILL);
    old.wait(LIMIT);
    let before = calls();
    wait_for("more calls", LIMIT, || (calls() > before + 1000).then_some(()));
    client.end_input();
    assert!(client.wait(LIMIT).success());
    let printed = client.printed();
    assert!(printed.contains("calls, 0 failed"), "{printed}");
}

/// A client is asked to call elsewhere, under load, and does.
fn check_readonly(library: (&'static str, &str)) {
    let java = Java::compile(library.0, library.1);
    let ((_a, even), (_b, odd)) = (java.provider("a"), java.provider("b"));
    let (going_runtime, runtime) = (runtime(), runtime());
    let (going, first) = going_runtime.block_on(Relay::<Dubbo>::start(even, odd));
    let (staying, second) = runtime.block_on(Relay::<Dubbo>::start(even, odd));
    let mut client = java.start(&["load", &format!("{first},{second}"), "8"]);
    let calls = |relay: &Relay<Dubbo>| relay.seen.calls.load(Ordering::SeqCst);
    for relay in [&going, &staying] {
        wait_for("calls by both", LIMIT, || (calls(relay) > 500).then_some(()));
    }
    going.go_away();
    // A thousand calls beside it later, nothing new came here.
    wait_for("the client to turn away", LIMIT, || {
        let (here, there) = (calls(&going), calls(&staying));
        // Before these, so that the last answer from here has been written since.
        let idle = going.is_idle();
        wait_for("calls elsewhere", LIMIT, || (calls(&staying) > there + 1000).then_some(()));
        (calls(&going) == here && idle).then_some(())
    });
    going_runtime.shutdown_background();
    let before = calls(&staying);
    wait_for("more calls", LIMIT, || (calls(&staying) > before + 1000).then_some(()));
    client.end_input();
    assert!(client.wait(LIMIT).success());
    assert!(client.printed().contains("calls, 0 failed"), "{}", client.printed());
}

#[test]
fn sofarpc_is_routed_by_header_and_argument() {
    check_routing::<Bolt>(SOFA, "");
}

#[test]
fn dubbo_2_is_routed_by_attachment_and_argument() {
    check_routing::<Dubbo>(DUBBO_2, " epoch=17");
}

#[test]
fn dubbo_3_is_routed_by_attachment_and_argument() {
    check_routing::<Dubbo>(DUBBO_3, " epoch=17");
}

#[test]
fn sofarpc_understands_a_refusal() {
    check_refusals::<Bolt>(SOFA, "busy", "no unit has this user");
}

#[test]
fn dubbo_2_understands_a_refusal() {
    check_refusals::<Dubbo>(DUBBO_2, "too many calls", "no unit has this user");
}

#[test]
fn dubbo_3_understands_a_refusal() {
    check_refusals::<Dubbo>(DUBBO_3, "too many calls", "no unit has this user");
}

#[test]
fn sofarpc_is_content_with_our_heartbeats() {
    check_heartbeats::<Bolt>(SOFA);
}

#[test]
fn dubbo_is_content_with_our_heartbeats() {
    check_heartbeats::<Dubbo>(DUBBO_2);
    check_heartbeats::<Dubbo>(DUBBO_3);
}

#[test]
fn a_provider_of_sofarpc_is_replaced_without_a_failed_call() {
    check_replacement::<Bolt>(SOFA);
}

#[test]
fn a_provider_of_dubbo_is_replaced_without_a_failed_call() {
    check_replacement::<Dubbo>(DUBBO_2);
    check_replacement::<Dubbo>(DUBBO_3);
}

#[test]
fn clients_of_dubbo_leave_a_door_that_closes_without_a_failed_call() {
    // With two addresses and no registry, 2.7 fails before anything is sent.
    check_readonly(DUBBO_3);
}
