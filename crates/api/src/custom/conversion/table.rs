//! One object in several versions, as far as they are known: for rules that
//! compare versions and cannot wait for a webhook themselves.
//!
//! What they ask for and is not here is noted; whoever runs them has it converted
//! ([`Table::learn`]) and runs them again.

use std::sync::{Arc, Mutex, PoisonError};

use merge::apply::{Converted, Versions};
use schema::Schema;
use serde_json::Value;

use super::Conversion;
use crate::{cluster::Cluster, failure::Failure};

/// Objects that one write may need in other versions: what is there, what is to
/// be there and what is in between, for each version that managers wrote.
const OBJECTS_MAX: usize = 64;

pub struct Table {
    conversion: Arc<Conversion>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Vec<(Asked, Value)>,
    missing: Vec<Asked>,
}

#[derive(Clone, PartialEq)]
struct Asked {
    object: Value,
    version: String,
}

// === impl Table ===

impl Table {
    pub fn new(conversion: &Arc<Conversion>) -> Table {
        Table { conversion: conversion.clone(), state: Mutex::default() }
    }

    /// Converts what was missing; whether anything was.
    pub async fn learn(&self, cluster: &Cluster) -> Result<bool, Failure> {
        let missing = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut state.missing)
        };
        for asked in &missing {
            let objects = vec![asked.object.clone()];
            let mut converted = self.conversion.convert(cluster, objects, &asked.version).await?;
            let Some(converted) = converted.pop() else { continue };
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.known.len() >= OBJECTS_MAX {
                let why = "managers of too many versions own fields of this object";
                return Err(Failure::internal(why));
            }
            state.known.push((asked.clone(), converted));
        }
        Ok(!missing.is_empty())
    }
}

impl Versions for Table {
    fn convert(&self, object: &Value, version: &str) -> Converted {
        if !self.conversion.has(version) {
            return Converted::Gone;
        }
        // Who owns what is no part of what is converted.
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let asked = Asked { object, version: version.to_owned() };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, converted)) = state.known.iter().find(|(known, _)| *known == asked) {
            return Converted::Object(converted.clone());
        }
        if !state.missing.contains(&asked) {
            state.missing.push(asked);
        }
        Converted::Pending
    }

    fn schema(&self, version: &str) -> Option<&Schema> {
        self.conversion.schema_of(version)
    }
}
