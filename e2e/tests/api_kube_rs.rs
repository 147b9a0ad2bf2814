//! Programs of kube-rs: a controller over a custom kind, killed and started
//! again, while the server is killed too.

mod kube_rs;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use e2e::{ApiServer, wait_for};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::ConfigMap,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        wait::{await_condition, conditions},
        watcher,
    },
};
use kube_rs::{Diary, MANAGER, Painter, Shelf};
use serde_json::json;

/// What the controller writes on its children.
const OURS: &str = "app=painter";

const LIMIT: Duration = Duration::from_secs(120);

/// Made in two halves, one before the controller is killed and one after.
const SHELVES: usize = 300;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Requests of the test itself at once.
const AT_ONCE: usize = 16;

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

async fn connect(kubeconfig: &Path) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

fn name(index: usize) -> String {
    format!("shelf-{index:03}")
}

async fn create(shelves: &Api<Shelf>, range: std::ops::Range<usize>) {
    let made = stream::iter(range).map(async |index| {
        let shelf = Shelf::new(&name(index), if index % 2 == 0 { "red" } else { "blue" });
        shelves.create(&PostParams::default(), &shelf).await
    });
    made.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.expect("created");
}

/// What is there, kept up to date by a list that is streamed.
fn mirror<K>(api: Api<K>, labels: &str) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    let (store, writer) = reflector::store();
    let config = watcher::Config::default().labels(labels).streaming_lists();
    let seen = watcher(api, config).default_backoff().reflect(writer);
    tokio::spawn(seen.for_each(async |_| ()));
    store
}

fn painted(shelves: &Store<Shelf>) -> usize {
    shelves.state().iter().filter(|shelf| shelf.is_painted()).count()
}

#[test]
fn a_controller_goes_on_where_it_was_killed_and_the_server_too() {
    let mut server = ApiServer::start("api-kube-rs", &[]);
    let runtime = runtime();
    let _inside = runtime.enter();
    let client = runtime.block_on(connect(&server.kubeconfig()));
    let shelves: Api<Shelf> = Api::default_namespaced(client.clone());
    let children: Api<ConfigMap> = Api::default_namespaced(client.clone());

    runtime.block_on(define(&client));
    runtime.block_on(create(&shelves, 0..SHELVES / 2));
    let (seen, seen_children) = (mirror(shelves.clone(), ""), mirror(children.clone(), OURS));
    runtime.block_on(seen.wait_until_ready()).expect("it goes on");
    assert_eq!(seen.state().len(), SHELVES / 2, "a streamed list is whole when it says so");

    let diary = Arc::new(Diary::default());
    let painter = Painter::start(&client, &diary);
    wait_for("some shelves to be painted", LIMIT, || (painted(&seen) > 20).then_some(()));
    runtime.block_on(painter.kill());
    assert_eq!(diary.errors(), [""; 0], "nothing was wrong so far");

    runtime.block_on(create(&shelves, SHELVES / 2..SHELVES));
    // Before it starts: it may have painted all of them at the next look.
    let before = painted(&seen);
    let painter = Painter::start(&client, &diary);
    wait_for("more to be painted", LIMIT, || (painted(&seen) > before + 20).then_some(()));
    server.kill9();
    server.revive();
    wait_for("all to be painted", LIMIT, || (painted(&seen) == SHELVES).then_some(()));

    runtime.block_on(agree(&shelves, &children, &seen, &seen_children));
    runtime.block_on(contend(&children, &seen_children));
    runtime.block_on(end(&shelves, &children));
    assert_eq!(diary.cleaned(), SHELVES);
    runtime.block_on(painter.kill());
}

/// The kind, and what it refuses.
async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = Shelf::definition();
    let by = PatchParams::apply("test").force();
    let name = definition.name_any();
    definitions.patch(&name, &by, &Patch::Apply(&definition)).await.expect("applied");
    let established = await_condition(definitions, &name, conditions::is_crd_established());
    let established = tokio::time::timeout(LIMIT, established).await.expect("in time");
    established.expect("it can be watched");

    let shelves: Api<Shelf> = Api::default_namespaced(client.clone());
    // The kind is served right behind that word, not always before it.
    let served = async {
        while shelves.list(&ListParams::default().limit(1)).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(LIMIT, served).await.expect("it is served");
    let refused = shelves.create(&PostParams::default(), &Shelf::new("odd", "none")).await;
    let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{status:?}");
    assert!(status.message.contains("a shelf has a colour"), "{status:?}");
}

