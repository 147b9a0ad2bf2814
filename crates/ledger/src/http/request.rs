//! What a request carries beside its path: stamp, deadline, user, body, query.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use topology::{Bucket, Epoch, Extent, HOPS_MAX, STAMP_HEADER, Shard, Stamp, UserId};

use super::answer::About;
use crate::{Books, Error};

/// Largest body: a thousand times what a payment needs.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Time for a request that names none, and the most it may name.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
const DEADLINE_MAX: Duration = Duration::from_secs(30);

const DEADLINE_HEADER: &str = "polis-deadline-ms";
const USER_HEADER: &str = "polis-uid";

/// The facts of one request.
pub struct Context {
    pub stamp: Option<Stamp>,
    pub deadline: Instant,
    /// What the request is about, once its data was looked at.
    pub about: Option<About>,
    user: Option<String>,
}

// === impl Context ===

impl Context {
    pub fn parse(headers: &HeaderMap, stamp_required: bool) -> Result<Context, Error> {
        let stamp = match header(headers, STAMP_HEADER)? {
            Some(text) => {
                Some(text.parse::<Stamp>().map_err(|error| Error::Stamp(error.to_string()))?)
            }
            None if stamp_required => {
                return Err(Error::Stamp(format!("the header {STAMP_HEADER} is missing")));
            }
            None => None,
        };
        if stamp.as_ref().is_some_and(|stamp| stamp.hop > HOPS_MAX) {
            return Err(Error::Stamp(format!("more than {HOPS_MAX} hops between units")));
        }
        let time = match header(headers, DEADLINE_HEADER)? {
            Some(text) => text.parse().map(Duration::from_millis).map_err(|_| {
                Error::Request(format!("{DEADLINE_HEADER} is a number of milliseconds"))
            })?,
            None => DEADLINE_DEFAULT,
        };
        Ok(Context {
            stamp,
            deadline: Instant::now() + time.min(DEADLINE_MAX),
            about: None,
            user: header(headers, USER_HEADER)?.map(str::to_owned),
        })
    }

    /// The request is about `user`: routing must agree, and the bucket be ours.
    pub async fn about(&mut self, books: &Books, user: &UserId) -> Result<About, Error> {
        if let Some(header) = self.user.as_ref().filter(|header| *header != user.as_str()) {
            let header = header.chars().take(UserId::LEN_MAX).collect();
            return Err(Error::WrongUser { header, user: user.clone() });
        }
        self.about_buckets(books, &[user.bucket()]).await
    }

    /// The epoch of the map by which the request came.
    pub fn routed(&self) -> Option<Epoch> {
        self.stamp.as_ref().map(|stamp| stamp.epoch)
    }

    /// The request is about the data of these buckets. A call goes to one unit, so
    /// they are of one shard: by the map of whoever routed it, which the stamp
    /// says, since what a shard is changes with splits.
    pub async fn about_buckets(
        &mut self,
        books: &Books,
        buckets: &[Bucket],
    ) -> Result<About, Error> {
        let mixed =
            |why: &str| Error::Request(format!("the payers of a batch are of one shard{why}"));
        let Some(first) = buckets.first().copied() else { return Err(mixed("")) };
        let about = self.about.insert(About::bucket(first));
        if buckets.iter().any(|bucket| bucket.shard() != first.shard()) {
            return Err(mixed(""));
        }
        let Some(stamp) = &self.stamp else { return Ok(*about) };
        let routed = stamp.extent;
        let within = |bucket: &&Bucket| routed.buckets.contains(**bucket);
        if buckets.iter().any(|bucket| within(&bucket)) {
            *about = About { extent: routed, bucket: first };
            if let Some(other) = buckets.iter().find(|bucket| !within(bucket)) {
                let Extent { shard, buckets } = routed;
                let why = format!(": shard {shard} has {buckets}, and one payer is of {other}");
                return Err(mixed(&why));
            }
        } else if routed.buckets.hundred() == first.shard() {
            return Err(Error::OtherPart { bucket: first, routed });
        } else {
            let (routed, shard) = (routed.shard, first.shard());
            return Err(Error::Stamp(format!("routed as shard {routed}, but it is of {shard}")));
        }
        let about = *about;
        self.admit(books, buckets).await?;
        Ok(about)
    }

