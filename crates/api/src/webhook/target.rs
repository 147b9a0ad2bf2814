//! Where a webhook is: its URL, or an endpoint of its Service.

use http::Uri;
use rt::random::Random;
use serde_json::Value;

use super::{Client, Service};
use crate::{catalog::Catalog, cluster::Cluster, object};

/// Where to connect, and what to ask there.
#[derive(Debug)]
pub(super) struct Target {
    pub host: String,
    pub port: u16,
    /// Whom the certificate must be of.
    pub name: String,
    /// As the question names it.
    pub authority: String,
    pub path: String,
}

/// Which slice an endpoint's Service is.
const SERVICE_NAME: &str = "/metadata/labels/kubernetes.io~1service-name";

// === impl Target ===

impl Target {
    pub fn of(cluster: &Cluster, client: &Client) -> Result<Target, String> {
        if let Some(service) = &client.service {
            return Target::of_service(cluster, service);
        }
        let url = client.url.as_deref().ok_or("clientConfig names neither url nor service")?;
        let url: Uri = url.parse().map_err(|error| format!("url: {error}"))?;
        if url.scheme_str() != Some("https") {
            return Err("url: must be https".to_owned());
        }
        let authority = url.authority().ok_or("url: names no host")?.to_string();
        let host = url.host().ok_or("url: names no host")?.trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(443);
        Ok(Target { name: host.clone(), host, port, authority, path: url.path().to_owned() })
    }

    fn of_service(cluster: &Cluster, service: &Service) -> Result<Target, String> {
        let Service { namespace, name, .. } = service;
        let port = service.port.unwrap_or(443);
        let path = match service.path.as_deref().unwrap_or_default() {
            "" => "/".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        let found = known(cluster, "", "services", namespace, Some(name)).pop();
        let found = found.ok_or_else(|| format!("service {name:?} not found"))?;
        let endpoints = || {
            let slices = known(cluster, "discovery.k8s.io", "endpointslices", namespace, None);
            let mut all = of_slices(&slices, name, port_name(&found, port)?);
            if all.is_empty() {
                let old = known(cluster, "", "endpoints", namespace, Some(name));
                all = old.iter().flat_map(|old| of_old(old, port_name(&found, port))).collect();
            }
            Some(all)
        };
        let (host, port) = pick(&found, name, port, endpoints)?;
        let name = format!("{name}.{namespace}.svc");
        let authority = format!("{name}:{}", service.port.unwrap_or(443));
        Ok(Target { host, port, name, authority, path })
    }
}

/// Objects as the mirror has them: one, or all of a namespace.
fn known(
    cluster: &Cluster,
    group: &str,
    plural: &str,
    namespace: &str,
    name: Option<&str>,
) -> Vec<Value> {
    let Some(resource) = Catalog::builtin().find(group, "v1", plural) else { return Vec::new() };
    let (prefix, mirror) = (resource.prefix(), cluster.mirror());
    let kvs = match name {
        Some(name) => {
            mirror.get(&prefix, &resource.key(Some(namespace), name)).into_iter().collect()
        }
        None => mirror.list(&prefix, &resource.key(Some(namespace), "")),
    };
    kvs.iter().filter_map(|kv| serde_json::from_slice(&kv.value).ok()).collect()
}

/// One of the ready endpoints, any; the Service's own address when none is
/// known.
fn pick(
    service: &Value,
    name: &str,
    port: u16,
    endpoints: impl FnOnce() -> Option<Vec<(String, u16)>>,
) -> Result<(String, u16), String> {
    if object::text(service, "/spec/type") == "ExternalName" {
        return Ok((object::text(service, "/spec/externalName").to_owned(), port));
    }
    let mut ready =
        endpoints().ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    if !ready.is_empty() {
        let which = Random::from_entropy().below(ready.len() as u64);
        return Ok(ready.swap_remove(usize::try_from(which).unwrap_or_default()));
    }
    match object::text(service, "/spec/clusterIP") {
        "" | "None" => Err(format!("no endpoints available for service {name:?}")),
        address => Ok((address.to_owned(), port)),
    }
}

/// What the Service calls its port, by which endpoints name theirs.
fn port_name(service: &Value, port: u16) -> Option<&str> {
    let ports = service.pointer("/spec/ports")?.as_array()?;
    let found = ports.iter().find(|one| one["port"] == port)?;
    Some(found["name"].as_str().unwrap_or_default())
}

fn of_slices(slices: &[Value], service: &str, port: &str) -> Vec<(String, u16)> {
    let own = slices.iter().filter(|slice| object::text(slice, SERVICE_NAME) == service);
    let mut found = Vec::new();
    for slice in own {
        let Some(number) = number(&slice["ports"], port) else { continue };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        // Not said is ready.
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let addresses = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str());
        found.extend(addresses.map(|address| (address.to_owned(), number)));
    }
    found
}

/// Of the older kind, which lists what is not ready apart.
fn of_old(endpoints: &Value, port: Option<&str>) -> Vec<(String, u16)> {
    let mut found = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let Some(number) = port.and_then(|port| number(&subset["ports"], port)) else { continue };
        let addresses = subset["addresses"].as_array().into_iter().flatten();
        let addresses = addresses.filter_map(|address| address["ip"].as_str());
        found.extend(addresses.map(|address| (address.to_owned(), number)));
    }
    found
}

fn number(ports: &Value, name: &str) -> Option<u16> {
    let ports = ports.as_array()?;
    let named = ports.iter().find(|port| port["name"].as_str().unwrap_or_default() == name)?;
    u16::try_from(named["port"].as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Value {
        json!({"spec": {"clusterIP": "10.0.0.1", "ports": [
            {"name": "metrics", "port": 80}, {"name": "hook", "port": 443, "targetPort": 8443}]}})
    }

    #[test]
    fn ready_endpoints_are_asked_by_the_name_of_the_port() {
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "a"}},
            "ports": [{"name": "hook", "port": 8443}],
            "endpoints": [
                {"addresses": ["10.1.0.1"], "conditions": {"ready": false}},
                {"addresses": ["10.1.0.2"], "conditions": {"ready": true}}]});
        let port = port_name(&service(), 443).map(str::to_owned).expect("it has one");
        let expected = vec![("10.1.0.2".to_owned(), 8443)];
        assert_eq!(of_slices(std::slice::from_ref(&slice), "a", &port), expected);
        assert_eq!(of_slices(&[slice], "b", &port), []);
        let old = json!({"subsets": [{"ports": [{"name": "hook", "port": 8443}],
            "notReadyAddresses": [{"ip": "10.1.0.1"}], "addresses": [{"ip": "10.1.0.2"}]}]});
        assert_eq!(of_old(&old, Some(&port)), expected);
    }

    #[test]
    fn the_cluster_address_is_asked_only_when_no_endpoint_is_known() {
        let one = || Some(vec![("10.1.0.2".to_owned(), 8443)]);
        assert_eq!(pick(&service(), "a", 443, one), Ok(("10.1.0.2".into(), 8443)));
        assert_eq!(pick(&service(), "a", 443, || Some(vec![])), Ok(("10.0.0.1".into(), 443)));
        assert_eq!(
            pick(&service(), "a", 1, || None),
            Err("no service port 1 found for service \"a\"".to_owned())
        );
        let headless = json!({"spec": {"clusterIP": "None"}});
        assert_eq!(
            pick(&headless, "a", 443, || Some(vec![])),
            Err("no endpoints available for service \"a\"".to_owned())
        );
    }
}
