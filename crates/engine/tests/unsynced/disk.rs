//! A disk that remembers what was synced, so that a crash can be played at any
//! moment: of everything else it keeps nothing, or whatever chance says.
//!
//! Syncs are seen by standing in for the C library's `fsync` and `fdatasync`
//! in this test's program. What a sync of a file makes durable is its bytes;
//! what a sync of a folder makes durable is its names.
#![expect(unsafe_code, reason = "two functions of the C library are replaced")]

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::SystemTime,
};

use rt::random::Random;

/// What a torn write is made of.
const PAGE: usize = 4096;
const CHUNK: usize = 64 * 1024;

/// How many batches have been acknowledged.
pub static ACKNOWLEDGED: AtomicU64 = AtomicU64::new(0);

static WATCHED: Mutex<Option<Disk>> = Mutex::new(None);

struct Disk {
    root: PathBuf,
    durable: Image,
    points: Vec<Point>,
}

/// The moment before a sync.
pub struct Point {
    /// How many batches were, when we began to look and when we ended.
    pub acknowledged: (u64, u64),
    durable: Image,
    current: Image,
}

#[derive(Clone, Default)]
struct Image {
    /// By folder.
    names: BTreeMap<PathBuf, BTreeMap<OsString, Entry>>,
    files: HashMap<Node, Arc<Content>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Folder,
    File(Node),
}

/// A file, under whatever names. Numbers are used again; then the time differs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Node(u64, Option<SystemTime>);

#[derive(Default, PartialEq)]
struct Content {
    length: u64,
    /// Without zeros at the end.
    bytes: Vec<u8>,
}

/// Begins to watch an empty folder.
pub fn watch(root: &Path) {
    fs::create_dir_all(root).expect("it can be made");
    let root = root.canonicalize().expect("it was just made");
    let disk = Disk { root, durable: Image::default(), points: Vec::new() };
    *WATCHED.lock().expect("nobody panics in a sync") = Some(disk);
}

/// Every moment before a sync so far.
pub fn unwatch() -> Vec<Point> {
    let disk = WATCHED.lock().expect("nobody panics in a sync").take();
    disk.expect("it was watched").points
}

/// The C library's, for files that are watched; others are not synced, since
/// nothing that a test writes is to survive the machine.
// SAFETY: the only function of that name in the program, with the signature of
// fsync(2).
#[unsafe(no_mangle)]
pub extern "C" fn fsync(file: i32) -> i32 {
    synced(file)
}

/// As [`fsync`].
// SAFETY: as above, of fdatasync(2).
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(file: i32) -> i32 {
    synced(file)
}

fn synced(file: i32) -> i32 {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(disk) = &mut *watched
        && let Ok(path) = fs::read_link(format!("/proc/self/fd/{file}"))
        && path.starts_with(&disk.root)
    {
        disk.synced(&path);
    }
    0
}

// === impl Disk ===

impl Disk {
    fn synced(&mut self, path: &Path) {
        let before = ACKNOWLEDGED.load(SeqCst);
        let mut current = Image::default();
        current.scan(&self.root, Path::new(""), self.points.last().map(|last| &last.current));
        let acknowledged = (before, ACKNOWLEDGED.load(SeqCst));
        let relative = path.strip_prefix(&self.root).expect("it is watched");
        let durable = self.durable.clone();
        match current.names.get(relative) {
            Some(names) => drop(self.durable.names.insert(relative.into(), names.clone())),
            None => {
                let node = Node::of(path);
                if let Some((node, content)) =
                    node.and_then(|node| Some((node, current.files.get(&node)?)))
                {
                    self.durable.files.insert(node, content.clone());
                }
            }
        }
        self.points.push(Point { acknowledged, durable, current });
    }
}

// === impl Image ===

