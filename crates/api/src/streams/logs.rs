//! Logs of a pod, from the agent that runs it.

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use resources::FieldError;
use rt::TaskKind;
use tokio::sync::mpsc;

use super::agents::refusal;
use crate::{
    failure::Failure,
    handler::{Ask, Handler},
    limits::Ticket,
    request::{
        path::Place,
        query::{self, Query},
    },
    response::{self, Body},
    watch::FRAMES_MAX,
};

/// The options that are passed on.
const OPTIONS: &[&str] = &[
    "follow",
    "tailLines",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "previous",
    "limitBytes",
    "stream",
];

// === impl Handler ===

impl Handler {
    pub(crate) async fn logs(
        &self,
        ask: &Ask<'_>,
        place: &Place,
    ) -> Result<Response<Body>, Failure> {
        let name = place.name.as_deref().unwrap_or_default();
        let errors = check(&ask.query);
        if !errors.is_empty() {
            return Err(Failure::invalid_kind("PodLogOptions", name, &errors));
        }
        let target = self.target(&self.located(place).await?).await?;
        let container = target.container(ask.query.get("container"))?;
        let path = format!(
            "/containerLogs/{}/{}/{}?{}&uid={}",
            query::encode(&target.namespace),
            query::encode(&target.name),
            query::encode(&container),
            ask.query.only(OPTIONS),
            query::encode(&target.uid)
        );
        let mut request = Request::new(Empty::new());
        *request.uri_mut() =
            path.parse().map_err(|_| Failure::bad_request("the options are too long"))?;
        let ticket = Ticket::long_running(&self.shared.metrics, &self.shared.callers, ask.caller)?;
        let answer = self.shared.agents.ask(&target, request).await?;
        match answer.status() {
            StatusCode::OK => Ok(relay(answer.into_body(), ask, ticket)),
            _ => Err(refusal(answer).await),
        }
    }
}

/// Kubernetes' own words about options that cannot be meant.
fn check(query: &Query) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let number = |key: &'static str| query.get(key).map(|text| (key, text.parse::<i64>()));
    let bounds = [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ];
    for (key, min, why) in bounds {
        match number(key) {
            Some((_, Ok(value))) if value < min => {
                errors.push(FieldError::invalid(key, value, why))
            }
            Some((_, Err(_))) => {
                let given = query.get(key).unwrap_or_default();
                errors.push(FieldError::invalid(key, given, "must be a number"));
            }
            _ => {}
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden("", why));
    }
    errors
}

/// Passes the log on as it comes, at the reader's pace.
fn relay(mut body: Incoming, ask: &Ask<'_>, ticket: Ticket) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let drain = ask.drain.clone();
    rt::spawn(TaskKind::Connection, "logs", async move {
        let _ticket = ticket;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sender.closed() => return,
                () = drain.started() => return,
            };
            let Some(Ok(frame)) = frame else { return };
            let Ok(data) = frame.into_data() else { continue };
            if sender.send(data).await.is_err() {
                return;
            }
        }
    });
    response::stream("text/plain", receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_meant_are_named() {
        let wrong = |query: &str| {
            let errors = check(&Query::parse(Some(query)).expect("well formed"));
            errors.iter().map(|error| error.path.clone()).collect::<Vec<_>>()
        };
        assert!(wrong("tailLines=0&sinceSeconds=1&limitBytes=1").is_empty());
        assert_eq!(wrong("tailLines=-1&limitBytes=0"), ["tailLines", "limitBytes"]);
        assert_eq!(wrong("sinceSeconds=x"), ["sinceSeconds"]);
        assert_eq!(wrong("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").len(), 1);
    }
}
