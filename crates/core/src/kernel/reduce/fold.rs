//! What an operation is to the walk: something that takes in runs and rows, whatever its types.
//!
//! An operation is a [`Fold`] for each type of elements, which makes a hundred of them. The walk and the threads see them
//! as one [`Partial`] and one [`Recipe`], through pointers, and are compiled once: with types of its own for each
//! operation the walk was four times as large as all the kernels together.

use std::any::Any;

use super::drive::Place;
use super::load::{Eight, Run, Runs, Work};
use super::simd::{Kernel, dispatch};
use super::{Result, Scalar};
use crate::kernel::Element;

/// One reduction of elements of one type. The methods that see elements are `#[inline(always)]`, for [`dispatch`].
pub(super) trait Fold<W: Work>: Copy + Send + Sync + 'static {
    /// What is known of the elements seen so far.
    type Acc: Clone + Send + 'static;
    /// Whether the place of an element matters.
    const INDEXED: bool = false;
    /// What is known before the first one.
    fn start(self) -> Self::Acc;
    /// Takes in at most [`MAX_RUN`](super::load::MAX_RUN) elements.
    fn run(self, acc: &mut Self::Acc, run: Run<W>, place: Place);
    /// Takes in one element at the place `index`.
    fn push(self, acc: &mut Self::Acc, value: W, index: isize);
    /// Takes in at most [`ROWS`](super::plan::ROWS) rows, each of one element for each of the accumulators, with the places of the rows.
    #[inline(always)]
    fn rows(self, accs: &mut [Self::Acc], rows: &[(Run<W>, isize)]) {
        // What is known of a column is loaded and stored once for eight elements.
        let (eights, rest) = rows.as_chunks::<8>();
        for eight in eights {
            let columns = Eight::of(eight.map(|(row, _)| row)).columns();
            for (acc, values) in accs.iter_mut().zip(columns) {
                for (value, (_, index)) in values.into_iter().zip(eight) {
                    self.push(acc, value, *index);
                }
            }
        }
        for &(row, index) in rest {
            for (acc, value) in accs.iter_mut().zip(row.iter()) {
                self.push(acc, value, index);
            }
        }
    }
    /// Takes in what is known of elements that come later in the walk.
    fn merge(self, acc: &mut Self::Acc, later: &Self::Acc);
    /// Moves the places of the elements seen.
    fn shift(self, _acc: &mut Self::Acc, _by: isize) {}
    /// Whether no other element can change the result.
    fn is_settled(self, _acc: &Self::Acc) -> bool {
        false
    }
}

/// What is known, for some results side by side.
pub(super) trait Partial: Any + Send {
    /// Adds `n` results of which nothing is known yet.
    fn extend(&mut self, n: usize);
    /// How many there are.
    fn len(&self) -> usize;
    /// The last one takes in the `len` elements at `at`.
    ///
    /// # Safety
    /// - They are elements of the type that this is made for, side by side, in the order of this machine, and readable.
    unsafe fn run(&mut self, at: *const u8, len: usize, place: Place);
    /// Adds `n` results, each of which takes in a run of `len` elements at one place; the first run is at `at`, the others
    /// `stride` bytes further on each.
    ///
    /// # Safety
    /// - As for [`Partial::run`], for each run.
    unsafe fn runs(&mut self, at: *const u8, stride: isize, n: usize, len: usize, place: Place);
    /// The results from `from` on take in rows of `width` elements, given by their addresses and places.
    ///
    /// # Safety
    /// - As for [`Partial::run`], for each row.
    unsafe fn rows(&mut self, from: usize, width: usize, rows: &[(*const u8, isize)]);
    /// Lets the `n` results from `from` on take in those behind them, `n` by `n`, whose places are `step` further on.
    fn unwrap(&mut self, from: usize, n: usize, step: isize);
    /// Takes in what is known of elements that come later in the walk.
    fn merge(&mut self, later: &dyn Partial);
    /// Whether there is one result, which no other element can change.
    fn is_settled(&self) -> bool;
}

/// Results side by side in the order of all of them: the first, how many, and from one to the next.
pub(super) type Places = (usize, usize, isize);

/// How results are made from what is known.
pub(super) trait Recipe: Sync {
    /// Whether the places of elements matter.
    fn is_indexed(&self) -> bool;
    /// Bytes of what is known for one result.
    fn size(&self) -> usize;
    /// Nothing known yet.
    fn begin(&self) -> Box<dyn Partial>;
    /// The first result as scalars.
    fn scalars(&self, partial: &dyn Partial) -> Result<Vec<Scalar>>;
    /// Writes results, the first of them at `from` in `partial`, as elements of the arrays.
    fn write(&self, partial: &dyn Partial, from: usize, places: Places, arrays: &mut [Vec<u8>])
    -> Result<()>;
}

struct Known<W: Work, F: Fold<W>> {
    fold: F,
    accs: Vec<F::Acc>,
}

impl<W: Work, F: Fold<W>> Partial for Known<W, F> {
    fn extend(&mut self, n: usize) {
        self.accs.resize(self.accs.len() + n, self.fold.start());
    }

    fn len(&self) -> usize {
        self.accs.len()
    }