impl Image {
    /// Everything as it is; contents that are as before are shared.
    fn scan(&mut self, root: &Path, folder: &Path, before: Option<&Image>) {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if path.is_dir() {
                self.scan(root, &folder.join(&name), before);
                names.insert(name, Entry::Folder);
            } else if let Some(node) = Node::of(&path)
                && let Some(content) = Content::read(&path)
            {
                let known = before.and_then(|before| before.files.get(&node));
                let known = known.filter(|known| ***known == content);
                let content = known.cloned().unwrap_or_else(|| Arc::new(content));
                self.files.insert(node, content);
                names.insert(name, Entry::File(node));
            }
        }
        self.names.insert(folder.into(), names);
    }
}

// === impl Point ===

impl Point {
    /// Writes what a crash leaves that keeps what was synced and nothing else.
    pub fn lose_all(&self, target: &Path) {
        self.leave(target, Path::new(""), None);
    }

    /// Of what was not synced, some names and some pages survive.
    pub fn lose_some(&self, target: &Path, random: &mut Random) {
        self.leave(target, Path::new(""), Some(random));
    }

    fn leave(&self, target: &Path, folder: &Path, mut random: Option<&mut Random>) {
        fs::create_dir_all(target.join(folder)).expect("it can be made");
        let none = BTreeMap::new();
        let durable = self.durable.names.get(folder).unwrap_or(&none);
        let current = self.current.names.get(folder).unwrap_or(&none);
        let mut names = durable.clone();
        if let Some(random) = &mut random {
            for name in durable.keys().chain(current.keys()) {
                let (before, now) = (durable.get(name), current.get(name));
                if before != now && random.below(2) == 0 {
                    match now {
                        Some(now) => drop(names.insert(name.clone(), *now)),
                        None => drop(names.remove(name)),
                    }
                }
            }
        }
        for (name, entry) in names {
            let path = folder.join(&name);
            match entry {
                Entry::Folder => self.leave(target, &path, random.as_deref_mut()),
                Entry::File(node) => {
                    let empty = Arc::default();
                    let content = self.durable.files.get(&node).unwrap_or(&empty);
                    let left = match (&mut random, self.current.files.get(&node)) {
                        (Some(random), Some(now)) => &content.torn(now, random),
                        _ => &**content,
                    };
                    left.write(&target.join(&path));
                }
            }
        }
    }
}

// === impl Node ===

impl Node {
    fn of(path: &Path) -> Option<Node> {
        let metadata = fs::metadata(path).ok()?;
        Some(Node(metadata.ino(), metadata.created().ok()))
    }
}

// === impl Content ===

impl Content {
    /// A journal is made long at once, and is zeros behind its last write.
    fn read(path: &Path) -> Option<Content> {
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let mut file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut bytes = Vec::new();
        loop {
            let from = bytes.len();
            (&mut file).take(CHUNK as u64).read_to_end(&mut bytes).ok()?;
            let read = &bytes[from..];
            if read.is_empty() || (is_journal && read.iter().all(|byte| *byte == 0)) {
                break;
            }
        }
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        Some(Content { length, bytes })
    }

    /// This, with some pages as they are in `now`.
    fn torn(&self, now: &Content, random: &mut Random) -> Content {
        if *self == *now {
            return Content { length: self.length, bytes: self.bytes.clone() };
        }
        let grown = random.below(4) > 0;
        let length = if grown { now.length } else { self.length };
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().max(now.bytes.len()), 0);
        for (index, page) in bytes.chunks_mut(PAGE).enumerate() {
            if random.below(2) == 0 {
                let from = index * PAGE;
                for (offset, byte) in page.iter_mut().enumerate() {
                    *byte = now.bytes.get(from + offset).copied().unwrap_or(0);
                }
            }
        }
        bytes.truncate(usize::try_from(length).expect("files are small"));
        Content { length, bytes }
    }

    fn write(&self, path: &Path) {
        fs::write(path, &self.bytes).expect("it is writable");
        let file = fs::OpenOptions::new().write(true).open(path).expect("it was just written");
        file.set_len(self.length).expect("it can be made longer");
    }
}
