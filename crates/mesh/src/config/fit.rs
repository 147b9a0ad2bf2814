//! What is said of a route must be something its protocol has: a path in Bolt,
//! or an argument in HTTP, would never match and nobody would know why.

use std::fmt::Display;

use super::{
    check::{Checked, complain},
    model::{HeaderRules, Key, Match, Route},
    spoken::Spoken,
};

pub(super) fn check(route: &Route, spoken: Spoken) -> Checked {
    let Route { matches, key, .. } = route;
    let refuse = |what: &str| {
        let name = route.name.get_ref();
        Err(complain(&route.name, format!("route `{name}`: {} has no {what}", said(spoken))))
    };
    if let Some(field) = of_match(matches, spoken) {
        return refuse(&format!("`match.{field}`"));
    }
    if let Some(field) = key.as_ref().and_then(|key| of_key(key, spoken)) {
        return refuse(&format!("`key.{field}`"));
    }
    if let Some(argument) = key.as_ref().and_then(|key| key.argument.as_ref())
        && path(argument.get_ref()).is_none()
    {
        let message = "an argument is its place from 0, and perhaps a path in it: `0.userId`";
        return Err(complain(argument, message));
    }
    if let Some(what) = of_rest(route, spoken) {
        return refuse(what);
    }
    if spoken.is_call()
        && let Some(on) = route.retry.as_ref().and_then(|retry| retry.on.first())
    {
        return Err(complain(on, format!("{} has no statuses to retry on", said(spoken))));
    }
    Ok(())
}

/// `0.userId`: the place of an argument, and the names that lead into it.
pub(crate) fn path(argument: &str) -> Option<(usize, Vec<String>)> {
    let mut parts = argument.split('.');
    let index = parts.next()?.parse().ok()?;
    let path: Vec<String> = parts.map(str::to_owned).collect();
    path.iter().all(|part| !part.is_empty()).then_some((index, path))
}

fn of_match(matches: &Match, spoken: Spoken) -> Option<&'static str> {
    let (call, http) = (spoken.is_call(), spoken == Spoken::Http);
    first(&[
        ("host", !http && matches.host.is_some()),
        ("path", !http && matches.path.is_some()),
        ("path_prefix", !http && matches.path_prefix.is_some()),
        ("query", !http && !matches.query.is_empty()),
        ("methods", spoken == Spoken::Bytes && !matches.methods.is_empty()),
        ("headers", spoken == Spoken::Bytes && !matches.headers.is_empty()),
        ("sni", spoken != Spoken::Bytes && matches.sni.is_some()),
        ("service", !call && matches.service.is_some()),
        ("version", spoken != Spoken::Dubbo && matches.version.is_some()),
        ("group", spoken != Spoken::Dubbo && matches.group.is_some()),
    ])
}

fn of_key(key: &Key, spoken: Spoken) -> Option<&'static str> {
    let (call, http) = (spoken.is_call(), spoken == Spoken::Http);
    first(&[
        ("header", !http && key.header.is_some()),
        ("cookie", !http && key.cookie.is_some()),
        ("query", !http && key.query.is_some()),
        ("path_segment", !http && key.path_segment.is_some()),
        ("jwt_claim", !http && key.jwt_claim.is_some()),
        ("json_field", !http && key.json_field.is_some()),
        ("bolt_header", spoken != Spoken::Bolt && key.bolt_header.is_some()),
        ("attachment", spoken != Spoken::Dubbo && key.attachment.is_some()),
        ("argument", !call && key.argument.is_some()),
    ])
}

/// What is done with a request on its way, and with its answer.
fn of_rest(route: &Route, spoken: Spoken) -> Option<&'static str> {
    let (bytes, http) = (spoken == Spoken::Bytes, spoken == Spoken::Http);
    let (asked, answers) = (&route.request_headers, &route.response_headers);
    let set = |rules: &HeaderRules| !rules.set.is_empty();
    let more = |rules: &HeaderRules| !(rules.add.is_empty() && rules.remove.is_empty());
    first(&[
        ("`redirect` or `respond`", !http && (route.redirect.is_some() || route.respond.is_some())),
        ("`rewrite_prefix`", !http && route.rewrite_prefix.is_some()),
        ("`response_headers`", !http && (set(answers) || more(answers))),
        ("`request_headers`", bytes && (set(asked) || more(asked))),
        ("`request_headers` but `set`", !http && more(asked)),
        ("`retry`", bytes && route.retry.is_some()),
        ("`idempotent`", bytes && route.idempotent),
        ("`mirror`", bytes && route.mirror.is_some()),
        ("`fault`", bytes && route.fault.is_some()),
        ("`rate_limit`", bytes && route.rate_limit.is_some()),
    ])
}

fn first(fields: &[(&'static str, bool)]) -> Option<&'static str> {
    fields.iter().find(|(_, wrong)| *wrong).map(|(field, _)| *field)
}

fn said(spoken: Spoken) -> impl Display {
    match spoken {
        Spoken::Http => "HTTP",
        Spoken::Bytes => "a stream of bytes",
        Spoken::Bolt => "Bolt",
        Spoken::Dubbo => "Dubbo",
    }
}
