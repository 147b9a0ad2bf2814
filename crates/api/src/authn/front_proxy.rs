//! Proxies that say who asks, in headers. They are believed by their own
//! certificate, from an authority of its own.

use http::HeaderMap;

use crate::{
    caller::{Caller, Extra},
    request::query,
    settings,
};

/// As kube-apiserver's `--requestheader-*` flags.
#[derive(Clone, Debug, Default)]
pub struct FrontProxy {
    /// Common names that are believed; empty for any below the authority.
    pub allowed_names: Vec<String>,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

// === impl FrontProxy ===

impl FrontProxy {
    pub fn new(settings: &settings::FrontProxy) -> FrontProxy {
        FrontProxy {
            allowed_names: settings.allowed_names.clone(),
            username_headers: settings.username_headers.clone(),
            uid_headers: settings.uid_headers.clone(),
            group_headers: settings.group_headers.clone(),
            extra_prefixes: settings.extra_header_prefixes.clone(),
        }
    }

    pub fn allows(&self, common_name: &str) -> bool {
        self.allowed_names.is_empty() || self.allowed_names.iter().any(|own| own == common_name)
    }

    /// None when no user is named: then the request is the proxy's own.
    pub fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let all = |names: &[String]| -> Vec<String> {
            let values = names.iter().flat_map(|name| headers.get_all(name.as_str()));
            values.map(text).filter(|value| !value.is_empty()).collect()
        };
        let user = all(&self.username_headers).into_iter().next()?;
        let mut extra = Extra::new();
        for prefix in &self.extra_prefixes {
            let prefix = prefix.to_lowercase();
            for (name, value) in headers {
                let Some(key) = name.as_str().strip_prefix(&*prefix) else { continue };
                let key = query::decode(key, false).unwrap_or_else(|| key.to_owned());
                extra.entry(key.to_lowercase()).or_default().push(text(value));
            }
        }
        let uid = all(&self.uid_headers).into_iter().next().unwrap_or_default();
        Some(Caller::user(user, all(&self.group_headers)).with_uid(uid).with_extra(extra))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_who_asks() {
        let proxy = FrontProxy {
            allowed_names: vec!["front".into()],
            username_headers: vec!["X-Remote-User".into()],
            group_headers: vec!["X-Remote-Group".into()],
            extra_prefixes: vec!["X-Remote-Extra-".into()],
            ..FrontProxy::default()
        };
        let header = |name: &'static str, value: &'static str| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        let headers = HeaderMap::from_iter([
            header("x-remote-user", "ann"),
            header("x-remote-group", "dev"),
            header("x-remote-extra-scopes", "view"),
        ]);
        let caller = proxy.caller(&headers).expect("named");
        assert_eq!(caller.name, "ann");
        assert_eq!(caller.groups, ["dev", "system:authenticated"]);
        assert_eq!(caller.extra["scopes"], ["view"]);
        assert_eq!(proxy.caller(&HeaderMap::new()), None);
        assert!(proxy.allows("front") && !proxy.allows("back"));
    }
}
