//! What the types cannot say: names that must exist, values that cannot be meant.

use std::{collections::HashSet, fmt::Display};

use http::{HeaderName, HeaderValue, Method};
use toml::Spanned;

use super::{
    fit,
    model::{
        Cluster, Config, Forward, HeaderRules, Intercept, Listener, Name, Protocol, RateBy, Route,
        Upstream,
    },
    spoken::Spoken,
};
use crate::intercept;

/// The first thing that is wrong, and where in the file.
pub(super) struct Complaint {
    pub(super) at: usize,
    pub(super) message: String,
}

pub(super) type Checked = Result<(), Complaint>;

pub(super) fn check(config: &Config) -> Option<Complaint> {
    whole(config).err()
}

pub(super) fn complain<T>(what: &Spanned<T>, message: impl Display) -> Complaint {
    Complaint { at: what.span().start, message: message.to_string() }
}

fn whole(config: &Config) -> Checked {
    unique("listener", config.listener.iter().map(|listener| &listener.name))?;
    unique("map", config.map.iter().map(|map| &map.name))?;
    unique("cluster", config.cluster.iter().map(|cluster| &cluster.name))?;
    let mut addresses = HashSet::new();
    for listener in &config.listener {
        let address = *listener.address.get_ref();
        if address.port() != 0 && !addresses.insert(address) {
            return Err(complain(&listener.address, format!("{address} is listened on twice")));
        }
    }
    for map in &config.map {
        let targets = map.entries.values().chain(&map.default);
        targets.into_iter().try_for_each(|name| cluster(config, name).map(|_| ()))?;
    }
    config.cluster.iter().try_for_each(self::of_cluster)?;
    for cidr in config.host.iter().flat_map(|host| &host.exclude_cidrs) {
        if intercept::block(cidr.get_ref()).is_none() {
            let message = format!("`{}` is no block; write `10.0.0.0/8`", cidr.get_ref());
            return Err(complain(cidr, message));
        }
    }
    [Intercept::Inbound, Intercept::Outbound]
        .into_iter()
        .try_for_each(|way| captures(config, way))?;
    config.listener.iter().try_for_each(|listener| of_listener(config, listener))
}

/// Every captured connection has one listener to go to.
fn captures(config: &Config, way: Intercept) -> Checked {
    let mut seen = HashSet::new();
    let mut rest = false;
    for listener in config.listener.iter().filter(|l| l.intercept == Some(way)) {
        let name = listener.name.get_ref();
        let ports = &listener.intercept_ports;
        if let Some(port) = ports.iter().find(|port| !seen.insert(**port)) {
            let message = format!("`{name}` captures port {port}, which is captured already");
            return Err(complain(&listener.name, message));
        }
        if ports.is_empty() && std::mem::replace(&mut rest, true) {
            let message = format!(
                "`{name}` captures all ports that are left, and so does another listener; give `intercept_ports`"
            );
            return Err(complain(&listener.name, message));
        }
        if config.host.is_none() {
            let message =
                format!("`{name}` intercepts: `[host]` says what is left alone, and is missing");
            return Err(complain(&listener.name, message));
        }
        let address = listener.address.get_ref();
        if address.ip() != std::net::Ipv4Addr::LOCALHOST || address.port() == 0 {
            let message = "a listener that intercepts is at 127.0.0.1 and a port of its own";
            return Err(complain(&listener.address, message));
        }
        if listener.proxy_protocol {
            let message = "an intercepted connection comes without the PROXY protocol";
            return Err(complain(&listener.name, message));
        }
    }
    Ok(())
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a Name>) -> Checked {
    let mut seen = HashSet::new();
    for name in names {
        let text = name.get_ref();
        if text.is_empty()
            || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            let message = format!("a name of a {what} is letters, digits, `-`, `_` and `.`");
            return Err(complain(name, message));
        }
        if !seen.insert(text) {
            return Err(complain(name, format!("{what} `{text}` is declared twice")));
        }
    }
    Ok(())
}

fn cluster<'a>(config: &'a Config, name: &Name) -> Result<&'a Cluster, Complaint> {
    let found = config.cluster.iter().find(|cluster| cluster.name.get_ref() == name.get_ref());
    found.ok_or_else(|| {
        let known: Vec<&str> = config.cluster.iter().map(|c| c.name.get_ref().as_str()).collect();
        let message = format!(
            "cluster `{}` is not declared; there are: {}",
            name.get_ref(),
            known.join(", ")
        );
        complain(name, message)
    })
}

