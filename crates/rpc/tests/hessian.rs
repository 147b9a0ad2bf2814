//! Values by the grammar's own examples, in both dialects, and what must not
//! cost more than its bytes.

use proptest::prelude::*;
use rpc::hessian::{CLASSES_MAX, DEPTH_MAX, Dialect, Error, Reader, TEXT_BYTES_MAX, Value, Writer};

const BOTH: [Dialect; 2] = [Dialect::Draft, Dialect::Final];

fn check(dialect: Dialect, bytes: &[u8], expected: Value<'_>) {
    let mut reader = Reader::new(bytes, dialect);
    assert_eq!(reader.value(), Ok(expected), "{dialect:?} {bytes:x?}");
    assert!(reader.is_at_end(), "{dialect:?} {bytes:x?}");
    let mut reader = Reader::new(bytes, dialect);
    assert_eq!(reader.skip(), Ok(()), "{dialect:?} {bytes:x?}");
    assert!(reader.is_at_end(), "{dialect:?} {bytes:x?}");
}

#[test]
fn numbers_are_as_the_specification_shows_them() {
    for dialect in BOTH {
        for (bytes, value) in [
            (&b"\x90"[..], 0),
            (b"\x80", -16),
            (b"\xbf", 47),
            (b"\xc8\x00", 0),
            (b"\xc0\x00", -2048),
            (b"\xc7\x00", -256),
            (b"\xcf\xff", 2047),
            (b"\xd4\x00\x00", 0),
            (b"\xd0\x00\x00", -262_144),
            (b"\xd7\xff\xff", 262_143),
            (b"I\x00\x00\x01\x2c", 300),
            (b"I\xff\xff\xff\xff", -1),
        ] {
            check(dialect, bytes, Value::Int(value));
        }
        for (bytes, value) in [
            (&b"\xe0"[..], 0),
            (b"\xd8", -8),
            (b"\xef", 15),
            (b"\xf8\x00", 0),
            (b"\xf0\x00", -2048),
            (b"\xff\xff", 2047),
            (b"\x3c\x00\x00", 0),
            (b"\x38\x00\x00", -262_144),
            (b"\x3f\xff\xff", 262_143),
            (b"L\x00\x00\x00\x00\x00\x00\x01\x2c", 300),
        ] {
            check(dialect, bytes, Value::Long(value));
        }
        check(dialect, b"N", Value::Null);
        check(dialect, b"T", Value::Bool(true));
        check(dialect, b"D\x40\x28\x80\x00\x00\x00\x00\x00", Value::Double(12.25));
    }
}

#[test]
fn the_dialects_differ_where_they_do() {
    use Dialect::{Draft, Final};
    check(Final, b"\x4a\x00\x00\x00\xd0\x4b\x92\x84\xb8", Value::Date(894_621_091_000));
    check(Final, b"\x4b\x00\xe3\x83\x8f", Value::Date(894_621_060_000));
    check(Draft, b"d\x00\x00\x00\xd0\x4b\x92\x84\xb8", Value::Date(894_621_091_000));
    check(Final, b"\x59\x00\x00\x01\x2c", Value::Long(300));
    check(Draft, b"\x77\x00\x00\x01\x2c", Value::Long(300));
    for (dialect, zero) in [(Final, 0x5b), (Draft, 0x67)] {
        check(dialect, &[zero], Value::Double(0.0));
        check(dialect, &[zero + 1], Value::Double(1.0));
        check(dialect, &[zero + 2, 0x80], Value::Double(-128.0));
        check(dialect, &[zero + 3, 0x80, 0x00], Value::Double(-32768.0));
    }
    check(Final, b"\x5f\x00\x00\x2f\xda", Value::Double(12.25));
    check(Draft, b"\x6b\x41\x44\x00\x00", Value::Double(12.25));
    check(Final, b"\x30\x05hello", Value::Text("hello".into()));
    check(Final, b"R\x00\x02he\x03llo", Value::Text("hello".into()));
    check(Draft, b"s\x00\x02heS\x00\x03llo", Value::Text("hello".into()));
    check(Final, &[&b"\x35\x00"[..], &[0; 256]].concat(), Value::Binary);
    check(Draft, b"b\x00\x01x\x21y", Value::Binary);
    for (dialect, bytes) in [(Final, &b"\x30"[..]), (Final, b"d"), (Draft, b"\x5b"), (Draft, b"C")]
    {
        assert!(Reader::new(bytes, dialect).value().is_err(), "{dialect:?} {bytes:x?}");
    }
}

