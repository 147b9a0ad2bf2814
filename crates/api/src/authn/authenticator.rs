//! From what a request shows to who asks.

use std::{borrow::Cow, fs, path::Path};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    Connection,
    bearer::{self, Shown},
    bootstrap::{self, BootstrapToken},
    cache::Verdicts,
    front_proxy::FrontProxy,
    jwt::{TOKEN_BYTES_MAX, Token},
    keys::{Algorithm, PublicKey, SigningKey},
    oidc::Provider,
    provider_keys::ProviderKeys,
    service_account::{Accounts, Bound, Live},
    token_file::TokenFile,
};
use crate::{
    caller::Caller,
    cluster::Cluster,
    failure::Failure,
    object,
    settings::{self, Authentication},
    stored,
};

pub struct Authenticator {
    anonymous: bool,
    token_file: TokenFile,
    bootstrap_tokens: bool,
    accounts: Option<Accounts>,
    oidc: Option<(Provider, ProviderKeys)>,
    front_proxy: Option<FrontProxy>,
    verdicts: Verdicts,
}

/// A caller, and which of the audiences asked about the token is for.
pub struct Known {
    pub caller: Caller,
    pub audiences: Vec<String>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Reads what files say; the message names the file that cannot be used.
    pub fn build(settings: &Authentication) -> Result<Authenticator, String> {
        let token_file = match &settings.token_file {
            None => TokenFile::default(),
            Some(path) => {
                let text = read(path)?;
                let text = String::from_utf8(text).map_err(|error| named(path, error))?;
                TokenFile::parse(&text).map_err(|why| named(path, why))?
            }
        };
        Ok(Authenticator {
            anonymous: settings.anonymous,
            token_file,
            bootstrap_tokens: settings.bootstrap_tokens,
            accounts: settings.service_accounts.as_ref().map(accounts).transpose()?,
            oidc: settings.oidc.as_ref().map(provider).transpose()?,
            front_proxy: settings.front_proxy.as_ref().map(FrontProxy::new),
            verdicts: Verdicts::default(),
        })
    }

    /// Of service accounts; none when there are no keys for them.
    pub fn accounts(&self) -> Option<&Accounts> {
        self.accounts.as_ref()
    }

    /// What tokens of this server are for.
    pub fn audiences(&self) -> &[String] {
        self.accounts.as_ref().map_or(&[], |accounts| &accounts.audiences)
    }

    /// Who asks `cluster`; fails with 401.
    pub async fn identify<'a>(
        &self,
        connection: &'a Connection,
        headers: &HeaderMap,
        cluster: impl AsyncFnOnce() -> Result<std::sync::Arc<Cluster>, Failure>,
    ) -> Result<Cow<'a, Caller>, Failure> {
        let refusal = connection.refusal(object::now());
        if connection.is_front_proxy
            && refusal.is_none()
            && let Some(caller) = self.front_proxy.as_ref().and_then(|proxy| proxy.caller(headers))
        {
            return Ok(Cow::Owned(caller));
        }
        if !connection.caller.is_anonymous() && refusal.is_none() {
            return Ok(Cow::Borrowed(&connection.caller));
        }
        let token = match bearer::shown(headers) {
            Shown::Token(token) => token,
            Shown::TooLong => return Err(Failure::unauthorized()),
            Shown::Nothing => {
                return match refusal {
                    Some(why) => Err(Failure::certificate_refused(why)),
                    None if self.anonymous => Ok(Cow::Borrowed(&connection.caller)),
                    None => Err(Failure::unauthorized()),
                };
            }
        };
        let cluster = cluster().await?;
        let (scope, now) = (cluster.door.keyspace(), Instant::now());
        if let Some(caller) = self.verdicts.find(&scope, &token, now) {
            return Ok(Cow::Owned(caller));
        }
        match self.know(&cluster, &token, self.audiences()).await? {
            Ok(known) => {
                self.verdicts.keep(&scope, &token, &known.caller, now);
                Ok(Cow::Owned(known.caller))
            }
            Err(why) => {
                tracing::debug!(why, "token refused");
                Err(Failure::unauthorized())
            }
        }
    }

    /// Whose token it is. The outer error says that it could not be found out,
    /// the inner that it is nobody's.
    pub async fn know(
        &self,
        cluster: &Cluster,
        token: &str,
        audiences: &[String],
    ) -> Result<Result<Known, String>, Failure> {
        let ours: Vec<String> =
            audiences.iter().filter(|one| self.audiences().contains(one)).cloned().collect();
        // What is not made for somebody is made for this server.
        let general = |caller: Caller| match ours.is_empty() && !audiences.is_empty() {
            true => Err("the token is not for these audiences".to_owned()),
            false => Ok(Known { caller, audiences: ours.clone() }),
        };
        if let Some(caller) = self.token_file.find(token) {
            return Ok(general(caller.clone()));
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(Err("the token is too long".into()));
        }
        if let Some(parsed) = Token::parse(token) {
            return match (&self.accounts, &self.oidc) {
                (Some(accounts), _) if accounts.claims(&parsed) => {
                    self.know_account(accounts, cluster, &parsed, audiences).await
                }
                (_, Some((provider, keys))) if parsed.issuer() == provider.issuer => {
                    let caller = match keys.verify(&parsed).await {
                        Ok(()) => provider.identify(&parsed, object::now()),
                        Err(why) => Err(why),
                    };
                    Ok(caller.and_then(general))
                }
                _ => Ok(Err("invalid bearer token".into())),
            };
        }
        if self.bootstrap_tokens
            && let Some(parsed) = BootstrapToken::parse(token)
        {
            let name = parsed.secret_name();
            let secret = stored::get(cluster, stored::SECRETS, bootstrap::NAMESPACE, &name).await?;
            let caller = secret.and_then(|secret| parsed.judge(&secret, object::now()));
            return Ok(caller.ok_or_else(|| "invalid bearer token".to_owned()).and_then(general));
        }
        Ok(Err("invalid bearer token".into()))
    }

    async fn know_account(
        &self,
        accounts: &Accounts,
        cluster: &Cluster,
        token: &Token<'_>,
        audiences: &[String],
    ) -> Result<Result<Known, String>, Failure> {
        let now = object::now();
        let (bound, meant) = match accounts.verify(token, now, audiences) {
            Ok(verified) => verified,
            Err(why) => return Ok(Err(why)),
        };
        let live = live(cluster, &bound).await?;
        let caller = bound.caller(&live, now);
        Ok(caller.map(|caller| Known { caller, audiences: meant }))
    }
}

