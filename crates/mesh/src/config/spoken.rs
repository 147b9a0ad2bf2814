//! What a route's requests are spoken in: its listener says so, or, where one
//! port takes several protocols, the clusters it goes to.

use super::model::{Cluster, Config, Listener, Name, Protocol, Route, Upstream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http,
    Bytes,
    Bolt,
    Dubbo,
}

// === impl Spoken ===

impl Spoken {
    pub(crate) fn of(config: &Config, listener: &Listener, route: &Route) -> Spoken {
        match listener.protocol {
            Protocol::Http => Spoken::Http,
            Protocol::Tcp | Protocol::TlsPassthrough => Spoken::Bytes,
            Protocol::Bolt => Spoken::Bolt,
            Protocol::Dubbo => Spoken::Dubbo,
            // What answers by itself, answers browsers.
            Protocol::Auto => first(config, route)
                .map_or(Spoken::Http, |cluster| Spoken::of_upstream(cluster.protocol)),
        }
    }

    pub(crate) fn of_upstream(upstream: Upstream) -> Spoken {
        match upstream {
            Upstream::Http1 | Upstream::Http2 => Spoken::Http,
            Upstream::Tcp => Spoken::Bytes,
            Upstream::Bolt => Spoken::Bolt,
            Upstream::Dubbo => Spoken::Dubbo,
        }
    }

    pub(crate) fn is_call(self) -> bool {
        matches!(self, Spoken::Bolt | Spoken::Dubbo)
    }
}

/// The first cluster that a route names: all of them speak the same.
fn first<'c>(config: &'c Config, route: &Route) -> Option<&'c Cluster> {
    let of_map = |map: &Name| {
        let map = config.map.iter().find(|known| known.name.get_ref() == map.get_ref())?;
        map.default.as_ref().or_else(|| map.entries.values().next())
    };
    let share = || route.split.as_ref()?.first().map(|share| &share.cluster);
    let name = route.cluster.as_ref().or_else(share).or_else(|| of_map(route.map.as_ref()?))?;
    config.cluster.iter().find(|cluster| cluster.name.get_ref() == name.get_ref())
}
