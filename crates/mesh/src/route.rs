//! Which way a request goes: the first route of its listener that matches.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Method, header, request};

use crate::{
    call::{rule::CallMatcher, view::View},
    config::{Config, Spoken, model},
    exchange::Client,
    intercept::Destination,
    key::KeyRule,
    rules::{FaultRule, HeaderRules, RateLimit},
};

pub(crate) struct Route {
    pub(crate) name: String,
    spoken: Spoken,
    matcher: Matcher,
    call: CallMatcher,
    pub(crate) key: Option<KeyRule>,
    pub(crate) to: To,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<model::Retry>,
    pub(crate) idempotent: bool,
    pub(crate) rewrite_prefix: Option<(String, String)>,
    pub(crate) request_headers: HeaderRules,
    pub(crate) response_headers: HeaderRules,
    /// What is put into each call: headers of Bolt, attachments of Dubbo.
    pub(crate) stamps: Vec<(String, String)>,
    /// The cluster, and a share in per cent.
    pub(crate) mirror: Option<(usize, f64)>,
    pub(crate) fault: Option<FaultRule>,
    pub(crate) rate_limit: Option<Arc<RateLimit>>,
}

/// Clusters by their place in the plan.
pub(crate) enum To {
    Cluster(usize),
    Map { entries: HashMap<String, usize>, default: Option<usize> },
    Split { shares: Vec<(u32, usize)>, total: u32 },
    Respond { status: http::StatusCode, body: bytes::Bytes },
    Redirect { status: http::StatusCode, to: String },
}

/// All that is given must hold.
struct Matcher {
    host: Option<Host>,
    path: Option<String>,
    path_prefix: Option<String>,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, String)>,
    query: Vec<(String, String)>,
    sni: Option<Host>,
    client: Option<identity::Pattern>,
    destination: Option<Destination>,
}

enum Host {
    Exact(String),
    /// Any name below, `.bank.example`.
    Below(String),
}

// === impl Route ===

impl Route {
    /// Of a configuration that has been checked; `before` is the route of the same
    /// name in the one before.
    pub(crate) fn new(
        model: &model::Route,
        listener: &model::Listener,
        config: &Config,
        clusters: &HashMap<&str, usize>,
        before: Option<&Route>,
    ) -> Route {
        let cluster = |name: &model::Name| {
            *clusters.get(name.get_ref().as_str()).expect("checked: every name is declared")
        };
        let status = |status: u16| http::StatusCode::from_u16(status).expect("checked: 200 to 599");
        let to = if let Some(name) = &model.cluster {
            To::Cluster(cluster(name))
        } else if let Some(name) = &model.map {
            let map = config.map.iter().find(|map| map.name.get_ref() == name.get_ref());
            let map = map.expect("checked: every name is declared");
            let entries = map.entries.iter().map(|(key, name)| (key.clone(), cluster(name)));
            To::Map { entries: entries.collect(), default: map.default.as_ref().map(cluster) }
        } else if let Some(split) = &model.split {
            let shares: Vec<_> =
                split.iter().map(|share| (share.weight, cluster(&share.cluster))).collect();
            let total = shares.iter().map(|(weight, _)| *weight).fold(0, u32::saturating_add);
            To::Split { shares, total }
        } else if let Some(respond) = &model.respond {
            let body = bytes::Bytes::from(respond.body.clone());
            To::Respond { status: status(*respond.status.get_ref()), body }
        } else {
            let redirect = model.redirect.as_ref().expect("checked: a route goes somewhere");
            To::Redirect { status: status(*redirect.status.get_ref()), to: redirect.to.clone() }
        };
        let stamps = model.request_headers.set.iter();
        let stamps = stamps.map(|(n, v)| (n.get_ref().clone(), v.get_ref().clone()));
        let spoken = Spoken::of(config, listener, model);
        // Names in calls need not be such as HTTP has.
        let destination = model.matches.destination.clone();
        let client = model.matches.client.clone();
        let anything = model::Match { destination, client, ..model::Match::default() };
        let prefix = model.matches.path_prefix.as_ref().map(|prefix| prefix.get_ref().clone());
        Route {
            name: model.name.get_ref().clone(),
            spoken,
            matcher: Matcher::new(if spoken.is_call() { &anything } else { &model.matches }),
            call: CallMatcher::new(&model.matches),
            key: model.key.as_ref().map(KeyRule::new),
            to,
            timeout: Some(model.timeout.0).filter(|timeout| !timeout.is_zero()),
            retry: model.retry.clone(),
            idempotent: model.idempotent,
            rewrite_prefix: prefix.zip(model.rewrite_prefix.clone()),
            request_headers: HeaderRules::new(&model.request_headers),
            response_headers: HeaderRules::new(&model.response_headers),
            stamps: stamps.collect(),
            mirror: model.mirror.as_ref().map(|mirror| (cluster(&mirror.cluster), mirror.percent)),
            fault: model.fault.as_ref().map(FaultRule::new),
            rate_limit: model.rate_limit.as_ref().map(|model| {
                RateLimit::new(model, before.and_then(|before| before.rate_limit.as_ref()))
            }),
        }
    }