fn of_cluster(cluster: &Cluster) -> Checked {
    let name = &cluster.name;
    if cluster.original {
        let given = !cluster.endpoints.is_empty()
            || cluster.tls.is_some()
            || cluster.health.is_some()
            || cluster.outlier.is_some();
        if given {
            let message = "`original` goes wherever the client meant: remove `endpoints`, `tls`, `health` and `outlier`";
            return Err(complain(name, message));
        }
    } else if cluster.endpoints.is_empty() {
        return Err(complain(name, format!("cluster `{}` has no endpoints", name.get_ref())));
    }
    let mut seen = HashSet::new();
    for endpoint in &cluster.endpoints {
        let address = endpoint.address.get_ref();
        if address.port() == 0 || !seen.insert(*address) {
            return Err(complain(
                &endpoint.address,
                format!("{address} has no port or is there twice"),
            ));
        }
    }
    if cluster.proxy_protocol.is_some()
        && (cluster.protocol != Upstream::Tcp || cluster.tls.is_some())
    {
        let message = "`proxy_protocol` is said once a connection, to endpoints of plain `tcp`: \
                       others get `x-forwarded-for`, and carry many clients";
        return Err(complain(&cluster.name, message));
    }
    if let Some(tls) = &cluster.tls {
        if tls.cert.is_some() != tls.key.is_some() {
            return Err(complain(name, "`tls.cert` and `tls.key` come together"));
        }
        if tls.server_name.is_none() && tls.servers.is_empty() {
            let message = "whom to expect is missing: give `tls.server_name` or `tls.servers`";
            return Err(complain(name, message));
        }
        tls.servers.iter().try_for_each(spiffe)?;
    }
    let asks = cluster.health.as_ref().and_then(|health| health.path.as_ref());
    if let Some(path) = asks.filter(|_| Spoken::of_upstream(cluster.protocol).is_call()) {
        return Err(complain(path, "Bolt and Dubbo have no pages: a connection is enough"));
    }
    if let Some(path) = cluster.health.as_ref().and_then(|health| health.path.as_ref()) {
        slash(path)?;
    }
    Ok(())
}

fn of_listener(config: &Config, listener: &Listener) -> Checked {
    let name = listener.name.get_ref();
    if listener.intercept.is_none() && !listener.intercept_ports.is_empty() {
        let message = "`intercept_ports` needs `intercept`";
        return Err(complain(&listener.name, message));
    }
    if listener.route.is_empty() {
        return Err(complain(&listener.name, format!("listener `{name}` has no routes")));
    }
    if listener.readonly && !matches!(listener.protocol, Protocol::Dubbo | Protocol::Auto) {
        return Err(complain(&listener.name, "only clients of Dubbo know `readonly`"));
    }
    let is_of_bytes = |route| Spoken::of(config, listener, route) == Spoken::Bytes;
    if listener.detect_timeout.is_some()
        && !(listener.protocol == Protocol::Auto && listener.route.iter().any(is_of_bytes))
    {
        let message = "`detect_timeout` is of `auto`, with a route to a cluster of `tcp`";
        return Err(complain(&listener.name, message));
    }
    if let Some(tls) = &listener.tls {
        if listener.protocol == Protocol::TlsPassthrough {
            return Err(complain(&listener.name, "`tls-passthrough` ends no TLS: remove `tls`"));
        }
        if !tls.clients.is_empty() && tls.client_ca.is_none() {
            return Err(complain(&tls.clients[0], "`clients` needs `client_ca`"));
        }
        if tls.forward == Forward::Set && tls.client_ca.is_none() {
            return Err(complain(&listener.name, "`tls.forward` needs `tls.client_ca`"));
        }
        tls.clients.iter().try_for_each(spiffe)?;
    }
    unique("route", listener.route.iter().map(|route| &route.name))?;
    listener.route.iter().try_for_each(|route| of_route(config, listener, route))
}

