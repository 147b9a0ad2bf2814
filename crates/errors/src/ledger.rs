//! The ledger: codes PLS0500 to PLS0599.

use crate::{Code, Entry};

pub const LEDGER_REQUEST: Code = Code(500);
pub const LEDGER_ID: Code = Code(501);
pub const LEDGER_AMOUNT: Code = Code(502);
pub const LEDGER_KEY: Code = Code(503);
pub const LEDGER_WRONG_USER: Code = Code(504);
pub const LEDGER_STAMP: Code = Code(505);
pub const LEDGER_PEER: Code = Code(506);
pub const LEDGER_NO_ACCOUNT: Code = Code(507);
pub const LEDGER_NOT_SEEN: Code = Code(508);
pub const LEDGER_KEY_REUSED: Code = Code(509);
pub const LEDGER_CANCELLED: Code = Code(510);
pub const LEDGER_FUNDS: Code = Code(511);
pub const LEDGER_CURRENCY: Code = Code(512);
pub const LEDGER_ACCOUNT_EXISTS: Code = Code(513);
pub const LEDGER_LIMIT: Code = Code(514);
pub const LEDGER_MISDIRECTED: Code = Code(515);
pub const LEDGER_MOVING: Code = Code(516);
pub const LEDGER_UNKNOWN: Code = Code(517);
pub const LEDGER_STORE: Code = Code(518);
pub const LEDGER_BUSY: Code = Code(519);
pub const LEDGER_DEADLINE: Code = Code(520);
pub const LEDGER_NO_PATH: Code = Code(521);
pub const LEDGER_TOO_LARGE: Code = Code(522);
pub const LEDGER_ROW: Code = Code(523);
pub const LEDGER_LISTEN: Code = Code(524);
pub const LEDGER_CONTENTION: Code = Code(525);
pub const LEDGER_METHOD: Code = Code(526);
pub const LEDGER_KEY_EXPIRED: Code = Code(527);
pub const LEDGER_IDENTITY: Code = Code(528);

