//! The format of `numpy.save`, versions 1.0, 2.0 and 3.0.
//!
//! The magic, a version, the length of a text, the text, the elements. The text is a Python dict with the keys
//! `descr`, `fortran_order` and `shape`. What numpy 2 reads with pickle off is read, what it refuses is refused, save
//! what [`super::literal`] and [`ElementType::parse_numpy`] leave out; its limit of 10000 characters holds here too, and is
//! checked before anything is allocated.
//!
//! What is written is what numpy writes, spaces included: room for the growing axis to become longer in place, then up
//! to 64 that bring the elements to a multiple of 64 bytes. A text of numbers alone is never too long for version 1.0.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::literal::{self, Value};
use super::record::{self, Column, Item};
use super::{Entry, Format, choose};
use crate::dtype::ElementType;
use crate::error::{Error, Result};
use crate::header::Header;
use crate::layout::{Order, byte_count, contiguous_strides};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// numpy's `max_header_size`, in characters.
const MAX_TEXT: usize = 10_000;
/// Bytes of the longest header: one of version 3.0, whose characters have up to 4 bytes.
pub(super) const MAX_HEADER_LEN: usize = 12 + 4 * MAX_TEXT;

/// Digits that the growing axis may come to have without a longer header.
const GROWTH_DIGITS: usize = 21;
const ALIGN: usize = 64;

/// What a header says, all of it.
pub(super) struct Npy {
    item: Item,
    /// Items along each axis.
    shape: Vec<u64>,
    order: Order,
    /// The byte of the file where the items start.
    data_offset: u64,
}

/// Bytes of the header that starts so, as far as its first twelve tell; never more than a header may have.
pub(super) fn header_len(start: &[u8]) -> usize {
    let text_len = match start {
        [_, _, _, _, _, _, 1, _, a, b, ..] => u32::from(u16::from_le_bytes([*a, *b])),
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0,
    };
    usize::try_from(text_len).unwrap_or(MAX_HEADER_LEN).saturating_add(12).min(MAX_HEADER_LEN)
}

/// Reads the header at the start of `prefix`, which starts with the magic or ends within it, and lies at byte `base` of
/// the file.
pub(super) fn read(prefix: &[u8], base: u64) -> Result<Npy> {
    let too_short = |expected| Error::too_short("an npy header", expected, prefix.len() as u64);
    let (&[.., major, minor], rest) = prefix.split_first_chunk::<8>().ok_or_else(|| too_short(10))?;
    let (text_len, rest) = match (major, minor) {
        (1, 0) => rest.split_first_chunk().map(|(len, rest)| (u32::from(u16::from_le_bytes(*len)), rest)),
        (2 | 3, 0) => rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len), rest)),
        _ => {
            let version = format!("{major}.{minor}");
            return Err(Error::unsupported_version(Format::Npy.name(), version, "1.0, 2.0 or 3.0"));
        }
    }
    .ok_or_else(|| too_short(if major == 1 { 10 } else { 12 }))?;

    let text_start = prefix.len().saturating_sub(rest.len()) as u64;
    let text_end = text_start.saturating_add(u64::from(text_len));
    let too_long = || {
        invalid(format!("its text has {text_len} bytes; expected at most {MAX_TEXT} characters, as in numpy"))
    };
    let text_len = usize::try_from(text_len).map_err(|_| too_long())?;
    if text_len > if major == 3 { MAX_TEXT.saturating_mul(4) } else { MAX_TEXT } {
        return Err(too_long());
    }
    let bytes = rest.get(..text_len).ok_or_else(|| too_short(text_end))?;
    let text = match major {
        3 => str::from_utf8(bytes).map_err(|_| invalid("its text is not UTF-8".to_owned()))?.to_owned(),
        _ => bytes.iter().map(|&latin1| char::from(latin1)).collect(),
    };
    if text.chars().nth(MAX_TEXT).is_some() {
        return Err(too_long());
    }
    let value = literal::parse(&text, major < 3).map_err(invalid)?;
    npy_of(value, base.saturating_add(text_end))
}

/// Checks that `value` is a dict of the three keys, and what they hold.
fn npy_of(value: Value, data_offset: u64) -> Result<Npy> {
    let Value::Dict(entries) = value else {
        return Err(invalid(format!("its text is {}; expected a dict", value.kind())));
    };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    for (key, value) in entries {
        match key.as_str() {
            "descr" => descr = Some(value),
            "fortran_order" => fortran = Some(value),
            "shape" => shape = Some(value),
            _ => {
                return Err(invalid(format!("unknown key {key:?}; expected descr, fortran_order and shape")));
            }
        }
    }
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
        return Err(invalid("a key is missing; expected descr, fortran_order and shape".to_owned()));
    };

    let Value::Tuple(axes) = shape else {
        return Err(invalid(format!("shape is {}; expected a tuple", shape.kind())));
    };
    let mut shape = axes.into_iter().map(record::length_of).collect::<Result<Vec<_>>>()?;
    let order = match fortran {
        Value::Bool(true) => Order::Fortran,
        Value::Bool(false) => Order::C,
        other => {
            return Err(invalid(format!("fortran_order is {}; expected True or False", other.kind())));
        }
    };
    let (descr, inner) = record::peel(descr)?;
    shape.extend(inner);
    let item = record::parse(descr)?;
    if let Some(Column { code, .. }) = item.columns.iter().find(|column| is_object(&column.code)) {
        // As numpy does, whatever else the records hold.
        ElementType::parse_numpy(code)?;
    }
    Ok(Npy { item, shape, order, data_offset })
}

