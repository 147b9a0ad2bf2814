//! What stands in a plain cluster from the start, because others look for it:
//! the Service by which Pods reach us, and since when tokens are tracked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use kv::{Compare, Op, Txn};
use rt::{Drain, backoff::Backoff, random::Random};
use serde_json::{Value, json};

use crate::{
    catalog::Catalog,
    cluster::Clusters,
    object::{self, timestamp},
    registry::encode,
};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Where a cluster's Services and its API server are.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The networks of Services; the first address of each is ours.
    pub networks: Vec<String>,
    /// On which we listen.
    pub port: u16,
}

// === impl Standing ===

impl Standing {
    /// Makes what is missing; returns when nothing is.
    pub async fn keep(self, clusters: &Clusters, drain: Drain) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            match self.make(clusters).await {
                Ok(()) => return,
                Err(why) => tracing::debug!(why, "what stands from the start was not made"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.step()) => {}
                () = drain.started() => return,
            }
        }
    }

    async fn make(&self, clusters: &Clusters) -> Result<(), String> {
        let cluster = clusters.enter(clusters.root()).await;
        let cluster = cluster.map_err(|failure| failure.message().to_owned())?;
        for mut object in [self.service(), tracking()].into_iter().flatten() {
            let plural = if object["kind"] == "Service" { "services" } else { "configmaps" };
            let kind = Catalog::builtin().find("", "v1", plural).expect("the catalog names it");
            let now = timestamp(object::now());
            let metadata = object::metadata(&mut object);
            metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
            metadata.insert("creationTimestamp".into(), now.into());
            let key = kind.key(Some(object::namespace(&object)), object::name(&object));
            let put = Op::put(key.clone(), encode(kind, &object));
            let txn = Txn::when(vec![Compare::absent(key)]).then(vec![put]);
            cluster.kv.txn(txn).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// None without a network to be in.
    fn service(&self) -> Option<Value> {
        let addresses: Vec<IpAddr> = self.networks.iter().filter_map(|it| first(it)).collect();
        let own = addresses.first()?;
        let families: Vec<&str> =
            addresses.iter().map(|it| if it.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
        let policy = if addresses.len() > 1 { "PreferDualStack" } else { "SingleStack" };
        let port =
            json!({"name": "https", "protocol": "TCP", "port": 443, "targetPort": self.port});
        Some(json!({
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": own.to_string(),
                "clusterIPs": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "ipFamilies": families,
                "ipFamilyPolicy": policy,
                "internalTrafficPolicy": "Cluster",
                "sessionAffinity": "None",
                "ports": [port],
            },
            "status": {"loadBalancer": {}},
        }))
    }
}

/// Since when it is known of every token of a Secret when it was last used: the
/// cleaner of kube-controller-manager deletes none that is younger.
fn tracking() -> Option<Value> {
    let now = timestamp(object::now());
    Some(json!({
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "name": "kube-apiserver-legacy-service-account-token-tracking",
            "namespace": "kube-system",
        },
        "data": {"since": now.split('T').next()},
    }))
}

/// The first address of a network that a host may have.
fn first(network: &str) -> Option<IpAddr> {
    let (address, _) = network.split_once('/')?;
    match address.parse().ok()? {
        IpAddr::V4(address) => Some(Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_has_the_first_address_of_each_network() {
        let standing = |networks: &[&str]| {
            let networks = networks.iter().map(|it| (*it).to_owned()).collect();
            Standing { networks, port: 6443 }.service()
        };
        let both = standing(&["10.0.0.0/24", "fd00::/108"]).expect("there are networks");
        assert_eq!(both["spec"]["clusterIPs"], json!(["10.0.0.1", "fd00::1"]));
        assert_eq!(both["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(both["spec"]["ports"][0]["targetPort"], 6443);
        assert_eq!(standing(&[]), None);
    }
}
