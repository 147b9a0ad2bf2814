//! From cuts to a script for nft. Pure.

use std::net::Ipv4Addr;

use anyhow::Context;

use crate::{
    layout::Layout,
    subnet::Subnet,
    up::fault::{Cut, Direction, STORE, USERS},
};

/// No rules at all, whatever there were.
pub fn none(subnet: Subnet) -> String {
    // Made if absent, since only what is there can be deleted.
    format!("table bridge {subnet} {{}}\ndelete table bridge {subnet}\n")
}

/// Exactly these.
pub fn all(layout: &Layout, subnet: Subnet, cuts: &[Cut]) -> anyhow::Result<String> {
    let mut script = none(subnet);
    if cuts.is_empty() {
        return Ok(script);
    }
    script.push_str(&format!("table bridge {subnet} {{\n  chain faults {{\n"));
    for cut in cuts {
        for rule in rules(layout, subnet, cut)? {
            script.push_str(&format!("    {rule}\n"));
        }
    }
    script.push_str("  }\n");
    // Between centers, to the machine itself, and from it.
    for hook in ["forward", "input", "output"] {
        let base = format!("type filter hook {hook} priority 0; jump faults;");
        script.push_str(&format!("  chain {hook} {{ {base} }}\n"));
    }
    script.push_str("}\n");
    Ok(script)
}

fn rules(layout: &Layout, subnet: Subnet, cut: &Cut) -> anyhow::Result<Vec<String>> {
    let address = |name: &String| address(layout, subnet, name);
    let hit = set(&cut.centers.iter().map(address).collect::<anyhow::Result<Vec<_>>>()?);
    let peers = cut.peers.iter().map(address).collect::<anyhow::Result<Vec<_>>>()?;
    let peers = if peers.is_empty() { format!("!= {hit}") } else { set(&peers) };
    let chance = match cut.loss_per_mille {
        1000.. => String::new(),
        loss => format!("numgen random mod 1000 < {loss} "),
    };
    let out = format!("ip saddr {hit} ip daddr {peers} {chance}drop");
    let to = format!("ip saddr {peers} ip daddr {hit} {chance}drop");
    Ok(match cut.direction {
        Direction::Both => vec![out, to],
        Direction::Out => vec![out],
        Direction::In => vec![to],
    })
}

pub fn address(layout: &Layout, subnet: Subnet, name: &str) -> anyhow::Result<Ipv4Addr> {
    match name {
        STORE => return Ok(subnet.store()),
        USERS => return Ok(subnet.host()),
        _ => {}
    }
    let center = layout.centers.iter().find(|plan| plan.center.as_str() == name);
    let center = center.with_context(|| format!("{name:?} is no center of this estate"))?;
    Ok(center.address)
}

fn set(addresses: &[Ipv4Addr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(Ipv4Addr::to_string).collect();
    format!("{{ {} }}", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LayoutName;

    fn check(cut: Cut, expected: &[&str]) {
        let subnet = Subnet::all().nth(6).expect("the seventh");
        let layout = Layout::new(LayoutName::TwoTwoOne, 7400, Some(subnet));
        assert_eq!(rules(&layout, subnet, &cut).expect("rules"), expected);
    }

    fn cut(centers: &[&str], peers: &[&str], direction: Direction, loss_per_mille: u16) -> Cut {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Cut { centers: names(centers), peers: names(peers), direction, loss_per_mille }
    }

    #[test]
    fn a_silent_city_still_hears_itself() {
        check(
            cut(&["east-1", "east-2"], &[], Direction::Both, 1000),
            &[
                "ip saddr { 198.18.7.10, 198.18.7.11 } ip daddr != { 198.18.7.10, 198.18.7.11 } drop",
                "ip saddr != { 198.18.7.10, 198.18.7.11 } ip daddr { 198.18.7.10, 198.18.7.11 } drop",
            ],
        );
    }

    #[test]
    fn a_link_is_cut_one_way_and_a_bad_one_loses_some() {
        check(
            cut(&["west-1"], &["store"], Direction::Out, 1000),
            &["ip saddr { 198.18.7.14 } ip daddr { 198.18.7.2 } drop"],
        );
        check(
            cut(&["west-1"], &["users"], Direction::In, 50),
            &["ip saddr { 198.18.7.1 } ip daddr { 198.18.7.14 } numgen random mod 1000 < 50 drop"],
        );
    }

    #[test]
    fn without_cuts_there_is_no_table() {
        let subnet = Subnet::all().next().expect("the first");
        let layout = Layout::new(LayoutName::One, 7400, Some(subnet));
        assert_eq!(all(&layout, subnet, &[]).expect("a script"), none(subnet));
    }
}
