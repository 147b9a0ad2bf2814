//! Whatever is written, there is an answer, and within the budget.

use proptest::prelude::*;

/// Pieces that expressions are made of, and some that they are not.
const PIECES: [&str; 96] = [
    "self",
    "any",
    ".n",
    ".s",
    ".l",
    ".x",
    ".m",
    ".t",
    ".d",
    ".f",
    ".?s",
    "[0]",
    "[?1]",
    "['a']",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    " in ",
    "1",
    "-9223372036854775808",
    "9223372036854775807",
    "0u",
    "1.5",
    "1e308",
    "'a'",
    "'é'",
    "''",
    "b'\\xff'",
    "r'\\d'",
    "'''x'''",
    "true",
    "null",
    "int(",
    "string(",
    "dyn(",
    "type(",
    "size(",
    "has(self.s)",
    ".all(x, ",
    ".map(x, ",
    ".exists(i, v, ",
    ".filter(x, ",
    ".transformMap(k, v, ",
    ".sortBy(x, ",
    ".optMap(x, ",
    "x",
    "k",
    "v",
    ".size()",
    ".matches('",
    ".split('",
    ".replace('l', ",
    ".join(",
    ".substring(",
    ".indexOf('l', ",
    ".lastIndexOf('l', ",
    ".format([",
    "'%s %.3f %e %x'",
    ".flatten()",
    ".slice(0, ",
    ".sum()",
    ".sort()",
    ".distinct()",
    "lists.range(",
    "sets.equivalent(",
    "quantity('1Ki')",
    "semver('1.2.3')",
    "ip('::1')",
    "cidr('10.0.0.0/8')",
    "url('http://h:1/p?q')",
    "duration('1h')",
    "timestamp('2020-02-29T00:00:00Z')",
    ".getHours('+01:00')",
    "optional.of(",
    ".orValue(",
    "authorizer.path('/').check('get')",
    "`",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pieces_in_any_order(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24)) {
        cel::fuzz::cel(pieces.concat().as_bytes());
    }

    #[test]
    fn any_characters(text in "\\PC{0,40}") {
        cel::fuzz::cel(text.as_bytes());
    }
}

/// Tests run on stacks of two megabytes, as the server's tasks do.
#[test]
fn the_deepest_expressions_fit_on_a_stack() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        [&open.repeat(depth), inner, &close.repeat(depth)].concat()
    };
    for depth in [40, 60, 80, 120, 240, 260] {
        for text in [
            nested("(", "1", ")", depth),
            nested("[", "1", "]", depth),
            nested("{1: ", "1", "}", depth),
            nested("dyn(", "1", ")", depth),
            nested("true ? 1 : ", "1", "", depth),
            nested("[1].map(x, ", "1", ")", depth),
            nested("(true && !(true || true && ", "true", "))", depth),
            nested("", "1", " + 1", depth),
            nested("", "any", ".a", depth),
            nested("", "any", "[0]", depth),
            nested("", "[1]", ".map(x, x)", depth),
            nested("", "'a'", ".trim()", depth),
            nested("", "optional.of(1)", ".optMap(x, x)", depth),
        ] {
            cel::fuzz::cel(text.as_bytes());
        }
    }
}

/// Each of these would take a machine down if its cost were counted after it.
#[test]
fn what_cannot_be_paid_for_is_not_begun() {
    for text in [
        "lists.range(9223372036854775807).size() > 0",
        "'%.1000000000f'.format([1.0]).size() > 0",
        "lists.range(10000).map(x, lists.range(10000)).size() > 0",
        "lists.range(1000).map(x, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').join('bbbbbbbbbbbbbbbbbbbb').replace('', 'cccccccccccccccccccccccccccccccc').replace('', 'cccccccccccccccccccccccccccccccc').replace('', 'cccccccccccccccccccccccccccccccc').size() > 0",
        "lists.range(10000).distinct().size() > 0",
    ] {
        cel::fuzz::cel(text.as_bytes());
    }
}
