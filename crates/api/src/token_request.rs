//! `serviceaccounts/NAME/token`: a token for whoever may have one.

use resources::FieldError;
use serde_json::{Value, json};

use crate::{
    admission::Part,
    authn::service_account::{
        Accounts, Bound, EXPIRATION_S_DEFAULT, EXPIRATION_S_MAX, EXPIRATION_S_MIN, Ref, Wanted,
    },
    cluster::Cluster,
    failure::Failure,
    object, stored,
};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

/// What webhooks are asked about.
pub const PART: Part = Part { group: GROUP, version: "v1", kind: KIND };

/// The answer is the request, its status filled in.
pub async fn issue(
    accounts: &Accounts,
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    request: &Value,
) -> Result<Value, Failure> {
    let spec = request.get("spec").unwrap_or(&Value::Null);
    let expiration_s = expiration(spec)?;
    let account = stored::get(cluster, stored::SERVICE_ACCOUNTS, namespace, name).await?;
    let account = account.ok_or_else(|| not_found("serviceaccounts", name))?;
    let mut bound = Bound {
        namespace: namespace.to_owned(),
        account: reference(&account),
        id: uuid::Uuid::new_v4().to_string(),
        ..Bound::default()
    };
    bind(&mut bound, cluster, spec).await?;
    let asked = spec.get("audiences").and_then(Value::as_array);
    let asked: Vec<String> =
        asked.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let audiences = if asked.is_empty() { accounts.audiences.clone() } else { asked };
    let wanted = Wanted { bound, audiences: &audiences, expiration_s };
    let (token, ends) = accounts
        .issue(&wanted, object::now())
        .map_err(|why| Failure::internal(format!("failed to generate token: {why}")))?;
    let mut answer_spec = json!({
        "audiences": audiences,
        "expirationSeconds": expiration_s,
        "boundObjectRef": null,
    });
    if let Some(reference) = spec.get("boundObjectRef") {
        answer_spec["boundObjectRef"] = reference.clone();
    }
    Ok(json!({
        "kind": KIND,
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": object::timestamp(object::now()),
        },
        "spec": answer_spec,
        "status": { "token": token, "expirationTimestamp": object::timestamp(ends) },
    }))
}

fn expiration(spec: &Value) -> Result<i64, Failure> {
    let asked = match spec.get("expirationSeconds") {
        None | Some(Value::Null) => return Ok(EXPIRATION_S_DEFAULT),
        Some(asked) => asked.as_i64().unwrap_or(0),
    };
    let why = match asked {
        asked if asked < EXPIRATION_S_MIN => "may not specify a duration less than 10 minutes",
        asked if asked > EXPIRATION_S_MAX => "may not specify a duration larger than 2^32 seconds",
        asked => return Ok(asked),
    };
    let error = FieldError::invalid("spec.expirationSeconds", asked, why);
    let message = format!("{KIND}.{GROUP} \"\" is invalid: {error}");
    Err(Failure::new(http::StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        .on(GROUP, KIND, ""))
}

/// To what the request names, as it is now.
async fn bind(bound: &mut Bound, cluster: &Cluster, spec: &Value) -> Result<(), Failure> {
    let Some(asked) = spec.get("boundObjectRef").filter(|asked| asked.is_object()) else {
        return Ok(());
    };
    let text = |field: &str| asked.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind, name, uid) = (text("apiVersion"), text("kind"), text("name"), text("uid"));
    let namespace = bound.namespace.clone();
    let (prefix, plural, namespace) = match (version, kind) {
        ("v1" | "", "Pod") => (stored::PODS, "pods", namespace.as_str()),
        ("v1" | "", "Secret") => (stored::SECRETS, "secrets", namespace.as_str()),
        ("v1" | "", "Node") => (stored::NODES, "nodes", ""),
        _ => {
            let version = if version.contains('/') { version } else { &format!("/{version}") };
            return Err(Failure::bad_request(format!(
                "cannot bind token to object of type {version}, Kind={kind}"
            )));
        }
    };
    let there = stored::get(cluster, prefix, namespace, name).await?;
    let there = there.ok_or_else(|| not_found(plural, name))?;
    let reference = reference(&there);
    if !uid.is_empty() && uid != reference.uid {
        let message = format!(
            "Operation cannot be fulfilled on {kind} {name:?}: the UID in the bound object reference \
             ({uid}) does not match the UID in record. The object might have been deleted and then \
             recreated"
        );
        return Err(
            Failure::new(http::StatusCode::CONFLICT, "Conflict", message).on("", kind, name)
        );
    }
    match kind {
        "Secret" => bound.secret = Some(reference),
        "Node" => bound.node = Some(reference),
        _ => {
            let own = match object::text(&there, "/spec/serviceAccountName") {
                "" => "default",
                own => own,
            };
            if own != bound.account.name {
                return Err(Failure::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    bound.account.name
                )));
            }
            bound.pod = Some(reference);
            let node = object::text(&there, "/spec/nodeName");
            let node = stored::get(cluster, stored::NODES, "", node).await?;
            bound.node = node.as_ref().map(self::reference);
        }
    }
    Ok(())
}

fn reference(object: &Value) -> Ref {
    Ref { name: object::name(object).to_owned(), uid: object::uid(object).to_owned() }
}

fn not_found(plural: &str, name: &str) -> Failure {
    let message = format!("{plural} {name:?} not found");
    Failure::new(http::StatusCode::NOT_FOUND, "NotFound", message).on("", plural, name)
}

/// Where others find how to verify tokens: `/.well-known/openid-configuration`.
pub fn configuration(accounts: &Accounts) -> Value {
    let issuer = accounts.issuers.first().map_or("", String::as_str);
    let mut algorithms: Vec<&str> =
        accounts.verifying.iter().map(|key| key.algorithm().as_str()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{}/openid/v1/jwks", issuer.trim_end_matches('/')),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })
}

/// And with which keys: `/openid/v1/jwks`.
pub fn key_set(accounts: &Accounts) -> Value {
    let keys: Vec<Value> = accounts.verifying.iter().filter_map(|key| key.to_jwk()).collect();
    json!({ "keys": keys })
}
