//! What a configuration means: names resolved, files read, values parsed.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    call::frame::Wire,
    config::{
        Config,
        model::{self, Protocol},
    },
    handover::Takes,
    route::Route,
    tls::{self, Acceptor, Connector},
    upstream::Cluster,
};

pub struct Plan {
    pub(crate) config: Config,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) clusters: Vec<Arc<Cluster>>,
}

pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) proxy_protocol: bool,
    pub(crate) detect_timeout: Option<Duration>,
    pub(crate) readonly: bool,
    pub(crate) intercept: Option<model::Intercept>,
    pub(crate) tls: Option<Arc<Acceptor>>,
    pub(crate) routes: Vec<Route>,
}

/// Why a sound configuration cannot be carried out here and now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("TLS of {what} `{name}`: {source}")]
    Tls { what: &'static str, name: String, source: tls::Error },
}

// === impl Plan ===

impl Plan {
    /// What endpoints of the plan `before` were seen to do is kept.
    pub fn new(config: Config, before: Option<&Plan>) -> Result<Plan, Error> {
        let clusters: Vec<Arc<Cluster>> = config
            .cluster
            .iter()
            .map(|model| {
                let name = model.name.get_ref();
                let failed = |source| Error::Tls { what: "cluster", name: name.clone(), source };
                let old = before.and_then(|before| {
                    before.clusters.iter().find(|cluster| cluster.name == *name)
                });
                let old_tls = old.and_then(|old| old.tls.as_ref());
                let tls = model.tls.as_ref().map(|model| Connector::load(model, old_tls));
                let tls = tls.transpose().map_err(failed)?;
                let mark = config.host.as_ref().map(|host| host.mark);
                Ok(Arc::new(Cluster::new(model, tls, mark, &config.place, old.map(Arc::as_ref))))
            })
            .collect::<Result<_, Error>>()?;
        let index: HashMap<&str, usize> =
            clusters.iter().enumerate().map(|(at, cluster)| (cluster.name.as_str(), at)).collect();
        let listeners = config
            .listener
            .iter()
            .map(|model| {
                let name = model.name.get_ref();
                let old = before.and_then(|before| {
                    before.listeners.iter().find(|listener| listener.name == *name)
                });
                listener(model, &config, &index, old.map(Arc::as_ref)).map(Arc::new)
            })
            .collect::<Result<_, Error>>()?;
        Ok(Plan { listeners, clusters, config })
    }

    /// What may come from the proxy before: whoever has to prove who it is does
    /// so here, and not there.
    pub(crate) fn takes(&self) -> Takes {
        let wires = |protocol| match protocol {
            Protocol::Bolt => &[Wire::Bolt][..],
            Protocol::Dubbo => &[Wire::Dubbo],
            Protocol::Auto => &[Wire::Bolt, Wire::Dubbo],
            Protocol::Http | Protocol::Tcp | Protocol::TlsPassthrough => &[],
        };
        let plain = self.listeners.iter().filter(|listener| listener.tls.is_none());
        let calls = plain.flat_map(|listener| {
            wires(listener.protocol).iter().map(|wire| (listener.name.clone(), *wire))
        });
        Takes { calls: calls.collect() }
    }
}

fn listener(
    model: &model::Listener,
    config: &Config,
    clusters: &HashMap<&str, usize>,
    before: Option<&Listener>,
) -> Result<Listener, Error> {
    let name = model.name.get_ref().clone();
    let failed = |source| Error::Tls { what: "listener", name: name.clone(), source };
    let old = before.and_then(|before| before.tls.as_ref());
    let tls = model.tls.as_ref().map(|tls| Acceptor::load(tls, model.protocol, old));
    let tls = tls.transpose().map_err(failed)?;
    let routes = model.route.iter();
    let routes = routes.map(|route| {
        let same = |old: &&Route| old.name == *route.name.get_ref();
        let old = before.and_then(|before| before.routes.iter().find(same));
        Route::new(route, model, config, clusters, old)
    });
    let routes = routes.collect();
    Ok(Listener {
        address: *model.address.get_ref(),
        protocol: model.protocol,
        proxy_protocol: model.proxy_protocol,
        detect_timeout: model.detect_timeout.map(|time| time.0),
        readonly: model.readonly,
        intercept: model.intercept,
        name,
        tls,
        routes,
    })
}
