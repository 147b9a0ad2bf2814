//! A center's edge: the real table and the real queue. What the real one does
//! between them for one request (try the owner, wait, try again) is told here
//! once more, since there it is bound to sockets.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use client::{Cache, Client, Scope, k8s_openapi::api::core::v1::Pod};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use proxy::{Hold, HoldLimits, Route, Table, Target, Ticket, View};
use resources::{SHARD_MAP_NAME, ShardMapObject};
use rt::{backoff::Backoff, random::Random};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use topology::{Epoch, MapVersion, STAMP_HEADER, Shard, Stamp, UnitName, UserId};

use crate::{
    layout::{Process, SEATS},
    net::{Face, Net, Times, Trouble},
    played::{Whole, whole},
};

/// Cheap to clone; clones are one edge.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    net: Net,
    at: usize,
    state: Mutex<State>,
    /// Counts views.
    views: watch::Sender<u64>,
    refresh: Notify,
}

struct State {
    view: View,
    hold: Hold,
    tickets: u64,
}

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub user: UserId,
    pub method: Method,
    pub path: String,
    /// Of idempotency.
    pub key: String,
    pub body: Bytes,
}

/// A target without what may not leave its thread.
struct Way {
    unit: UnitName,
    epoch: Epoch,
    endpoint: SocketAddr,
    stamp: HeaderValue,
}

const DEADLINE: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(200);
const REFRESH_GAP: Duration = Duration::from_millis(50);
/// An owner that is down is tried again after this.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(50);
/// How long who asks for a version of the map is kept waiting.
const VERSION_WAIT: Duration = Duration::from_secs(1);

const HOLD: HoldLimits =
    HoldLimits { requests_max: 2_048, bytes_max: 16 << 20, requests_per_shard_max: 512 };

// === impl Edge ===

impl Edge {
    #[must_use]
    pub fn start(net: Net, at: usize, client: Client) -> Edge {
        let state = State { view: View::default(), hold: Hold::new(HOLD), tickets: 0 };
        let (views, _) = watch::channel(0);
        let (state, refresh) = (Mutex::new(state), Notify::new());
        let edge = Edge(Arc::new(Inner { net, at, state, views, refresh }));
        tokio::spawn(edge.clone().follow(client));
        edge
    }

    /// The map by which it routes, once that is the one that is asked for.
    pub async fn version(&self, uri: &Uri) -> Whole {
        let wanted = uri.query().and_then(|query| query.strip_prefix("atLeast=")?.parse().ok());
        let wanted = MapVersion(wanted.unwrap_or(0));
        let mut views = self.0.views.subscribe();
        let _late = timeout(VERSION_WAIT, async {
            while self.state().view.map.version < wanted {
                let _ = views.changed().await;
            }
        })
        .await;
        let version = self.state().view.map.version;
        let body = serde_json::json!({ "version": version }).to_string();
        (StatusCode::OK, HeaderMap::new(), body.into())
    }

    /// One request's tries and waits.
    pub async fn handle(&self, asked: Asked) -> Whole {
        let deadline = Instant::now() + DEADLINE;
        let ticket = {
            let mut state = self.state();
            state.tickets += 1;
            Ticket(state.tickets)
        };
        let mut shard = self.shard_of(&asked.user);
        let answer = self.exchange(&asked, &mut shard, ticket, deadline).await;
        self.state().hold.gone(shard, ticket);
        answer.unwrap_or_else(|status| (status, HeaderMap::new(), Bytes::new()))
    }

