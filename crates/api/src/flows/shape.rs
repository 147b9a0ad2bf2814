//! What a PriorityLevelConfiguration says (`flowcontrol.apiserver.k8s.io/v1`).

use serde_json::Value;

use super::dealer;

/// More queues than this keep flows no better apart: two hands of four out of
/// so many are the same once in 10¹⁴. The API allows ten million, each of which
/// would cost memory.
const QUEUES_MAX: usize = 8192;

/// Longest queue, the API has no bound; a request that waits costs a few KiB.
const LENGTH_MAX: usize = 10_000;

/// How requests wait. Without queues none does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub queues: usize,
    pub hand: usize,
    pub length_max: usize,
}

/// A level as it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Nothing is counted.
    pub exempt: bool,
    pub shares: u64,
    pub lendable_percent: u64,
    /// None: as much as there is.
    pub borrowing_percent: Option<u64>,
    pub shape: Shape,
}

// === impl Shape ===

impl Shape {
    pub const NONE: Shape = Shape { queues: 0, hand: 0, length_max: 0 };

    fn of(queuing: &Value) -> Option<Shape> {
        let number = |field: &str, default: u64| {
            let given = queuing.get(field).filter(|given| !given.is_null());
            given.map_or(Some(default), Value::as_u64).and_then(|n| usize::try_from(n).ok())
        };
        let (queues, hand) = (number("queues", 64)?, number("handSize", 8)?);
        let length_max = number("queueLengthLimit", 50)?.min(LENGTH_MAX);
        let dealt = hand >= 1 && hand <= queues;
        let fits = dealt && dealer::bits(queues, hand) <= dealer::HASH_BITS_MAX;
        fits.then_some(Shape { queues: queues.min(QUEUES_MAX), hand, length_max })
    }
}

// === impl Spec ===

impl Spec {
    /// None when it makes no sense: such a level is as if it were not there.
    pub fn of(level: &Value) -> Option<Spec> {
        let spec = level.get("spec")?;
        let number = |from: &Value, field: &str| from.get(field).and_then(Value::as_u64);
        let exempt = match spec.get("type")?.as_str()? {
            "Exempt" => true,
            "Limited" => false,
            _ => return None,
        };
        let part = if exempt { spec.get("exempt") } else { spec.get("limited") };
        let part = part.unwrap_or(&Value::Null);
        let response = part.get("limitResponse").unwrap_or(&Value::Null);
        let shape = match response.get("type").and_then(Value::as_str) {
            _ if exempt => Shape::NONE,
            Some("Reject") => Shape::NONE,
            Some("Queue") => Shape::of(response.get("queuing").unwrap_or(&Value::Null))?,
            _ => return None,
        };
        Some(Spec {
            exempt,
            shares: number(part, "nominalConcurrencyShares").unwrap_or(if exempt { 0 } else { 30 }),
            lendable_percent: number(part, "lendablePercent").unwrap_or(0).min(100),
            borrowing_percent: number(part, "borrowingLimitPercent"),
            shape,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_level_has_what_was_said_and_defaults() {
        let of = |spec: Value| Spec::of(&json!({ "spec": spec }));
        let queue = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}});
        let spec = of(queue).expect("whole");
        assert_eq!(spec.shape, Shape { queues: 64, hand: 8, length_max: 50 });
        assert_eq!((spec.shares, spec.lendable_percent, spec.borrowing_percent), (30, 0, None));
        let exempt = of(json!({"type": "Exempt"})).expect("whole");
        assert!(exempt.exempt && exempt.shares == 0);
        for wrong in [
            json!({}),
            json!({"type": "Limited"}),
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
                "queuing": {"queues": 4, "handSize": 5}}}}),
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
                "queuing": {"queues": 128, "handSize": 9}}}}),
        ] {
            assert_eq!(of(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_level_may_cost_is_bounded() {
        let many = json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
            "queuing": {"queues": 10_000_000, "handSize": 2, "queueLengthLimit": 2_000_000_000}}}}});
        let shape = Spec::of(&many).expect("allowed").shape;
        assert_eq!((shape.queues, shape.length_max), (QUEUES_MAX, LENGTH_MAX));
    }
}
