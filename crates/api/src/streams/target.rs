//! Which pod is meant, on which node, and in which of its containers.

use serde_json::Value;

use crate::{
    catalog,
    failure::Failure,
    handler::Handler,
    object,
    registry::{self, Registry},
    request::path::{Door, Place},
};

/// A name is repeated up to this length.
const NAME_CHARS_MAX: usize = 64;

/// A pod that runs somewhere, and where its agent listens.
#[derive(Debug)]
pub(crate) struct Target {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    pub host: String,
    pub port: u16,
    pod: Value,
}

// === impl Handler ===

impl Handler {
    /// At the federation the pod is that of the one unit that has it.
    pub(super) async fn located(&self, place: &Place) -> Result<Place, Failure> {
        let name = place.name.as_deref().unwrap_or_default();
        Ok(match &place.door {
            Door::Federation => {
                let unit = self.unit_of(place, name).await?;
                Place { door: Door::Unit(unit), ..place.clone() }
            }
            Door::Unit(_) | Door::Cluster => place.clone(),
        })
    }

    /// `place` is where it is kept, as [`Handler::located`] says.
    pub(super) async fn target(&self, place: &Place) -> Result<Target, Failure> {
        let name = place.name.as_deref().unwrap_or_default();
        let cluster = self.shared.clusters.enter(&place.door).await?;
        let pod = Registry::new(cluster.clone(), place.clone()).get(name).await?;
        let node = object::text(&pod, "/spec/nodeName");
        if node.is_empty() {
            return Err(Failure::bad_request(format!("pod {name} does not have a host assigned")));
        }
        let nodes = catalog::nodes();
        let found = registry::read(&*cluster.kv, nodes, nodes.key(None, node)).await?;
        Target::of(pod, found.as_ref().map(|node| &node.object))
    }
}

// === impl Target ===

impl Target {
    pub(crate) fn of(pod: Value, node: Option<&Value>) -> Result<Target, Failure> {
        let name = object::text(&pod, "/spec/nodeName").to_owned();
        let (host, port) = node.and_then(endpoint).ok_or_else(|| {
            unreachable(&name, "its Node object names no address or kubelet endpoint")
        })?;
        Ok(Target {
            namespace: object::namespace(&pod).to_owned(),
            name: object::name(&pod).to_owned(),
            uid: object::uid(&pod).to_owned(),
            node: name,
            host,
            port,
            pod,
        })
    }

    /// The container that is meant.
    pub(crate) fn container(&self, asked: Option<&str>) -> Result<String, Failure> {
        let list = |field: &str| {
            let list = self.pod["spec"][field].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(|one| one["name"].as_str()).collect::<Vec<_>>()
        };
        let (own, init) = (list("containers"), list("initContainers"));
        let ephemeral = list("ephemeralContainers");
        let pod = &self.name;
        match (asked, own.as_slice()) {
            (Some(asked), _) => {
                let known =
                    [&own, &init, &ephemeral].into_iter().flatten().any(|one| *one == asked);
                let asked: String = asked.chars().take(NAME_CHARS_MAX).collect();
                match known {
                    true => Ok(asked),
                    false => Err(Failure::bad_request(format!(
                        "container {asked} is not valid for pod {pod}"
                    ))),
                }
            }
            (None, [only]) => Ok((*only).to_owned()),
            (None, several) => {
                let annotated =
                    self.pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
                        .as_str()
                        .filter(|one| several.contains(one));
                annotated.map(str::to_owned).ok_or_else(|| {
                    let mut message = format!(
                        "a container name must be specified for pod {pod}, choose one of: [{}]",
                        several.join(" ")
                    );
                    if !init.is_empty() {
                        let init = init.join(" ");
                        message += &format!(" or one of the init containers: [{init}]");
                    }
                    Failure::bad_request(message)
                })
            }
        }
    }
}

/// Where a node's agent listens.
fn endpoint(node: &Value) -> Option<(String, u16)> {
    let addresses = node.pointer("/status/addresses")?.as_array()?;
    let internal = addresses.iter().find(|address| address["type"] == "InternalIP")?;
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port")?.as_u64()?;
    Some((internal["address"].as_str()?.to_owned(), u16::try_from(port).ok()?))
}

pub(crate) fn unreachable(node: &str, why: &str) -> Failure {
    let code = errors::API_AGENT_UNREACHABLE;
    Failure::unavailable(format!("{code}: agent of node {node:?}: {why}. {}", code.remedy()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_named_unless_there_is_only_one() {
        let check = |containers: &[&str], asked, expected: Result<&str, &str>| {
            let named: Vec<Value> = containers.iter().map(|name| json!({ "name": name })).collect();
            let pod = json!({
                "metadata": { "name": "p" },
                "spec": { "nodeName": "n", "containers": named, "initContainers": [{ "name": "i" }] },
            });
            let node = json!({ "status": {
                "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
                "daemonEndpoints": { "kubeletEndpoint": { "Port": 1 } },
            } });
            let target = Target::of(pod, Some(&node)).expect("a target");
            let found = target.container(asked).map_err(|failure| failure.message().to_owned());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{containers:?}");
        };
        check(&["a"], None, Ok("a"));
        check(&["a", "b"], Some("b"), Ok("b"));
        check(&["a", "b"], Some("i"), Ok("i"));
        check(&["a"], Some("x"), Err("container x is not valid for pod p"));
        check(
            &["a", "b"],
            None,
            Err("a container name must be specified for pod p, choose one of: [a b] or one of \
                 the init containers: [i]"),
        );
    }

    #[test]
    fn a_node_without_an_endpoint_is_named_with_a_remedy() {
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "east-1" } });
        let failure = Target::of(pod, Some(&json!({}))).expect_err("it has none");
        assert!(failure.message().contains("PLS0204: agent of node \"east-1\""));
    }
}
