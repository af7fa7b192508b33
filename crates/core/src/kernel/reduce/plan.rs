//! How a reduction goes through memory.
//!
//! Axes are either kept or reduced. Each kind is put into the order of memory and joined into lines by itself, so that
//! what the caller calls the axes does not matter any more. Where the reduced elements lie side by side, each result is
//! made from runs; where the kept ones do, many results are made at once from rows, in tiles that fit into the cache.
//!
//! The work is cut into chunks by the view alone and never by the number of threads, and that is why results do not
//! depend on it.

use std::ops::Range;

use super::load::BLOCK;
use crate::error::{Error, Result};
use crate::kernel::RawView;
use crate::kernel::crew::CHUNK;
use crate::kernel::runs::Lines;

/// The most parts of one tile of rows: each has results of its own until they are merged.
const MAX_PARTS: usize = 1024;

/// The most results that are made from rows at once, and the bytes that their accumulators may have.
const TILE: usize = 2048;
const TILE_BYTES: usize = 1 << 16;

/// Rows that a kernel gets at once where they are read in place.
pub(super) const ROWS: usize = 128;

/// Rows are better than runs below this length of a run.
const SHORT: usize = 32;

/// Results side by side: where their elements and they themselves start, how many they are, and the strides of both.
pub(super) type Piece = ([isize; 2], usize, [isize; 2]);

/// The axes of a reduction, checked.
pub(super) struct Axes {
    reduced: Vec<bool>,
}

impl Axes {
    /// Axes as numpy takes them: all for none given, negative ones count from the end.
    pub(super) fn new(axes: Option<&[i64]>, ndim: usize) -> Result<Self> {
        let Some(axes) = axes else { return Ok(Self { reduced: vec![true; ndim] }) };
        let mut reduced = vec![false; ndim];
        for &axis in axes {
            let from_start = if axis < 0 { axis.checked_add_unsigned(ndim as u64) } else { Some(axis) };
            let slot = from_start.and_then(|axis| reduced.get_mut(usize::try_from(axis).ok()?));
            let Some(slot) = slot else {
                return Err(Error::out_of_range(format!(
                    "axis {axis} of an array with {ndim} axes; expected an integer from -{ndim} to {ndim} - 1"
                )));
            };
            if std::mem::replace(slot, true) {
                return Err(Error::invalid_value(format!(
                    "axis {axis} is given twice in {axes:?}; name each axis once"
                )));
            }
        }
        Ok(Self { reduced })
    }

    /// The shape of the result.
    pub(super) fn result_shape(&self, shape: &[usize], keepdims: bool) -> Vec<u64> {
        let axes = shape.iter().zip(&self.reduced);
        axes.filter_map(|(&n, &reduced)| match (reduced, keepdims) {
            (true, true) => Some(1),
            (true, false) => None,
            (false, _) => Some(n as u64),
        })
        .collect()
    }

    /// How many elements go into one result.
    pub(super) fn reduced_len(&self, shape: &[usize]) -> usize {
        shape.iter().zip(&self.reduced).filter(|&(_, &reduced)| reduced).map(|(&n, _)| n).product()
    }
}

/// The way through a view that has elements.
pub(super) struct Plan {
    /// In the view, in bytes, and in the result, in elements.
    kept: Lines<2>,
    /// In the view, in bytes, and as [`Order`] says.
    pub(super) reduced: Lines<2>,
    /// Where the first elements of the walk are in the view, the result, and the order of what is reduced.
    pub(super) first: isize,
    first_result: isize,
    pub(super) first_index: isize,
    /// Columns of a tile; `None` for runs.
    pub(super) tile: Option<usize>,
    /// How many rows that lie behind each other are taken as one.
    pub(super) wrap: usize,
    /// Results, or tiles of them.
    units: usize,
    /// Into how many parts each of them is cut; units are grouped only where it is 1.
    pub(super) parts: usize,
    steps: usize,
    /// How many units make a chunk, of what is read and of what is known of it.
    group: usize,
}

