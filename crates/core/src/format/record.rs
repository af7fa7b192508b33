//! The elements of an npy file, taken apart: its `descr` as columns.
//!
//! A record holds fields at fixed distances, so a field of all records is a strided array. A nested record is just more
//! of them, named by the way to it (`point.x`), and a field that is an array by itself adds its axes after those of the
//! file. What comes out of the tree is a flat list of [`Column`]s, which is all that opening and listing need.
//!
//! The rules are those of numpy's `descr_to_dtype`, its oddities included: a field without a name is padding if it is
//! void or an array, and a field otherwise. A field whose type has no number in it is listed and cannot be opened; one of
//! Python objects makes the file a pickle, which numpy refuses as a whole. One rule is not numpy's: names and axes of
//! nested records multiply, so a short text can ask for much memory, and how much it gets is bounded.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::HashSet;

use super::literal::Value;
use crate::dtype::ElementType;
use crate::error::{Error, Result};
use crate::layout::MAX_NDIM;

/// Bytes that the names and axes of all columns may take.
const MAX_COLUMNS_LEN: usize = 1 << 18;

/// What one element of the file's array holds.
pub(super) struct Item {
    /// Bytes.
    pub(super) size: u64,
    /// In the order of the file.
    pub(super) columns: Vec<Column>,
    /// Whether the columns have names.
    pub(super) record: bool,
    /// Whether it is padding where it has no name.
    nothing: bool,
}

/// The elements of one type at one place of every item.
pub(super) struct Column {
    /// Names of fields joined by dots; empty where the item is no record.
    pub(super) name: String,
    /// The file's own code of the type.
    pub(super) code: String,
    /// Bytes from the start of the item.
    pub(super) offset: u64,
    /// Axes inside of the item, outermost first: elements, and bytes between neighbours.
    pub(super) axes: Vec<(u64, u64)>,
}

/// Takes the axes off a `descr` that is an array by itself: numpy appends them to those of the file, in its order.
pub(super) fn peel(mut descr: Value) -> Result<(Value, Vec<u64>)> {
    let mut axes = Vec::new();
    while let Value::Tuple(parts) = descr {
        let (inner, shape) = pair(parts)?;
        axes.extend(lengths(shape)?);
        descr = inner;
    }
    Ok((descr, axes))
}

/// Reads the value of `descr`.
///
/// The depth of brackets is bounded by the reader of literals, and so is the depth of this.
pub(super) fn parse(descr: Value) -> Result<Item> {
    match descr {
        Value::Str(code) => {
            let size = size_of(&code)?;
            let nothing = unordered(&code).starts_with('V');
            let column = Column { name: String::new(), code, offset: 0, axes: Vec::new() };
            Ok(Item { size, columns: vec![column], record: false, nothing })
        }
        Value::Tuple(parts) => {
            let (descr, shape) = pair(parts)?;
            repeat(parse(descr)?, shape)
        }
        Value::List(fields) => record(fields),
        other => Err(invalid(format!("descr is {}; expected text such as '<f4', or fields", other.kind()))),
    }
}

