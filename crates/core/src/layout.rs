//! Where the elements of an array lie in a run of memory, counted in elements.
//!
//! Shapes come from files and from JavaScript, and a kernel that trusts a [`Layout`] reads raw memory. So all the
//! arithmetic is here, checked, and done once. Whoever holds a `Layout` can rely on its conditions.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use crate::error::{Error, Result};

/// The most axes that an array can have: numpy's limit.
pub const MAX_NDIM: usize = 64;

/// Which axis of an array varies fastest in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The last: row after row.
    C,
    /// The first: column after column.
    Fortran,
}

impl Order {
    /// The order by its numpy name for an array of `shape` (elements along each axis): C where both orders are the
    /// same, as they are with at most one axis longer than 1, and without elements.
    #[must_use]
    pub fn canonical(self, shape: &[u64]) -> Self {
        let same = shape.contains(&0) || shape.iter().filter(|&&n| n > 1).count() < 2;
        if same { Self::C } else { self }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C => "C",
            Self::Fortran => "F",
        })
    }
}

/// How many elements an array of `shape` has; `None` when there is no such array.
///
/// The limit is numpy's: the axes other than those of length 0 may multiply to `i64::MAX`, even where an axis of
/// length 0 makes the array empty. So partial products (strides) cannot overflow either.
#[must_use]
pub fn element_count(shape: &[u64]) -> Option<u64> {
    checked_product(shape.iter().copied())
}

/// How many bytes an array of `shape` has, with elements of `itemsize` bytes; `None` when there is no such array.
///
/// The limit is that of [`element_count`], counted in bytes.
#[must_use]
pub fn byte_count(shape: &[u64], itemsize: usize) -> Option<u64> {
    checked_product(shape.iter().copied().chain([itemsize as u64]))
}

fn checked_product(factors: impl Iterator<Item = u64>) -> Option<u64> {
    let (mut product, mut empty) = (1_u64, false);
    for factor in factors {
        if factor == 0 {
            empty = true;
        } else {
            product = product.checked_mul(factor)?;
        }
    }
    i64::try_from(product).ok()?;
    Some(if empty { 0 } else { product })
}

/// The strides, in elements, of an array of `shape` that lies in memory without gaps.
///
/// An axis of length 0 counts as 0: `[0, 5]` gives `[5, 1]`, `[5, 0]` gives `[0, 1]`. `None` can be the answer only
/// where it is that of [`element_count`].
#[must_use]
pub fn contiguous_strides(shape: &[u64], order: Order) -> Option<Vec<i64>> {
    let mut next = 1_i64;
    let stride = |&n: &u64| {
        let stride = next;
        next = next.checked_mul(i64::try_from(n).ok()?)?;
        Some(stride)
    };
    match order {
        Order::Fortran => shape.iter().map(stride).collect(),
        Order::C => {
            let reversed: Vec<_> = shape.iter().rev().map(stride).collect::<Option<_>>()?;
            Some(reversed.into_iter().rev().collect())
        }
    }
}

/// A view of a run of memory: the element at index `i` is `offset + i[0] * strides[0] + i[1] * strides[1] + …`.
///
/// Conditions that every `Layout` meets:
/// 1. `shape` and `strides` are of one length, at most [`MAX_NDIM`].
/// 2. [`element_count`] of the shape is some number.
/// 3. Every element reached lies in `0..memory_len`, as given to [`Layout::new`]. A view without elements reaches
///    nothing: its `offset` may be any number and must not be made a pointer of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    offset: u64,
    shape: Vec<u64>,
    strides: Vec<i64>,
    len: u64,
    extent: Option<(u64, u64)>,
}

impl Layout {
    /// A view of memory that holds `memory_len` elements.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where a condition of [`Layout`] does not hold.
    pub fn new(offset: u64, shape: Vec<u64>, strides: Vec<i64>, memory_len: u64) -> Result<Self> {
        if shape.len() != strides.len() || shape.len() > MAX_NDIM {
            return Err(Error::out_of_range(format!(
                "a view has {} axes and {} strides; expected as many of both, and at most {MAX_NDIM}",
                shape.len(),
                strides.len()
            )));
        }
        let len = element_count(&shape).ok_or_else(|| {
            Error::out_of_range(format!("a view of shape {shape:?} has more than {} elements", i64::MAX))
        })?;
        let extent = if len == 0 {
            None
        } else {
            let extent = reach(offset, &shape, &strides).filter(|&(_, end)| end <= memory_len);
            Some(extent.ok_or_else(|| {
                Error::out_of_range(format!(
                    "a view of shape {shape:?}, strides {strides:?} and offset {offset} leaves its memory; \
                     expected all of it in the {memory_len} elements there are"
                ))
            })?)
        };
        Ok(Self { offset, shape, strides, len, extent })
    }

    /// A view without gaps of memory that holds `memory_len` elements, from its first one on.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where a condition of [`Layout`] does not hold.
    pub fn contiguous(shape: Vec<u64>, order: Order, memory_len: u64) -> Result<Self> {
        // Strides that overflow belong to a shape that `new` refuses, whatever stands in for them.
        let strides = contiguous_strides(&shape, order).unwrap_or_else(|| vec![0; shape.len()]);
        Self::new(0, shape, strides, memory_len)
    }

    /// The element at index 0 of every axis.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Elements of memory from one index of an axis to the next.
    #[must_use]
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// How many elements the view has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the view has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest element of memory that the view reaches, and the highest plus one; `None` for an empty view.
    #[must_use]
    pub fn extent(&self) -> Option<(u64, u64)> {
        self.extent
    }
}

/// The lowest element that a view with elements reaches, and the highest plus one; `None` below 0 or out of range.
pub(crate) fn reach(offset: u64, shape: &[u64], strides: &[i64]) -> Option<(u64, u64)> {
    let start = i128::from(offset);
    let (low, high) = shape.iter().zip(strides).try_fold((start, start), |(low, high), (&n, &stride)| {
        let way = i128::from(n).checked_sub(1)?.checked_mul(i128::from(stride))?;
        Some((low.checked_add(way.min(0))?, high.checked_add(way.max(0))?))
    })?;
    Some((u64::try_from(low).ok()?, u64::try_from(high.checked_add(1)?).ok()?))
}
