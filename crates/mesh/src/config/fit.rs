//! What is said of a route must be something its protocol has: a path in Bolt,
//! or an argument in HTTP, would never match and nobody would know why.

use std::fmt::Display;

use super::{
    check::{Checked, complain},
    model::{Key, Match, Route},
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
    if !spoken.is_call() {
        return Ok(());
    }
    if route.redirect.is_some() || route.respond.is_some() {
        return refuse("`redirect` or `respond`");
    }
    if route.rewrite_prefix.is_some() {
        return refuse("`rewrite_prefix`");
    }
    let answers = &route.response_headers;
    if !(answers.set.is_empty() && answers.add.is_empty() && answers.remove.is_empty()) {
        return refuse("`response_headers`");
    }
    if !(route.request_headers.add.is_empty() && route.request_headers.remove.is_empty()) {
        return refuse("`request_headers` but `set`");
    }
    if let Some(on) = route.retry.as_ref().and_then(|retry| retry.on.first()) {
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
    let call = spoken.is_call();
    first(&[
        ("host", call && matches.host.is_some()),
        ("path", call && matches.path.is_some()),
        ("path_prefix", call && matches.path_prefix.is_some()),
        ("query", call && !matches.query.is_empty()),
        ("sni", call && matches.sni.is_some()),
        ("service", !call && matches.service.is_some()),
        ("version", spoken != Spoken::Dubbo && matches.version.is_some()),
        ("group", spoken != Spoken::Dubbo && matches.group.is_some()),
    ])
}

fn of_key(key: &Key, spoken: Spoken) -> Option<&'static str> {
    let call = spoken.is_call();
    first(&[
        ("header", call && key.header.is_some()),
        ("cookie", call && key.cookie.is_some()),
        ("query", call && key.query.is_some()),
        ("path_segment", call && key.path_segment.is_some()),
        ("jwt_claim", call && key.jwt_claim.is_some()),
        ("json_field", call && key.json_field.is_some()),
        ("bolt_header", spoken != Spoken::Bolt && key.bolt_header.is_some()),
        ("attachment", spoken != Spoken::Dubbo && key.attachment.is_some()),
        ("argument", !call && key.argument.is_some()),
    ])
}

fn first(fields: &[(&'static str, bool)]) -> Option<&'static str> {
    fields.iter().find(|(_, wrong)| *wrong).map(|(field, _)| *field)
}

fn said(spoken: Spoken) -> impl Display {
    match spoken {
        Spoken::Http => "HTTP",
        Spoken::Bytes => "a listener of bytes",
        Spoken::Bolt => "Bolt",
        Spoken::Dubbo => "Dubbo",
    }
}
