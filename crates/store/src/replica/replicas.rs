//! The task that beats and looks, one in each process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use engine::{Board, Engine, Replica, ReplicaId};
use kv::KeyspaceName;
use rt::{Clock, Drain, Millis, TaskKind};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    HighWater, LEASE_MS, Lead, Mark, Memory, Peer, Situation,
    silence::Silence,
    situation::{head, peer},
    witness,
};
use crate::transport::Transport;

/// Four in a lease, so that one may be lost and one be late.
const BEAT_EVERY: Duration = Duration::from_millis(250);
/// A beat that takes longer than this is worth nothing any more.
const BEAT_TIMEOUT: Duration = Duration::from_millis(LEASE_MS);

/// Between looks while somebody waits for what another replica writes: this is
/// how late a follower's watchers are.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// And when nothing has been written for [`IDLE_AFTER`].
const LOOK_IDLE_EVERY: Duration = Duration::from_millis(100);
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// While a leader's beat is late, so that its silence is noticed in time.
const LOOK_SUSPECT_EVERY: Duration = Duration::from_millis(50);
const SUSPECT_AFTER_MS: u64 = LEASE_MS / 2;
/// However many ask for a look.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(5);

/// Streams that want a leader are told that there is none after this long,
/// which is more than a takeover needs.
const LEADERLESS_AFTER_MS: u64 = 3_000;

/// Rows of replicas that are long gone are removed.
const RETIRE_AFTER_MS: u64 = 60_000;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What the rest of the process knows of the others. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Replicas {
    inner: Arc<Inner>,
}

/// While this lives, the board is looked at often.
pub(crate) struct Interest {
    inner: Arc<Inner>,
}

struct Inner {
    me: Replica,
    engine: Arc<dyn Engine>,
    clock: Clock,
    /// Until then nobody can have taken over from us.
    lease_until: AtomicU64,
    interested: AtomicUsize,
    poked: Notify,
    /// To the others, once there is one.
    transport: OnceLock<Arc<dyn Transport>>,
    state: Mutex<State>,
    names: watch::Sender<BTreeSet<KeyspaceName>>,
    leaderless: watch::Sender<BTreeSet<KeyspaceName>>,
}

/// What the last look led to.
struct State {
    board: Board,
    silence: Silence,
    high_water: HighWater,
    /// By others, and not compared with the board yet: a look that had begun
    /// before is not expected to show it.
    told: Vec<Memory>,
    alive: Arc<[Peer]>,
    /// Ours is the first peer; it lives since we began.
    began: Millis,
    known: bool,
    /// When the board was last read.
    read_at: Millis,
    /// Since when a keyspace that somebody asked for has nobody to lead it.
    leaderless_since: BTreeMap<KeyspaceName, Millis>,
    situations: BTreeMap<KeyspaceName, watch::Sender<Situation>>,
}

/// When to look next, and how.
struct Pace {
    beat_due: Instant,
    looked: Option<Instant>,
    /// When a look last found something new.
    news: Instant,
    saved: Instant,
    beat: u64,
    failing: bool,
    /// The others were asked what they remember.
    heard: bool,
}

// === impl Replicas ===

impl Replicas {
    /// `me.beat` counts from zero.
    pub fn new(
        engine: Arc<dyn Engine>,
        me: Replica,
        high_water: HighWater,
        clock: Clock,
    ) -> Replicas {
        let state = State {
            board: Board::default(),
            silence: Silence::default(),
            high_water,
            told: Vec::new(),
            alive: Arc::default(),
            began: clock.now(),
            known: false,
            read_at: clock.now(),
            leaderless_since: BTreeMap::new(),
            situations: BTreeMap::new(),
        };
        let inner = Inner {
            me,
            engine,
            clock,
            lease_until: AtomicU64::new(0),
            interested: AtomicUsize::new(0),
            poked: Notify::new(),
            transport: OnceLock::new(),
            state: Mutex::new(state),
            names: watch::Sender::default(),
            leaderless: watch::Sender::default(),
        };
        Replicas { inner: Arc::new(inner) }
    }

