//! Notes: durable bookkeeping beside the keys, that spends no revision.
//!
//! The rules of users, alarms and the like keep their state here, each under a
//! prefix of its own, so that the log and the base carry all of it alike.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    Applied, Keyspace, Record,
    auth::{DamagedNote, Edit},
};

/// Engines keep the name in a key.
pub const NOTE_NAME_BYTES_MAX: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(BTreeMap<Bytes, Bytes>);

// === impl Notes ===

impl Notes {
    pub(crate) fn set(&mut self, name: Bytes, value: Option<Bytes>) {
        match value {
            Some(value) => self.0.insert(name, value),
            None => self.0.remove(&name),
        };
    }
}

// === impl Keyspace ===

impl Keyspace {
    #[must_use]
    pub fn note(&self, name: &[u8]) -> Option<&Bytes> {
        self.notes.0.get(name)
    }

    pub(crate) fn has_notes(&self) -> bool {
        !self.notes.0.is_empty()
    }

    /// Those whose names start with `prefix`, by name.
    pub fn notes<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> + 'a {
        let from = Bytes::copy_from_slice(prefix);
        self.notes.0.range(from..).take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Sets or removes a note. One that stays as it is costs nothing.
    ///
    /// # Panics
    /// If the name is empty or longer than [`NOTE_NAME_BYTES_MAX`], or if it is
    /// one of [`crate::auth`]'s and says something else.
    pub fn set_note(&mut self, name: Bytes, value: Option<Bytes>) -> Applied<()> {
        assert!((1..=NOTE_NAME_BYTES_MAX).contains(&name.len()), "a note has a short name");
        if self.note(&name) == value.as_ref() {
            return Applied { response: (), records: Vec::new() };
        }
        self.take_in_note(name.clone(), value.clone()).expect("we write notes that we can read");
        Applied { response: (), records: vec![Record::Note { name, value }] }
    }

    /// What is derived from notes follows them here, and only here.
    pub(crate) fn take_in_note(
        &mut self,
        name: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), DamagedNote> {
        if let Some(edit) = Edit::of(&name, value.as_ref())? {
            Arc::make_mut(&mut self.auth).take_in(edit);
        }
        self.notes.set(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rt::Millis;

    use super::*;
    use crate::{Base, Config, Fold};

    #[test]
    fn notes_spend_no_revision_and_survive_log_and_base_alike() {
        let mut keyspace = Keyspace::new(Config::default());
        let mut log = Vec::new();
        for (name, value) in [("a/1", Some("one")), ("a/2", Some("two")), ("b/1", Some("x"))] {
            log.extend(keyspace.set_note(name.into(), value.map(Bytes::from)).records);
        }
        log.extend(keyspace.set_note("a/1".into(), None).records);
        assert!(keyspace.set_note("a/1".into(), None).records.is_empty(), "it is gone already");
        assert_eq!(keyspace.revision(), kv::Revision::FIRST);

        for folded in 0..=log.len() {
            let mut fold = Fold::default();
            log[..folded].iter().cloned().for_each(|record| fold.add(record));
            let mut base = Base::default();
            base.apply(fold);
            let rest = log[folded..].iter().cloned();
            let loaded = Keyspace::load(Config::default(), base, rest, Millis(0)).expect("loads");
            let found: Vec<_> = loaded.notes(b"a/").collect();
            assert_eq!(found, [(&Bytes::from("a/2"), &Bytes::from("two"))], "folded {folded}");
            assert_eq!(loaded.note(b"b/1"), Some(&Bytes::from("x")));
        }
    }
}
