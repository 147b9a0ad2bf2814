//! What a route does to the requests on it: headers, faults, limits.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::model::{self, RateBy};

/// Headers set, added and removed, in this order: removed, set, added.
#[derive(Default)]
pub(crate) struct HeaderRules {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) struct FaultRule {
    pub(crate) delay: Option<(Duration, f64)>,
    pub(crate) abort: Option<(StatusCode, f64)>,
}

/// Buckets of tokens. One atomic for all requests of a route; by key or client
/// a lock, which only such routes pay for.
pub(crate) struct RateLimit {
    pub(crate) by: RateBy,
    interval: Duration,
    burst: u32,
    whole: Bucket,
    single: Mutex<HashMap<String, Bucket>>,
}

/// The generic cell rate algorithm: when the bucket will be full again.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

/// Keys that have a bucket of their own; who comes when all are in use shares
/// one. A full bucket is forgotten.
const BUCKETS_MAX: usize = 65_536;

// === impl HeaderRules ===

impl HeaderRules {
    pub(crate) fn new(model: &model::HeaderRules) -> HeaderRules {
        let name =
            |text: &str| HeaderName::from_bytes(text.as_bytes()).expect("checked: it is a name");
        let value = |text: &str| HeaderValue::from_str(text).expect("checked: it is a value");
        let pair = |(n, v): (&toml::Spanned<String>, &toml::Spanned<String>)| {
            (name(n.get_ref()), value(v.get_ref()))
        };
        HeaderRules {
            remove: model.remove.iter().map(|text| name(text.get_ref())).collect(),
            set: model.set.iter().map(pair).collect(),
            add: model.add.iter().map(pair).collect(),
        }
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

// === impl FaultRule ===

impl FaultRule {
    pub(crate) fn new(model: &model::Fault) -> FaultRule {
        let status = |status: u16| StatusCode::from_u16(status).expect("checked: 200 to 599");
        FaultRule {
            delay: model.delay.as_ref().map(|delay| (delay.time.0, delay.percent)),
            abort: model
                .abort
                .as_ref()
                .map(|abort| (status(*abort.status.get_ref()), abort.percent)),
        }
    }
}

// === impl RateLimit ===

impl RateLimit {
    /// The one `before` if it says the same: a new version of the file, or of a
    /// certificate, fills no buckets.
    pub(crate) fn new(model: &model::RateLimit, before: Option<&Arc<RateLimit>>) -> Arc<RateLimit> {
        let new = RateLimit {
            by: model.by,
            interval: model.per.0 / model.requests,
            burst: model.burst.unwrap_or(model.requests).max(1),
            whole: Bucket::default(),
            single: Mutex::default(),
        };
        let says = |limit: &RateLimit| (limit.by, limit.interval, limit.burst);
        match before {
            Some(before) if says(before) == says(&new) => before.clone(),
            _ => Arc::new(new),
        }
    }

    /// Whether one more may go now; else when to come again.
    pub(crate) fn admit(&self, whom: Option<&str>, since: Duration) -> Result<(), Duration> {
        let Some(whom) = whom else { return self.whole.take(since, self.interval, self.burst) };
        let mut buckets = self.single.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(whom) {
            return bucket.take(since, self.interval, self.burst);
        }
        if buckets.len() >= BUCKETS_MAX {
            let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            buckets.retain(|_, bucket| bucket.0.load(Relaxed) > now);
        }
        if buckets.len() >= BUCKETS_MAX {
            return self.whole.take(since, self.interval, self.burst);
        }
        buckets.entry(whom.to_owned()).or_default().take(since, self.interval, self.burst)
    }
}

// === impl Bucket ===

impl Bucket {
    fn take(&self, since: Duration, interval: Duration, burst: u32) -> Result<(), Duration> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (now, step) = (nanos(since), nanos(interval).max(1));
        let room = step.saturating_mul(u64::from(burst));
        let mut full_at = self.0.load(Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(step);
            if next - now > room {
                return Err(Duration::from_nanos(next - now - room));
            }
            match self.0.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }
}

/// Since this process began, for buckets.
pub(crate) fn since_began(now: Instant) -> Duration {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    now.saturating_duration_since(*BEGAN.get_or_init(Instant::now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_the_rate() {
        let model = toml::from_str("requests = 10\nper = '1s'\nburst = 3").expect("a limit");
        let limit = RateLimit::new(&model, None);
        let at = |ms| limit.admit(None, Duration::from_millis(ms)).is_ok();
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(100), at(100), at(150)], [true, false, false]);
        assert_eq!(limit.admit(None, Duration::from_millis(150)), Err(Duration::from_millis(50)));
        assert_eq!([at(10_000), at(10_000), at(10_000), at(10_000)], [true, true, true, false]);
    }

    #[test]
    fn everybody_has_a_bucket_of_his_own() {
        let model = toml::from_str("requests = 1\nper = '1s'\nby = 'key'").expect("a limit");
        let limit = RateLimit::new(&model, None);
        let ask = |whom| limit.admit(Some(whom), Duration::from_millis(1)).is_ok();
        assert_eq!([ask("a"), ask("a"), ask("b")], [true, false, true]);
    }

    #[test]
    fn a_new_version_fills_no_bucket_unless_it_says_something_else() {
        let model = |text: &str| toml::from_str(text).expect("a limit");
        let ask = |limit: &RateLimit| limit.admit(None, Duration::from_millis(1)).is_ok();
        let first = RateLimit::new(&model("requests = 1\nper = '1s'"), None);
        assert!(ask(&first));
        let same = RateLimit::new(&model("requests = 1\nper = '1s'"), Some(&first));
        assert!(!ask(&same));
        let other = RateLimit::new(&model("requests = 2\nper = '1s'"), Some(&same));
        assert!(ask(&other));
    }
}