#[test]
fn strings_count_units_of_sixteen_bits() {
    let chinese = "\u{5f20}\u{4e09}";
    for dialect in BOTH {
        check(dialect, b"\x02\xe5\xbc\xa0\xe4\xb8\x89", Value::Text(chinese.into()));
        check(dialect, b"\x02\xed\xa0\xbd\xed\xb8\x80", Value::Text("\u{1f600}".into()));
        // Half a character is not lost, only replaced.
        check(dialect, b"\x02\xed\xa0\xbdx", Value::Text("\u{fffd}x".into()));
        // Four bytes are what the readers at the other end refuse.
        let error = Reader::new(b"\x02\xf0\x9f\x98\x80", dialect).value();
        assert_eq!(error, Err(Error::BadText { at: 1 }));
    }
}

/// What stands in a list, a map and an object, of the grammar's examples.
#[test]
fn parts_are_found_and_references_followed() {
    use Dialect::{Draft, Final};
    for (case, dialect, bytes) in [
        ("fixed, typed", Final, &b"\x72\x04[int\x91\x92"[..]),
        ("fixed, of a type before", Final, b"V\x04[int\x92\x91\x92"),
        ("variable", Final, b"\x57\x91\x92Z"),
        ("variable, typed", Final, b"\x55\x04[int\x91\x92Z"),
        ("fixed", Final, b"\x7a\x91\x92"),
        ("fixed with a count", Final, b"\x58\x92\x91\x92"),
        ("typed", Draft, b"Vt\x00\x04[int\x6e\x02\x91\x92z"),
        ("with a long count", Draft, b"Vl\x00\x00\x00\x02\x91\x92z"),
        ("with nothing", Draft, b"V\x91\x92z"),
        ("of a type before", Draft, b"v\x90\x92\x91\x92"),
    ] {
        // Another value behind it, which is none of its parts.
        let bytes = [bytes, b"\x95"].concat();
        let mut reader = Reader::new(&bytes, dialect);
        let Ok(Value::Node(list)) = reader.value() else { panic!("{case}") };
        assert_eq!(reader.item(list, 1), Ok(Some(Value::Int(2))), "{case}");
        assert_eq!(reader.item(list, 2), Ok(None), "{case}");
        assert_eq!(reader.value(), Ok(Value::Int(5)), "{case}");
    }
    // A car of the specification, in a list with itself.
    let fields = b"\x0bexample.Car\x92\x05color\x05model";
    let car = |values: &[u8]| [b"\x79C".as_slice(), fields, values].concat();
    let bytes = [car(b"\x60\x03red\x51\x90"), b"\x51\x91".to_vec()].concat();
    let mut reader = Reader::new(&bytes, Final);
    let list = reader.value().expect("a list");
    assert_eq!(reader.walk(list.clone(), &["0", "color"]), Ok(Some(Value::Text("red".into()))));
    assert_eq!(
        reader.walk(list.clone(), &["0", "model", "0", "color"]),
        Ok(Some(Value::Text("red".into())))
    );
    let car = reader.value().expect("the car again");
    assert_eq!(reader.walk(car, &["color"]), Ok(Some(Value::Text("red".into()))));
}

#[test]
fn a_key_that_is_said_twice_has_its_last_value() {
    let bytes = b"H\x01a\x91\x01b\x92\x01a\x93Z";
    let mut reader = Reader::new(bytes, Dialect::Final);
    let Ok(Value::Node(map)) = reader.value() else { panic!("no map") };
    assert_eq!(reader.entry(map, "a"), Ok(Some((7..10, Value::Int(3)))));
}

