//! Addresses of services: the networks they come from, and who has which.

use std::net::{IpAddr, Ipv4Addr};

use resources::FieldError;
use serde_json::Value;

use super::check::{Check, at, len, some, text, texts};
use crate::{names, object, resource::Rules};

pub const NETWORK: Rules = Rules { validate: validate_network, ..Rules::NONE };
pub const ADDRESS: Rules = Rules { validate: validate_address, ..Rules::NONE };

/// One of each family.
const NETWORKS_MAX: usize = 2;

fn validate_network(network: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(network, "spec"));
    let count = len(spec, "cidrs");
    if count == 0 {
        check.required(format_args!("spec.cidrs"), "at least one CIDR required");
    }
    if count > NETWORKS_MAX {
        let detail = format!("may only hold up to {NETWORKS_MAX} values");
        check.invalid(format_args!("spec.cidrs"), spec.clone(), detail);
        return check.into_errors();
    }
    let mut families = Vec::new();
    for (index, written) in texts(spec, "cidrs") {
        match parse(written) {
            Ok(address) => families.push(address.is_ipv4()),
            Err(why) => check.invalid(format_args!("spec.cidrs[{index}]"), written, why),
        }
    }
    if families.len() == NETWORKS_MAX && families[0] == families[1] {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and \
                      2001:db8::/64";
        check.invalid(format_args!("spec.cidrs"), at(spec, "cidrs").clone(), detail);
    }
    check.into_errors()
}

fn parse(written: &str) -> Result<IpAddr, &'static str> {
    const WRONG: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let (address, length) = written.split_once('/').ok_or(WRONG)?;
    let (address, length) =
        (address.parse::<IpAddr>().ok(), length.parse::<u32>().ok().filter(|it| *it <= 128));
    let (Some(address), Some(length)) = (address, length) else { return Err(WRONG) };
    let (bits, width) = match address {
        IpAddr::V4(four) => (u128::from(u32::from(four)), Ipv4Addr::BITS),
        IpAddr::V6(six) => (u128::from(six), 128),
    };
    if length > width {
        return Err(WRONG);
    }
    // All of a network of no length is beyond it.
    let beyond = match width - length {
        128 => u128::MAX,
        free => (1 << free) - 1,
    };
    if bits & beyond != 0 {
        return Err("must not have bits set beyond the prefix length");
    }
    Ok(address)
}

fn validate_address(address: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let name = object::name(address);
    if name.parse::<IpAddr>().is_err() {
        let zeros = name.split('.').any(|part| part.len() > 1 && part.starts_with('0'));
        let detail = match zeros {
            true => "must not have leading 0s",
            false => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        };
        check.invalid(format_args!("metadata.name"), name, detail);
    }
    let Some(parent) = some(at(address, "spec"), "parentRef") else {
        check.required(format_args!("spec.parentRef"), "");
        return check.into_errors();
    };
    let path = format_args!("spec.parentRef");
    check.optional(format_args!("{path}.group"), text(parent, "group"), names::subdomain);
    check.named(format_args!("{path}.resource"), text(parent, "resource"), names::segment);
    check.named(format_args!("{path}.name"), text(parent, "name"), names::segment);
    check.optional(format_args!("{path}.namespace"), text(parent, "namespace"), names::segment);
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_network_has_one_range_of_each_family() {
        let check = |cidrs: Value, expected: &str| {
            let errors = said(&validate_network(&json!({"spec": {"cidrs": cidrs}})));
            assert!(errors.concat().contains(expected), "{cidrs}: {errors:?}");
            assert_eq!(errors.is_empty(), expected.is_empty(), "{cidrs}: {errors:?}");
        };
        check(json!(["10.0.0.0/24", "fd00::/64"]), "");
        check(json!(["0.0.0.0/0", "::/0"]), "");
        check(json!([]), "at least one CIDR required");
        check(json!(["10.0.0.0/33"]), "must be a valid CIDR value");
        check(json!(["10.0.0.0"]), "must be a valid CIDR value");
        check(json!(["10.0.0.1/24"]), "must not have bits set beyond the prefix length");
        check(json!(["10.0.0.0/24", "10.1.0.0/24"]), "no more than one IP for each IP family");
        check(json!(["10.0.0.0/24", "x", "y"]), "may only hold up to 2 values");
    }

    #[test]
    fn an_address_is_named_by_itself_and_says_whose_it_is() {
        let of = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let service = json!({"parentRef": {"resource": "services", "name": "a", "namespace": "b"}});
        assert!(validate_address(&of("10.0.0.7", service.clone())).is_empty());
        let errors = said(&validate_address(&of("10.0.0.07", service)));
        assert!(errors[0].ends_with("must not have leading 0s"), "{errors:?}");
        assert_eq!(validate_address(&of("x", json!({}))).len(), 2);
        let errors = said(&validate_address(&of("::1", json!({"parentRef": {"name": "a"}}))));
        assert_eq!(errors, ["spec.parentRef.resource: Required value"]);
    }
}
