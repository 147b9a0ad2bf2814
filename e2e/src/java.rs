//! The programs of `e2e/java`, with the real libraries.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::{Running, Scratch, free_base_port, peer::peer_at};

/// A Java that compiles and starts on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);

/// What the libraries reach into, from the time before modules.
const OPENED: [&str; 4] = ["java.lang", "java.util", "java.math", "java.io"];

/// One program, compiled against one library.
pub struct Java {
    class: &'static str,
    jars: PathBuf,
    classes: Scratch,
}

// === impl Java ===

impl Java {
    /// `class` is a file of `e2e/java`, `library` one of the peers.
    #[must_use]
    pub fn compile(class: &'static str, library: &str) -> Java {
        let jars = peer_at(&format!("java/{library}")).join("*");
        let classes = Scratch::new(library);
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("java");
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-encoding", "UTF-8", "-cp"]).arg(&jars).arg("-d");
        javac.arg(classes.path()).arg(folder.join(format!("{class}.java")));
        let output = javac.output().expect("run javac: a JDK is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Java { class, jars, classes }
    }

    /// Starts it; what it does until its input ends goes on until then.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Running {
        let mut java = Command::new("java");
        for package in OPENED {
            java.arg("--add-opens").arg(format!("java.base/{package}=ALL-UNNAMED"));
        }
        // Bolt's, in milliseconds; Dubbo's is in the address of a service.
        java.arg("-Dbolt.tcp.heartbeat.interval=500");
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-cp"]);
        java.arg(format!("{}:{}", self.classes.path().display(), self.jars.display()));
        Running::attach(java.arg(self.class).args(args))
    }

    /// A provider, serving, and its port.
    #[must_use]
    pub fn provider(&self, name: &str) -> (Running, u16) {
        let port = free_base_port();
        let mut running = self.start(&["provider", &port.to_string(), name]);
        running.wait_for_line("provider is up", START_LIMIT);
        (running, port)
    }

    /// Everything a program prints that ends by itself.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> String {
        let mut running = self.start(args);
        let status = running.wait(START_LIMIT);
        assert!(status.success(), "it ended with {status}");
        running.printed()
    }
}