fn record(fields: Vec<Value>) -> Result<Item> {
    let (mut size, mut columns, mut taken) = (0_u64, Vec::new(), HashSet::new());
    let mut room = MAX_COLUMNS_LEN;
    for field in fields {
        let (Value::List(parts) | Value::Tuple(parts)) = field else {
            return Err(invalid(format!("a field is {}; expected a tuple", field.kind())));
        };
        let wrong =
            || invalid("a field has not two or three parts; expected a name, a type, and maybe a shape");
        let mut parts = parts.into_iter();
        let (name, descr) = parts.next().zip(parts.next()).ok_or_else(wrong)?;
        let mut item = parse(descr)?;
        if let Some(shape) = parts.next() {
            item = repeat(item, shape)?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        let (title, name, bare) = names(name)?;
        let offset = size;
        size = add(size, item.size)?;
        if bare && name.is_empty() && item.nothing {
            continue;
        }
        if !taken.insert(name.clone()) || title.is_some_and(|title| !taken.insert(title)) {
            return Err(invalid(format!("two fields are named {name:?}; expected names that differ")));
        }
        for column in item.columns {
            let name = if item.record { format!("{name}.{}", column.name) } else { name.clone() };
            let column = Column { name, offset: add(column.offset, offset)?, ..column };
            room = room.checked_sub(len_of(&column)).ok_or_else(too_nested)?;
            columns.push(column);
        }
    }
    Ok(Item { size, columns, record: true, nothing: false })
}

/// A field's title and name, and whether the name came without a title.
fn names(value: Value) -> Result<(Option<String>, String, bool)> {
    let unnamed = |value: &Value| invalid(format!("a field's name is {}; expected a string", value.kind()));
    match value {
        Value::Str(name) => Ok((None, name, true)),
        Value::Tuple(parts) => {
            let mut parts = parts.into_iter();
            match (parts.next(), parts.next(), parts.next()) {
                (Some(title), Some(Value::Str(name)), None) => {
                    let title = if let Value::Str(title) = title { Some(title) } else { None };
                    Ok((title, name, false))
                }
                _ => Err(invalid("a field's name is a tuple; expected a title and a name in it")),
            }
        }
        other => Err(unnamed(&other)),
    }
}

/// The type and the shape of a tuple in `descr`.
fn pair(parts: Vec<Value>) -> Result<(Value, Value)> {
    let mut parts = parts.into_iter();
    let pair = parts.next().zip(parts.next());
    pair.ok_or_else(|| invalid("descr has a tuple of fewer than two parts; expected a type and a shape"))
}

fn lengths(shape: Value) -> Result<Vec<u64>> {
    match shape {
        Value::Tuple(lengths) | Value::List(lengths) => lengths.into_iter().map(length_of).collect(),
        length @ Value::Int(_) => Ok(vec![length_of(length)?]),
        other => Err(invalid(format!("a shape in descr is {}; expected a tuple", other.kind()))),
    }
}

/// An array of items, in C order.
fn repeat(item: Item, shape: Value) -> Result<Item> {
    let mut size = item.size;
    let mut axes = Vec::new();
    for length in lengths(shape)?.into_iter().rev() {
        axes.push((length, size));
        size = size.checked_mul(length).filter(|&size| i64::try_from(size).is_ok()).ok_or_else(too_large)?;
    }
    axes.reverse();
    if axes.len() > MAX_NDIM {
        return Err(invalid(format!("a field has {} axes; expected at most {MAX_NDIM}", axes.len())));
    }
    let more =
        axes.len().saturating_mul(std::mem::size_of::<(u64, u64)>()).saturating_mul(item.columns.len());
    let len = item.columns.iter().map(len_of).fold(more, usize::saturating_add);
    if len > MAX_COLUMNS_LEN {
        return Err(too_nested());
    }
    let nothing = item.nothing || !axes.is_empty();
    let columns = item
        .columns
        .into_iter()
        .map(|column| Column { axes: axes.iter().chain(&column.axes).copied().collect(), ..column });
    Ok(Item { size, columns: columns.collect(), record: item.record, nothing })
}

/// Bytes that the name and the axes of a column take.
fn len_of(column: &Column) -> usize {
    column.name.len().saturating_add(size_of_val(&*column.axes))
}

/// The length of an axis.
pub(super) fn length_of(value: Value) -> Result<u64> {
    match value {
        Value::Int(n) => {
            u64::try_from(n).map_err(|_| invalid(format!("an axis has length {n}; expected 0 or more")))
        }
        other => {
            Err(invalid(format!("an axis has for its length {}; expected a whole number", other.kind())))
        }
    }
}

/// Bytes of one element of a type that numpy stores as bytes, whether or not it is read.
fn size_of(code: &str) -> Result<u64> {
    let refused = match ElementType::parse_numpy(code) {
        Ok(element) => return Ok(element.size() as u64),
        Err(error) => error,
    };
    let name = unordered(code).split('[').next().unwrap_or_default();
    let mut chars = name.chars();
    let (kind, digits) = (chars.next(), chars.as_str());
    let digits = || if digits.is_empty() { Some(0) } else { digits.parse().ok() };
    let size: Option<u64> = match (kind, name) {
        (_, "M" | "m" | "M8" | "m8" | "datetime64" | "timedelta64") => Some(8),
        (_, "f12" | "f16" | "c24" | "c32") | (Some('S' | 'a' | 'V'), _) => digits(),
        (Some('U'), _) => digits().and_then(|chars| chars.checked_mul(4)),
        _ => None,
    };
    size.filter(|&size| i64::try_from(size).is_ok()).ok_or(refused)
}

/// A code without its byte order.
fn unordered(code: &str) -> &str {
    code.strip_prefix(['<', '>', '=', '|']).unwrap_or(code)
}

fn add(a: u64, b: u64) -> Result<u64> {
    a.checked_add(b).filter(|&sum| i64::try_from(sum).is_ok()).ok_or_else(too_large)
}

fn too_large() -> Error {
    invalid(format!("its records have more than {} bytes", i64::MAX))
}

fn too_nested() -> Error {
    invalid(format!(
        "the names and axes of its nested fields take more than {MAX_COLUMNS_LEN} bytes when they are written out; \
         expected shorter names, or fewer fields and axes in records that have axes"
    ))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid_header(super::Format::Npy.name(), reason)
}
