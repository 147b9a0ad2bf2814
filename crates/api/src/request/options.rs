//! The options that verbs take, from the query (and, for deletes, the body).

use serde::Deserialize;
use serde_json::Value;

use crate::{
    failure::Failure,
    request::{path::Place, query::Query},
    selector::{FieldSelector, LabelSelector},
};

/// How `resourceVersion` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Exact,
    NotOlderThan,
}

/// What is selected, and from which point in history.
#[derive(Debug)]
pub struct ListOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub version: Option<u64>,
    pub version_match: Option<Match>,
    /// Zero is no limit.
    pub limit: usize,
    pub token: Option<String>,
}

#[derive(Debug)]
pub struct WatchOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub version: Option<u64>,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
    pub timeout_s: Option<u64>,
}

/// What to do about fields that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub validation: FieldValidation,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub preconditions: Preconditions,
    pub dry_run: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

fn version(query: &Query) -> Result<Option<u64>, Failure> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Failure::bad_request(format!("Invalid resource version {text:?}")))
    };
    query.get("resourceVersion").map(parse).transpose()
}

fn number(query: &Query, key: &str) -> Result<Option<u64>, Failure> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Failure::bad_request(format!("{key}: {text:?} is not a number")))
    };
    query.get(key).map(parse).transpose()
}

fn version_match(query: &Query) -> Result<Option<Match>, Failure> {
    match query.get("resourceVersionMatch") {
        None => Ok(None),
        Some("Exact") => Ok(Some(Match::Exact)),
        Some("NotOlderThan") => Ok(Some(Match::NotOlderThan)),
        Some(other) => Err(Failure::bad_request(format!(
            "resourceVersionMatch: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
    }
}

fn selectors(query: &Query, place: &Place) -> Result<(LabelSelector, FieldSelector), Failure> {
    let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
        .map_err(|error| Failure::bad_request(format!("unable to parse labelSelector: {error}")))?;
    let fields =
        FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), place.resource)
            .map_err(Failure::bad_request)?;
    Ok((labels, fields))
}

// === impl ListOptions ===

impl ListOptions {
    pub fn parse(query: &Query, place: &Place) -> Result<ListOptions, Failure> {
        let (labels, fields) = selectors(query, place)?;
        let options = ListOptions {
            labels,
            fields,
            version: version(query)?,
            version_match: version_match(query)?,
            limit: usize::try_from(number(query, "limit")?.unwrap_or(0)).unwrap_or(usize::MAX),
            token: query.get("continue").map(str::to_owned),
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), Failure> {
        let wrong = match (self.version_match, self.version) {
            (Some(_), None) => {
                "resourceVersionMatch is forbidden unless resourceVersion is provided"
            }
            (Some(Match::Exact), Some(0)) => {
                "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""
            }
            (Some(_), _) if self.token.is_some() => {
                "resourceVersionMatch is forbidden when continue is provided"
            }
            (None, Some(version)) if self.token.is_some() && version > 0 => {
                "specifying resource version is not allowed when using continue"
            }
            _ => return Ok(()),
        };
        Err(Failure::bad_request(wrong))
    }
}

// === impl WatchOptions ===

impl WatchOptions {
    pub fn parse(query: &Query, place: &Place) -> Result<WatchOptions, Failure> {
        let (labels, mut fields) = selectors(query, place)?;
        if let Some(name) = &place.name {
            fields.require_name(name);
        }
        let initial_events = query.tristate("sendInitialEvents");
        let matched = version_match(query)?;
        match (initial_events, matched) {
            (Some(_), Some(Match::NotOlderThan)) | (None, None) => {}
            (Some(_), _) => {
                return Err(Failure::bad_request(
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            (None, Some(_)) => {
                return Err(Failure::bad_request(
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
        }
        Ok(WatchOptions {
            labels,
            fields,
            version: version(query)?,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
            timeout_s: number(query, "timeoutSeconds")?,
        })
    }
}

// === impl WriteOptions ===

impl WriteOptions {
    pub fn parse(query: &Query) -> Result<WriteOptions, Failure> {
        let dry_run = match query.get("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => {
                let message = format!("dryRun: {other:?}: supported values: \"All\"");
                return Err(Failure::bad_request(message));
            }
        };
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(Failure::bad_request(format!(
                    "fieldValidation: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                )));
            }
        };
        Ok(WriteOptions { dry_run, validation })
    }
}

// === impl DeleteOptions ===

impl DeleteOptions {
    pub fn parse(query: &Query, body: Option<Value>) -> Result<DeleteOptions, Failure> {
        let mut options: DeleteOptions = match body {
            None | Some(Value::Null) => DeleteOptions::default(),
            Some(body) => serde_json::from_value(body)
                .map_err(|error| Failure::bad_request(format!("DeleteOptions: {error}")))?,
        };
        if let Some(grace) = number(query, "gracePeriodSeconds")? {
            options.grace_period_seconds = Some(i64::try_from(grace).unwrap_or(i64::MAX));
        }
        if WriteOptions::parse(query)?.dry_run {
            options.dry_run = vec!["All".into()];
        }
        if options.dry_run.iter().any(|what| what != "All") {
            return Err(Failure::bad_request("dryRun: supported values: \"All\""));
        }
        if options.grace_period_seconds.is_some_and(|grace| grace < 0) {
            return Err(Failure::bad_request("gracePeriodSeconds must not be negative"));
        }
        Ok(options)
    }

    pub fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }
}