fn is_object(code: &str) -> bool {
    code.trim_start_matches(['<', '>', '=', '|']).starts_with('O')
}

impl Npy {
    /// The order that the header names, also where it makes no difference.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// The header of the field called `name`, or of the array itself where it has no fields.
    ///
    /// `called` is what the caller knows a field by, for messages.
    pub(super) fn header(
        self,
        format: Format,
        name: Option<&str>,
        called: impl Fn(&str) -> String,
    ) -> Result<Header> {
        let Self { item, mut shape, order, data_offset } = self;
        // An array without fields is known by no name, and by an empty one.
        let name = if item.record { name } else { name.or(Some("")) };
        let chosen = choose(item.columns, name, |column| &column.name, called);
        // Without a name it is the dtype that cannot be opened; the names that can be are in the reason.
        let chosen = chosen.map_err(|error| match name {
            None => Error::unsupported_dtype("record", error.to_string()),
            Some(_) => error,
        });
        let Column { code, offset, axes, .. } = chosen?;
        let element = ElementType::parse_numpy(&code)?;
        let too_large =
            || invalid(format!("shape {shape:?} of items of {} bytes has too many bytes", item.size));
        let size = i64::try_from(item.size).map_err(|_| too_large())?;
        let nbytes = usize::try_from(item.size).ok().and_then(|size| byte_count(&shape, size));
        let file_len = nbytes.and_then(|nbytes| data_offset.checked_add(nbytes)).ok_or_else(too_large)?;
        let mut steps = contiguous_strides(&shape, order)
            .and_then(|strides| {
                strides.iter().map(|stride| stride.checked_mul(size)).collect::<Option<Vec<_>>>()
            })
            .ok_or_else(too_large)?;
        for (length, step) in axes {
            shape.push(length);
            steps.push(i64::try_from(step).unwrap_or(i64::MAX));
        }
        let first = data_offset.checked_add(offset).ok_or_else(|| invalid("it starts past any end"))?;
        Header::strided(format, element, code, shape, first, steps, file_len)
    }

    /// The array, or its fields.
    pub(super) fn entries(self) -> Vec<Entry> {
        let Self { item, shape, data_offset, .. } = self;
        let entry = |Column { name, code, offset, axes }: Column| Entry {
            name,
            dtype: ElementType::parse_numpy(&code).map_or(code, |element| element.name().to_owned()),
            shape: shape.iter().copied().chain(axes.into_iter().map(|axis| axis.0)).collect(),
            offset: data_offset.saturating_add(offset),
        };
        item.columns.into_iter().map(entry).collect()
    }
}

/// Makes the header of an array that the caller has measured; `order` is canonical.
pub(super) fn write(element: ElementType, shape: &[u64], order: Order) -> Result<Vec<u8>> {
    let code = element.npy_code().ok_or_else(|| {
        Error::unsupported_dtype(
            element.name(),
            "numpy has no code for it. Write a raw file, or float32, instead",
        )
    })?;
    let (text, growth) = text_of(&code, shape, order);
    let text = format!("{text}{:growth$}", "");
    // 10 bytes before the text and one line feed after it; an exact fit gets 64 more, as in numpy.
    let used = text.len().saturating_add(11);
    let text = format!("{text}{:padding$}\n", "", padding = ALIGN.saturating_sub(used % ALIGN));
    let text_len = u16::try_from(text.len()).map_err(|_| {
        Error::too_large(format!("a header of {} bytes fits no npy file of version 1.0", text.len()))
    })?;
    Ok([MAGIC, &[1, 0], &text_len.to_le_bytes(), text.as_bytes()].concat())
}

/// Makes another header of exactly the length of `old`, which is a whole one, for another shape.
pub(super) fn rewrite(old: &[u8], code: &str, shape: &[u64], order: Order) -> Result<Vec<u8>> {
    let before = if old.get(6) == Some(&1) { 10 } else { 12 };
    let (text, _) = text_of(code, shape, order);
    // Spaces, and a line feed at the end.
    let room = old.len().saturating_sub(before).saturating_sub(1);
    let padding = room.checked_sub(text.len()).ok_or_else(|| {
        Error::too_large(format!(
            "the header of this file has room for {room} characters, and a shape of {shape:?} needs {}. Save it as a new npy \
             file, whose header has room to grow",
            text.len()
        ))
    })?;
    let text = format!("{text}{:padding$}\n", "");
    Ok([old.get(..before).unwrap_or_default(), text.as_bytes()].concat())
}

/// The dict of a header, and how many characters its growing axis may still need.
fn text_of(code: &str, shape: &[u64], order: Order) -> (String, usize) {
    let fortran = order == Order::Fortran;
    let axes: Vec<_> = shape.iter().map(u64::to_string).collect();
    let comma = if axes.len() == 1 { "," } else { "" };
    let growing = if fortran { axes.last() } else { axes.first() };
    let growth = growing.map_or(0, |digits| GROWTH_DIGITS.saturating_sub(digits.len()));
    let text = format!(
        "{{'descr': '{code}', 'fortran_order': {}, 'shape': ({}{comma}), }}",
        if fortran { "True" } else { "False" },
        axes.join(", "),
    );
    (text, growth)
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid_header(Format::Npy.name(), reason)
}
