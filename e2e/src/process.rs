//! The binary under test, as a process.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::wait_for;

/// A thread that has not been scheduled for so long never will.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A drill whose estate does not come back says so within half of it.
const RUN_LIMIT: Duration = Duration::from_secs(20 * 60);

/// For the last words of a process that has ended to be read. Only who has
/// inherited its streams keeps them open for longer.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The binary that `cargo build` put beside the tests, or `POLIS_BIN`.
#[must_use]
pub fn polis() -> PathBuf {
    if let Some(path) = std::env::var_os("POLIS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let built = test.ancestors().nth(2).map(|profile| profile.join("polis"));
    let built = built.filter(|path| path.exists());
    built.expect("the binary is not built: run `cargo build -p polis`, or `cargo xtask test`")
}

/// A process that ends with its test, whose lines can be waited for.
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Closed once both of its streams were read to their ends.
    read: Mutex<mpsc::Receiver<()>>,
}

/// Runs `polis` to its end, which must come: nothing of ours goes on for ever.
pub fn run(args: &[&str]) -> Output {
    let child = Command::new(polis())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polis");
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a child has a pid");
    let (over, ended) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let output = child.wait_with_output().expect("read what polis says");
        let _ = over.send(());
        output
    });
    let late = ended.recv_timeout(RUN_LIMIT).is_err();
    if late {
        // Not waited for yet, so the number is still its own.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    let output = reading.join().expect("it only reads");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!late, "polis {args:?} did not end within {RUN_LIMIT:?}:\n{said}");
    output
}

// === impl Running ===

impl Running {
    /// Starts `polis` with these arguments.
    #[must_use]
    pub fn start(args: &[&str]) -> Running {
        Running::spawn(Command::new(polis()).args(args))
    }

    /// Starts any other program.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Running {
        Running::spawn_with(command, Stdio::null())
    }

    /// As [`Running::spawn`], with an input that ends by [`Running::end_input`],
    /// or with us.
    #[must_use]
    pub fn attach(command: &mut Command) -> Running {
        Running::spawn_with(command, Stdio::piped())
    }

    fn spawn_with(command: &mut Command, input: Stdio) -> Running {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the program");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (reading, read) = mpsc::channel();
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let (lines, reading) = (lines.clone(), reading.clone());
            std::thread::spawn(move || {
                let _reading = reading;
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    lines.lock().expect("no test panics holding it").push(line);
                }
            });
        }
        Running { child, lines, read: Mutex::new(read) }
    }

    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        self.lines.lock().expect("no test panics holding it").join("\n")
    }

    /// Waits until `text` was printed.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) {
        wait_for(&format!("{text:?} printed"), limit, || {
            // Looked at first: what has ended prints nothing more.
            let ended = self.ended();
            if self.printed().contains(text) {
                return Some(());
            }
            if let Some(status) = ended {
                panic!("it ended with {status}:\n{}", self.printed());
            }
            None
        });
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a pid");
        rustix::process::kill_process(pid, signal).expect("signal polis");
        if signal == Signal::STOP {
            // On a busy machine its threads go on for a while.
            wait_for("polis to stand still", STOP_LIMIT, || self.stands_still().then_some(()));
        }
    }

    fn stands_still(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(tasks).expect("a child has threads");
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which may hold anything.
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
        })
    }

    /// How it ended, if it has; then [`Running::printed`] has its last words too.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("look at the process")?;
        let read = self.read.get_mut().expect("nobody panics holding it");
        let _ = read.recv_timeout(READ_LIMIT);
        Some(status)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_for("polis to end", limit, || self.ended())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- it printed:\n{}\n---", self.printed());
        }
        // Its own children die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