    unsafe fn run(&mut self, at: *const u8, len: usize, place: Place) {
        let Some(acc) = self.accs.last_mut() else { return };
        // SAFETY:
        // - promised by the caller.
        let run = unsafe { Run::<W>::new(at, len) };
        dispatch(OfRun { fold: self.fold, acc, run, place });
    }

    unsafe fn runs(&mut self, at: *const u8, stride: isize, n: usize, len: usize, place: Place) {
        let from = self.accs.len();
        self.extend(n);
        // SAFETY:
        // - promised by the caller.
        let runs = unsafe { Runs::<W>::new(at, stride, n, len) };
        dispatch(OfRuns { fold: self.fold, accs: &mut self.accs[from..], runs, place });
    }

    unsafe fn rows(&mut self, from: usize, width: usize, rows: &[(*const u8, isize)]) {
        // SAFETY:
        // - promised by the caller, for no elements and for each row.
        let mut runs = [(unsafe { Run::<W>::new(std::ptr::null(), 0) }, 0); super::plan::ROWS];
        for (run, &(at, index)) in runs.iter_mut().zip(rows) {
            // SAFETY:
            // - promised by the caller.
            *run = (unsafe { Run::new(at, width) }, index);
        }
        let accs = &mut self.accs[from..][..width];
        dispatch(OfRows { fold: self.fold, accs, rows: &runs[..rows.len()] });
    }

    fn unwrap(&mut self, from: usize, n: usize, step: isize) {
        let (own, others) = self.accs[from..].split_at_mut(n);
        for (by, others) in (1..).zip(others.chunks_mut(n)) {
            for (acc, later) in own.iter_mut().zip(others) {
                self.fold.shift(later, by * step);
                self.fold.merge(acc, later);
            }
        }
        self.accs.truncate(from + n);
    }

    fn merge(&mut self, later: &dyn Partial) {
        for (acc, later) in self.accs.iter_mut().zip(accs::<W, F>(later)) {
            self.fold.merge(acc, later);
        }
    }

    fn is_settled(&self) -> bool {
        matches!(self.accs.as_slice(), [acc] if self.fold.is_settled(acc))
    }
}

fn accs<W: Work, F: Fold<W>>(partial: &dyn Partial) -> &[F::Acc] {
    let partial: &dyn Any = partial;
    partial.downcast_ref::<Known<W, F>>().map_or(&[], |known| &known.accs)
}

struct OfRun<'a, W: Work, F: Fold<W>> {
    fold: F,
    acc: &'a mut F::Acc,
    run: Run<'a, W>,
    place: Place,
}

impl<W: Work, F: Fold<W>> Kernel for OfRun<'_, W, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.fold.run(self.acc, self.run, self.place);
    }
}

struct OfRuns<'a, W: Work, F: Fold<W>> {
    fold: F,
    accs: &'a mut [F::Acc],
    runs: Runs<'a, W>,
    place: Place,
}

impl<W: Work, F: Fold<W>> Kernel for OfRuns<'_, W, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (acc, run) in self.accs.iter_mut().zip(self.runs.iter()) {
            self.fold.run(acc, run, self.place);
        }
    }
}

struct OfRows<'a, W: Work, F: Fold<W>> {
    fold: F,
    accs: &'a mut [F::Acc],
    rows: &'a [(Run<'a, W>, isize)],
}

impl<W: Work, F: Fold<W>> Kernel for OfRows<'_, W, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.fold.rows(self.accs, self.rows);
    }
}

/// A fold, and how what it knows becomes results.
pub(super) struct Folding<W, F, S, E> {
    pub(super) fold: F,
    pub(super) scalars: S,
    pub(super) elements: E,
    pub(super) works: std::marker::PhantomData<fn(W)>,
}

impl<W, F, S, E, O, const N: usize> Recipe for Folding<W, F, S, E>
where
    W: Work,
    F: Fold<W>,
    O: Element,
    S: Fn(&F::Acc) -> Result<[Scalar; N]> + Sync,
    E: Fn(&F::Acc) -> Result<[O; N]> + Sync,
{
    fn is_indexed(&self) -> bool {
        F::INDEXED
    }

    fn size(&self) -> usize {
        size_of::<F::Acc>()
    }

    fn begin(&self) -> Box<dyn Partial> {
        Box::new(Known { fold: self.fold, accs: Vec::new() })
    }

    fn scalars(&self, partial: &dyn Partial) -> Result<Vec<Scalar>> {
        let first = accs::<W, F>(partial).first();
        first.map_or(Ok(Vec::new()), |acc| (self.scalars)(acc).map(Vec::from))
    }

    fn write(
        &self,
        partial: &dyn Partial,
        from: usize,
        (first, n, step): Places,
        arrays: &mut [Vec<u8>],
    ) -> Result<()> {
        let size = size_of::<O>();
        let mut place = first;
        for acc in accs::<W, F>(partial).iter().skip(from).take(n) {
            for (data, element) in arrays.iter_mut().zip((self.elements)(acc)?) {
                data[place * size..][..size].copy_from_slice(element.to_bytes().as_ref());
            }
            place = place.wrapping_add_signed(step);
        }
        Ok(())
    }
}
