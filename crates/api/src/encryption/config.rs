//! The file: `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`.

use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use super::{Encryption, Error, Rule, provider::Provider};

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<ProviderEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    identity: Option<IdentityEntry>,
    aesgcm: Option<KeysEntry>,
    aescbc: Option<KeysEntry>,
    secretbox: Option<serde_json::Value>,
    kms: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityEntry {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysEntry {
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    secret: String,
}

// === impl Encryption ===

impl Encryption {
    pub fn read(path: &Path) -> Result<Encryption, Error> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: shown(), source })?;
        Encryption::parse(&text).map_err(|why| Error::Invalid { path: shown(), why })
    }

    pub(super) fn parse(text: &str) -> Result<Encryption, String> {
        let document: Document = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if document.api_version != API_VERSION || document.kind != KIND {
            return Err(format!("it is no {KIND} of {API_VERSION}"));
        }
        let rules = document.resources.into_iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Encryption { rules })
    }
}

fn rule(entry: Entry) -> Result<Rule, String> {
    let kinds = entry.resources.iter().map(|kind| kind.parse()).collect::<Result<Vec<_>, _>>()?;
    let mut providers = Vec::new();
    for provider in entry.providers {
        providers.extend(provider.resolve()?);
    }
    if providers.is_empty() {
        return Err(format!("no provider for {}", entry.resources.join(", ")));
    }
    Ok(Rule { kinds, providers })
}

// === impl ProviderEntry ===

impl ProviderEntry {
    /// One for each key.
    fn resolve(self) -> Result<Vec<Provider>, String> {
        match self {
            ProviderEntry { kms: Some(_), .. } => Err("the provider kms is not served".into()),
            ProviderEntry { secretbox: Some(_), .. } => {
                Err("the provider secretbox is not served: use aesgcm or aescbc".into())
            }
            ProviderEntry { identity: Some(_), aesgcm: None, aescbc: None, .. } => {
                Ok(vec![Provider::Identity])
            }
            ProviderEntry { aesgcm: Some(keys), aescbc: None, identity: None, .. } => {
                keys.resolve("aesgcm", Provider::aes_gcm)
            }
            ProviderEntry { aescbc: Some(keys), aesgcm: None, identity: None, .. } => {
                keys.resolve("aescbc", Provider::aes_cbc)
            }
            _ => Err("each item of providers names exactly one provider".into()),
        }
    }
}

// === impl KeysEntry ===

impl KeysEntry {
    fn resolve(
        self,
        provider: &str,
        make: fn(&str, &[u8]) -> Result<Provider, String>,
    ) -> Result<Vec<Provider>, String> {
        if self.keys.is_empty() {
            return Err(format!("the provider {provider} has no keys"));
        }
        let key = |key: KeyEntry| {
            // It ends at a colon where values are marked with it.
            if key.name.is_empty() || key.name.contains(':') {
                return Err(format!("{:?} is no name of a key", key.name));
            }
            let secret = base64::engine::general_purpose::STANDARD.decode(&key.secret);
            let secret = secret
                .map_err(|_| format!("the secret of the key {:?} is not base64", key.name))?;
            make(&key.name, &secret)
        };
        self.keys.into_iter().map(key).collect()
    }
}
