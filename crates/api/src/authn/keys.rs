//! Keys that sign and verify tokens: RSA and elliptic curves, from PEM files and
//! from the key sets of identity providers.

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        self, EcdsaKeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use x509_parser::{
    pem::Pem,
    prelude::{FromDer, X509Certificate},
    public_key::{PublicKey as Parsed, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use crate::object;

/// Keys of one file or set; rotation needs two or three.
const KEYS_MAX: usize = 64;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    /// With the algorithm that goes with the curve.
    Curve(Algorithm),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    kind: Kind,
    /// `SubjectPublicKeyInfo`, or a curve's uncompressed point.
    der: Vec<u8>,
}

pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Rsa(RsaKeyPair),
    Curve(EcdsaKeyPair),
}

// === impl Algorithm ===

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("ES512", Algorithm::Es512),
];

impl Algorithm {
    pub fn parse(name: &str) -> Option<Algorithm> {
        ALGORITHMS.iter().find(|(own, _)| *own == name).map(|(_, algorithm)| *algorithm)
    }

    pub fn as_str(self) -> &'static str {
        let found = ALGORITHMS.iter().find(|(_, own)| *own == self);
        found.map(|(name, _)| *name).expect("the table has all of them")
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// From the DER form of a `SubjectPublicKeyInfo`. Its name is a digest, so
    /// that the key cannot be guessed from it.
    fn from_info(der: &[u8]) -> Option<PublicKey> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let kind = match info.parsed().ok()? {
            Parsed::RSA(_) => Kind::Rsa,
            // One byte, then both coordinates.
            Parsed::EC(point) => Kind::Curve(curve(point.data().len().saturating_sub(1) / 2)?),
            _ => return None,
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        Some(PublicKey { id: BASE64.encode(digest), kind, der: der.to_vec() })
    }

    fn from_pkcs1(der: &[u8]) -> Option<PublicKey> {
        let (_, key) = RSAPublicKey::from_der(der).ok()?;
        let parts = PublicKeyComponents { n: key.modulus.to_vec(), e: key.exponent.to_vec() };
        PublicKey::from_info(parts.as_der().ok()?.as_ref())
    }

    /// The public keys of a PEM file: public and private keys and certificates.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<PublicKey>, String> {
        let mut keys = Vec::new();
        for pem in Pem::iter_from_buffer(text).take(KEYS_MAX) {
            let pem = pem.map_err(|error| error.to_string())?;
            let key = match &*pem.label {
                "PUBLIC KEY" => PublicKey::from_info(&pem.contents),
                "RSA PUBLIC KEY" => PublicKey::from_pkcs1(&pem.contents),
                "CERTIFICATE" => {
                    let certificate = X509Certificate::from_der(&pem.contents);
                    certificate.ok().and_then(|(_, own)| PublicKey::from_info(own.public_key().raw))
                }
                "EC PARAMETERS" => continue,
                _ => SigningKey::from_der(&pem.contents).map(|key| key.public),
            };
            let unread = || format!("a {} that is no RSA or elliptic-curve key", pem.label);
            keys.push(key.ok_or_else(unread)?);
        }
        match keys.is_empty() {
            true => Err("data does not contain any valid RSA or ECDSA public keys".into()),
            false => Ok(keys),
        }
    }

    /// From a key set (`application/jwk-set+json`); keys of other uses and kinds
    /// are passed over.
    pub fn all_from_set(set: &Value) -> Vec<PublicKey> {
        let keys = set.get("keys").and_then(Value::as_array);
        keys.into_iter().flatten().take(KEYS_MAX).filter_map(PublicKey::from_jwk).collect()
    }

    fn from_jwk(key: &Value) -> Option<PublicKey> {
        if !matches!(object::text(key, "/use"), "" | "sig") {
            return None;
        }
        let bytes =
            |pointer| BASE64.decode(object::text(key, pointer)).ok().filter(|b| !b.is_empty());
        let id = object::text(key, "/kid").to_owned();
        match object::text(key, "/kty") {
            "RSA" => {
                let (n, e) = (bytes("/n")?, bytes("/e")?);
                let der = PublicKeyComponents { n, e }.as_der().ok()?;
                Some(PublicKey { id, kind: Kind::Rsa, der: der.as_ref().to_vec() })
            }
            "EC" => {
                let (x, y) = (bytes("/x")?, bytes("/y")?);
                let kind = Kind::Curve(curve(x.len()).filter(|_| x.len() == y.len())?);
                Some(PublicKey { id, kind, der: [&[4], &*x, &*y].concat() })
            }
            _ => None,
        }
    }

    /// As one key of a key set.
    pub fn to_jwk(&self) -> Option<Value> {
        let (_, info) = SubjectPublicKeyInfo::from_der(&self.der).ok()?;
        let mut key = json!({ "use": "sig", "kid": self.id });
        let whole = |bytes: &[u8]| {
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            BASE64.encode(&bytes[first..])
        };
        match (info.parsed().ok()?, self.kind) {
            (Parsed::RSA(rsa), Kind::Rsa) => {
                key["kty"] = "RSA".into();
                key["alg"] = "RS256".into();
                key["n"] = whole(rsa.modulus).into();
                key["e"] = whole(rsa.exponent).into();
            }
            (Parsed::EC(point), Kind::Curve(algorithm)) => {
                let (x, y) = point.data()[1..].split_at((point.data().len() - 1) / 2);
                key["kty"] = "EC".into();
                key["alg"] = algorithm.as_str().into();
                key["crv"] = match algorithm {
                    Algorithm::Es384 => "P-384",
                    Algorithm::Es512 => "P-521",
                    _ => "P-256",
                }
                .into();
                key["x"] = BASE64.encode(x).into();
                key["y"] = BASE64.encode(y).into();
            }
            _ => return None,
        }
        Some(key)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// How tokens are signed with it here.
    pub fn algorithm(&self) -> Algorithm {
        match self.kind {
            Kind::Rsa => Algorithm::Rs256,
            Kind::Curve(algorithm) => algorithm,
        }
    }

    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        use Algorithm::{Es256, Es384, Es512};
        let fits = match self.kind {
            Kind::Rsa => !matches!(algorithm, Es256 | Es384 | Es512),
            Kind::Curve(own) => own == algorithm,
        };
        let key = UnparsedPublicKey::new(algorithm.verification(), &self.der);
        fits && key.verify(message, signature).is_ok()
    }
}

