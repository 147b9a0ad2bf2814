//! Operators: they make the estate, and then order moves of shards, shares and
//! whole units, change their minds, and approve what asks for approval.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use api::Caller;
use client::{
    Client, DeleteOptions, Entity, Objects,
    k8s_openapi::api::core::v1::{Namespace, Pod},
};
use http::Response;
use http_body_util::Full;
use resources::{
    Center, CenterSpec, FAILOVER_POLICY_NAME, Failover, FailoverPolicy, FailoverPolicySpec, Fence,
    Home, Metadata, MovePhase, PausedRule, PortRange, Preference, ReturnPolicy, Rule,
    SHARD_MAP_NAME, Service, ShardMapObject, ShardMapSpec, ShardMove, ShardMoveSpec, Unit,
    UnitKind, UnitSpec,
};
use rt::random::Random;
use serde_json::json;
use tokio::time::sleep;
use topology::{BucketRange, Shard, ShardSet, UnitName};

use crate::{
    center::{NAMESPACE, POD},
    layout::{self, CENTERS, LEDGER_PORT, Process, SEATS, SHARDS},
    net::{Face, Net, Times},
    played::whole,
};

pub struct Operator {
    pub net: Net,
    pub random: Random,
    pub stop: Arc<AtomicBool>,
    /// Said at the end: nothing is ordered any more.
    pub left: Arc<AtomicBool>,
}

/// How long shards stay away after their home is well again.
const RETURN_AFTER_MS: u64 = 2_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const PAUSE_MS_MAX: u64 = 4_000;
const ORDERS_MAX: usize = 3;

/// A client of the API server of the center at `to`.
#[must_use]
pub fn client(net: &Net, to: usize) -> Client {
    let net = net.clone();
    client::over(REQUEST_TIMEOUT, move |request| {
        let net = net.clone();
        async move {
            let asked = net.ask(Process::People, Process::Center(to), Times::Once, move |face| {
                let Face::Center { api, drain, .. } = face.clone() else { return None };
                let request = request.clone().map(Full::new);
                Some(Box::pin(async move {
                    let caller = Caller::user("operator", ["system:masters".to_owned()]);
                    whole(api.handle(request, &caller, &drain).await).await
                }))
            });
            let (status, headers, body) = asked.await?;
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok::<_, crate::net::Trouble>(response)
        }
    })
}

/// Makes every object, by trying until it is there.
pub async fn make(net: Net) {
    let client = client(&net, 0);
    let federation = client.federation();
    for at in 0..CENTERS {
        create(federation.all(), center(at)).await;
        create(federation.all(), unit(at)).await;
    }
    let namespace: Namespace =
        serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).expect("JSON");
    for seat in &SEATS {
        let door = client.unit(&seat.unit());
        create(door.all(), namespace.clone()).await;
        create(door.namespaced(NAMESPACE), pod()).await;
    }
    let homes = SEATS
        .iter()
        .map(|seat| Home { shards: seat.shards.parse().expect("shards"), unit: seat.unit() });
    let return_policy = ReturnPolicy { after_ms: RETURN_AFTER_MS, ..ReturnPolicy::default() };
    let spec = ShardMapSpec { homes: homes.collect(), return_policy };
    let map = ShardMapObject::new(Metadata::named(SHARD_MAP_NAME), spec);
    create(federation.all(), map).await;
}

/// Gives the policy that evidence is judged by.
pub async fn give_policy(net: Net, spec: FailoverPolicySpec) {
    let federation = client(&net, 0).federation();
    let policy = FailoverPolicy::new(Metadata::named(FAILOVER_POLICY_NAME), spec);
    create(federation.all(), policy).await;
}

async fn create<T: Entity>(objects: Objects<T>, object: T) {
    while objects.create_if_absent(&object).await.is_err() {
        sleep(AGAIN_AFTER).await;
    }
}

fn center(at: usize) -> Center {
    let spec = CenterSpec {
        city: SEATS[at].city.parse().expect("a name"),
        api_address: layout::api_address(at),
        edge_address: layout::edge_address(at),
        edge_admin_address: Some(layout::edge_address(at)),
    };
    Center::new(Metadata::named(SEATS[at].center), spec)
}

fn unit(at: usize) -> Unit {
    let service =
        Service { name: "ledger".into(), namespace: NAMESPACE.into(), fence: Fence::Database };
    let spec = UnitSpec {
        kind: UnitKind::RZone,
        center: SEATS[at].center(),
        standbys: vec![SEATS[at].standby.parse().expect("a name")],
        ports: PortRange { first: LEDGER_PORT, last: LEDGER_PORT },
        shards_max: None,
        services: vec![service],
    };
    Unit::new(Metadata::named(SEATS[at].unit), spec)
}

fn pod() -> Pod {
    let port = json!({ "name": "https", "containerPort": LEDGER_PORT });
    let spec = json!({
        "runtimeClassName": "package",
        "containers": [{ "name": "ledger", "command": ["ledger"], "ports": [port] }],
    });
    let metadata = json!({ "name": POD, "namespace": NAMESPACE, "labels": { "app": "ledger" } });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).expect("a pod")
}

// === impl Operator ===

impl Operator {
    /// Does something now and then; what fails was not meant to be.
    pub async fn run(mut self) {
        let mut count = 0;
        while !self.stop.load(SeqCst) {
            sleep(Duration::from_millis(200 + self.random.below(PAUSE_MS_MAX))).await;
            count += 1;
            let _refused = self.act(count).await;
        }
        // Whoever leaves the office approves what waits: it may be needed.
        while self.approve().await.is_err() {
            sleep(AGAIN_AFTER).await;
        }
        while self.withdraw().await.is_err() {
            sleep(AGAIN_AFTER).await;
        }
        self.there_and_back().await;
        self.left.store(true, SeqCst);
    }