fn of_route(config: &Config, listener: &Listener, route: &Route) -> Checked {
    let name = route.name.get_ref();
    let wrong = |message: String| Err(complain(&route.name, message));
    let ways = [
        route.cluster.is_some(),
        route.map.is_some(),
        route.split.is_some(),
        route.respond.is_some(),
        route.redirect.is_some(),
    ];
    match ways.iter().filter(|way| **way).count() {
        1 => {}
        0 => {
            return wrong(format!(
                "route `{name}` says nowhere to go: give `cluster`, `map`, `split`, `respond` or `redirect`"
            ));
        }
        _ => return wrong(format!("route `{name}` goes several ways at once")),
    }
    let spoken = Spoken::of(config, listener, route);
    if spoken == Spoken::Bytes && route.cluster.is_none() && route.split.is_none() {
        return wrong(format!("route `{name}` of bytes needs `cluster` or `split`"));
    }
    let mut targets: Vec<&Name> = route.cluster.iter().collect();
    targets.extend(route.mirror.iter().map(|mirror| &mirror.cluster));
    if let Some(split) = &route.split {
        targets.extend(split.iter().map(|share| &share.cluster));
        if split.iter().map(|share| u64::from(share.weight)).sum::<u64>() == 0 {
            return wrong(format!("route `{name}` splits by weights that are all 0"));
        }
    }
    if let Some(map) = &route.map {
        let found = config.map.iter().find(|known| known.name.get_ref() == map.get_ref());
        let Some(found) = found else {
            return Err(complain(map, format!("map `{}` is not declared", map.get_ref())));
        };
        if route.key.is_none() {
            return wrong(format!("route `{name}` by map `{}` needs a key", map.get_ref()));
        }
        targets.extend(found.entries.values().chain(&found.default));
    }
    for target in targets {
        let cluster = cluster(config, target)?;
        if cluster.original && listener.intercept.is_none() {
            let message = format!(
                "cluster `{}` goes where a captured connection was to go; this listener captures none",
                target.get_ref()
            );
            return Err(complain(&route.name, message));
        }
        if Spoken::of_upstream(cluster.protocol) != spoken {
            let message = format!(
                "route `{name}` and cluster `{}` do not speak the same protocol",
                target.get_ref()
            );
            return Err(complain(&route.name, message));
        }
    }
    fit::check(route, spoken)?;
    if let Some(sni) = route.matches.sni.as_ref().filter(|_| listener.protocol == Protocol::Tcp) {
        return Err(complain(sni, "no name is looked for in `tcp`: make it `tls-passthrough`"));
    }
    if let Some(client) = &route.matches.client {
        spiffe(client)?;
        if listener.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
            return Err(complain(client, "who a client is takes `tls.client_ca` of the listener"));
        }
    }
    if let Some(with) = &route.rewrite_prefix
        && !(with.starts_with('/') && route.matches.path_prefix.is_some())
    {
        return wrong(format!(
            "route `{name}`: `rewrite_prefix` begins with a slash and replaces `match.path_prefix`"
        ));
    }
    for path in [&route.matches.path, &route.matches.path_prefix].into_iter().flatten() {
        slash(path)?;
    }
    if let Some(destination) = &route.matches.destination {
        let parsed = destination.get_ref().parse::<intercept::Destination>();
        parsed.map_err(|message| complain(destination, message))?;
        if listener.intercept.is_none() {
            return Err(complain(destination, "`destination` needs a listener with `intercept`"));
        }
    }
    for method in route.matches.methods.iter().filter(|_| !spoken.is_call()) {
        if Method::from_bytes(method.get_ref().as_bytes()).is_err() {
            return Err(complain(method, format!("`{}` is no method", method.get_ref())));
        }
    }
    if !spoken.is_call() {
        route.matches.headers.keys().try_for_each(header_name)?;
    }
    if let Some(header) = route.key.as_ref().and_then(|key| key.header.as_ref()) {
        header_name(header)?;
    }
    for rules in [&route.request_headers, &route.response_headers] {
        of_header_rules(rules)?;
    }
    let statuses = [
        route.respond.as_ref().map(|respond| &respond.status),
        route.redirect.as_ref().map(|redirect| &redirect.status),
        route.fault.as_ref().and_then(|fault| fault.abort.as_ref()).map(|abort| &abort.status),
    ];
    let on = route.retry.iter().flat_map(|retry| &retry.on);
    for status in statuses.into_iter().flatten().chain(on) {
        if !(200..=599).contains(status.get_ref()) {
            return Err(complain(
                status,
                format!("{} is no status to answer with", status.get_ref()),
            ));
        }
    }
    if let Some(limit) = &route.rate_limit {
        if limit.requests == 0 || limit.per.0.is_zero() {
            return wrong(format!(
                "route `{name}` is limited to nothing; use `respond` to refuse all"
            ));
        }
        if limit.by == RateBy::Key && route.key.is_none() {
            return wrong(format!("route `{name}` is limited by key and has none"));
        }
    }
    Ok(())
}

fn of_header_rules(rules: &HeaderRules) -> Checked {
    for (name, value) in rules.set.iter().chain(&rules.add) {
        header_name(name)?;
        if HeaderValue::from_str(value.get_ref()).is_err() {
            return Err(complain(value, format!("`{}` is no value of a header", value.get_ref())));
        }
    }
    rules.remove.iter().try_for_each(header_name)
}

fn header_name(name: &Spanned<String>) -> Checked {
    match HeaderName::from_bytes(name.get_ref().as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(complain(name, format!("`{}` is no name of a header", name.get_ref()))),
    }
}

fn slash(path: &Spanned<String>) -> Checked {
    if path.get_ref().starts_with('/') {
        return Ok(());
    }
    Err(complain(path, format!("path `{}` begins with no slash", path.get_ref())))
}

fn spiffe(id: &Spanned<String>) -> Checked {
    let text = id.get_ref();
    if identity::Pattern::parse(text).is_some() {
        return Ok(());
    }
    let message = format!(
        "`{text}` is no identity; write `spiffe://DOMAIN/PATH`, perhaps with `/*` at its end"
    );
    Err(complain(id, message))
}
