//! Files that say nothing of themselves: the caller says where the elements lie.
//!
//! The samples of a WAV file, the vectors of an .fvecs and a bare dump of memory are all an offset in bytes and strides
//! in elements. What the caller says is checked against the length of the file before anything is mapped.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Format, Raw};
use crate::error::{Error, Result};
use crate::header::{Header, measure};
use crate::layout::{contiguous_strides, reach};

/// The header that `raw` stands for, in a file of `file_len` bytes.
pub(super) fn read(raw: &Raw, file_len: u64) -> Result<Header> {
    let Raw { element, offset, order, .. } = *raw;
    let size = element.size() as u64;
    let rest =
        file_len.checked_sub(offset).ok_or_else(|| Error::too_short("the offset", offset, file_len))?;
    let shape = match (&raw.shape, &raw.strides) {
        (Some(shape), _) => shape.clone(),
        (None, Some(_)) => return Err(Error::out_of_range("strides without a shape; give both, or neither")),
        (None, None) => vec![whole_elements(rest, size).ok_or_else(|| left_over(raw, rest, size))?],
    };
    measure(element, &shape).map_err(Error::out_of_range)?;
    let strides = match &raw.strides {
        Some(strides) => strides.clone(),
        None => contiguous_strides(&shape, order).unwrap_or_default(),
    };
    if strides.len() != shape.len() {
        return Err(Error::out_of_range(format!(
            "{} strides for a shape of {} axes; expected one for each axis",
            strides.len(),
            shape.len()
        )));
    }
    let outside = || {
        Error::out_of_range(format!(
            "strides {strides:?} over shape {shape:?} from byte {offset} on leave the file before its start, or past \
             any end; expected every element at byte 0 or later"
        ))
    };
    let step = |stride: &i64| i64::try_from(size).ok().and_then(|size| stride.checked_mul(size));
    let steps = strides.iter().map(step).collect::<Option<Vec<_>>>().ok_or_else(outside)?;
    let end = if shape.contains(&0) {
        offset
    } else {
        reach(offset, &shape, &steps)
            .and_then(|(_, high)| high.checked_sub(1)?.checked_add(size))
            .filter(|&end| i64::try_from(end).is_ok())
            .ok_or_else(outside)?
    };
    if end > file_len {
        return Err(Error::too_short("the array", end, file_len));
    }
    let code = element.npy_code().unwrap_or_else(|| element.name().to_owned());
    Header::strided(Format::Raw, element, code, shape, offset, steps, end)
}

fn whole_elements(bytes: u64, size: u64) -> Option<u64> {
    (bytes.checked_rem(size)? == 0).then_some(bytes.checked_div(size)?)
}

fn left_over(raw: &Raw, rest: u64, size: u64) -> Error {
    let reason = format!(
        "{rest} bytes from byte {} on are no whole number of elements: {} of {} and {} bytes left over. Give the shape to \
         ignore them",
        raw.offset,
        rest.checked_div(size).unwrap_or_default(),
        raw.element,
        rest.checked_rem(size).unwrap_or_default(),
    );
    Error::invalid_header(Format::Raw.name(), reason)
}
