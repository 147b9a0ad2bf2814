//! A server process of a test: started, signalled, ended by its process id.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::{Failed, query, wait::wait_for};

/// A busy two-core machine; alone they take seconds.
const READY_LIMIT: Duration = Duration::from_secs(300);

const LOG_LINES: usize = 40;

/// How to start a server, and again.
pub(crate) struct Program {
    pub name: String,
    pub exe: PathBuf,
    pub args: Vec<String>,
    pub envs: BTreeMap<String, String>,
    /// Its output, and its log where it can be told to write it there.
    pub log: PathBuf,
    /// The network namespace that it runs in, if not ours.
    pub namespace: Option<String>,
    pub host: String,
    pub port: u16,
}

pub struct Server {
    program: Program,
    child: Mutex<Option<Child>>,
}

// === impl Server ===

impl Server {
    pub(crate) fn new(program: Program) -> Server {
        Server { program, child: Mutex::new(None) }
    }

    /// Starts it with `more` arguments; does not wait until it is ready.
    pub(crate) fn launch(&self, more: &[String]) {
        let mut child = self.child.lock().expect("no holder panics");
        assert!(child.is_none(), "{} runs already", self.program.name);
        *child = Some(spawn(self.program.command(more)));
    }

    /// Waits until `look` gives something, the server's end being a failure.
    pub(crate) fn await_ready<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let found = wait_for(READY_LIMIT, || {
            let ended = match self.child.lock().expect("no holder panics").as_mut() {
                Some(child) => child.try_wait().expect("look after a child").map(|s| s.to_string()),
                None => Some("not started".to_owned()),
            };
            match ended {
                Some(ended) => Some(Err(ended)),
                None => look().map(Ok),
            }
        });
        let name = &self.program.name;
        match found {
            Some(Ok(found)) => found,
            Some(Err(ended)) => panic!("{name} ended ({ended}):\n{}", self.log_tail()),
            None => panic!("{name} is not ready after {READY_LIMIT:?}:\n{}", self.log_tail()),
        }
    }

    pub(crate) fn args(&self) -> &[String] {
        &self.program.args
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.program.port
    }

    /// Where it writes its process id.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        let named = self.program.args.iter().find_map(|arg| arg.strip_prefix("--pid-file="));
        named.expect("every server is told where").into()
    }

    /// `HOST:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.program.host, self.program.port)
    }

    /// Without a database: `mysql://root@HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mysql://root@{}", self.address())
    }

    /// The URL of a database that is made anew.
    #[must_use]
    pub fn empty_database(&self, name: &str) -> String {
        query::recreate(&self.url(), name);
        format!("{}/{name}", self.url())
    }

    /// Runs a statement as root on a connection of its own; rows as text.
    pub fn query(&self, statement: &str) -> Result<Vec<Vec<String>>, Failed> {
        query::query(&self.url(), statement)
    }

    /// Ends it without a warning, as a power failure of the machine does to
    /// the process; what the system has of its files is kept.
    pub fn kill9(&self) {
        if let Some(mut child) = self.child.lock().expect("no holder panics").take() {
            child.kill().expect("kill a child");
            child.wait().expect("wait for a child");
        }
    }

    /// Stops it where it stands; its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.lock().expect("no holder panics").is_some()
    }

    /// Whether its process is there, whoever ended it.
    pub(crate) fn lives(&self) -> bool {
        let mut child = self.child.lock().expect("no holder panics");
        child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn name(&self) -> &str {
        &self.program.name
    }

    /// The last lines it printed or logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.program.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Kills it; its last lines help whoever looks for why a test failed.
    pub(crate) fn end(&self) {
        if std::thread::panicking() && self.is_running() {
            eprintln!("--- {} said last:\n{}\n---", self.program.name, self.log_tail());
        }
        self.kill9();
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.lock().expect("no holder panics");
        let child = child.as_ref().expect("a server that runs is signalled");
        let pid = Pid::from_raw(child.id().cast_signed()).expect("a child has a pid");
        rustix::process::kill_process(pid, signal).expect("signal a child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Program ===

impl Program {
    fn command(&self, more: &[String]) -> Command {
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let (out, err) = (open().expect("open a log"), open().expect("open a log"));
        // It becomes the server: same process, other network.
        let mut command = match &self.namespace {
            None => Command::new(&self.exe),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.exe);
                command
            }
        };
        command.args(&self.args).args(more).envs(&self.envs);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        command
    }
}

/// Starts a process that the kernel kills when ours ends, however it ends.
///
/// The kernel ties that to the thread that forked, and the thread of one test
/// ends before the servers it shares with others: one thread that never ends
/// starts them all.
fn spawn(mut command: Command) -> Child {
    type Job = Box<dyn FnOnce() + Send>;
    static NURSERY: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let nursery = NURSERY.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        Mutex::new(sender)
    });
    let parent = rustix::process::getpid();
    let prepare = move || {
        // A process group of its own, away from our terminal's Ctrl-C.
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()))
        }
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed; the
    // closure makes system calls and builds an error from a number.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
    let (sender, answer) = channel();
    let job: Job = Box::new(move || drop(sender.send(command.spawn())));
    nursery.lock().expect("no holder panics").send(job).expect("the thread never ends");
    answer.recv().expect("the thread never ends").expect("start a server")
}
