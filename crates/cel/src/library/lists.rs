//! Functions of lists; those that texts have too see which it is.

use std::cmp::Ordering;

use super::strings::{index_of, last_index_of};
use super::{Apply, Context};
use crate::error::EvalError;
use crate::value::{List, Value};

pub const SIGNATURES: &str = "
    list(COMPARABLE) . isSorted() -> bool
    list(SUMMABLE) . sum() -> SUMMABLE
    list(COMPARABLE) . max() -> COMPARABLE
    list(COMPARABLE) . min() -> COMPARABLE
    list(A) . indexOf(A) -> int
    list(A) . lastIndexOf(A) -> int
    dyn . includes(dyn) -> bool
    list(T) . slice(int, int) -> list(T)
    list(list(T)) . flatten() -> list(T)
    list(dyn) . flatten(int) -> list(dyn)
    list(COMPARABLE) . sort() -> list(COMPARABLE)
    list(T) . @sortByAssociatedKeys(list(COMPARABLE)) -> list(T)
    lists.range(int) -> list(int)
    list(T) . reverse() -> list(T)
    list(T) . distinct() -> list(T)
    cel.@mapInsert(map(K, V), K, V) -> map(K, V)
    cel.@mapInsert(map(K, V), map(K, V)) -> map(K, V)
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "isSorted" => |_, args| is_sorted(list(args)?),
        "sum" => |context, args| sum(context, list(args)?),
        "max" => |_, args| extreme(list(args)?, "max", Ordering::Less),
        "min" => |_, args| extreme(list(args)?, "min", Ordering::Greater),
        "indexOf" => |_, args| first_index(args),
        "lastIndexOf" => |_, args| last_index(args),
        "includes" => |_, args| match args {
            [Value::List(list), wanted] => Ok(Value::Bool(list.contains(wanted)?)),
            [value, wanted] => Ok(Value::Bool(value.equals(wanted)?)),
            _ => Err(EvalError::no_such_overload()),
        },
        "slice" => |_, args| slice(args),
        "flatten" => |_, args| match args {
            [Value::List(list)] => flatten(list, 1),
            [Value::List(_), Value::Int(..0)] => Err(EvalError::new("level must be non-negative")),
            [Value::List(list), Value::Int(depth)] => flatten(list, *depth),
            _ => Err(EvalError::no_such_overload()),
        },
        "sort" => |_, args| {
            let list = list(args)?;
            sorted(list, list)
        },
        "@sortByAssociatedKeys" => |_, args| match args {
            [Value::List(list), Value::List(keys)] => sorted(list, keys),
            _ => Err(EvalError::no_such_overload()),
        },
        "lists.range" => |context, args| match args {
            [Value::Int(count)] => {
                let count = (*count).max(0);
                if count as u64 > context.room {
                    return Err(EvalError::Budget);
                }
                Ok(Value::list((0..count).map(Value::Int).collect()))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "reverse" => |_, args| match args {
            [Value::Text(text)] => Ok(Value::text(text.chars().rev().collect::<String>())),
            _ => {
                let mut items = list(args)?.to_vec()?;
                items.reverse();
                Ok(Value::list(items))
            }
        },
        "distinct" => |context, args| distinct(context, list(args)?),
        // Folds insert on their own; nothing else can name it.
        "cel.@mapInsert" => |_, _| Err(EvalError::no_such_overload()),
        _ => return None,
    })
}