    pub(crate) fn matches(&self, head: &request::Parts, client: &Client) -> bool {
        self.spoken == Spoken::Http
            && self.matcher.matches(head)
            && self.matcher.matches_client(client)
    }

    pub(crate) fn matches_call(
        &self,
        spoken: Spoken,
        view: &mut View<'_>,
        client: &Client,
    ) -> bool {
        self.spoken == spoken && self.matcher.matches_client(client) && self.call.matches(view)
    }

    pub(crate) fn is_of_bytes(&self) -> bool {
        self.spoken == Spoken::Bytes
    }

    /// For bytes: only the server name and the client are known.
    pub(crate) fn matches_name(&self, sni: Option<&str>, client: &Client) -> bool {
        let host = &self.matcher.sni;
        self.is_of_bytes()
            && host.as_ref().is_none_or(|host| sni.is_some_and(|sni| host.matches(sni)))
            && self.matcher.matches_client(client)
    }
}

// === impl To ===

impl To {
    /// The cluster, for a request about `key`.
    pub(crate) fn cluster(&self, key: Option<&str>, draw: impl FnOnce() -> u64) -> Option<usize> {
        match self {
            To::Cluster(at) => Some(*at),
            To::Map { entries, default } => {
                key.and_then(|key| entries.get(key)).copied().or(*default)
            }
            To::Split { shares, total } => {
                let mut drawn = draw() % u64::from(*total);
                shares.iter().find_map(|(weight, at)| match drawn.checked_sub(u64::from(*weight)) {
                    None => Some(*at),
                    Some(rest) => {
                        drawn = rest;
                        None
                    }
                })
            }
            To::Respond { .. } | To::Redirect { .. } => None,
        }
    }
}

// === impl Matcher ===

impl Matcher {
    fn new(model: &model::Match) -> Matcher {
        let text =
            |text: &Option<toml::Spanned<String>>| text.as_ref().map(|t| t.get_ref().clone());
        let headers = model.headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.get_ref().as_bytes());
            (name.expect("checked: it is a name"), value.clone())
        });
        let methods = model.methods.iter().map(|method| {
            Method::from_bytes(method.get_ref().as_bytes()).expect("checked: it is a method")
        });
        Matcher {
            host: model.host.as_ref().map(|host| Host::new(host.get_ref())),
            path: text(&model.path),
            path_prefix: text(&model.path_prefix).filter(|prefix| prefix != "/"),
            methods: methods.collect(),
            headers: headers.collect(),
            query: model.query.clone().into_iter().collect(),
            sni: model.sni.as_ref().map(|host| Host::new(host.get_ref())),
            client: model.client.as_ref().map(|client| {
                identity::Pattern::parse(client.get_ref()).expect("checked: it is a pattern")
            }),
            destination: model.destination.as_ref().map(|destination| {
                destination.get_ref().parse().expect("checked: it is a destination")
            }),
        }
    }

    /// Who the client has proven to be, and where it meant to go.
    fn matches_client(&self, client: &Client) -> bool {
        let within =
            |wanted: &Destination| client.destination.is_some_and(|meant| wanted.contains(meant));
        if !self.destination.as_ref().is_none_or(within) {
            return false;
        }
        let Some(pattern) = &self.client else { return true };
        let id = client.peer.as_ref().and_then(|peer| peer.id.as_ref());
        id.is_some_and(|id| pattern.matches(id))
    }

    fn matches(&self, head: &request::Parts) -> bool {
        let path = head.uri.path();
        (self.methods.is_empty() || self.methods.contains(&head.method))
            && self.path.as_ref().is_none_or(|wanted| wanted == path)
            && self.path_prefix.as_ref().is_none_or(|prefix| below(path, prefix))
            && self
                .host
                .as_ref()
                .is_none_or(|host| host_of(head).is_some_and(|name| host.matches(name)))
            && self.headers.iter().all(|(name, wanted)| has(&head.headers, name, wanted))
            && self.query.iter().all(|(name, wanted)| {
                query(head.uri.query(), name).is_some_and(|value| wanted == "*" || value == *wanted)
            })
    }
}

