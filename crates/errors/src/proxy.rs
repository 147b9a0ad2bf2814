//! The proxy: codes PLS0400 to PLS0499.

use crate::{Code, Entry};

pub const NO_ROUTE_KEY: Code = Code(400);
pub const BAD_USER_ID: Code = Code(401);
pub const KEYS_DISAGREE: Code = Code(402);
pub const FORGED_HEADER: Code = Code(403);
pub const UNKNOWN_PATH: Code = Code(404);
pub const METHOD_NOT_ALLOWED: Code = Code(405);
pub const BAD_DEADLINE: Code = Code(406);
pub const BODY_TOO_LARGE: Code = Code(407);
pub const BODY_TOO_SLOW: Code = Code(408);
pub const BAD_PAYMENT_ID: Code = Code(409);
pub const SHARD_UNAVAILABLE: Code = Code(410);
pub const HOLD_QUEUE_FULL: Code = Code(411);
pub const OUTCOME_UNKNOWN: Code = Code(412);
pub const EDGE_OVERLOADED: Code = Code(413);
pub const OWNER_SILENT: Code = Code(414);
pub const BODY_BROKEN: Code = Code(415);
pub const EDGE_LISTEN: Code = Code(420);
pub const EDGE_SNAPSHOT: Code = Code(421);
pub const MESH_NO_ROUTE: Code = Code(430);
pub const MESH_MALFORMED: Code = Code(431);
pub const MESH_NO_KEY: Code = Code(432);
pub const MESH_OVERFLOW: Code = Code(433);
pub const MESH_UNREACHABLE: Code = Code(434);
pub const MESH_LOST: Code = Code(435);
pub const MESH_SILENT: Code = Code(436);
pub const MESH_RATE_LIMIT: Code = Code(437);
pub const MESH_FAULT: Code = Code(438);
pub const MESH_BAD_ANSWER: Code = Code(439);
pub const MESH_METHOD: Code = Code(440);
pub const MESH_HANDOVER: Code = Code(460);
pub const MESH_SNAPSHOT: Code = Code(461);
pub const MESH_INTERCEPT: Code = Code(462);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: NO_ROUTE_KEY,
        title: "nothing in the request says whose it is",
        cause: "The edge sends a request to the unit that owns the user, and found no user id in the path, no polis-uid header and no zone_op cookie of two or four digits.",
        remedy: "Send the user id in the header polis-uid, or keep the cookie zone_op that the edge set.",
    },
    Entry {
        code: BAD_USER_ID,
        title: "the user id is not 3 to 32 digits",
        cause: "The shard is computed from the digits of the user id, so an id of another form has no owner.",
        remedy: "Write the user id as 3 to 32 ASCII digits, in the path or in the header polis-uid.",
    },
    Entry {
        code: KEYS_DISAGREE,
        title: "the request names two different users or shards",
        cause: "The path and the header polis-uid must mean the same user; guessing could show one user's money to another.",
        remedy: "Send one user id per request, or leave the header out when the path carries the id.",
    },
    Entry {
        code: FORGED_HEADER,
        title: "a polis-* header that only the mesh may set came from outside",
        cause: "Headers such as polis-shard carry routing decisions between processes of the mesh; from a client they are refused, not ignored.",
        remedy: "Remove every polis-* header except polis-uid and polis-deadline-ms.",
    },
    Entry {
        code: UNKNOWN_PATH,
        title: "the edge serves no such path",
        cause: "Only /v1/accounts, /v1/payments and /v1/shards are open to clients, written plainly: no empty or dot segments, no percent escapes.",
        remedy: "Check the path against docs/guide.",
    },
    Entry {
        code: METHOD_NOT_ALLOWED,
        title: "the path does not know this method",
        cause: "The path exists, but not with this HTTP method.",
        remedy: "Use one of the methods in the answer's Allow header.",
    },
    Entry {
        code: BAD_DEADLINE,
        title: "the deadline is not a positive number of milliseconds",
        cause: "The header polis-deadline-ms bounds how long a request may wait for its shard.",
        remedy: "Send a whole number of milliseconds from 1 to 30000, or leave the header out (10000).",
    },
    Entry {
        code: BODY_TOO_LARGE,
        title: "the request body is larger than the edge keeps",
        cause: "Bodies are kept in memory so that a request can be replayed when its shard moves; that bound is 64 KiB.",
        remedy: "Send a smaller body.",
    },
    Entry {
        code: BODY_TOO_SLOW,
        title: "the request body did not arrive in time",
        cause: "The client sent its headers and then no whole body; nothing was passed on.",
        remedy: "Send the request again; if it happens often, look at the client's network.",
    },
    Entry {
        code: BAD_PAYMENT_ID,
        title: "the payment id is not of the form UID.KEY",
        cause: "A payment is named by its payer's user id and the idempotency key, so that its shard is known.",
        remedy: "Use the id as the payment's answer gave it.",
    },
    Entry {
        code: SHARD_UNAVAILABLE,
        title: "the user's shard was not served within the deadline",
        cause: "The shard is moving between units or its owner cannot be reached; the request waited and was not executed.",
        remedy: "Send the same request again after the time in Retry-After; `polis status` shows the shard.",
    },
    Entry {
        code: HOLD_QUEUE_FULL,
        title: "too many requests already wait for this shard",
        cause: "The queue for moving shards is bounded in requests and bytes; the request was not executed.",
        remedy: "Send the same request again after the time in Retry-After.",
    },
    Entry {
        code: OUTCOME_UNKNOWN,
        title: "the request may or may not have been executed",
        cause: "It reached its owner, and the connection or the deadline ended before an answer came.",
        remedy: "Repeat it with the same Idempotency-Key, or POST /v1/payments/ID:resolve to settle it.",
    },
    Entry {
        code: EDGE_OVERLOADED,
        title: "the edge has as many requests in flight as it allows",
        cause: "Requests in flight are bounded so that memory stays bounded; the request was not executed.",
        remedy: "Send the same request again after the time in Retry-After, or through another edge.",
    },
    Entry {
        code: OWNER_SILENT,
        title: "the owner did not answer a read within the deadline",
        cause: "The owning unit accepted the request and stayed silent; nothing was changed by it.",
        remedy: "Send it again; `polis status` shows whether the unit is well.",
    },
    Entry {
        code: BODY_BROKEN,
        title: "the request body ended before it was complete",
        cause: "The client's connection or its framing of the body broke off; nothing was passed on.",
        remedy: "Send the whole body, with a correct Content-Length or chunked.",
    },
    Entry {
        code: EDGE_LISTEN,
        title: "the edge cannot listen on its address",
        cause: "Another process holds the port, or the address is not one of this machine.",
        remedy: "Stop the other process, or choose another port (--base-port with `polis up`).",
    },
    Entry {
        code: EDGE_SNAPSHOT,
        title: "the edge's snapshot of the map cannot be used",
        cause: "The file with the last good map is damaged or of a newer format; the edge waits for the API instead.",
        remedy: "Nothing to do while the API is reachable: the file is written again. Check the disk if it comes back.",
    },
    Entry {
        code: MESH_NO_ROUTE,
        title: "no route of the listener matches",
        cause: "The listener has routes, and none of them is for this host, path, method and headers.",
        remedy: "Compare the request with the routes in the admin page /config; add a route without a match at the end to catch the rest.",
    },
    Entry {
        code: MESH_MALFORMED,
        title: "the request is not as HTTP has it",
        cause: "What two readers could understand differently (two lengths, unusual codings, bare newlines, several hosts) is refused, since a service behind the proxy could read another request in it.",
        remedy: "Send the request as RFC 9110 and 9112 have it; the message says what is wrong.",
    },
    Entry {
        code: MESH_NO_KEY,
        title: "nothing in the request says whom it is about",
        cause: "The route goes by a key, and the request has none where the route looks for it, or one that the map does not know and no default is given.",
        remedy: "Send the key where the route's `key` says, or give the map a `default`.",
    },
    Entry {
        code: MESH_OVERFLOW,
        title: "a circuit breaker is open",
        cause: "The cluster has as many requests or connections under way as its `limits` allow.",
        remedy: "Find out why the cluster is slow (admin page /clusters), or raise `limits` of the cluster.",
    },
    Entry {
        code: MESH_UNREACHABLE,
        title: "no endpoint could be connected to",
        cause: "The endpoint did not accept a connection in time, or its TLS did not hold, and tries at others came to the same.",
        remedy: "Check the endpoints in the admin page /clusters, and that address, certificate and expected identity are right.",
    },
    Entry {
        code: MESH_LOST,
        title: "the answer was lost",
        cause: "The connection to the endpoint broke after the request was sent. Unless it is idempotent, the outcome is unknown.",
        remedy: "Ask the service what became of it before sending it again; mark the route `idempotent` or send an idempotency-key if twice is as good as once.",
    },
    Entry {
        code: MESH_SILENT,
        title: "the service did not answer in time",
        cause: "The route's `timeout` or the client's own deadline passed after the request was sent; the outcome is unknown.",
        remedy: "Look at the service; raise the route's `timeout` if it may take longer.",
    },
    Entry {
        code: MESH_RATE_LIMIT,
        title: "the route takes no more requests now",
        cause: "The bucket of the route, key or client is empty.",
        remedy: "Come again after the seconds in Retry-After, or raise `rate_limit` of the route.",
    },
    Entry {
        code: MESH_FAULT,
        title: "a fault was injected on purpose",
        cause: "The route has a `fault` for a share of its requests.",
        remedy: "Remove `fault` from the route when the exercise is over.",
    },
    Entry {
        code: MESH_BAD_ANSWER,
        title: "the service's answer is not as HTTP has it",
        cause: "The endpoint sent a head that is malformed or too large; passing it on could confuse the client about where it ends.",
        remedy: "Correct the service; the message says what is wrong.",
    },
    Entry {
        code: MESH_METHOD,
        title: "CONNECT is not for this proxy",
        cause: "The proxy carries requests to services and is no tunnel to elsewhere.",
        remedy: "Send the request itself instead of CONNECT.",
    },
    Entry {
        code: MESH_HANDOVER,
        title: "the sockets of the proxy before cannot be taken over",
        cause: "A process listens at the handover socket and gave nothing: it is stuck, of another version or user, or is handing over to somebody else. It serves on as before.",
        remedy: "Start it again when the other upgrade is over; stop the old process first if it is stuck or of another version.",
    },
    Entry {
        code: MESH_SNAPSHOT,
        title: "the proxy serves what its snapshot says",
        cause: "At the start the configuration file was missing or not sound, and the last one that was in force had been kept. What was changed since then is not in force.",
        remedy: "Correct the file that the log names; it is taken over while serving.",
    },
    Entry {
        code: MESH_INTERCEPT,
        title: "connections cannot be intercepted",
        cause: "The rules of interception need root or CAP_NET_ADMIN, the program nft, and a kernel that redirects and proxies transparently.",
        remedy: "Run it as root where nftables is installed, or use the explicit mode (`polis proxy run`), which needs no privileges.",
    },
];