fn list<'v, 'a>(args: &'v [Value<'a>]) -> Result<&'v List<'a>, EvalError> {
    match args {
        [Value::List(list)] => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_sorted<'a>(list: &List<'a>) -> Result<Value<'a>, EvalError> {
    let items = list.to_vec()?;
    for pair in items.windows(2) {
        if pair[0].order(&pair[1])? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

/// Of nothing it is an integer, whatever the elements would be: the type of an
/// empty list's elements is not kept.
fn sum<'a>(context: &Context<'_>, list: &List<'a>) -> Result<Value<'a>, EvalError> {
    let add = super::standard::find("_+_").expect("addition is there");
    let mut items = list.iter();
    let Some(mut total) = items.next().transpose()? else { return Ok(Value::Int(0)) };
    for item in items {
        total = add(context, &[total, item?])?;
    }
    Ok(total)
}

fn extreme<'a>(list: &List<'a>, name: &str, replace: Ordering) -> Result<Value<'a>, EvalError> {
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        best = Some(match best {
            Some(best) if best.order(&item)? != replace => best,
            _ => item,
        });
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn first_index<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Int(match args {
        [Value::Text(text), Value::Text(part)] => index_of(text, part, 0)?,
        [Value::Text(text), Value::Text(part), Value::Int(from)] => index_of(text, part, *from)?,
        [Value::List(list), wanted] => position(list, 0..list.len(), wanted)?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn last_index<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Int(match args {
        [Value::Text(text), Value::Text(part)] => last_index_of(text, part, None)?,
        [Value::Text(text), Value::Text(part), Value::Int(from)] => {
            last_index_of(text, part, Some(*from))?
        }
        [Value::List(list), wanted] => position(list, (0..list.len()).rev(), wanted)?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn position<'a>(
    list: &List<'a>,
    places: impl Iterator<Item = usize>,
    wanted: &Value<'a>,
) -> Result<i64, EvalError> {
    for place in places {
        if list.get(place)?.equals(wanted)? {
            return Ok(place as i64);
        }
    }
    Ok(-1)
}

fn slice<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let [Value::List(list), Value::Int(begin), Value::Int(end)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let cannot = |why: String| Err(EvalError::new(format!("cannot slice({begin}, {end}), {why}")));
    if *begin < 0 || *end < 0 {
        return cannot("negative indexes not supported".into());
    }
    if begin > end {
        return cannot("start index must be less than or equal to end index".into());
    }
    if (list.len() as i64) < *end {
        return cannot(format!("list is length {}", list.len()));
    }
    let items = (*begin as usize..*end as usize).map(|place| list.get(place));
    Ok(Value::list(items.collect::<Result<_, _>>()?))
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Result<Value<'a>, EvalError> {
    fn into<'a>(list: &List<'a>, depth: i64, flat: &mut Vec<Value<'a>>) -> Result<(), EvalError> {
        for item in list.iter() {
            match item? {
                Value::List(inner) if depth > 0 => into(&inner, depth - 1, flat)?,
                item => flat.push(item),
            }
        }
        Ok(())
    }
    let mut flat = Vec::new();
    into(list, depth, &mut flat)?;
    Ok(Value::list(flat))
}

/// The list in the order of its keys.
fn sorted<'a>(list: &List<'a>, keys: &List<'a>) -> Result<Value<'a>, EvalError> {
    let (items, keys) = (list.to_vec()?, keys.to_vec()?);
    if items.len() != keys.len() {
        return Err(EvalError::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        )));
    }
    if let Some(first) = keys.first() {
        if first.order(first).is_err() && !matches!(first, Value::Double(_)) {
            return Err(EvalError::new("list elements must be comparable"));
        }
        let of = first.type_name();
        if keys.iter().any(|key| key.type_name() != of) {
            return Err(EvalError::new("list elements must have the same type"));
        }
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    // What has no order, as NaN, is last.
    pairs.sort_by(|(one, _), (other, _)| match (one.order(other), one.order(one)) {
        (Ok(order), _) => order,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) if other.order(other).is_ok() => Ordering::Greater,
        (Err(_), Err(_)) => Ordering::Equal,
    });
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

/// Compares each with each: what cannot be paid for is not begun.
fn distinct<'a>(context: &Context<'_>, list: &List<'a>) -> Result<Value<'a>, EvalError> {
    let pairs = (list.len() as u64).saturating_mul(list.len() as u64);
    if pairs > context.room {
        return Err(EvalError::Budget);
    }
    let mut seen: Vec<Value<'a>> = Vec::new();
    'items: for item in list.iter() {
        let item = item?;
        for other in &seen {
            if item.equals(other)? {
                continue 'items;
            }
        }
        seen.push(item);
    }
    Ok(Value::list(seen))
}