/// The algorithm of the curve with coordinates of so many bytes.
fn curve(bytes: usize) -> Option<Algorithm> {
    match bytes {
        32 => Some(Algorithm::Es256),
        48 => Some(Algorithm::Es384),
        66 => Some(Algorithm::Es512),
        _ => None,
    }
}

// === impl SigningKey ===

impl SigningKey {
    /// A new one, for as long as nobody needs it again.
    pub fn generate() -> SigningKey {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING);
        SigningKey::of(Pair::Curve(pair.expect("a key"))).expect("a curve we know")
    }

    /// The first private key of a PEM file.
    pub fn from_pem(text: &[u8]) -> Result<SigningKey, String> {
        for pem in Pem::iter_from_buffer(text).take(KEYS_MAX) {
            let pem = pem.map_err(|error| error.to_string())?;
            if let Some(key) = SigningKey::from_der(&pem.contents) {
                return Ok(key);
            }
        }
        Err("data does not contain a valid RSA or ECDSA private key".into())
    }

    /// PKCS#8, PKCS#1 or SEC 1.
    fn from_der(der: &[u8]) -> Option<SigningKey> {
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok();
        let curves = [
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        ];
        let pkcs8 = || curves.iter().find_map(|curve| EcdsaKeyPair::from_pkcs8(curve, der).ok());
        let sec1 =
            || curves.iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok());
        let curve = || pkcs8().or_else(sec1).map(Pair::Curve);
        SigningKey::of(rsa().map(Pair::Rsa).or_else(curve)?)
    }

    fn of(pair: Pair) -> Option<SigningKey> {
        let info = match &pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Curve(pair) => pair.public_key().as_der(),
        };
        let public = PublicKey::from_info(info.ok()?.as_ref())?;
        Some(SigningKey { pair, public })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| "the key does not sign".to_owned();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signed)
                    .map_err(failed)?;
                Ok(signed)
            }
            Pair::Curve(pair) => {
                pair.sign(&random, message).map(|signed| signed.as_ref().to_vec()).map_err(failed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl SigningKey {
        pub fn generate_rsa() -> SigningKey {
            let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
            SigningKey::of(Pair::Rsa(pair)).expect("a kind we know")
        }
    }

    #[test]
    fn a_published_key_verifies_what_was_signed() {
        for key in [SigningKey::generate(), SigningKey::generate_rsa()] {
            let set = json!({ "keys": [
                key.public().to_jwk().expect("it can be shown"),
                {"kty": "oct", "k": "c2VjcmV0"},
                {"kty": "EC", "x": "AA", "y": "AA"},
                {"kty": "RSA", "use": "enc", "n": "AQ", "e": "AQAB"},
            ]});
            let keys = PublicKey::all_from_set(&set);
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0].id(), key.public().id());
            let signed = key.sign(b"hello").expect("signs");
            assert!(keys[0].verifies(key.algorithm(), b"hello", &signed));
            assert!(!keys[0].verifies(key.algorithm(), b"hullo", &signed));
            for other in ALGORITHMS.map(|(_, algorithm)| algorithm) {
                let verified = keys[0].verifies(other, b"hello", &signed);
                assert_eq!(verified, other == key.algorithm(), "{other:?}");
            }
        }
    }

    #[test]
    fn keys_are_read_from_the_files_people_have() {
        let issued = identity::Authority::root("test").expect("root");
        let leaf = issued.issue(&identity::Leaf {
            common_name: "x".into(),
            lifetime: std::time::Duration::from_secs(60),
            ..identity::Leaf::default()
        });
        let leaf = leaf.expect("issues");
        let signing = SigningKey::from_pem(leaf.key_pem.as_bytes()).expect("PKCS#8");
        let from_key = PublicKey::all_from_pem(leaf.key_pem.as_bytes()).expect("keys");
        let from_certificate = PublicKey::all_from_pem(leaf.chain_pem.as_bytes()).expect("keys");
        assert_eq!(from_key, [signing.public().clone()]);
        assert_eq!(from_certificate, from_key);
        for wrong in ["", "nothing", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
        {
            assert!(PublicKey::all_from_pem(wrong.as_bytes()).is_err(), "{wrong}");
            assert!(SigningKey::from_pem(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
