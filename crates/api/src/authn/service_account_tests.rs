//! Tokens of service accounts: what is believed of them, and what is not.

use time::Duration;

use super::*;

const API: &str = "https://kubernetes.default.svc";

fn accounts() -> Accounts {
    let signing = SigningKey::generate();
    let verifying = vec![SigningKey::generate().public().clone(), signing.public().clone()];
    Accounts {
        issuers: vec![API.into(), "https://before".into()],
        audiences: vec![API.into()],
        signing: Some(signing),
        verifying,
    }
}

fn bound() -> Bound {
    let of = |name: &str| Ref { name: name.into(), uid: format!("{name}-uid") };
    Bound {
        namespace: "shop".into(),
        account: of("till"),
        pod: Some(of("till-1")),
        node: Some(of("east-1")),
        secret: None,
        id: "an-id".into(),
    }
}

fn object(name: &str) -> Option<Value> {
    Some(json!({"metadata": {"name": name, "uid": format!("{name}-uid")}}))
}

fn live() -> Live {
    Live { account: object("till"), pod: object("till-1"), ..Live::default() }
}

fn issue(accounts: &Accounts, audiences: &[String], expiration_s: i64) -> String {
    let wanted = Wanted { bound: bound(), audiences, expiration_s };
    accounts.issue(&wanted, object::now()).expect("signs").0
}

fn check(accounts: &Accounts, token: &str, now: OffsetDateTime) -> Result<Caller, String> {
    let token = Token::parse(token).expect("well formed");
    assert!(accounts.claims(&token));
    let (bound, _) = accounts.verify(&token, now, &accounts.audiences)?;
    bound.caller(&live(), now)
}

#[test]
fn an_issued_token_says_who_asks_and_from_which_pod() {
    let accounts = accounts();
    let token = issue(&accounts, &accounts.audiences, 600);
    let caller = check(&accounts, &token, object::now()).expect("believed");
    assert_eq!(caller.name, "system:serviceaccount:shop:till");
    assert_eq!(caller.uid, "till-uid");
    assert_eq!(
        caller.groups,
        ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]
    );
    let extra: Vec<String> =
        caller.extra.iter().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
    assert_eq!(
        extra,
        [
            "authentication.kubernetes.io/credential-id=JTI=an-id",
            "authentication.kubernetes.io/node-name=east-1",
            "authentication.kubernetes.io/node-uid=east-1-uid",
            "authentication.kubernetes.io/pod-name=till-1",
            "authentication.kubernetes.io/pod-uid=till-1-uid",
        ]
    );
}

#[test]
fn a_token_ends_and_is_for_its_audience_and_of_our_keys() {
    let accounts = accounts();
    let token = issue(&accounts, &accounts.audiences, 600);
    let now = object::now();
    assert!(check(&accounts, &token, now + Duration::seconds(650)).is_ok(), "clocks differ");
    assert!(check(&accounts, &token, now + Duration::seconds(670)).is_err());
    assert!(check(&accounts, &token, now - Duration::seconds(90)).is_err());
    let other = issue(&accounts, &["vault".to_owned()], 600);
    assert!(check(&accounts, &other, now).expect_err("refused").contains("vault"));
    let parsed = Token::parse(&other).expect("well formed");
    let wanted = ["x".to_owned(), "vault".to_owned()];
    assert_eq!(accounts.verify(&parsed, now, &wanted).expect("meant").1, ["vault"]);
    let strangers = self::accounts();
    assert!(check(&accounts, &issue(&strangers, &accounts.audiences, 600), now).is_err());
}

#[test]
fn a_token_falls_with_what_it_is_bound_to() {
    let now = object::now();
    let refused = |live: Live| assert!(bound().caller(&live, now).is_err());
    refused(Live::default());
    refused(Live { pod: None, ..live() });
    refused(Live { pod: Some(json!({"metadata": {"uid": "another"}})), ..live() });
    refused(Live { account: object("other"), ..live() });
    let mut going = live();
    let set = |live: &mut Live, at: OffsetDateTime| {
        let pod = live.pod.as_mut().expect("there");
        pod["metadata"]["deletionTimestamp"] = object::timestamp(at).into();
    };
    set(&mut going, now + Duration::seconds(30));
    assert!(bound().caller(&going, now).is_ok(), "its grace is not over");
    set(&mut going, now - Duration::seconds(90));
    refused(going);
    let on_node = Bound { pod: None, ..bound() };
    assert!(on_node.caller(&live(), now).is_err());
    assert!(on_node.caller(&Live { node: object("east-1"), ..live() }, now).is_ok());
}

#[test]
fn a_pod_that_does_not_read_again_gets_a_year_and_is_told_an_hour() {
    let accounts = accounts();
    let now = object::now();
    let wanted =
        Wanted { bound: bound(), audiences: &accounts.audiences, expiration_s: WARNED_AFTER_S };
    let (token, ends) = accounts.issue(&wanted, now).expect("signs");
    assert_eq!(ends, now + Duration::seconds(WARNED_AFTER_S));
    let claims = Token::parse(&token).expect("well formed").claims;
    assert_eq!(claims["exp"], now.unix_timestamp() + EXTENDED_S);
    assert_eq!(claims["kubernetes.io"]["warnafter"], now.unix_timestamp() + WARNED_AFTER_S);
}

#[test]
fn claims_of_any_shape_are_tolerated() {
    for claims in [
        json!({}),
        json!({"kubernetes.io": 7, "exp": "soon"}),
        json!({"exp": -1e300, "nbf": 1e300, "aud": {"a": 1}}),
        json!({"kubernetes.io": {"namespace": "a", "serviceaccount": []}, "sub": "x"}),
        json!({
            "kubernetes.io": {"namespace": "a", "serviceaccount": {"name": "b"}},
            "sub": "system:serviceaccount:a:c",
        }),
    ] {
        assert!(Bound::of(&claims).is_err(), "{claims}");
        assert!(check_times(&claims, 0).is_err(), "{claims}");
        let _ = audiences(&claims);
    }
}
