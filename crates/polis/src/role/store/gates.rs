//! etcd's `--feature-gates`: `NAME=true,NAME=false`.

/// One of them, and whether it is to be on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    name: String,
    on: bool,
}

const INITIAL_CORRUPT_CHECK: &str = "InitialCorruptCheck";

pub fn parse(text: &str) -> Result<Gate, String> {
    let wrong = || format!("{text:?} is no feature gate: write NAME=true or NAME=false");
    let (name, on) = text.split_once('=').ok_or_else(wrong)?;
    let on = on.parse().map_err(|_| wrong())?;
    Ok(Gate { name: name.to_owned(), on })
}

/// Whether it is on. The others turn on what we have always or not at all.
pub fn initial_corrupt_check(gates: &[Gate]) -> bool {
    for gate in gates.iter().filter(|gate| gate.name != INITIAL_CORRUPT_CHECK) {
        tracing::warn!(gate = gate.name, "--feature-gates: this one means nothing here");
    }
    let last = gates.iter().rfind(|gate| gate.name == INITIAL_CORRUPT_CHECK);
    last.is_some_and(|gate| gate.on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_as_etcd_reads_them() {
        let gates = |text: &str| text.split(',').map(parse).collect::<Result<Vec<_>, _>>();
        let on = |text| initial_corrupt_check(&gates(text).expect("gates"));
        assert!(on("LeaseCheckpoint=true,InitialCorruptCheck=true"));
        assert!(!on("InitialCorruptCheck=false"));
        assert!(!on("CompactHashCheck=true"));
        assert!(gates("InitialCorruptCheck").is_err());
        assert!(gates("InitialCorruptCheck=perhaps").is_err());
    }
}