    /// The request is about all of a shard, as whoever routed it means it.
    pub async fn about_shard(&mut self, books: &Books, shard: Shard) -> Result<About, Error> {
        let routed = self.stamp.as_ref().map(|stamp| stamp.extent);
        if let Some(routed) = routed.filter(|routed| routed.shard != shard) {
            let routed = routed.shard;
            return Err(Error::Stamp(format!("routed as shard {routed}, but it is of {shard}")));
        }
        let extent = routed.or_else(|| Extent::of(shard, None));
        let extent = extent.ok_or_else(|| {
            Error::Stamp(format!("the buckets of shard {shard} are in no {STAMP_HEADER}"))
        })?;
        let about = *self.about.insert(About::extent(extent));
        let buckets: Vec<Bucket> = extent.buckets.iter().collect();
        self.admit(books, &buckets).await?;
        Ok(about)
    }

    /// Refuses what the stamp shows to be misrouted.
    async fn admit(&self, books: &Books, buckets: &[Bucket]) -> Result<(), Error> {
        let Some(stamp) = &self.stamp else { return Ok(()) };
        if let Some(bucket) = buckets.first().filter(|_| stamp.unit != *books.unit()) {
            let fence = books.fence(*bucket, self.deadline).await?;
            return Err(Error::Misdirected { bucket: *bucket, fence });
        }
        buckets.iter().try_for_each(|bucket| books.admit(*bucket, self.routed()))
    }
}

/// A header's text, if it appears once.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str();
            text.map(Some).map_err(|_| Error::Request(format!("the header {name} is not text")))
        }
        (Some(_), Some(_)) => Err(Error::Request(format!("the header {name} appears twice"))),
    }
}

/// The body as JSON of exactly the shape of `T`.
pub async fn body<T, B>(request: Request<B>, deadline: Instant) -> Result<T, Error>
where
    T: DeserializeOwned,
    B: Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display,
{
    let body = Limited::new(request.into_body().map_err(|error| error.to_string()), BODY_BYTES_MAX);
    let collected = timeout_at(deadline, body.collect()).await.map_err(|_| Error::Deadline)?;
    let bytes = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Error::TooLarge { max: BODY_BYTES_MAX },
        None => Error::Request(format!("the body broke off: {error}")),
    })?;
    serde_json::from_slice(&bytes.to_bytes()).map_err(|error| Error::Request(error.to_string()))
}

/// The values of a query, in the order of `names`; other names are refused.
/// Nothing we take needs percent-encoding, so none is decoded.
pub fn query<'a, const N: usize>(
    uri: &'a Uri,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Error> {
    let mut values = [None; N];
    let parts = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let place = names.iter().position(|known| *known == name).ok_or_else(|| {
            let name: String = name.chars().take(32).collect();
            Error::Request(format!("the query knows {}, not {name:?}", names.join(", ")))
        })?;
        values[place] = Some(value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_part_of_a_query_is_refused_by_name() {
        let uri: Uri = "/x?limit=5&after=7".parse().expect("a uri");
        assert_eq!(query(&uri, ["after", "limit"]).expect("known"), [Some("7"), Some("5")]);
        let error = query(&uri, ["limit"]).expect_err("after is not known");
        assert!(error.to_string().contains("after"), "{error}");
    }

    #[test]
    fn a_header_that_appears_twice_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(USER_HEADER, "123".parse().expect("a value"));
        assert_eq!(header(&headers, USER_HEADER).expect("once"), Some("123"));
        headers.append(USER_HEADER, "456".parse().expect("a value"));
        assert!(header(&headers, USER_HEADER).is_err());
    }

    #[tokio::test]
    async fn a_request_that_wandered_too_far_is_refused() {
        let mut headers = HeaderMap::new();
        assert!(Context::parse(&headers, true).is_err());
        assert!(Context::parse(&headers, false).is_ok());
        let stamp = |hop| format!("42; unit=rz01; epoch=1; hop={hop}").parse().expect("a value");
        headers.insert(STAMP_HEADER, stamp(HOPS_MAX));
        assert!(Context::parse(&headers, true).is_ok());
        headers.insert(STAMP_HEADER, stamp(HOPS_MAX + 1));
        assert!(Context::parse(&headers, true).is_err());
    }
}