#[test]
fn what_claims_much_costs_what_it_has() {
    // Lists, classes and strings that claim more than there is.
    for (dialect, bytes) in [
        (Dialect::Final, &b"\x58I\x7f\xff\xff\xff"[..]),
        (Dialect::Final, b"C\x01xI\x7f\xff\xff\xff"),
        (Dialect::Final, b"S\xff\xff"),
        (Dialect::Final, b"B\xff\xff"),
        (Dialect::Draft, b"v\x90I\x7f\xff\xff\xff"),
        (Dialect::Draft, b"OI\x7f\xff\xff\xff"),
        (Dialect::Draft, b"Vt\xff\xff"),
    ] {
        let error = Reader::new(bytes, dialect).value();
        assert_eq!(error, Err(Error::Short { at: bytes.len() }), "{bytes:x?}");
    }
    let negative = Reader::new(b"\x58\x8f", Dialect::Final).value();
    assert_eq!(negative, Err(Error::BadLength { at: 1 }));
    assert_eq!(Reader::new(b"\x65", Dialect::Final).value(), Err(Error::NoClass(5)));
    assert_eq!(Reader::new(b"\x51\x95", Dialect::Final).value(), Err(Error::NoReference(5)));
}

#[test]
fn nesting_is_bounded_and_takes_no_stack() {
    for (dialect, open) in [(Dialect::Final, b"\x57"), (Dialect::Draft, b"V")] {
        let bytes = open.repeat(DEPTH_MAX + 2);
        assert_eq!(Reader::new(&bytes, dialect).value(), Err(Error::TooDeep));
        let bytes = open.repeat(DEPTH_MAX);
        assert!(matches!(Reader::new(&bytes, dialect).value(), Err(Error::Short { .. })));
    }
    // Where a name is due stands another class, and so on.
    let bytes = b"C".repeat(1_000_000);
    assert_eq!(
        Reader::new(&bytes, Dialect::Final).value(),
        Err(Error::Unexpected { tag: b'C', at: 1 })
    );
    let class = b"C\x01x\x90".repeat(CLASSES_MAX + 1);
    assert_eq!(Reader::new(&class, Dialect::Final).value(), Err(Error::TooManyClasses));
}

#[test]
fn long_strings_are_cut_between_characters() {
    for before in 0x8000 - 4..0x8000 + 2 {
        let text = "x".repeat(before) + &"\u{1f600}y\u{5f20}".repeat(1000);
        for dialect in BOTH {
            let mut writer = Writer::new(dialect);
            writer.text(&text);
            check(dialect, &writer.into_bytes(), Value::Text((&text).into()));
        }
    }
    let mut writer = Writer::new(Dialect::Final);
    writer.text(&"x".repeat(TEXT_BYTES_MAX + 1));
    let bytes = writer.into_bytes();
    assert_eq!(Reader::new(&bytes, Dialect::Final).value(), Ok(Value::LongText));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        text in "\\PC{0,200}", times in 1usize..6,
        ints in prop::collection::vec(any::<i32>(), 0..4),
        near in -300_000i32..300_000,
        long in any::<i64>(),
    ) {
        let text = text.repeat(times);
        for dialect in BOTH {
            let mut writer = Writer::new(dialect);
            writer.map().text("text").text(&text).text("long").long(long).end();
            writer.int(near);
            ints.iter().for_each(|int| {
                writer.int(*int);
            });
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes, dialect);
            let Ok(Value::Node(map)) = reader.value() else { panic!("no map") };
            prop_assert_eq!(reader.field(map, "text"), Ok(Some(Value::Text((&text).into()))));
            prop_assert_eq!(reader.field(map, "long"), Ok(Some(Value::Long(long))));
            for int in [near].iter().chain(&ints) {
                prop_assert_eq!(reader.value(), Ok(Value::Int(*int)));
            }
            prop_assert!(reader.is_at_end());
        }
    }

    #[test]
    fn skipping_and_reading_end_at_the_same_place(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for dialect in BOTH {
            let (mut one, mut other) = (Reader::new(&bytes, dialect), Reader::new(&bytes, dialect));
            if let (Ok(()), Ok(value)) = (one.skip(), other.value()) {
                prop_assert_eq!(one.position(), other.position());
                let _ = other.walk(value, &["0", "x", "1"]);
                prop_assert_eq!(one.position(), other.position());
            }
        }
    }
}
