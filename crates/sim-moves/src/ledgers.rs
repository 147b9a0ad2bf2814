//! A unit's ledger: the real books and their HTTP face, without a listener.

use std::sync::Arc;

use kv::Kv;
use ledger::{Books, OnKv, Service, Trust};
use tokio::runtime::Handle;
use topology::UnitName;

use crate::{
    Bug,
    layout::{Process, SEATS},
    net::{Face, Life, Net},
    store::Road,
    witness::Witness,
};

/// Serves for as long as the machine runs.
pub async fn serve(net: Net, machine: Handle, at: usize, witness: Witness, bug: Option<Bug>) {
    let process = Process::Ledger(at);
    let service = service(&net, process, SEATS[at].unit(), &witness, bug);
    net.begin_life(process, Life { machine, face: Face::Ledger(service) });
    std::future::pending().await
}

/// Books of `unit` as they are reached from `process`.
pub fn service(
    net: &Net,
    process: Process,
    unit: UnitName,
    witness: &Witness,
    bug: Option<Bug>,
) -> Service {
    let open = |name: &str| -> Arc<dyn Kv> {
        let (net, witness) = (net.clone(), witness.clone());
        Arc::new(Road { net, from: process, keyspace: name.into(), witness, bug })
    };
    let books = Books::new(unit, Arc::new(OnKv::new(open)));
    Service::new(books, Trust { plaintext: true, ..Trust::default() })
}
