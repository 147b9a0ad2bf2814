//! A controller as people write them: a finalizer, a child by server-side
//! apply, a status by server-side apply.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{
        Controller,
        controller::Action,
        finalizer::{self, finalizer},
        watcher,
    },
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::Shelf;

pub const MANAGER: &str = "painter";
const FINALIZER: &str = "library.example.com/painter";

/// What all painters of one test did.
#[derive(Default)]
pub struct Diary {
    cleaned: Mutex<BTreeSet<String>>,
    errors: Mutex<Vec<String>>,
}

pub struct Painter {
    task: JoinHandle<()>,
}

struct Context {
    client: Client,
    diary: Arc<Diary>,
}

type Error = finalizer::Error<kube::Error>;

// === impl Diary ===

impl Diary {
    /// Those whose end was seen.
    pub fn cleaned(&self) -> usize {
        lock(&self.cleaned).len()
    }

    pub fn errors(&self) -> Vec<String> {
        lock(&self.errors).clone()
    }
}

// === impl Painter ===

impl Painter {
    pub fn start(client: &Client, diary: &Arc<Diary>) -> Painter {
        let shelves: Api<Shelf> = Api::default_namespaced(client.clone());
        let children: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let context = Arc::new(Context { client: client.clone(), diary: diary.clone() });
        let config = || watcher::Config::default().streaming_lists();
        let controller = Controller::new(shelves, config()).owns(children, config());
        let steps = controller.run(reconcile, retry, context);
        Painter { task: tokio::spawn(steps.for_each(async |_| ())) }
    }

    /// In the middle of whatever it does.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn reconcile(shelf: Arc<Shelf>, context: Arc<Context>) -> Result<Action, Error> {
    let shelves: Api<Shelf> = Api::default_namespaced(context.client.clone());
    finalizer(&shelves, FINALIZER, shelf, |event| async {
        match event {
            finalizer::Event::Apply(shelf) => paint(&context, &shelf).await,
            finalizer::Event::Cleanup(shelf) => {
                lock(&context.diary.cleaned).insert(shelf.name_any());
                Ok(Action::await_change())
            }
        }
    })
    .await
}

async fn paint(context: &Context, shelf: &Shelf) -> Result<Action, kube::Error> {
    let name = shelf.name_any();
    let own = PatchParams::apply(MANAGER).force().validation_strict();
    let child = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": { "app": MANAGER },
            "ownerReferences": [shelf.controller_owner_ref(&())],
        },
        "data": {
            "colour": shelf.spec.colour,
            "boards": shelf.spec.boards.unwrap_or_default().to_string(),
        },
    });
    let children: Api<ConfigMap> = Api::default_namespaced(context.client.clone());
    children.patch(&name, &own, &Patch::Apply(child)).await?;
    let status = json!({
        "apiVersion": shelf.api_version,
        "kind": shelf.kind,
        "status": {
            "painted": shelf.spec.colour,
            "observedGeneration": shelf.metadata.generation,
        },
    });
    let shelves: Api<Shelf> = Api::default_namespaced(context.client.clone());
    shelves.patch_status(&name, &own, &Patch::Apply(status)).await?;
    Ok(Action::await_change())
}

/// Also what fails while the server is gone comes here.
fn retry(shelf: Arc<Shelf>, error: &Error, context: Arc<Context>) -> Action {
    lock(&context.diary.errors).push(format!("{}: {error}", shelf.name_any()));
    Action::requeue(Duration::from_millis(200))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}
