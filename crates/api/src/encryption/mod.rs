//! Encryption of stored objects, by kube-apiserver's `EncryptionConfiguration`.
//!
//! The file names kinds and, for each of them, providers: the first one seals
//! what is written, all of them open what is read, so that keys are changed by
//! putting a new one second everywhere, and then first. A sealed value says by which provider and key it was
//! sealed (`k8s:enc:aescbc:v1:KEY:`), as kube-apiserver's do.
//!
//! It stands between the API server and its store: nothing above knows of it.
//! Values of sealed kinds cannot be compared in transactions; the registry
//! compares revisions. Providers that ask someone else for keys (`kms`) are not
//! served.

mod config;
mod provider;
mod sealed;

pub use sealed::Sealed;

use self::provider::{Identity, Provider};

/// Why a configuration does not count.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {why}")]
    Invalid { path: String, why: String },
}

/// Which kinds are sealed, and how.
#[derive(Debug)]
pub struct Encryption {
    /// In the file's order: the first that names a kind counts.
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    kinds: Vec<KindPattern>,
    /// At least one.
    providers: Vec<Provider>,
}

/// `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group) or `*.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KindPattern {
    /// None is any.
    plural: Option<String>,
    group: Option<String>,
}

// === impl Encryption ===

impl Encryption {
    fn rule(&self, key: &[u8]) -> Option<&Rule> {
        let (group, plural) = kind_of(key)?;
        self.rules.iter().find(|rule| rule.kinds.iter().any(|kind| kind.matches(group, plural)))
    }

    /// What is kept below `key` in place of `value`.
    fn seal(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self.rule(key).and_then(|rule| rule.providers.first()) {
            None | Some(Provider::Identity) => Ok(None),
            Some(provider) => provider.seal(key, value).map(Some),
        }
    }

    /// What `kept` stands for; none when it is not sealed.
    fn open(&self, key: &[u8], kept: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(rule) = self.rule(key) else { return Ok(None) };
        for provider in &rule.providers {
            if let Some(opened) = provider.open(key, kept) {
                return opened.map(Some);
            }
        }
        match rule.providers.iter().any(|provider| matches!(provider, Provider::Identity)) {
            true => Identity::open(kept).map(|()| None),
            false => Err("no matching prefix found".into()),
        }
    }
}

/// Group and plural of what is kept below `key`.
fn kind_of(key: &[u8]) -> Option<(&str, &str)> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix("/registry/")?.split('/');
    let (group, plural) = (parts.next()?, parts.next()?);
    Some((if group == "core" { "" } else { group }, plural))
}

// === impl KindPattern ===

impl KindPattern {
    fn matches(&self, group: &str, plural: &str) -> bool {
        self.plural.as_deref().is_none_or(|own| own == plural)
            && self.group.as_deref().is_none_or(|own| own == group)
    }
}

impl std::str::FromStr for KindPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<KindPattern, String> {
        let (plural, group) = text.split_once('.').unwrap_or((text, ""));
        if plural.is_empty() || plural.contains('/') {
            return Err(format!("{text:?} names no resource"));
        }
        let some = |part: &str| (part != "*").then(|| part.to_owned());
        Ok(KindPattern { plural: some(plural), group: some(group) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"/registry/core/secrets/default/a";

    fn read(providers: &str) -> Result<Encryption, String> {
        Encryption::parse(&format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
             - resources: [secrets, '*.apps']\n  providers:\n{providers}"
        ))
    }

    /// A key of 32 times the same byte.
    fn key(name: &str, letter: u8) -> String {
        use base64::Engine as _;
        let secret = base64::engine::general_purpose::STANDARD.encode([letter; 32]);
        format!("{{name: {name}, secret: {secret}}}")
    }

    #[test]
    fn what_was_sealed_is_opened_and_says_by_what() {
        for provider in ["aesgcm", "aescbc"] {
            let keys = key("one", b'1');
            let rules = read(&format!("  - {provider}: {{keys: [{keys}]}}\n  - identity: {{}}\n"));
            let rules = rules.expect("it is sound");
            let kept = rules.seal(KEY, b"secret").expect("sealed").expect("a sealed kind");
            assert!(kept.starts_with(format!("k8s:enc:{provider}:v1:one:").as_bytes()));
            assert!(!kept.windows(6).any(|bytes| bytes == b"secret"));
            assert_eq!(rules.open(KEY, &kept), Ok(Some(b"secret".to_vec())));
            // What was there before is still read.
            assert_eq!(rules.open(KEY, b"{}"), Ok(None));
            // Another kind is left alone.
            assert_eq!(rules.seal(b"/registry/core/configmaps/default/a", b"x"), Ok(None));
            assert!(rules.seal(b"/registry/apps/deployments/d/a", b"x").is_ok_and(|x| x.is_some()));
            let mut broken = kept.clone();
            *broken.last_mut().expect("it is not empty") ^= 1;
            assert!(provider == "aescbc" || rules.open(KEY, &broken).is_err());
        }
    }

    #[test]
    fn keys_are_changed_by_putting_a_new_one_first() {
        let (one, two) = (key("one", b'1'), key("two", b'2'));
        let old = read(&format!("  - aesgcm: {{keys: [{one}]}}\n")).expect("sound");
        let both = read(&format!("  - aesgcm: {{keys: [{two}, {one}]}}\n")).expect("sound");
        let new = read(&format!("  - aesgcm: {{keys: [{two}]}}\n")).expect("sound");
        let kept = old.seal(KEY, b"secret").expect("sealed").expect("sealed");
        assert_eq!(both.open(KEY, &kept), Ok(Some(b"secret".to_vec())));
        assert!(new.open(KEY, &kept).is_err(), "its key is gone");
        let kept = both.seal(KEY, b"secret").expect("sealed").expect("sealed");
        assert_eq!(new.open(KEY, &kept), Ok(Some(b"secret".to_vec())));
        assert_eq!(new.open(KEY, b"{}"), Err("no matching prefix found".into()));
        // A value that was moved to another object does not open there.
        assert!(new.open(b"/registry/core/secrets/default/b", &kept).is_err());
    }

    #[test]
    fn a_file_that_is_not_sound_says_why() {
        for (providers, expected) in [
            ("  - kms: {name: x}\n", "kms"),
            ("  - secretbox: {keys: []}\n", "secretbox"),
            ("  - aesgcm: {keys: []}\n", "has no keys"),
            ("  - aesgcm: {keys: [{name: a, secret: AAAA}]}\n", "16 or 32 bytes"),
            ("  - aesgcm: {keys: [{name: a, secret: '%'}]}\n", "base64"),
            ("  - {}\n", "one provider"),
            ("    []\n", "no provider"),
        ] {
            let why = read(providers).expect_err(providers);
            assert!(why.contains(expected), "{providers}: {why}");
        }
    }
}