    /// Must be called inside a tokio runtime, once. The others are reached by
    /// `transport`.
    pub fn start(&self, transport: Arc<dyn Transport>, drain: Drain) {
        assert!(self.inner.transport.set(transport).is_ok(), "it is started once");
        rt::spawn(TaskKind::Critical, "replicas", run(self.inner.clone(), drain));
    }

    pub fn me(&self) -> &Replica {
        &self.inner.me
    }

    /// Whether a value that was taken before this call was the newest there is,
    /// as far as the lease of the whole process tells.
    pub fn holds_lease(&self) -> bool {
        self.inner.clock.now() < Millis(self.inner.lease_until.load(SeqCst))
    }

    /// Of one keyspace, from now on.
    pub fn situation(&self, keyspace: &KeyspaceName) -> watch::Receiver<Situation> {
        let mut state = self.inner.state();
        if let Some(sender) = state.situations.get(keyspace) {
            return sender.subscribe();
        }
        let sender = watch::Sender::new(state.situation(keyspace, self.inner.me.id));
        let receiver = sender.subscribe();
        state.situations.insert(keyspace.clone(), sender);
        receiver
    }

    /// Every keyspace on the board.
    pub fn names(&self) -> watch::Receiver<BTreeSet<KeyspaceName>> {
        self.inner.names.subscribe()
    }

    /// Those in use that nobody has led for a while.
    pub fn leaderless(&self) -> watch::Receiver<BTreeSet<KeyspaceName>> {
        self.inner.leaderless.subscribe()
    }

    pub fn is_leaderless(&self, keyspace: &KeyspaceName) -> bool {
        self.inner.leaderless.borrow().contains(keyspace)
    }

    /// Who lives, by id, and we among them.
    pub fn alive(&self) -> Arc<[Peer]> {
        self.inner.state().alive.clone()
    }

    /// What this replica remembers; nothing that is not in the log.
    pub fn memory(&self) -> Memory {
        self.inner.state().high_water.memory().clone()
    }

    /// How far anybody who can be asked has seen a keyspace come. Whatever is
    /// read from the log after this must show as much.
    pub async fn ask(&self, keyspace: &KeyspaceName) -> Mark {
        let board = self.inner.state().board.clone();
        self.inner.hear(&board).await;
        let state = self.inner.state();
        let mut memory = state.high_water.memory().clone();
        for told in &state.told {
            memory.learn(told);
        }
        memory.marks.get(keyspace).copied().unwrap_or_default()
    }

    /// Asks for a look soon.
    pub fn poke(&self) {
        self.inner.poked.notify_one();
    }

    pub fn interest(&self) -> Interest {
        self.inner.interested.fetch_add(1, SeqCst);
        self.poke();
        Interest { inner: self.inner.clone() }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.inner.interested.fetch_sub(1, SeqCst);
    }
}

// === impl Inner ===

async fn run(inner: Arc<Inner>, drain: Drain) {
    let now = Instant::now();
    let mut pace = Pace {
        beat_due: now,
        looked: None,
        news: now,
        saved: now,
        beat: 0,
        failing: false,
        heard: false,
    };
    while inner.wait(&pace, &drain).await {
        inner.look(&mut pace).await;
        if pace.saved.elapsed() >= SAVE_EVERY {
            pace.saved = Instant::now();
            inner.save().await;
        }
    }
    // What was written since the last beat is to be remembered too.
    inner.look(&mut pace).await;
    inner.save().await;
    let retire = inner.shared().retire(inner.me.id);
    // Whoever finds our row finds it silent.
    let _ = tokio::time::timeout(BEAT_TIMEOUT, retire).await;
}