/// Whole segments only.
fn below(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
}

fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    headers.get_all(name).iter().any(|value| wanted == "*" || value.as_bytes() == wanted.as_bytes())
}

/// Without its port.
fn host_of(head: &request::Parts) -> Option<&str> {
    let host = match head.headers.get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => head.uri.host()?,
    };
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(name),
        _ => Some(host),
    }
}

/// The first value of `name` in a query.
pub(crate) fn query<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v)
}

// === impl Host ===

impl Host {
    fn new(text: &str) -> Host {
        match text.strip_prefix('*') {
            Some(below) => Host::Below(below.to_ascii_lowercase()),
            None => Host::Exact(text.to_ascii_lowercase()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Host::Exact(wanted) => name.eq_ignore_ascii_case(wanted),
            Host::Below(suffix) => {
                let Some(at) = name.len().checked_sub(suffix.len()).filter(|at| *at > 0) else {
                    return false;
                };
                name.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
            }
        }
    }
}

/// The first that matches.
pub(crate) fn find<'a>(
    routes: &'a [Route],
    head: &request::Parts,
    client: &Client,
) -> Option<(usize, &'a Route)> {
    routes.iter().enumerate().find(|(_, route)| route.matches(head, client))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, request: &str, expected: bool) {
        let model: model::Match = toml::from_str(rule).expect("a rule");
        let mut words = request.split_whitespace();
        let builder = http::Request::builder()
            .method(words.next().expect("a method"))
            .uri(words.next().expect("a path"));
        let builder = words.fold(builder, |builder, header| {
            let (name, value) = header.split_once('=').expect("name=value");
            builder.header(name, value)
        });
        let (head, ()) = builder.body(()).expect("a request").into_parts();
        assert_eq!(Matcher::new(&model).matches(&head), expected, "{rule} on {request}");
    }

    #[test]
    fn all_that_is_given_must_hold() {
        check("", "GET /", true);
        check("path_prefix = '/pay'", "GET /pay", true);
        check("path_prefix = '/pay'", "GET /pay/1?x=y", true);
        check("path_prefix = '/pay'", "GET /payroll", false);
        check("path_prefix = '/pay/'", "GET /pay/1", true);
        check("path = '/pay'", "GET /pay/1", false);
        check("host = 'a.example'", "GET / host=A.example:80", true);
        check("host = '*.example'", "GET / host=a.example", true);
        check("host = '*.example'", "GET / host=.example", false);
        check("host = '*.example'", "GET / host=example", false);
        check("methods = ['POST']", "GET /", false);
        check("headers = { x-a = 'b' }", "GET / x-a=c x-a=b", true);
        check("headers = { x-a = '*' }", "GET / x-b=c", false);
        check("query = { a = '1' }", "GET /?b=2&a=1", true);
        check("query = { a = '*' }", "GET /?b=2", false);
        check("path_prefix = '/pay'\nmethods = ['POST']", "POST /pay", true);
    }
}
