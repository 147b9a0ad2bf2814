//! A store as a process, and etcdctl as its client.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use rustix::process::Signal;

use crate::{Running, Scratch, etcdctl, free_base_port, request};

const LIMIT: Duration = Duration::from_secs(120);

pub struct Store {
    pub address: SocketAddr,
    pub process: Running,
    data: Scratch,
    options: Vec<String>,
}

// === impl Store ===

impl Store {
    /// On a log of its own, unless `options` name a database, and on a free port.
    #[must_use]
    pub fn start(name: &str, options: &[&str]) -> Store {
        let address = SocketAddr::from(([127, 0, 0, 1], free_base_port()));
        let data = Scratch::new(name);
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let process = launch(address, &data, &options);
        Store { address, process, data, options }
    }

    /// Ends it and starts it again with other options, on the data that it has.
    #[must_use]
    pub fn restart(self, options: &[&str]) -> Store {
        let Store { address, data, .. } = self.stop();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let process = launch(address, &data, &options);
        Store { address, process, data, options }
    }

    /// As it was started, after it was killed.
    pub fn revive(&mut self) {
        self.process = launch(self.address, &self.data, &self.options);
    }

    pub fn kill9(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait(LIMIT);
    }

    /// In order; its data is still there.
    #[must_use]
    pub fn stop(mut self) -> Store {
        self.process.signal(Signal::TERM);
        let status = self.process.wait(LIMIT);
        assert!(status.success(), "it ended with {status}");
        self
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.join("data")
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What etcdctl prints on both streams, without its log, and how it ends.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> (bool, String) {
        ctl(self.address, args)
    }

    /// As [`Self::ctl`], which must end well.
    pub fn done(&self, args: &[&str]) -> String {
        done(self.address, args)
    }

    /// One of its figures.
    #[must_use]
    pub fn figure(&self, name: &str) -> u64 {
        let page = request(self.address.port(), "GET", "/metrics", &[], &[]).body;
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{page}"));
        line.parse::<f64>().expect("a number") as u64
    }
}

/// What etcdctl prints on both streams, without its log, and how it ends.
#[must_use]
pub fn ctl(address: SocketAddr, args: &[&str]) -> (bool, String) {
    let endpoint = format!("--endpoints=http://{address}");
    let args: Vec<&str> = [endpoint.as_str()].iter().chain(args).copied().collect();
    let output = etcdctl(&args);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    (output.status.success(), told.join("\n"))
}

/// As [`ctl`], which must end well.
pub fn done(address: SocketAddr, args: &[&str]) -> String {
    let (success, text) = ctl(address, args);
    assert!(success, "etcdctl {args:?}: {text}");
    text
}

fn launch(address: SocketAddr, data: &Scratch, options: &[String]) -> Running {
    let folder = data.join("data").display().to_string();
    let url = format!("http://{address}");
    let mut args = vec!["store", "--data-dir", &folder, "--listen-client-urls", &url, "--insecure"];
    args.extend(options.iter().map(String::as_str));
    let mut process = Running::start(&args);
    process.wait_for_line("store serves", LIMIT);
    process
}
