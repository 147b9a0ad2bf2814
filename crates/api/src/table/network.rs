//! Columns of services, what is behind them and what leads to them.

use serde_json::Value;

use super::{AGE, Column, NAME, Row, lists, text, wide};

pub const SERVICE: &[Column] = &[
    NAME,
    text("Type", |row| row.text("/spec/type").into()),
    text("Cluster-IP", |row| match row.text("/spec/clusterIPs/0") {
        "" => row.text_or_none("/spec/clusterIP"),
        ip => ip.into(),
    }),
    text("External-IP", |row| external_ip(row).into()),
    text("Port(s)", |row| {
        let port = |port: &Value| {
            let (number, protocol) = (&port["port"], port["protocol"].as_str().unwrap_or("TCP"));
            match port["nodePort"].as_i64() {
                Some(node @ 1..) => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        };
        let ports: Vec<String> = row.list("/spec/ports").iter().map(port).collect();
        if ports.is_empty() { "<none>".into() } else { ports.join(",").into() }
    }),
    AGE,
    wide("Selector", |row| lists::labels(row, "/spec/selector")),
];

pub const ENDPOINTS: &[Column] = &[NAME, text("Endpoints", |row| endpoints(row).into()), AGE];

pub const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text("AddressType", |row| row.text("/addressType").into()),
    text("Ports", |row| {
        let ports = row.list("/ports").iter().map(|port| match &port["port"] {
            Value::Number(number) => number.to_string(),
            _ => match port["name"].as_str() {
                Some(name) if !name.is_empty() => name.to_owned(),
                _ => "*".to_owned(),
            },
        });
        unset_or_cut(&ports.collect::<Vec<_>>())
    }),
    text("Endpoints", |row| {
        let each = row.list("/endpoints").iter();
        let addresses = each.flat_map(|one| one["addresses"].as_array().into_iter().flatten());
        unset_or_cut(&addresses.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    }),
    AGE,
];

pub const INGRESS: &[Column] = &[
    NAME,
    text("Class", |row| match row.text("/spec/ingressClassName") {
        "" => row.text_or_none("/metadata/annotations/kubernetes.io~1ingress.class"),
        class => class.into(),
    }),
    text("Hosts", |row| {
        let hosts = row.list("/spec/rules").iter().filter_map(|rule| rule["host"].as_str());
        let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect();
        if hosts.is_empty() { "*".into() } else { lists::cut(&hosts, 3, ",").into() }
    }),
    text("Address", |row| balancers(row).join(",").into()),
    text("Ports", |row| match row.list("/spec/tls") {
        [] => "80".into(),
        _ => "80, 443".into(),
    }),
    AGE,
];

pub const INGRESS_CLASS: &[Column] = &[
    NAME,
    text("Controller", |row| row.text("/spec/controller").into()),
    text("Parameters", |row| {
        let part = |name: &str| row.text(&format!("/spec/parameters/{name}"));
        match (part("apiGroup"), part("kind"), part("name")) {
            (_, "", _) => "<none>".into(),
            ("", kind, name) => format!("{kind}/{name}").into(),
            (group, kind, name) => format!("{kind}.{group}/{name}").into(),
        }
    }),
    AGE,
];

pub const NETWORK_POLICY: &[Column] =
    &[NAME, text("Pod-Selector", |row| lists::selector(row, "/spec/podSelector")), AGE];

pub const IP_ADDRESS: &[Column] = &[
    NAME,
    text("ParentRef", |row| {
        let part = |name: &str| row.text(&format!("/spec/parentRef/{name}"));
        let parts = [part("group"), part("resource"), part("namespace"), part("name")];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/").into()
    }),
    AGE,
];

pub const SERVICE_CIDR: &[Column] =
    &[NAME, text("CIDRs", |row| lists::joined(row, "/spec/cidrs")), AGE];

fn external_ip(row: &Row<'_>) -> String {
    let own = row.list("/spec/externalIPs").iter().filter_map(Value::as_str).map(str::to_owned);
    let own: Vec<String> = own.collect();
    match row.text("/spec/type") {
        "LoadBalancer" => {
            let all = [balancers(row), own].concat();
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        "ExternalName" => row.text("/spec/externalName").to_owned(),
        "ClusterIP" | "NodePort" if own.is_empty() => "<none>".into(),
        "ClusterIP" | "NodePort" => own.join(","),
        _ => "<unknown>".into(),
    }
}

/// Addresses that a load balancer got.
fn balancers(row: &Row<'_>) -> Vec<String> {
    let ingress = row.list("/status/loadBalancer/ingress").iter();
    let address = |one: &Value| {
        let of = |name: &str| one[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        of("ip").or_else(|| of("hostname"))
    };
    let mut found: Vec<String> = ingress.filter_map(address).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn endpoints(row: &Row<'_>) -> String {
    let mut found = Vec::new();
    for subset in row.list("/subsets") {
        let (addresses, ports) = (subset["addresses"].as_array(), subset["ports"].as_array());
        let addresses: Vec<&str> =
            addresses.into_iter().flatten().filter_map(|one| one["ip"].as_str()).collect();
        match ports.map(Vec::as_slice) {
            None | Some([]) => found.extend(addresses.iter().map(|ip| (*ip).to_owned())),
            Some(ports) => {
                let with = |port: &Value| {
                    let port = port["port"].clone();
                    addresses
                        .iter()
                        .map(move |ip| match ip.contains(':') {
                            true => format!("[{ip}]:{port}"),
                            false => format!("{ip}:{port}"),
                        })
                        .collect::<Vec<_>>()
                };
                found.extend(ports.iter().flat_map(with));
            }
        }
    }
    if found.is_empty() { "<none>".into() } else { lists::cut(&found, 3, ",") }
}

fn unset_or_cut(all: &[String]) -> Value {
    if all.is_empty() { "<unset>".into() } else { lists::cut(all, 3, ",").into() }
}