impl Inner {
    fn shared(&self) -> &dyn engine::Shared {
        self.engine.shared().expect("replicas exist only over a log that is shared")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    /// Returns when it is time to look; false is the end.
    async fn wait(&self, pace: &Pace, drain: &Drain) -> bool {
        let at_once = pace.looked.map_or(pace.beat_due, |looked| looked + LOOK_EVERY_MIN);
        let due = match (pace.looked, self.look_every(pace)) {
            (Some(looked), Some(every)) => pace.beat_due.min(looked + every),
            _ => pace.beat_due,
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = self.poked.notified() => tokio::time::sleep_until(at_once).await,
            () = drain.started() => return false,
        }
        !drain.is_draining()
    }

    /// Between looks; none while the beats do.
    fn look_every(&self, pace: &Pace) -> Option<Duration> {
        if self.state().suspects(self.clock.now()) {
            return Some(LOOK_SUSPECT_EVERY);
        }
        let idle = pace.news.elapsed() > IDLE_AFTER;
        let every = if idle { LOOK_IDLE_EVERY } else { LOOK_EVERY };
        (self.interested.load(SeqCst) > 0).then_some(every)
    }

    /// Asks those on a board what they remember.
    async fn hear(&self, board: &Board) {
        let Some(transport) = self.transport.get() else { return };
        let told = witness::ask(&**transport, board, &self.me).await;
        self.state().add_told(told);
    }

    /// Beats, if it is time, and reads the board.
    async fn look(self: &Arc<Inner>, pace: &mut Pace) {
        let beats = Instant::now() >= pace.beat_due;
        let began = self.clock.now();
        let told = std::mem::take(&mut self.state().told);
        let look = async {
            if !beats {
                return self.shared().look().await;
            }
            pace.beat += 1;
            pace.beat_due = Instant::now() + BEAT_EVERY;
            self.shared().beat(&Replica { beat: pace.beat, ..self.me.clone() }).await
        };
        let read = tokio::time::timeout(BEAT_TIMEOUT, look).await;
        let ended = self.clock.now();
        pace.looked = Some(Instant::now());
        match read {
            // Only to know whom to ask: nothing is believed before that.
            Ok(Ok(board)) if !std::mem::replace(&mut pace.heard, true) => {
                self.hear(&board).await;
                pace.beat_due = Instant::now();
                return;
            }
            Ok(Ok(board)) => {
                if std::mem::take(&mut pace.failing) {
                    tracing::info!("the board is read again");
                }
                let (long_gone, has_company) = {
                    let mut state = self.state();
                    let before = state.alive.clone();
                    if state.board.heads != board.heads {
                        pace.news = Instant::now();
                    }
                    state.take_in(board, &told, &self.me, began, ended);
                    self.names.send_if_modified(|names| state.renew_names(names));
                    let is_new = |peer: &Peer| before.iter().all(|known| known.id != peer.id);
                    (state.long_gone(self.me.id, ended), state.alive.iter().any(is_new))
                };
                if beats {
                    // After the situations: who reads this finds them.
                    self.lease_until.store(began.plus(LEASE_MS).0, SeqCst);
                }
                // Whoever comes up may remember more than those who were asked.
                if has_company {
                    let inner = self.clone();
                    rt::spawn(TaskKind::Connection, "ask a replica", async move {
                        let board = inner.state().board.clone();
                        inner.hear(&board).await;
                    });
                }
                if let Some(id) = long_gone {
                    // Next time, if not now.
                    let _ = self.shared().retire(id).await;
                }
            }
            unread => {
                self.state().add_told(told);
                if !std::mem::replace(&mut pace.failing, true) {
                    match unread {
                        Ok(Err(error)) => tracing::warn!(%error, "the board was not read"),
                        Ok(Ok(_)) | Err(_) => tracing::warn!("the board was not read in time"),
                    }
                }
            }
        }
        let leaderless = self.state().leaderless(ended);
        self.leaderless.send_if_modified(|before| {
            let changed = *before != leaderless;
            *before = leaderless;
            changed
        });
    }

    async fn save(&self) {
        let Some((notebook, text)) = self.state().high_water.take_unsaved() else { return };
        if let Err(error) = notebook.save(text).await {
            tracing::warn!(%error, "what this replica has seen was not written down");
            self.state().high_water.not_saved();
        }
    }
}

// === impl State ===

impl State {
    /// One for each cluster, however often they are asked.
    fn add_told(&mut self, told: Vec<Memory>) {
        for memory in told {
            match self.told.iter_mut().find(|known| known.cluster_id == memory.cluster_id) {
                Some(known) => {
                    known.learn(&memory);
                }
                None => self.told.push(memory),
            }
        }
    }

