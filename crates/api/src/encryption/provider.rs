//! How one key seals and opens.

use std::fmt;

use aws_lc_rs::{
    aead::{self, Aad, Nonce, RandomizedNonceKey},
    cipher::{
        self, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
        UnboundCipherKey,
    },
};

/// What every sealed value begins with.
const SEALED: &[u8] = b"k8s:enc:";

const IV_BYTES: usize = cipher::AES_CBC_IV_LEN;

pub enum Provider {
    /// As it is.
    Identity,
    /// Bound to the key below which a value is kept; 2^32 values at most are
    /// sealed well by one key.
    AesGcm { mark: Vec<u8>, key: Box<RandomizedNonceKey> },
    /// Hides, and does not notice changes; for those who have it already.
    AesCbc { mark: Vec<u8>, keys: Box<(PaddedBlockEncryptingKey, PaddedBlockDecryptingKey)> },
}

pub struct Identity;

// === impl Identity ===

impl Identity {
    pub fn open(kept: &[u8]) -> Result<(), String> {
        match kept.starts_with(SEALED) {
            true => Err("identity transformer tried to read encrypted data".into()),
            false => Ok(()),
        }
    }
}

// === impl Provider ===

impl Provider {
    pub fn aes_gcm(name: &str, secret: &[u8]) -> Result<Provider, String> {
        let algorithm = match secret.len() {
            16 => &aead::AES_128_GCM,
            32 => &aead::AES_256_GCM,
            other => return Err(wrong_length(name, other)),
        };
        let key = RandomizedNonceKey::new(algorithm, secret)
            .map_err(|_| format!("the key {name:?} cannot be used"))?;
        Ok(Provider::AesGcm { mark: mark("aesgcm", name), key: Box::new(key) })
    }

    pub fn aes_cbc(name: &str, secret: &[u8]) -> Result<Provider, String> {
        let algorithm = match secret.len() {
            16 => &cipher::AES_128,
            32 => &cipher::AES_256,
            other => return Err(wrong_length(name, other)),
        };
        let key = || UnboundCipherKey::new(algorithm, secret);
        let keys = key()
            .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
            .and_then(|seal| Ok((seal, key().and_then(PaddedBlockDecryptingKey::cbc_pkcs7)?)));
        let keys = keys.map_err(|_| format!("the key {name:?} cannot be used"))?;
        Ok(Provider::AesCbc { mark: mark("aescbc", name), keys: Box::new(keys) })
    }

    pub fn seal(&self, at: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |_| "the value could not be sealed".to_owned();
        let mut sealed = value.to_vec();
        let (mark, nonce) = match self {
            Provider::Identity => return Ok(sealed),
            Provider::AesGcm { mark, key } => {
                let nonce = key.seal_in_place_append_tag(Aad::from(at), &mut sealed);
                (mark, nonce.map_err(failed)?.as_ref().to_vec())
            }
            Provider::AesCbc { mark, keys } => {
                let context = keys.0.encrypt(&mut sealed).map_err(failed)?;
                let DecryptionContext::Iv128(iv) = context else {
                    return Err("the cipher chose no start".into());
                };
                (mark, iv.as_ref().to_vec())
            }
        };
        Ok([&mark[..], &nonce, &sealed].concat())
    }

    /// None if it was sealed by something else.
    pub fn open(&self, at: &[u8], kept: &[u8]) -> Option<Result<Vec<u8>, String>> {
        match self {
            Provider::Identity => None,
            Provider::AesGcm { mark, key } => {
                let body = kept.strip_prefix(&mark[..])?;
                Some(open_gcm(key, at, body).ok_or_else(|| wrong(mark)))
            }
            Provider::AesCbc { mark, keys } => {
                let body = kept.strip_prefix(&mark[..])?;
                Some(open_cbc(&keys.1, body).ok_or_else(|| wrong(mark)))
            }
        }
    }
}

impl fmt::Debug for Provider {
    /// Without its key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Identity => "identity",
            Provider::AesGcm { .. } => "aesgcm",
            Provider::AesCbc { .. } => "aescbc",
        })
    }
}

fn open_gcm(key: &RandomizedNonceKey, at: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = body.split_at_checked(aead::NONCE_LEN)?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let length = key.open_in_place(nonce, Aad::from(at), &mut sealed).ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}

fn open_cbc(key: &PaddedBlockDecryptingKey, body: &[u8]) -> Option<Vec<u8>> {
    let (iv, sealed) = body.split_at_checked(IV_BYTES)?;
    let mut sealed = sealed.to_vec();
    let context = DecryptionContext::Iv128(iv.try_into().ok()?);
    let length = key.decrypt(&mut sealed, context).ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}

fn mark(provider: &str, key: &str) -> Vec<u8> {
    format!("k8s:enc:{provider}:v1:{key}:").into_bytes()
}

fn wrong(mark: &[u8]) -> String {
    format!("what {} sealed does not open", String::from_utf8_lossy(mark).trim_end_matches(':'))
}

fn wrong_length(name: &str, bytes: usize) -> String {
    format!("the secret of the key {name:?} has {bytes} bytes instead of 16 or 32 bytes")
}