/// Lists in pages, reflectors and what was wanted say the same.
async fn agree(
    shelves: &Api<Shelf>,
    children: &Api<ConfigMap>,
    seen: &Store<Shelf>,
    seen_children: &Store<ConfigMap>,
) {
    let mut wanted = BTreeMap::new();
    let mut page = ListParams::default().limit(70);
    loop {
        let list = shelves.list(&page).await.expect("listed");
        wanted.extend(list.items.iter().map(|one| (one.name_any(), one.clone())));
        let Some(token) = list.metadata.continue_.filter(|token| !token.is_empty()) else { break };
        page = page.continue_token(&token);
    }
    assert_eq!(wanted.len(), SHELVES);
    let made = children.list(&ListParams::default().labels(OURS)).await.expect("listed");
    assert_eq!(made.items.len(), SHELVES);
    for child in &made.items {
        let shelf = &wanted[&child.name_any()];
        let data = child.data.as_ref().expect("it has data");
        assert_eq!(data["colour"], shelf.spec.colour);
        assert_eq!(data["boards"], "3", "the default was there when it was reconciled");
        assert_eq!(child.owner_references()[0].uid, shelf.uid().expect("it has one"));
        let managers: Vec<_> =
            child.managed_fields().iter().map(|entry| entry.manager.as_deref()).collect();
        assert_eq!(managers, [Some(MANAGER)]);
    }
    let listed: BTreeMap<_, _> =
        wanted.values().map(|one| (one.name_any(), one.resource_version())).collect();
    let caught_up = async {
        loop {
            let seen = seen.state();
            let seen = seen.iter().map(|one| (one.name_any(), one.resource_version()));
            let is_whole = seen_children.state().len() == SHELVES;
            if is_whole && seen.collect::<BTreeMap<_, _>>() == listed {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(LIMIT, caught_up).await.expect("reflectors have what the lists have");
}

/// Another manager cannot take a field by asking, can by force, and the
/// controller takes it back.
async fn contend(children: &Api<ConfigMap>, seen: &Store<ConfigMap>) {
    let other = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": { "colour": "grey", "note": "mine" },
    });
    let (name, patch) = (name(7), Patch::Apply(&other));
    let refused = children.patch(&name, &PatchParams::apply("other"), &patch).await;
    let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(status.message.contains("conflict with \"painter\": .data.colour"), "{status:?}");
    children.patch(&name, &PatchParams::apply("other").force(), &patch).await.expect("forced");
    let is_back = |child: Option<&ConfigMap>| {
        let data = child.and_then(|child| child.data.as_ref());
        data.is_some_and(|data| data["colour"] == "blue" && data["note"] == "mine")
    };
    let back = await_condition(children.clone(), &name, is_back);
    tokio::time::timeout(LIMIT, back).await.expect("in time").expect("it can be watched");
    assert_eq!(seen.state().len(), SHELVES);
}

/// All go, each after its finalizer, and their children after them.
async fn end(shelves: &Api<Shelf>, children: &Api<ConfigMap>) {
    let name = name(0);
    let first = shelves.get(&name).await.expect("it is there");
    let uid = first.uid().expect("it has one");
    let all = (DeleteParams::background(), ListParams::default());
    shelves.delete_collection(&all.0, &all.1).await.expect("asked for");
    let gone = await_condition(shelves.clone(), &name, conditions::is_deleted(&uid));
    tokio::time::timeout(LIMIT, gone).await.expect("in time").expect("it can be watched");
    let nothing_left = async {
        loop {
            let left = shelves.list_metadata(&ListParams::default()).await.expect("listed");
            let own = ListParams::default().labels(OURS);
            let children = children.list_metadata(&own).await.expect("listed");
            if left.items.is_empty() && children.items.is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(LIMIT, nothing_left).await.expect("all are gone");
}
