//! `polis server --roles api` as a process, and kubectl as its client.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use rustix::process::Signal;

use crate::{Running, Scratch, free_base_port, peer::kubectl, wait_for};

const LIMIT: Duration = Duration::from_secs(120);

pub struct ApiServer {
    pub address: SocketAddr,
    pub process: Running,
    data: Scratch,
    options: Vec<String>,
}

// === impl ApiServer ===

impl ApiServer {
    /// Over a store of its own in its process, unless `options` name an etcd,
    /// and on a free port.
    #[must_use]
    pub fn start(name: &str, options: &[&str]) -> ApiServer {
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let data = Scratch::new(name);
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let process = launch(address, &data, &options);
        ApiServer { address, process, data, options }
    }

    /// As it was started, after it was stopped or killed.
    pub fn revive(&mut self) {
        self.process = launch(self.address, &self.data, &self.options);
    }

    pub fn kill9(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait(LIMIT);
    }

    /// In order; its data is still there.
    pub fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait(LIMIT);
        assert!(status.success(), "it ended with {status}");
    }

    /// A path in the folder of the test.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// Of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.data.join("data/kubeconfig")
    }

    /// Who asks as whom and where is the caller's.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        kubectl(&self.data.join("kubectl-cache"))
    }

    #[must_use]
    pub fn kubectl(&self, args: &[&str]) -> Output {
        let mut kubectl = self.kubectl_command();
        kubectl.arg("--kubeconfig").arg(self.kubeconfig());
        kubectl.args(args).output().expect("run kubectl")
    }

    /// What kubectl prints; it must end well.
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        let (printed, error) = (lossy(&output.stdout), lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {args:?}: {printed}{error}");
        printed
    }

    /// Waits for the default roles and bindings, which are written behind the
    /// start, one by one: until then only administrators may do anything. Of a
    /// role that is made of others, all of it: a binding that is made from here on
    /// and is seen gives all of it.
    pub fn wait_for_roles(&self) {
        let made = [
            ("view", &["pods/log"][..]),
            ("edit", &["pods/log", "pods/eviction"]),
            ("admin", &["pods/log", "pods/eviction", "localsubjectaccessreviews"]),
        ];
        let is_whole = |(role, parts): &(&str, &[&str])| {
            let rules = self.kubectl(&["get", "clusterrole", *role, "-o", "jsonpath={.rules}"]);
            let rules = lossy(&rules.stdout);
            parts.iter().all(|part| rules.contains(part))
        };
        // To ask what one may, and to see what there is.
        let everybody = ["auth", "can-i", "get", "/apis", "--as=anybody"];
        wait_for("the default roles", LIMIT, || {
            let hold = self.kubectl(&everybody).status.success() && made.iter().all(is_whole);
            hold.then_some(())
        });
    }

    /// What kubectl says; it must not end well.
    #[must_use]
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(!output.status.success(), "kubectl {args:?}: {}", lossy(&output.stdout));
        lossy(&output.stderr)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn launch(address: SocketAddr, data: &Scratch, options: &[String]) -> Running {
    let folder = data.join("data").display().to_string();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut args = vec!["server", "--roles", "api", "--data", &folder];
    args.extend(["--bind-address", &host, "--secure-port", &port]);
    args.extend(options.iter().map(String::as_str));
    let mut process = Running::start(&args);
    process.wait_for_line("API server serves", LIMIT);
    process
}
