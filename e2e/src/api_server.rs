//! `polis server --roles api` as a process, and kubectl as its client.

use std::{net::SocketAddr, path::PathBuf, process::Output, time::Duration};

use rustix::process::Signal;

use crate::{Running, Scratch, free_base_port, kubectl};

const LIMIT: Duration = Duration::from_secs(60);

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

    #[must_use]
    pub fn kubectl(&self, args: &[&str]) -> Output {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig().display());
        let args: Vec<&str> = [kubeconfig.as_str()].iter().chain(args).copied().collect();
        kubectl(&args)
    }

    /// What kubectl prints; it must end well.
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        let (printed, error) = (lossy(&output.stdout), lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {args:?}: {printed}{error}");
        printed
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