    async fn exchange(
        &self,
        asked: &Asked,
        line: &mut Shard,
        ticket: Ticket,
        deadline: Instant,
    ) -> Result<Whole, StatusCode> {
        let mut newer_than: Option<Epoch> = None;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            if Instant::now() >= deadline {
                return Err(StatusCode::GATEWAY_TIMEOUT);
            }
            // Its bucket may be of another shard since it looked last.
            let shard = self.shard_of(&asked.user);
            if shard != *line {
                self.state().hold.gone(*line, ticket);
                (*line, newer_than) = (shard, None);
            }
            let way = self.way(shard).filter(|way| is_newer(way.epoch, newer_than));
            let Some(way) = way else {
                self.wait(shard, ticket, &mut newer_than, &mut backoff, deadline).await?;
                continue;
            };
            if self.is_behind(shard, ticket, way.epoch) {
                newer_than = Some(way.epoch);
                self.wait(shard, ticket, &mut newer_than, &mut backoff, deadline).await?;
                continue;
            }
            let tried = tokio::select! {
                biased;
                tried = self.attempt(asked, &way, deadline) => tried,
                () = self.superseded(shard, &way) => continue,
                () = sleep_until(deadline) => return Err(StatusCode::GATEWAY_TIMEOUT),
            };
            match tried {
                Ok((StatusCode::MISDIRECTED_REQUEST, headers, _)) => {
                    let fence = headers.get("polis-fence").and_then(|value| value.to_str().ok());
                    let fence: Option<Stamp> = fence.and_then(|text| text.parse().ok());
                    let before = fence.map_or(0, |fence| fence.epoch.0.saturating_sub(1));
                    newer_than = Some(way.epoch.max(Epoch(before)));
                    self.0.refresh.notify_one();
                }
                Ok(whole) => {
                    let mut state = self.state();
                    state.hold.forget_pioneer(shard);
                    state.hold.release(shard, |_| true);
                    return Ok(whole);
                }
                Err(Trouble::Refused) => {
                    tokio::time::sleep(UNREACHABLE_PAUSE).await;
                }
                Err(Trouble::Lost) => newer_than = Some(way.epoch),
            }
        }
    }

    async fn attempt(&self, asked: &Asked, way: &Way, deadline: Instant) -> Result<Whole, Trouble> {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        let request = Request::builder()
            .method(asked.method.clone())
            .uri(&asked.path)
            .header(STAMP_HEADER, way.stamp.clone())
            .header("polis-deadline-ms", left.to_string())
            .header("polis-uid", asked.user.as_str())
            .header("idempotency-key", &asked.key)
            .body(asked.body.clone())
            .expect("paths and headers are ours");
        let to = Process::at(&way.endpoint.to_string()).ok_or(Trouble::Refused)?;
        self.0
            .net
            .ask(Process::Center(self.0.at), to, Times::Repeated, move |face| {
                let Face::Ledger(service) = face.clone() else { return None };
                let request = request.clone();
                Some(Box::pin(async move {
                    let peer = ledger::Peer::Plaintext;
                    whole(service.handle(request.map(Full::new), &peer).await).await
                }))
            })
            .await
    }

    /// Stands in line until there is reason to try again.
    async fn wait(
        &self,
        shard: Shard,
        ticket: Ticket,
        newer_than: &mut Option<Epoch>,
        backoff: &mut Backoff,
        deadline: Instant,
    ) -> Result<(), StatusCode> {
        let entered = self.state().hold.enter(shard, ticket, *newer_than, 1_024);
        let mut woken = entered.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let ended = loop {
            let wake_at = match newer_than {
                None => deadline,
                Some(_) => deadline.min(Instant::now() + backoff.step()),
            };
            tokio::select! {
                biased;
                _ = &mut woken => break Ok(()),
                () = sleep_until(wake_at) => {}
            }
            if Instant::now() >= deadline {
                break Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            if self.state().hold.go_first(shard, ticket) {
                break Ok(());
            }
        };
        self.state().hold.leave(shard, ticket);
        *newer_than = None;
        ended
    }

    fn shard_of(&self, user: &UserId) -> Shard {
        self.state().view.map.layout.shard_of(user.bucket())
    }

    fn way(&self, shard: Shard) -> Option<Way> {
        let table = Table::build(&self.state().view);
        let Route::Serve(target) = table.route(shard) else { return None };
        let (unit, epoch, stamp) = (target.unit.clone(), target.epoch, target.stamp.clone());
        Some(Way { unit, epoch, endpoint: target.endpoints[0], stamp })
    }

    fn is_behind(&self, shard: Shard, ticket: Ticket, epoch: Epoch) -> bool {
        let mut state = self.state();
        if !state.hold.is_behind(shard, ticket) {
            return false;
        }
        state.hold.release(shard, |newer_than| is_newer(epoch, newer_than));
        state.hold.is_behind(shard, ticket)
    }

    async fn superseded(&self, shard: Shard, way: &Way) {
        let mut views = self.0.views.subscribe();
        loop {
            let is_over = {
                let (unit, stamp) = (way.unit.clone(), way.stamp.clone());
                let endpoints = vec![way.endpoint];
                let target = Target { shard, unit, epoch: way.epoch, endpoints, stamp };
                Table::build(&self.state().view).supersedes(&target, way.endpoint)
            };
            if is_over {
                return;
            }
            let _ = views.changed().await;
        }
    }

    /// Routes by `view` from now on.
    fn install(&self, view: View) {
        let mut state = self.state();
        if state.view == view {
            return;
        }
        let before = Rc::new(Table::build(&state.view));
        let table = Rc::new(Table::build(&view));
        state.view = view;
        let changed: Vec<Shard> = table.changes(&before).collect();
        for shard in changed {
            state.hold.forget_pioneer(shard);
        }
        for shard in state.hold.shards() {
            if let Route::Serve(target) = table.route(shard) {
                let epoch = target.epoch;
                state.hold.release(shard, |newer_than| is_newer(epoch, newer_than));
            }
        }
        // Whoever waits for a bucket that has left its shard looks again.
        for shard in table.split_since(&before).collect::<Vec<_>>() {
            state.hold.forget_pioneer(shard);
            state.hold.release(shard, |_| true);
        }
        drop(state);
        self.0.views.send_modify(|count| *count += 1);
    }

    async fn follow(self, client: Client) {
        let federation = client.federation();
        let mut maps: Cache<ShardMapObject> = federation.watch(Scope::everything());
        let mut pods = BTreeMap::<UnitName, Cache<Pod>>::new();
        for seat in &SEATS {
            pods.insert(seat.unit(), client.unit(&seat.unit()).watch(Scope::everything()));
        }
        let (news, mut told) = watch::channel(0_u64);
        let news = Arc::new(news);
        for cache in pods.values() {
            let (mut cache, news) = (cache.clone(), news.clone());
            tokio::spawn(async move {
                loop {
                    cache.changed().await;
                    news.send_modify(|count| *count += 1);
                }
            });
        }
        let mut refreshed = Instant::now();
        loop {
            let mut view = self.state().view.clone();
            if let Some(map) = maps.current().get(SHARD_MAP_NAME)
                && map.status.version > view.map.version
            {
                view.map = map.status.clone();
            }
            for (unit, pods) in &pods {
                let pods = pods.current();
                if pods.synced {
                    let endpoints = pods.iter().filter_map(|pod| endpoint(pod)).collect();
                    view.endpoints.insert(unit.clone(), endpoints);
                }
            }
            self.install(view);
            tokio::select! {
                _ = maps.changed() => {}
                _ = told.changed() => {}
                () = self.0.refresh.notified() => {
                    sleep_until(refreshed + REFRESH_GAP).await;
                    refreshed = Instant::now();
                    let read = federation.all::<ShardMapObject>();
                    if let Ok(map) = read.get(SHARD_MAP_NAME).await {
                        let mut view = self.state().view.clone();
                        if map.status.version > view.map.version {
                            view.map = map.status;
                            self.install(view);
                        }
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("one thread")
    }
}

fn is_newer(epoch: Epoch, newer_than: Option<Epoch>) -> bool {
    newer_than.is_none_or(|old| epoch > old)
}

/// Where a pod serves, if it is ready.
fn endpoint(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(address, crate::layout::LEDGER_PORT))
}
