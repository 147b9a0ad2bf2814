//! Addresses and networks. Of an IPv6 address no zone and no embedded IPv4
//! address is taken: both have more than one way to be written.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::{Apply, LibraryValue};
use crate::error::EvalError;
use crate::value::Value;

pub const SIGNATURES: &str = "
    ip(string) -> ip
    isIP(string) -> bool
    ip.isCanonical(string) -> bool
    ip . family() -> int
    ip . isUnspecified() -> bool
    ip . isLoopback() -> bool
    ip . isLinkLocalMulticast() -> bool
    ip . isLinkLocalUnicast() -> bool
    ip . isGlobalUnicast() -> bool
    cidr(string) -> cidr
    isCIDR(string) -> bool
    cidr . containsIP(string) -> bool
    cidr . containsIP(ip) -> bool
    cidr . containsCIDR(string) -> bool
    cidr . containsCIDR(cidr) -> bool
    cidr . ip() -> ip
    cidr . prefixLength() -> int
    cidr . masked() -> cidr
";

/// An address, and how many of its bits are the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "ip" => |_, args| match args {
            [Value::Text(text)] => Ok(Value::library(LibraryValue::Ip(parse_ip(text)?))),
            [Value::Library(value)] => match **value {
                LibraryValue::Cidr(cidr) => Ok(Value::library(LibraryValue::Ip(cidr.address))),
                _ => Err(EvalError::no_such_overload()),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        "isIP" => |_, args| text(args, |text| Ok(parse_ip(text).is_ok())),
        "ip.isCanonical" => |_, args| text(args, |text| Ok(parse_ip(text)?.to_string() == *text)),
        "family" => |_, args| match address(args)? {
            IpAddr::V4(_) => Ok(Value::Int(4)),
            IpAddr::V6(_) => Ok(Value::Int(6)),
        },
        "isUnspecified" => |_, args| Ok(Value::Bool(address(args)?.is_unspecified())),
        "isLoopback" => |_, args| Ok(Value::Bool(address(args)?.is_loopback())),
        "isLinkLocalMulticast" => {
            |_, args| Ok(Value::Bool(is_link_local_multicast(address(args)?)))
        }
        "isLinkLocalUnicast" => |_, args| Ok(Value::Bool(is_link_local(address(args)?))),
        "isGlobalUnicast" => |_, args| Ok(Value::Bool(is_global(address(args)?))),
        "cidr" => |_, args| match args {
            [Value::Text(text)] => Ok(Value::library(LibraryValue::Cidr(parse_cidr(text)?))),
            _ => Err(EvalError::no_such_overload()),
        },
        "isCIDR" => |_, args| text(args, |text| Ok(parse_cidr(text).is_ok())),
        "containsIP" => |_, args| {
            let (cidr, other) = network(args)?;
            let address = match other {
                [Value::Text(text)] => parse_ip(text)?,
                other => address(other)?,
            };
            Ok(Value::Bool(cidr.contains(address)))
        },
        "containsCIDR" => |_, args| {
            let (cidr, other) = network(args)?;
            let other = match other {
                [Value::Text(text)] => parse_cidr(text)?,
                other => network(other)?.0,
            };
            Ok(Value::Bool(cidr.bits <= other.bits && cidr.contains(other.address)))
        },
        "prefixLength" => |_, args| Ok(Value::Int(network(args)?.0.bits.into())),
        "masked" => |_, args| Ok(Value::library(LibraryValue::Cidr(network(args)?.0.masked()))),
        _ => return None,
    })
}

fn text<'a>(
    args: &[Value<'a>],
    is: fn(&str) -> Result<bool, EvalError>,
) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Text(text)] => Ok(Value::Bool(is(text)?)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn address(args: &[Value<'_>]) -> Result<IpAddr, EvalError> {
    match args {
        [Value::Library(value)] => match **value {
            LibraryValue::Ip(address) => Ok(address),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The network, and the further arguments.
fn network<'v, 'a>(args: &'v [Value<'a>]) -> Result<(Cidr, &'v [Value<'a>]), EvalError> {
    match args {
        [Value::Library(value), rest @ ..] => match **value {
            LibraryValue::Cidr(cidr) => Ok((cidr, rest)),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let address = text.split('%').next().unwrap_or(text).parse();
    match address {
        Ok(IpAddr::V6(_)) if text.contains('%') => {
            Err(EvalError::new(format!("IP address \"{text}\" with zone value is not allowed")))
        }
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => Err(mapped(text)),
        Ok(address) if !text.contains('%') => Ok(address),
        _ => Err(EvalError::new(format!(
            "IP Address \"{text}\" parse error during conversion from string: ParseAddr(\"{text}\"): {}",
            why_no_address(text)
        ))),
    }
}

/// What is wrong with an address of version 4; of the other one only that it
/// is none.
fn why_no_address(text: &str) -> String {
    const NONE: &str = "unable to parse IP";
    match text.find(['.', ':']) {
        Some(at) if text[at..].starts_with('.') => {}
        _ => return NONE.into(),
    }
    let (mut field, mut digits, mut fields) = (0, 0, 0);
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        match c {
            '0'..='9' if digits == 1 && field == 0 => {
                return "IPv4 field has octet with leading zero".into();
            }
            '0'..='9' => {
                field = field * 10 + u32::from(c as u8 - b'0');
                digits += 1;
                if field > 255 {
                    return "IPv4 field has value >255".into();
                }
            }
            '.' if digits == 0 || at + 1 == text.len() => {
                return format!("IPv4 field must have at least one digit (at {rest:?})");
            }
            '.' if fields == 3 => return "IPv4 address too long".into(),
            '.' => (field, digits, fields) = (0, 0, fields + 1),
            _ => return format!("unexpected character (at {rest:?})"),
        }
    }
    if fields < 3 { "IPv4 address too short".into() } else { NONE.into() }
}

fn mapped(text: &str) -> EvalError {
    EvalError::new(format!("IPv4-mapped IPv6 address \"{text}\" is not allowed"))
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    let wrong = |why: &str| {
        EvalError::new(format!(
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix(\"{text}\"): {why}"
        ))
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let address: IpAddr = address
        .parse()
        .map_err(|_| wrong(&format!("ParseAddr(\"{address}\"): {}", why_no_address(address))))?;
    let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || bits.is_empty() || (bits.len() > 1 && bits.starts_with('0')) {
        return Err(wrong(&format!("bad bits after slash: \"{bits}\"")));
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most);
    let bits = bits.ok_or_else(|| wrong("prefix length out of range"))?;
    match address {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err(EvalError::new(format!(
            "network address parse error during conversion from string: IPv4-mapped IPv6 address \"{text}\" is not allowed"
        ))),
        address => Ok(Cidr { address, bits }),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_global(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local(address))
}

// === impl Cidr ===

impl Cidr {
    pub(super) fn size(self) -> u64 {
        u64::from(self.bits).div_ceil(8)
    }

    fn masked(self) -> Cidr {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
            }
        };
        Cidr { address, ..self }
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Cidr { address, ..self }.masked() == self.masked()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