/// What a token is bound to, as it is now.
async fn live(cluster: &Cluster, bound: &Bound) -> Result<Live, Failure> {
    let namespace = bound.namespace.as_str();
    let get = async |kind, namespace: &str, name: Option<&str>| match name {
        Some(name) => stored::get(cluster, kind, namespace, name).await,
        None => Ok(None),
    };
    let name = |of: &'_ Option<super::service_account::Ref>| of.as_ref().map(|of| of.name.clone());
    let (secret, pod) = (name(&bound.secret), name(&bound.pod));
    // Of a pod's node only what the token says is told.
    let node = name(&bound.node).filter(|_| bound.pod.is_none());
    Ok(Live {
        account: get(stored::SERVICE_ACCOUNTS, namespace, Some(&bound.account.name)).await?,
        secret: get(stored::SECRETS, namespace, secret.as_deref()).await?,
        pod: get(stored::PODS, namespace, pod.as_deref()).await?,
        node: get(stored::NODES, "", node.as_deref()).await?,
    })
}

fn accounts(settings: &settings::ServiceAccounts) -> Result<Accounts, String> {
    let path = &settings.signing_key_file;
    let signing = SigningKey::from_pem(&read(path)?).map_err(|why| named(path, why))?;
    let mut verifying = Vec::new();
    for path in &settings.key_files {
        let keys = PublicKey::all_from_pem(&read(path)?).map_err(|why| named(path, why))?;
        verifying.extend(keys);
    }
    if settings.issuers.is_empty() {
        return Err("service accounts need an issuer".into());
    }
    Ok(Accounts {
        issuers: settings.issuers.clone(),
        audiences: match settings.audiences.is_empty() {
            true => settings.issuers[..1].to_vec(),
            false => settings.audiences.clone(),
        },
        signing: Some(signing),
        verifying,
    })
}

fn provider(settings: &settings::Oidc) -> Result<(Provider, ProviderKeys), String> {
    let algorithms = settings.signing_algorithms.iter().map(|name| {
        Algorithm::parse(name).ok_or_else(|| format!("oidc: unsupported signing alg: {name:?}"))
    });
    let provider = Provider {
        username_claim: settings.username_claim.clone(),
        username_prefix: settings.username_prefix.clone(),
        groups_claim: settings.groups_claim.clone().unwrap_or_default(),
        groups_prefix: settings.groups_prefix.clone(),
        required: settings.required_claims.clone(),
        algorithms: algorithms.collect::<Result<_, _>>()?,
        ..Provider::new(&settings.issuer_url, &settings.client_id)
    };
    let keys = ProviderKeys::new(&provider, settings.ca_file.as_deref())?;
    Ok((provider, keys))
}

/// Configuration is read once, before anything is served.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| named(path, error))
}

fn named(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}
