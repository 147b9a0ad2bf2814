//! From a request to what it asks for, in the words of a policy.

use http::{HeaderMap, Method, request::Parts};
use std::net::IpAddr;

use super::policy::{Asked, Reference, Subject};
use crate::{
    failure::Failure,
    request::{
        path::{Address, Review, Target},
        query::Query,
    },
    verbs::Verb,
};

pub fn of(parts: &Parts, target: &Result<Target, Failure>) -> Asked {
    match target {
        Ok(Target::Resource(address)) => of_resource(parts, address),
        Ok(Target::Review(_, which, namespace)) => {
            of_review(&parts.method, *which, namespace.as_deref())
        }
        Ok(Target::Unkept(_, unkept)) if let Ok(names) = unkept.names(&parts.method) => {
            let (verb, resource, namespace, name) = names;
            let reference = Reference {
                resource: resource.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                version: "v1".to_owned(),
                ..Reference::default()
            };
            Asked { verb: verb.to_owned(), subject: Subject::Resource(reference) }
        }
        other => {
            let door = other.as_ref().ok().and_then(Target::door);
            let prefix = door.map(|door| door.prefix()).unwrap_or_default();
            let path = parts.uri.path();
            let path = path.strip_prefix(&*prefix).unwrap_or(path);
            Asked { verb: by_method(&parts.method), subject: Subject::Path(path.to_owned()) }
        }
    }
}

fn of_resource(parts: &Parts, address: &Address) -> Asked {
    let watches = || Query::parse(parts.uri.query()).is_some_and(|query| query.flag("watch"));
    let verb = Verb::asked(&parts.method, address, watches);
    Asked {
        verb: verb.map_or_else(|_| by_method(&parts.method), |verb| verb.as_str().to_owned()),
        subject: Subject::Resource(Reference {
            resource: address.plural.clone(),
            namespace: address.own_namespace().unwrap_or_default().to_owned(),
            name: address.name.clone().unwrap_or_default(),
            group: address.group.clone(),
            version: address.version.clone(),
            subresource: address.subresource.map_or("", |sub| sub.as_str()).to_owned(),
            ..Reference::default()
        }),
    }
}

fn of_review(method: &Method, which: Review, namespace: Option<&str>) -> Asked {
    let verb = match *method {
        Method::POST => "create".to_owned(),
        _ => by_method(method),
    };
    Asked {
        verb,
        subject: Subject::Resource(Reference {
            resource: which.plural().to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            group: which.group().to_owned(),
            version: "v1".to_owned(),
            ..Reference::default()
        }),
    }
}

fn by_method(method: &Method) -> String {
    method.as_str().to_lowercase()
}

/// What goes on for long by nature, whatever becomes of it.
pub fn is_long_running(asked: &Asked) -> bool {
    let Subject::Resource(object) = &asked.subject else { return false };
    asked.verb == "watch"
        || matches!(object.subresource.as_str(), "attach" | "exec" | "log" | "portforward")
}

/// Where a request came from: what proxies say, which anybody can say, and who
/// really is at the other end last.
pub fn source_ips(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut ips: Vec<IpAddr> = text("x-forwarded-for").split(',').filter_map(parse).collect();
    if let Some(real) = parse(text("x-real-ip")).filter(|real| !ips.contains(real)) {
        ips.push(real);
    }
    if let Some(peer) = peer.filter(|peer| ips.last() != Some(peer)) {
        ips.push(peer);
    }
    ips.iter().map(ToString::to_string).collect()
}

/// By what a caller tried to show who they are.
pub fn attempts(headers: &HeaderMap, certificate: bool) -> String {
    let shown = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme = shown.and_then(|shown| shown.trim().split_once(' ')).map(|(scheme, _)| scheme);
    let scheme = scheme.unwrap_or_default().to_lowercase();
    let tried =
        [("basic", scheme == "basic"), ("bearer", scheme == "bearer"), ("x509", certificate)];
    let tried: Vec<&str> =
        tried.into_iter().filter(|(_, tried)| *tried).map(|(name, _)| name).collect();
    match tried.is_empty() {
        true => "Authentication failed, no credentials provided".into(),
        false => format!("Authentication failed, attempted: {}", tried.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::request::path::Door;

    fn check(method: &str, uri: &str, expected: &str) {
        let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        let (parts, ()) = request.into_parts();
        let asked = of(&parts, &Target::parse(parts.uri.path(), &Door::Federation));
        let long = if is_long_running(&asked) { " …" } else { "" };
        let shown = match asked.subject {
            Subject::Path(path) => format!("{} {path}{long}", asked.verb),
            Subject::Resource(object) => {
                let Reference { resource, namespace, name, group, subresource, .. } = object;
                format!("{} {group}|{resource}|{subresource}|{namespace}|{name}{long}", asked.verb)
            }
        };
        assert_eq!(shown, expected, "{method} {uri}");
    }

    #[test]
    fn a_request_is_a_verb_and_what_it_is_about() {
        check("GET", "/api/v1/pods", "list |pods|||");
        check("GET", "/api/v1/pods?watch=1", "watch |pods||| …");
        check("HEAD", "/api/v1/namespaces/a/pods/p", "get |pods||a|p");
        check("DELETE", "/api/v1/namespaces/a/pods", "deletecollection |pods||a|");
        check("POST", "/units/rz01/api/v1/namespaces/a/pods/p/exec", "create |pods|exec|a|p …");
        check(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "create authorization.k8s.io|selfsubjectaccessreviews|||",
        );
        check("POST", "/api/v1/namespaces/a/bindings", "create |bindings||a|");
        check("GET", "/units/rz01/apis/apps", "get /apis/apps");
        check("GET", "/healthz", "get /healthz");
        check("GET", "/nothing", "get /nothing");
        check("OPTIONS", "/api/v1/pods", "options |pods|||");
    }

    #[test]
    fn who_is_at_the_other_end_comes_last() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            HeaderMap::from_iter(pairs)
        };
        let peer: Option<IpAddr> = "9.9.9.9".parse().ok();
        assert_eq!(source_ips(&headers(&[]), peer), ["9.9.9.9"]);
        let proxied = headers(&[("x-forwarded-for", "1.1.1.1, x, ::1"), ("x-real-ip", "2.2.2.2")]);
        assert_eq!(source_ips(&proxied, peer), ["1.1.1.1", "::1", "2.2.2.2", "9.9.9.9"]);
        let same = headers(&[("x-forwarded-for", "1.1.1.1,9.9.9.9")]);
        assert_eq!(source_ips(&same, peer), ["1.1.1.1", "9.9.9.9"]);
        let bearer = headers(&[("authorization", "Bearer x")]);
        assert_eq!(attempts(&bearer, false), "Authentication failed, attempted: bearer");
        assert_eq!(attempts(&headers(&[]), true), "Authentication failed, attempted: x509");
        assert!(attempts(&headers(&[]), false).ends_with("no credentials provided"));
    }
}