    /// Nothing may stay behind in a unit that gave shards away: it takes them again.
    async fn there_and_back(&mut self) {
        let moves = self.client().federation().all::<ShardMove>();
        for (at, home) in SEATS.iter().enumerate() {
            let other = &SEATS[(at + 1) % CENTERS];
            for (leg, to) in [other, home, other].into_iter().enumerate() {
                let name = format!("farewell-{at}-{leg}");
                let shards = home.shards.parse().expect("shards");
                let spec =
                    ShardMoveSpec { shards, to: Some(to.unit()), ..ShardMoveSpec::default() };
                create(moves.clone(), ShardMove::new(Metadata::named(name.clone()), spec)).await;
                while !moves.get(&name).await.is_ok_and(|order| order.status.phase.is_final()) {
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn act(&mut self, count: u32) -> Result<(), client::Error> {
        let luck = self.random.below(10);
        let moves = self.client().federation().all::<ShardMove>();
        let orders = moves.list("").await?.items;
        let open: Vec<_> =
            orders.iter().filter(|order| !order.status.phase.is_final()).cloned().collect();
        let some = self.random.below(open.len().max(1) as u64) as usize;
        match (luck, open.get(some)) {
            (0, Some(order)) => {
                let options = DeleteOptions::default();
                moves.delete(order.name(), &options).await.map(drop)
            }
            (1, Some(order)) => {
                let patch = json!({ "spec": { "to": self.unit() } });
                moves.patch(order.name(), &patch).await.map(drop)
            }
            (2, _) => self.approve().await,
            _ if open.len() < ORDERS_MAX => {
                let name = Metadata::named(format!("order-{count:04}"));
                let spec = match luck {
                    6 | 7 => self.split(luck == 6).await?,
                    _ => Some(self.order(luck)),
                };
                let Some(spec) = spec else { return Ok(()) };
                moves.create(&ShardMove::new(name, spec)).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    fn order(&mut self, luck: u64) -> ShardMoveSpec {
        let base = ShardMoveSpec::default();
        match luck {
            3 => ShardMoveSpec { unit: Some(self.unit()), ..base },
            4 | 5 => {
                let percent = Some(10 + self.random.below(60) as u32);
                ShardMoveSpec { unit: Some(self.unit()), percent, ..base }
            }
            _ => {
                let first = self.random.below(u64::from(SHARDS)) as u16;
                let count = 1 + self.random.below(3) as u16;
                let numbers = (first..first + count).map(|number| number % SHARDS);
                let shards: ShardSet =
                    numbers.map(|number| Shard::new(number).expect("there are few")).collect();
                ShardMoveSpec { shards, to: Some(self.unit()), ..base }
            }
        }
    }

    /// Some buckets of a shard become one of their own, and leave if `moves`. None
    /// if the shard that came to mind has only one.
    async fn split(&mut self, moves: bool) -> Result<Option<ShardMoveSpec>, client::Error> {
        let maps = self.client().federation().all::<ShardMapObject>();
        let split = maps.get(SHARD_MAP_NAME).await?.status.layout;
        let shards: Vec<_> = layout::shards(&split).collect();
        let whole = shards[self.random.below(shards.len() as u64) as usize];
        let has: Vec<_> = split.buckets(whole).expect("it is one of them").iter().collect();
        if has.len() < 2 {
            return Ok(None);
        }
        let cut = 1 + self.random.below(has.len() as u64 - 1) as usize;
        let taken = if self.random.below(2) == 0 { &has[..cut] } else { &has[cut..] };
        let buckets = BucketRange::new(taken[0], taken[taken.len() - 1]);
        let (shards, to) = ([whole].into_iter().collect(), moves.then(|| self.unit()));
        Ok(Some(ShardMoveSpec { shards, buckets, to, ..ShardMoveSpec::default() }))
    }

    /// Splits that others came before, so that they cut nothing any more, wait for
    /// a person's word.
    async fn withdraw(&mut self) -> Result<(), client::Error> {
        let moves = self.client().federation().all::<ShardMove>();
        for order in moves.list("").await?.items {
            if order.spec.buckets.is_some() && order.status.phase == MovePhase::Pending {
                moves.delete(order.name(), &DeleteOptions::default()).await?;
            }
        }
        Ok(())
    }

    async fn approve(&mut self) -> Result<(), client::Error> {
        let failovers = self.client().federation().all::<Failover>();
        for failover in failovers.list("").await?.items {
            if !failover.status.phase.is_final() && !failover.spec.approved {
                let patch = json!({ "spec": { "approved": true } });
                failovers.patch(failover.name(), &patch).await?;
            }
        }
        Ok(())
    }

    fn unit(&mut self) -> UnitName {
        SEATS[self.random.below(CENTERS as u64) as usize].unit()
    }

    fn client(&mut self) -> Client {
        client(&self.net, self.random.below(CENTERS as u64) as usize)
    }
}

/// A policy by the seed: half of the estates keep to the defaults.
#[must_use]
pub fn policy(random: &mut Random) -> FailoverPolicySpec {
    let mut rule = || if random.below(4) == 0 { Rule::Manual } else { Rule::Automatic };
    let (city, center, paused) = (rule(), rule(), rule());
    let after_ms = if random.below(2) == 0 { 800 } else { 3_000 };
    let prefer = if random.below(2) == 0 { Preference::Standbys } else { Preference::SameCity };
    let min_interval_ms = if random.below(4) == 0 { 8_000 } else { 0 };
    let paused = PausedRule { rule: paused, after_ms };
    match random.below(2) {
        0 => FailoverPolicySpec::default(),
        _ => FailoverPolicySpec { city, center, paused, prefer, min_interval_ms },
    }
}
