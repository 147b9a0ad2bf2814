//! The options that verbs take, from the query (and, for deletes, the body).

use std::time::Duration;

use http::{HeaderMap, header};
use merge::apply::{MANAGER_LEN_MAX, manager_name};
use resources::FieldError;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    failure::Failure,
    request::{path::Place, query::Query},
    selector::{FieldSelector, LabelSelector},
    settings::Bounds,
};

pub const CREATE_OPTIONS: &str = "CreateOptions";
pub const UPDATE_OPTIONS: &str = "UpdateOptions";
pub const PATCH_OPTIONS: &str = "PatchOptions";

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
    /// Watches that name no timeout end between one and two times this.
    pub timeout_min: Duration,
}

/// What to do about fields that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

#[derive(Clone, Debug)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub validation: FieldValidation,
    /// Of what is applied: over what others own, too.
    pub force: Option<bool>,
    /// Who owns what is written.
    pub manager: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub preconditions: Preconditions,
    pub dry_run: Vec<String>,
    pub propagation_policy: Option<Propagation>,
    /// What `propagationPolicy` has taken the place of.
    pub orphan_dependents: Option<bool>,
}

/// What becomes of what belongs to a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Propagation {
    /// It is let go.
    Orphan,
    /// It goes afterwards.
    Background,
    /// It goes before.
    Foreground,
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
        FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), &place.resource)
            .map_err(Failure::bad_request)?;
    Ok((labels, fields))
}

// === impl ListOptions ===

impl ListOptions {
    /// Everything, as it is now.
    pub fn all() -> ListOptions {
        ListOptions {
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            version: None,
            version_match: None,
            limit: 0,
            token: None,
        }
    }

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

    pub fn selects_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
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
            timeout_min: Bounds::default().watch_timeout_min,
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
        let force = query.tristate("force");
        let manager = query.get("fieldManager").unwrap_or_default().to_owned();
        Ok(WriteOptions { dry_run, validation, force, manager })
    }

    /// Of what the server writes by itself.
    pub fn own() -> WriteOptions {
        let (validation, manager) = (FieldValidation::Ignore, "polis".to_owned());
        WriteOptions { dry_run: false, validation, force: None, manager }
    }

    /// Checks who writes, and names who did not say so after its program.
    /// `kind` is what Kubernetes calls the verb's options.
    pub fn by(self, headers: &HeaderMap, kind: &str, applies: bool) -> Result<Self, Failure> {
        let mut errors = Vec::new();
        match (applies, self.force) {
            (true, _) if self.manager.is_empty() => {
                errors.push(FieldError::required("fieldManager", "is required for apply patch"));
            }
            (false, Some(_)) if kind == PATCH_OPTIONS => {
                let detail = "may not be specified for non-apply patch";
                errors.push(FieldError::forbidden("force", detail));
            }
            _ => {}
        }
        if self.manager.len() > MANAGER_LEN_MAX {
            errors.push(FieldError::too_long("fieldManager", MANAGER_LEN_MAX as u64));
        }
        let odd = self.manager.char_indices().filter(|(_, letter)| letter.is_control());
        errors.extend(odd.map(|(at, letter)| {
            let detail = format!("invalid character U+{:04X} (at position {at})", letter as u32);
            FieldError::invalid("fieldManager", &self.manager, detail)
        }));
        if !errors.is_empty() {
            return Err(Failure::invalid_options(kind, &errors));
        }
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let manager = manager_name(&self.manager, agent.unwrap_or_default());
        Ok(WriteOptions { manager, ..self })
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
        match query.get("propagationPolicy") {
            None => {}
            Some(text) => {
                let policy = serde_json::from_value(text.into());
                options.propagation_policy = Some(policy.map_err(|_| {
                    Failure::bad_request(format!(
                        "propagationPolicy: {text:?}: supported values: \"Orphan\", \"Background\", \
                         \"Foreground\""
                    ))
                })?);
            }
        }
        if query.get("orphanDependents").is_some() {
            options.orphan_dependents = Some(query.flag("orphanDependents"));
        }
        if options.orphan_dependents.is_some() && options.propagation_policy.is_some() {
            return Err(Failure::bad_request(
                "orphanDependents and deletionPropagation cannot be both set",
            ));
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

    /// What was asked for, if anything.
    pub fn propagation(&self) -> Option<Propagation> {
        let old = self.orphan_dependents.map(|orphan| match orphan {
            true => Propagation::Orphan,
            false => Propagation::Background,
        });
        self.propagation_policy.or(old)
    }

    pub fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }
}
