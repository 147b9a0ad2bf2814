//! The runtime of class `package`: starts containers, finds them again, reads
//! what they print.

use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use crate::{
    ContainerId, Exec, Execution, Exit, Finished, Lifetime, Process, Record, Spec, SpecError, exec,
    listener,
    logs::{Capture, Chunks, Pump, ReadOptions, pump},
    proc,
    record::{self, Running},
    spawner::{Spawner, Start},
};

/// What a container finds without asking for it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which terminal a process is told it has.
const TERM: &str = "xterm";

#[derive(Clone, Debug)]
pub struct Config {
    /// Records and logs of all containers.
    pub root: PathBuf,
    /// The kernel kills containers when this process ends, however it ends. Only
    /// the process that was started: what it forked itself is left.
    pub die_with_parent: bool,
}

pub struct Runtime {
    config: Config,
    boot_id: String,
    spawner: Spawner,
    pump: Pump,
    captures: Mutex<HashMap<ContainerId, Arc<Mutex<Option<Capture>>>>>,
}

/// A container that an earlier runtime of this folder started.
#[derive(Debug)]
pub struct Found {
    pub record: Record,
    /// `None` if it ended.
    pub process: Option<Process>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("could not start {program:?}: {source}")]
    Start { program: String, source: io::Error },
    #[error("could not {action} {}: {source}", path.display())]
    Folder { action: &'static str, path: PathBuf, source: io::Error },
    #[error("no log of container {0}: it has not started")]
    NoLog(ContainerId),
    #[error("container {0} has no previous attempt")]
    NoPrevious(ContainerId),
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    #[error("could not prepare the runtime: {0}")]
    Prepare(#[source] io::Error),
}

// === impl Runtime ===

impl Runtime {
    /// Takes over `config.root` and everything found in it.
    pub fn open(config: Config) -> Result<(Runtime, Vec<Found>), Error> {
        let root = &config.root;
        fs::create_dir_all(root).map_err(at("create", root))?;
        // Logs may hold what only the operator should read.
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(at("close", root))?;
        let runtime = Runtime {
            boot_id: proc::boot_id().map_err(Error::Prepare)?,
            spawner: Spawner::start().map_err(Error::Prepare)?,
            pump: Pump::start().map_err(Error::Prepare)?,
            captures: Mutex::default(),
            config,
        };
        let found = runtime.find()?;
        Ok((runtime, found))
    }

    /// Starts attempt `attempt` of a container. Its earlier process has ended.
    pub async fn start(
        &self,
        spec: Spec,
        attempt: u32,
        previous: Option<Finished>,
    ) -> Result<(Process, Record), Error> {
        spec.check()?;
        let folder = self.folder(&spec.id);
        let work = spec.working_dir.clone().unwrap_or_else(|| folder.join("work"));
        fs::create_dir_all(folder.join("work")).map_err(at("create", &folder))?;
        let mut record = Record::starting(spec.id.clone(), attempt, spec.digest);
        record.previous = previous;
        record.save(&folder).map_err(at("write the record in", &folder))?;
        crate::logs::remove_old(&folder, attempt).map_err(at("tidy", &folder))?;
        let capture = Capture::open(&folder, attempt).map_err(at("open logs in", &folder))?;
        let [stdout, stderr] = capture.ends().map_err(at("open logs in", &folder))?;
        let (mark, value) = record.mark(&folder);
        let mut env = clean_env(&work);
        env.extend(spec.env);
        env.push((mark.into(), value));
        let program = spec.program.clone();
        let started_at = wall_now();
        let start = Start {
            program: spec.program,
            args: spec.args,
            env,
            working_dir: work,
            input: None,
            stdout: stdout.into(),
            stderr: stderr.into(),
            terminal: false,
            die_with_parent: self.config.die_with_parent,
        };
        let pid = match self.spawner.spawn(start).await {
            Ok(pid) => pid,
            Err(source) => {
                let exit = Exit::Code(127);
                record.finished = Some(Finished { exit, started_at, finished_at: wall_now() });
                record.save(&folder).map_err(at("write the record in", &folder))?;
                capture.close().map_err(at("close logs in", &folder))?;
                return Err(Error::Start { program, source });
            }
        };
        let process = Process::watch(pid).map_err(Error::Prepare)?;
        // A child that has already ended is a zombie until it is reaped: it has
        // a start time all the same.
        record.running = Running::of(pid, &self.boot_id, started_at);
        record.save(&folder).map_err(at("write the record in", &folder))?;
        self.capture(&spec.id, capture).map_err(at("follow logs in", &folder))?;
        Ok((process, record))
    }

    /// The process of `record` has ended: completes its log and its record.
    pub fn finish(&self, record: &mut Record, exit: Exit) -> Result<Finished, Error> {
        let folder = self.folder(&record.id);
        let finished_at = wall_now();
        let started_at = record.running.as_ref().map_or(finished_at, |running| running.started_at);
        let finished = Finished { exit, started_at, finished_at };
        record.finished = Some(finished);
        record.save(&folder).map_err(at("write the record in", &folder))?;
        let slot = pump::lock(&self.captures).remove(&record.id);
        if let Some(capture) = slot.and_then(|slot| pump::lock(&slot).take()) {
            capture.close().map_err(at("close logs in", &folder))?;
        }
        Ok(finished)
    }

    /// Forgets the containers of a Pod, with records and logs.
    pub fn remove_pod(&self, uid: &str) -> Result<(), Error> {
        let probe = ContainerId {
            namespace: String::new(),
            pod: String::new(),
            uid: uid.into(),
            container: "x".into(),
        };
        probe.check()?;
        pump::lock(&self.captures).retain(|id, _| id.uid != uid);
        let folder = self.config.root.join(uid);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(at("remove", &folder)(error))
            }
            _ => Ok(()),
        }
    }

    /// The log of a container's running (or last) attempt.
    pub fn logs(&self, id: &ContainerId, options: ReadOptions) -> Result<Chunks, Error> {
        id.check()?;
        let folder = self.folder(id);
        let record = Record::load(&folder).map_err(at("read the record in", &folder))?;
        let attempt = record.ok_or_else(|| Error::NoLog(id.clone()))?.attempt;
        if options.previous {
            let attempt = attempt.checked_sub(1).ok_or_else(|| Error::NoPrevious(id.clone()))?;
            return Ok(Chunks::open(folder, attempt, options, None));
        }
        let slot = pump::lock(&self.captures).get(id).cloned();
        let progress = slot.and_then(|slot| {
            let mut capture = pump::lock(&slot);
            let capture = capture.as_mut()?;
            // A reader sees what was written before it asked.
            let _ = capture.drain();
            Some(capture.progress())
        });
        Ok(Chunks::open(folder, attempt, options, progress))
    }

    /// Starts one more process beside a container that is running: in its
    /// environment and folder, and with an end of its own.
    ///
    /// It lives for its caller: it is killed with us, whatever becomes of
    /// containers. What it leaves behind in its group ends with it.
    pub async fn exec(&self, spec: &Spec, exec: Exec) -> Result<Execution, Error> {
        spec.check()?;
        exec.check()?;
        let folder = self.folder(&spec.id);
        let lifetime = self.lifetime(&spec.id).ok_or_else(|| Error::NotRunning(spec.id.clone()))?;
        let work = spec.working_dir.clone().unwrap_or_else(|| folder.join("work"));
        let mut env = clean_env(&work);
        if exec.terminal {
            env.push(("TERM".into(), TERM.into()));
        }
        env.extend(spec.env.iter().cloned());
        env.push((proc::EXEC_MARK.into(), folder.display().to_string()));
        let (ours, theirs) = exec::ends(&exec).map_err(Error::Prepare)?;
        let start = Start {
            program: exec.program.clone(),
            args: exec.args,
            env,
            working_dir: work,
            input: theirs.input,
            stdout: theirs.stdout,
            stderr: theirs.stderr,
            terminal: exec.terminal,
            die_with_parent: true,
        };
        let spawned = self.spawner.spawn(start).await;
        let pid = spawned.map_err(|source| Error::Start { program: exec.program, source })?;
        let process = Process::watch(pid).map_err(Error::Prepare)?;
        let exec::Ours { input, stdout, stderr } = ours;
        Ok(Execution { process, lifetime, input, stdout, stderr })
    }

    /// When the running attempt of a container ends. `None` if none is running.
    #[must_use]
    pub fn lifetime(&self, id: &ContainerId) -> Option<Lifetime> {
        let slot = pump::lock(&self.captures).get(id).cloned()?;
        let progress = pump::lock(&slot).as_ref().map(Capture::progress)?;
        Some(Lifetime(progress))
    }

    /// Where a process of this Pod listens on `port`, whoever started it there.
    /// Walks all of `/proc`: for threads that may block.
    #[must_use]
    pub fn listener(&self, uid: &str, port: u16) -> Option<SocketAddr> {
        let folder = self.config.root.join(uid);
        let records = folders(&folder).ok()?;
        let records = records.iter().filter_map(|folder| Record::load(folder).ok().flatten());
        let leaders: Vec<i32> = records
            .filter_map(|record| record.running.filter(|_| record.finished.is_none()))
            .filter(|running| running.boot_id == self.boot_id && proc::is_same(running))
            .map(|running| running.pid)
            .collect();
        listener::find(&leaders, &folder, port)
    }

    fn find(&self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for pod in folders(&self.config.root)? {
            for folder in folders(&pod)? {
                match Record::load(&folder) {
                    Ok(Some(record)) => found.push(self.adopt(&folder, record)?),
                    Ok(None) => {}
                    Err(error) => {
                        let path = folder.display();
                        tracing::error!(%path, %error, "the record of a container is unreadable");
                    }
                }
            }
        }
        Ok(found)
    }

    fn adopt(&self, folder: &Path, mut record: Record) -> Result<Found, Error> {
        if record.finished.is_some() {
            return Ok(Found { record, process: None });
        }
        if record.running.is_none() {
            let (mark, value) = record.mark(folder);
            let pid = proc::find_marked(&format!("{mark}={value}"));
            record.running = pid.and_then(|pid| Running::of(pid, &self.boot_id, wall_now()));
        }
        let process = match &record.running {
            Some(running) => {
                Process::adopt(running, &self.boot_id).map_err(at("adopt from", folder))?
            }
            None => None,
        };
        let capture = Capture::open(folder, record.attempt).map_err(at("open logs in", folder))?;
        let id = record.id.clone();
        self.capture(&id, capture).map_err(at("follow logs in", folder))?;
        if process.is_none() {
            self.finish(&mut record, Exit::Unknown)?;
        } else {
            record.save(folder).map_err(at("write the record in", folder))?;
        }
        Ok(Found { record, process })
    }

    fn capture(&self, id: &ContainerId, capture: Capture) -> io::Result<()> {
        let slot = self.pump.follow(capture)?;
        pump::lock(&self.captures).insert(id.clone(), slot);
        Ok(())
    }

    fn folder(&self, id: &ContainerId) -> PathBuf {
        record::folder(&self.config.root, id)
    }
}

fn clean_env(home: &Path) -> Vec<(String, String)> {
    vec![("PATH".into(), PATH.into()), ("HOME".into(), home.to_string_lossy().into_owned())]
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).map_err(at("read", path))? {
        let entry = entry.map_err(at("read", path))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Folder { action, path, source }
}

/// For records, which people read; nothing is decided by it.
#[allow(clippy::disallowed_methods)]
fn wall_now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