    fn take_in(
        &mut self,
        board: Board,
        told: &[Memory],
        me: &Replica,
        began: Millis,
        ended: Millis,
    ) {
        self.silence.look(&board, began, ended);
        for (keyspace, refusal) in self.high_water.see(&board, told) {
            let keyspace = keyspace.as_ref().map_or("all", KeyspaceName::as_str);
            tracing::error!(keyspace, "{refusal}");
        }
        let ours =
            Peer { id: me.id, name: me.name.clone(), urls: me.urls.clone(), since: self.began };
        let others = board.replicas.iter().filter(|replica| replica.id != me.id);
        let others =
            others.filter_map(|row| Some(peer(&board, row.id, self.silence.alive(row.id)?)));
        let mut alive: Vec<_> = std::iter::once(ours).chain(others).collect();
        alive.sort_by_key(|peer| peer.id);
        if *alive != *self.alive {
            self.alive = alive.into();
        }
        self.board = board;
        self.known = true;
        self.read_at = ended;
        let heads: BTreeMap<_, _> =
            self.board.heads.iter().map(|head| (&head.keyspace, head)).collect();
        for (keyspace, sender) in &self.situations {
            let (head, refusal) = (heads.get(keyspace), self.high_water.refusal(keyspace));
            let found = Situation::of(
                head.copied(),
                &self.board,
                me.id,
                &self.silence,
                &self.alive,
                refusal,
            );
            let led = matches!(found.lead, Lead::Me | Lead::Other(_));
            match led {
                true => drop(self.leaderless_since.remove(keyspace)),
                false => drop(self.leaderless_since.entry(keyspace.clone()).or_insert(ended)),
            }
            sender.send_if_modified(|before| {
                let changed = *before != found;
                *before = found;
                changed
            });
        }
    }

    fn situation(&self, keyspace: &KeyspaceName, me: ReplicaId) -> Situation {
        if !self.known {
            return Situation::default();
        }
        let refusal = self.high_water.refusal(keyspace);
        let head = head(&self.board, keyspace);
        Situation::of(head, &self.board, me, &self.silence, &self.alive, refusal)
    }

    fn renew_names(&self, names: &mut BTreeSet<KeyspaceName>) -> bool {
        let heads = &self.board.heads;
        let changed =
            names.len() != heads.len() || !heads.iter().all(|head| names.contains(&head.keyspace));
        if changed {
            *names = heads.iter().map(|head| head.keyspace.clone()).collect();
        }
        changed
    }

    /// Whether some leader is late with its beat.
    fn suspects(&self, now: Millis) -> bool {
        self.board.heads.iter().filter_map(|head| head.leader).any(|leader| {
            self.silence.silent(leader).is_none()
                && self.silence.still_ms(leader, now) > SUSPECT_AFTER_MS
        })
    }

    /// All of them, for who cannot see who leads.
    fn leaderless(&self, now: Millis) -> BTreeSet<KeyspaceName> {
        if now.since(self.read_at) > LEADERLESS_AFTER_MS {
            return self.situations.keys().cloned().collect();
        }
        let long = |since: &Millis| now.since(*since) > LEADERLESS_AFTER_MS;
        let all = self.leaderless_since.iter().filter(|(_, since)| long(since));
        all.map(|(keyspace, _)| keyspace.clone()).collect()
    }

    /// A replica whose row nobody needs any more.
    fn long_gone(&self, me: ReplicaId, now: Millis) -> Option<ReplicaId> {
        let leads = |id| self.board.heads.iter().any(|head| head.leader == Some(id));
        let mut rows = self.board.replicas.iter().map(|replica| replica.id);
        rows.find(|id| {
            *id != me
                && self.silence.silent(*id).is_some()
                && self.silence.still_ms(*id, now) > RETIRE_AFTER_MS
                && !leads(*id)
        })
    }
}
