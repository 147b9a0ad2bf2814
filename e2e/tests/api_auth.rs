//! Who asks and what they may, as the real kubectl sees it.

use std::{fs, process::Output, time::Duration};

use e2e::{ApiServer, wait_for};

const LIMIT: Duration = Duration::from_secs(120);

/// kubectl with a token and nothing else.
fn with_token(server: &ApiServer, token: &str, args: &[&str]) -> Output {
    let authority = format!("--certificate-authority={}", server.path("data/pki/ca.crt").display());
    let (address, token) =
        (format!("--server=https://{}", server.address), format!("--token={token}"));
    let own = ["--kubeconfig=/dev/null", &address, &authority, &token];
    server.kubectl_command().args(own).args(args).output().expect("run kubectl")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_account_gets_a_token_and_does_what_its_roles_say() {
    let server = ApiServer::start("auth-account", &[]);
    server.wait_for_roles();
    let whoami = server.done(&["auth", "whoami"]);
    assert!(whoami.contains("polis-admin") && whoami.contains("system:masters"), "{whoami}");
    server.done(&["create", "serviceaccount", "till"]);
    server.done(&[
        "create",
        "rolebinding",
        "till",
        "--clusterrole=view",
        "--serviceaccount=default:till",
    ]);
    let token = server.done(&["create", "token", "till", "--duration=10m"]);
    let token = token.trim();
    let as_till = |args: &[&str]| with_token(&server, token, args);

    let whoami = text(&as_till(&["auth", "whoami"]).stdout);
    assert!(whoami.contains("system:serviceaccount:default:till"), "{whoami}");
    assert!(whoami.contains("authentication.kubernetes.io/credential-id"), "{whoami}");
    wait_for("the binding to be seen", LIMIT, || {
        as_till(&["auth", "can-i", "list", "pods"]).status.success().then_some(())
    });
    for (question, answer) in [
        (&["auth", "can-i", "get", "pods/log"][..], "yes"),
        (&["auth", "can-i", "delete", "pods"], "no"),
        (&["auth", "can-i", "list", "pods", "-n", "kube-system"], "no"),
        (&["auth", "can-i", "get", "/healthz"], "yes"),
        (&["auth", "can-i", "get", "/metrics"], "no"),
    ] {
        assert_eq!(text(&as_till(question).stdout).trim(), answer, "{question:?}");
    }
    let list = text(&as_till(&["auth", "can-i", "--list"]).stdout);
    assert!(list.contains("deployments.apps") && list.contains("[get list watch]"), "{list}");
    assert!(as_till(&["get", "pods"]).status.success());
    let refused = text(&as_till(&["get", "secrets"]).stderr);
    assert!(
        refused.contains(
            "secrets is forbidden: User \"system:serviceaccount:default:till\" cannot list \
             resource \"secrets\" in API group \"\" in the namespace \"default\""
        ),
        "{refused}"
    );
    server.done(&["delete", "serviceaccount", "till"]);
    wait_for("the token to fall with its account", LIMIT, || {
        let output = as_till(&["auth", "whoami"]);
        text(&output.stderr).contains("Unauthorized").then_some(())
    });
}

#[test]
fn the_administrator_speaks_for_others_and_others_grant_what_they_hold() {
    let tokens = std::env::temp_dir().join(format!("polis-e2e-tokens-{}.csv", std::process::id()));
    fs::write(&tokens, "ann-secret,ann,7,\"dev\"\n").expect("written");
    let file = tokens.display().to_string();
    let server = ApiServer::start("auth-others", &["--token-auth-file", &file]);
    server.wait_for_roles();
    let whoami = server.done(&["auth", "whoami", "--as=bob", "--as-group=ops"]);
    assert!(whoami.contains("bob") && whoami.contains("ops"), "{whoami}");
    let refused = server.refused(&["get", "pods", "--as=bob"]);
    assert!(refused.contains("pods is forbidden: User \"bob\""), "{refused}");

    let as_ann = |args: &[&str]| with_token(&server, "ann-secret", args);
    let whoami = text(&as_ann(&["auth", "whoami"]).stdout);
    assert!(whoami.contains("ann") && whoami.contains("dev"), "{whoami}");
    let unknown = with_token(&server, "ann-secret2", &["auth", "whoami"]);
    assert!(text(&unknown.stderr).contains("Unauthorized"), "{}", text(&unknown.stderr));
    server.done(&["create", "rolebinding", "ann", "--clusterrole=admin", "--group=dev"]);
    wait_for("the binding to be seen", LIMIT, || {
        as_ann(&["auth", "can-i", "create", "roles"]).status.success().then_some(())
    });
    let held = ["create", "role", "readers", "--verb=get,list", "--resource=pods"];
    assert!(as_ann(&held).status.success());
    let more = as_ann(&["create", "role", "nodes", "--verb=get", "--resource=nodes"]);
    let more = text(&more.stderr);
    assert!(
        more.contains("is attempting to grant RBAC permissions not currently held:")
            && more.contains("{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"),
        "{more}"
    );
    let refused = text(&as_ann(&["get", "pods", "--as=system:admin"]).stderr);
    assert!(refused.contains("cannot impersonate resource \"users\""), "{refused}");
    let _ = fs::remove_file(&tokens);
}