pub(crate) const TABLE: &[Entry] = &[
    Entry {
        code: LEDGER_REQUEST,
        title: "the request cannot be understood",
        cause: "The body is not JSON of the expected shape: a field is missing, unknown or of \
                another type, or the query has a part that is not known. Nothing was changed.",
        remedy: "Correct what the message names and send the request again.",
    },
    Entry {
        code: LEDGER_ID,
        title: "an id is not well-formed",
        cause: "User ids are 3 to 32 digits; merchants are 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; \
                payment ids are UID.KEY; shards are 00 to 1023.",
        remedy: "Correct the id that the message names.",
    },
    Entry {
        code: LEDGER_AMOUNT,
        title: "an amount or currency is out of bounds",
        cause: "Amounts are integers of minor units from 1 to 10^12, opening balances from 0 to \
                10^15, currencies three capital letters.",
        remedy: "Send the amount in minor units (12.50 CNY is 1250) and within bounds.",
    },
    Entry {
        code: LEDGER_KEY,
        title: "the Idempotency-Key is missing or not well-formed",
        cause: "Without a key a retry could pay twice, so a payment without one is refused.",
        remedy: "Send a header Idempotency-Key of 1 to 64 of A-Z, a-z, 0-9, '_' and '-', unique \
                 for each payment of this payer and the same in every retry.",
    },
    Entry {
        code: LEDGER_WRONG_USER,
        title: "the request names two different users",
        cause: "The header polis-uid routes the request and must name the user it is about.",
        remedy: "Send the payer's id in polis-uid, or leave the header out.",
    },
    Entry {
        code: LEDGER_STAMP,
        title: "the routing stamp is missing or names another shard",
        cause: "Requests reach a ledger through the edge, which stamps them with the shard of \
                their user. This one has no stamp, or its data lies in another shard.",
        remedy: "Send the request to an edge. If an edge sent it, its routing and the request \
                 disagree about the user: correct polis-uid or the zone_op cookie.",
    },
    Entry {
        code: LEDGER_PEER,
        title: "the caller may not do this",
        cause: "Payments are taken from edges, fences from controllers; the caller's certificate \
                names neither.",
        remedy: "Send payments to an edge. For operations, use polis shard and polis drill.",
    },
    Entry {
        code: LEDGER_NO_ACCOUNT,
        title: "the account does not exist",
        cause: "No account was opened for this user.",
        remedy: "Open it with POST /v1/accounts, or correct the user id.",
    },
    Entry {
        code: LEDGER_NOT_SEEN,
        title: "no payment with this id has been seen",
        cause: "It was never sent, was refused, or a copy of it still waits somewhere: not seen \
                is not final.",
        remedy: "POST /v1/payments/UID.KEY:resolve gives a final answer: it cancels the key \
                 unless the payment was made.",
    },
    Entry {
        code: LEDGER_KEY_REUSED,
        title: "the Idempotency-Key was used for another payment",
        cause: "A payment of this payer stands under the key with another merchant, amount or \
                currency. Nothing was changed.",
        remedy: "Use a new key for a new payment; a retry must repeat the body exactly.",
    },
    Entry {
        code: LEDGER_CANCELLED,
        title: "the payment was cancelled",
        cause: "The key was resolved before the payment was made, so it never will be.",
        remedy: "If the payment is still wanted, send it under a new key.",
    },
    Entry {
        code: LEDGER_FUNDS,
        title: "the account does not hold enough",
        cause: "The payment would overdraw the payer's account. Nothing was changed.",
        remedy: "Pay less, or fund the account first.",
    },
    Entry {
        code: LEDGER_CURRENCY,
        title: "the account has another currency",
        cause: "A payment is made in the currency of the payer's account.",
        remedy: "Send the currency that the message names.",
    },
    Entry {
        code: LEDGER_ACCOUNT_EXISTS,
        title: "the account exists with other terms",
        cause: "It was opened with another currency, opening balance or mark.",
        remedy: "Read it with GET /v1/accounts/UID; open another user's, or repeat the first \
                 request exactly.",
    },
    Entry {
        code: LEDGER_LIMIT,
        title: "a total would pass what the books can hold",
        cause: "Balances are bounded by 2^63-1 minor units. Nothing was changed.",
        remedy: "Look at the amounts: a total this large is a mistake somewhere.",
    },
    Entry {
        code: LEDGER_MISDIRECTED,
        title: "another unit owns the shard, or the request was routed by an older map",
        cause: "The fence at the data names another owner, a newer epoch of the same one, or \
                none yet. Nothing was changed.",
        remedy: "Edges follow by themselves. If it stays, compare kubectl get shardmap with the \
                 fence that the message names.",
    },
    Entry {
        code: LEDGER_MOVING,
        title: "the shard is being handed to another unit",
        cause: "Its writes have stopped here and go on at the new owner in a moment. Nothing was \
                changed.",
        remedy: "Edges hold and replay by themselves. If it stays, look at kubectl get shardmap \
                 for a move that does not finish.",
    },
    Entry {
        code: LEDGER_UNKNOWN,
        title: "the outcome is not known",
        cause: "The answer of the database to the write was lost: it may have been made or not.",
        remedy: "Retry with the same key, or POST /v1/payments/UID.KEY:resolve for a final \
                 answer. A retry never pays twice.",
    },
    Entry {
        code: LEDGER_STORE,
        title: "the database cannot be used",
        cause: "It did not answer or refused the request. Nothing was changed by this request.",
        remedy: "Retry with the same key. If it stays, look at the health of the store.",
    },
    Entry {
        code: LEDGER_BUSY,
        title: "the ledger has too much to do",
        cause: "As many requests as it takes at once are under way. Nothing was changed.",
        remedy: "Retry with the same key after the time in Retry-After.",
    },
    Entry {
        code: LEDGER_DEADLINE,
        title: "the request's time was up before it was sent to the database",
        cause: "It waited behind other payments or for the database. Nothing was changed.",
        remedy: "Retry with the same key, with more time in polis-deadline-ms.",
    },
    Entry {
        code: LEDGER_NO_PATH,
        title: "there is nothing at this path",
        cause: "The ledger serves /v1/accounts, /v1/payments and /v1/shards.",
        remedy: "Compare the path with the API reference.",
    },
    Entry {
        code: LEDGER_TOO_LARGE,
        title: "the body is too large",
        cause: "Bodies are at most 64 KiB. Nothing was changed.",
        remedy: "Send a body of the documented shape.",
    },
    Entry {
        code: LEDGER_ROW,
        title: "a row of the books cannot be read",
        cause: "It was written by a newer release, or its bytes are damaged.",
        remedy: "Upgrade this ledger to the newest release that ran here. If the row is damaged, \
                 restore it from a backup; the message names its kind.",
    },
    Entry {
        code: LEDGER_LISTEN,
        title: "the ledger cannot listen on its address",
        cause: "Another process holds the port, or the address is not this machine's.",
        remedy: "Stop the other process, or give the ledger another port.",
    },
    Entry {
        code: LEDGER_CONTENTION,
        title: "the rows kept changing",
        cause: "Another writer of the same bucket was faster every time. Nothing was changed.",
        remedy: "Retry with the same key. Two ledgers of one unit should not share shards.",
    },
    Entry {
        code: LEDGER_METHOD,
        title: "the path does not take this method",
        cause: "The path exists, the method does not.",
        remedy: "Use one of the methods in the header Allow.",
    },
    Entry {
        code: LEDGER_KEY_EXPIRED,
        title: "the Idempotency-Key is older than 7 days",
        cause: "The same payment was made under the key more than 7 days ago. It stands, and \
                nothing was changed: a key stays spent for good, only the answer to a retry is \
                kept for a week.",
        remedy: "GET the payment to see what it led to; use a new key for a new payment.",
    },
    Entry {
        code: LEDGER_IDENTITY,
        title: "the certificate is of another unit",
        cause: "A ledger writes for one unit, and its certificate must name that unit: edges and \
                controllers would take its answers for those of the other.",
        remedy: "Name the unit of the certificate with --unit, or the folder of the right unit \
                 with --identity-dir.",
    },
];
