//! Addresses behind Services: slices of them, and the older form.

use std::{collections::HashSet, fmt::Arguments};

use resources::FieldError;
use serde_json::Value;

use super::check::{Check, at, int, ip, len, list, port_name, some, text, texts};
use crate::{names, resource::Rules};

pub const SLICE: Rules =
    Rules { validate: validate_slice, validate_update: update_slice, ..Rules::NONE };

pub const ENDPOINTS: Rules = Rules { validate: validate_endpoints, ..Rules::NONE };

/// Kubernetes' bounds on one slice.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

fn validate_slice(slice: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let kind = text(slice, "addressType");
    check.one_of(format_args!("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let too_many = |check: &mut Check, path: Arguments<'_>, count: usize, max: usize| {
        if count > max {
            check.add(FieldError::too_many(path.to_string(), count, max as u64));
        }
    };
    too_many(&mut check, format_args!("endpoints"), len(slice, "endpoints"), ENDPOINTS_MAX);
    too_many(&mut check, format_args!("ports"), len(slice, "ports"), PORTS_MAX);
    for (index, endpoint) in list(slice, "endpoints").take(ENDPOINTS_MAX) {
        let path = format_args!("endpoints[{index}]");
        let count = len(endpoint, "addresses");
        if count == 0 {
            let detail = "must contain at least 1 address";
            check.required(format_args!("{path}.addresses"), detail);
        }
        too_many(&mut check, format_args!("{path}.addresses"), count, ADDRESSES_MAX);
        for (index, address) in texts(endpoint, "addresses").take(ADDRESSES_MAX) {
            let rule = match kind {
                "IPv4" => ipv4,
                "IPv6" => ipv6,
                _ => names::subdomain,
            };
            check.named(format_args!("{path}.addresses[{index}]"), address, rule);
        }
        for field in ["nodeName", "zone"] {
            let rule = if field == "zone" { names::label_value } else { names::subdomain };
            check.optional(format_args!("{path}.{field}"), text(endpoint, field), rule);
        }
        check.optional(format_args!("{path}.hostname"), text(endpoint, "hostname"), names::label);
    }
    let mut seen = HashSet::new();
    for (index, port) in list(slice, "ports").take(PORTS_MAX) {
        let path = format_args!("ports[{index}]");
        let name = text(port, "name");
        check.optional(format_args!("{path}.name"), name, names::label);
        if !seen.insert(name) {
            check.duplicate(format_args!("{path}.name"), name);
        }
        check.any_of(format_args!("{path}.protocol"), text(port, "protocol"), &PROTOCOLS);
        if let Some(number) = int(port, "port") {
            check.in_range(format_args!("{path}.port"), number, 0, 65_535);
        }
        let app = text(port, "appProtocol");
        check.optional(format_args!("{path}.appProtocol"), app, names::label_key);
    }
    check.into_errors()
}

fn ipv4(text: &str) -> Option<String> {
    let wrong = "must be an IPv4 address";
    text.parse::<std::net::Ipv4Addr>().is_err().then(|| wrong.to_owned())
}

fn ipv6(text: &str) -> Option<String> {
    let wrong = "must be an IPv6 address";
    text.parse::<std::net::Ipv6Addr>().is_err().then(|| wrong.to_owned())
}

fn update_slice(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.unchanged(format_args!("addressType"), at(new, "addressType"), at(old, "addressType"));
    check.into_errors()
}

fn validate_endpoints(endpoints: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    for (index, subset) in list(endpoints, "subsets") {
        let path = format_args!("subsets[{index}]");
        let parts = ["addresses", "notReadyAddresses"];
        if parts.iter().all(|part| len(subset, part) == 0) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            check.required(path, detail);
        }
        for part in parts {
            for (index, address) in list(subset, part) {
                let path = format_args!("{path}.{part}[{index}]");
                address_of(&mut check, path, address);
            }
        }
        let several = len(subset, "ports") > 1;
        for (index, port) in list(subset, "ports") {
            let path = format_args!("{path}.ports[{index}]");
            let name = text(port, "name");
            if name.is_empty() && several {
                check.required(format_args!("{path}.name"), "");
            }
            let rule = if several { names::label } else { port_name_or_label };
            check.optional(format_args!("{path}.name"), name, rule);
            check.port(format_args!("{path}.port"), int(port, "port").unwrap_or(0));
            check.one_of(format_args!("{path}.protocol"), text(port, "protocol"), &PROTOCOLS);
        }
    }
    check.into_errors()
}

fn port_name_or_label(name: &str) -> Option<String> {
    port_name(name).and_then(|_| names::label(name))
}

fn address_of(check: &mut Check, path: Arguments<'_>, address: &Value) {
    let own = text(address, "ip");
    check.named(format_args!("{path}.ip"), own, ip);
    let Ok(parsed) = own.parse::<std::net::IpAddr>() else { return };
    let path = format_args!("{path}.ip");
    let mut refuse = |what: &str| check.invalid(path, own, what);
    if parsed.is_unspecified() {
        refuse("may not be unspecified (0.0.0.0 or ::)");
    } else if parsed.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    } else if parsed.is_multicast() {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    } else if matches!(parsed, std::net::IpAddr::V4(it) if it.is_link_local()) {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    let host = some(address, "hostname").and_then(Value::as_str).unwrap_or_default();
    check.optional(path, host, names::label);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_is_of_one_sort() {
        let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
            "ports": [{"name": "", "protocol": "TCP", "port": 80}]});
        assert!(validate_slice(&slice).is_empty() && update_slice(&slice, &slice).is_empty());
        let mut other = slice.clone();
        other["addressType"] = "IPv6".into();
        assert_eq!(
            validate_slice(&other)[0].to_string(),
            "endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"
        );
        assert_eq!(update_slice(&other, &slice).len(), 1);
        other["endpoints"] = vec![json!({}); ENDPOINTS_MAX + 1].into();
        assert!(validate_slice(&other)[0].to_string().starts_with("endpoints: Too many: 1001"));
    }

    #[test]
    fn nobody_is_sent_to_himself() {
        let at = |ip: &str| {
            let subset =
                json!({"addresses": [{"ip": ip}], "ports": [{"port": 80, "protocol": "TCP"}]});
            validate_endpoints(&json!({"subsets": [subset]}))
        };
        assert!(at("10.0.0.1").is_empty());
        assert_eq!((at("127.0.0.1").len(), at("0.0.0.0").len(), at("x").len()), (1, 1, 1));
    }
}