impl Plan {
    /// `order` says which places of elements matter, `accumulator` what one result needs while it is made, in bytes.
    pub(super) fn new(view: &RawView, axes: &Axes, order: Order, accumulator: usize) -> Self {
        let (kept, mut first, first_result) = lines(view, axes, false, Order::C);
        let (reduced, more, first_index) = lines(view, axes, true, order);
        first += more;
        let itemsize = view.dtype.itemsize();
        let (columns, [column, _]) = kept.inner();
        let (run, [element, _]) = reduced.inner();
        let rows = columns > 1
            && (reduced.len() == 1 || column.abs() < element.abs() || (run < SHORT && columns > run));
        let mut plan = Self {
            kept,
            reduced,
            first,
            first_result,
            first_index,
            tile: None,
            wrap: 1,
            units: 0,
            parts: 1,
            steps: 0,
            group: 1,
        };
        // What is read of memory for each element: whole cache lines.
        let touched = |stride: isize| stride.unsigned_abs().clamp(itemsize, 64);
        let total = plan.reduced.len();
        if rows {
            let widest = TILE.min(TILE_BYTES / accumulator).max(64);
            let tile = widest.min(columns);
            // Places of a second operand are looked at while a row is taken in, when they must be those of all of it.
            let wraps = !matches!(order, Order::Of(_));
            if wraps && columns.checked_mul(column.unsigned_abs()) == Some(element.unsigned_abs()) {
                plan.wrap = (widest / columns).clamp(1, run);
            }
            plan.tile = Some(tile);
            plan.units = plan.kept.lines() * columns.div_ceil(tile);
            let (row, many) = (tile * touched(column), plan.wrap * ROWS);
            let steps = (CHUNK / row).max(total.div_ceil(MAX_PARTS)).max(1);
            plan.steps = steps.div_ceil(many) * many;
            plan.group = (CHUNK / row.saturating_mul(total)).min(CHUNK / (tile * accumulator)).max(1);
        } else {
            plan.units = plan.kept.len();
            plan.steps = (CHUNK / touched(element)).max(BLOCK);
            plan.group = (CHUNK / touched(element).saturating_mul(total)).min(CHUNK / accumulator).max(1);
        }
        plan.parts = total.div_ceil(plan.steps);
        plan
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        if self.parts > 1 { self.units * self.parts } else { self.units.div_ceil(self.group) }
    }

    /// The units of a chunk, and which of the elements (or rows) of each.
    pub(super) fn chunk(&self, chunk: usize) -> (Range<usize>, Range<usize>) {
        let total = self.reduced.len();
        if self.parts > 1 {
            let (unit, part) = (chunk / self.parts, chunk % self.parts);
            (unit..unit + 1, part * self.steps..total.min((part + 1) * self.steps))
        } else {
            (chunk * self.group..self.units.min((chunk + 1) * self.group), 0..total)
        }
    }

    /// Whether there is a single result, and it is made in parts.
    pub(super) fn is_one_result(&self) -> bool {
        self.tile.is_none() && self.units == 1
    }

    /// The results of some units, in order, until `visit` answers `false`; says whether it never did.
    pub(super) fn pieces(&self, units: Range<usize>, visit: &mut dyn FnMut(Piece) -> bool) -> bool {
        let moved = |[view, result]: [isize; 2]| [view + self.first, result + self.first_result];
        let Some(tile) = self.tile else {
            return self.kept.visit(units, &mut |start, n, strides| visit((moved(start), n, strides)));
        };
        let (columns, strides) = self.kept.inner();
        let tiles = columns.div_ceil(tile);
        units.into_iter().all(|unit| {
            let before = unit % tiles * tile;
            let [view, result] = moved(self.kept.start(unit / tiles));
            let [by_view, by_result] = strides.map(|stride| stride * before.cast_signed());
            visit(([view + by_view, result + by_result], tile.min(columns - before), strides))
        })
    }
}

/// Where elements are beside their places in the view.
#[derive(Clone, Copy)]
pub(super) enum Order<'a> {
    /// Nobody asks.
    Any,
    /// In the C order of what is reduced, in elements.
    C,
    /// In another view of the same axes: its strides, in bytes.
    Of(&'a [isize]),
}

/// The lines of one kind of axes, upwards in memory, and where they start in the view and in what `order` says.
fn lines(view: &RawView, axes: &Axes, reduced: bool, places: Order) -> (Lines<2>, isize, isize) {
    let of_kind: Vec<usize> = (0..view.shape.len()).filter(|&axis| axes.reduced[axis] == reduced).collect();
    let shape: Vec<usize> = of_kind.iter().map(|&axis| view.shape[axis]).collect();
    let mut strides: Vec<isize> = of_kind.iter().map(|&axis| view.strides[axis]).collect();
    let mut order = vec![0_isize; shape.len()];
    match places {
        Order::Any => {}
        Order::C => {
            let mut step = 1;
            for (order, &n) in order.iter_mut().zip(&shape).rev() {
                *order = step;
                step *= n.cast_signed();
            }
        }
        Order::Of(strides) => order = of_kind.iter().map(|&axis| strides[axis]).collect(),
    }
    let (mut first, mut first_ordered) = (0, 0);
    for ((stride, order), &n) in strides.iter_mut().zip(&mut order).zip(&shape) {
        if *stride < 0 {
            first += *stride * (n.cast_signed() - 1);
            first_ordered += *order * (n.cast_signed() - 1);
            (*stride, *order) = (-*stride, -*order);
        }
    }
    (Lines::new(&shape, [&strides, &order]), first, first_ordered)
}
