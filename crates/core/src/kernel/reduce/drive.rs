//! Chunks of a reduction on one thread or several.
//!
//! Workers take chunks from a shared counter: with the other core busy, halves given out beforehand lost to one thread,
//! and chunks of a megabyte did not. What they make is put together in the order of the chunks, whichever is ready
//! first, so the result is the same for any number of threads. Starting a thread costs some 35 µs, a mebibyte about as
//! much, and so one thread is enough for a few MiB; a pool (rayon) would save 20 µs of hundreds and bring five crates.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::load::{BLOCK, MAX_RUN, Run, Source, Work};
use super::plan::{Plan, ROWS};
use super::simd::{Kernel, dispatch};
use super::{Control, Options};
use crate::error::{Error, Result};

/// Below this many bytes one thread does it all.
const LARGE: usize = 8 << 20;

/// Where the elements of a run are in the C order of what is reduced: the first one, and from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) first: isize,
    pub(super) step: isize,
}

/// One reduction of elements of one type. The methods that see elements are `#[inline(always)]`, for [`dispatch`].
pub(super) trait Fold<W: Work>: Copy + Send + Sync {
    /// What is known of the elements seen so far.
    type Acc: Clone + Send;
    /// Whether the place of an element matters.
    const INDEXED: bool = false;
    /// What is known before the first one.
    fn start(self) -> Self::Acc;
    /// Takes in at most [`MAX_RUN`] elements.
    fn run(self, acc: &mut Self::Acc, run: Run<W>, place: Place);
    /// Takes in one element at the place `index`.
    fn push(self, acc: &mut Self::Acc, value: W, index: isize);
    /// Takes in at most [`ROWS`] rows, each of one element for each of the accumulators, with the places of the rows.
    #[inline(always)]
    fn rows(self, accs: &mut [Self::Acc], rows: &[(Run<W>, isize)]) {
        for &(row, index) in rows {
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

/// A reduction of a view: how to go through it, how to read it, and what to make of it.
pub(super) struct Job<'a, W, F> {
    pub(super) plan: &'a Plan,
    pub(super) source: Source<W>,
    pub(super) fold: F,
    pub(super) options: &'a Options<'a>,
}

/// What stops the workers.
struct Halt<'a> {
    control: Control<'a>,
    stopped: AtomicBool,
}

impl Halt<'_> {
    fn is_on(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.control.is_cancelled()
    }
}

/// Takes the results as they get ready: the place of each in the C order of all of them, and what is known.
pub(super) type Sink<'a, A> = dyn FnMut(usize, &A) -> Result<()> + Send + 'a;

impl<W: Work, F: Fold<W>> Job<'_, W, F> {
    /// Does it all.
    ///
    /// # Errors
    /// Those of the sink; [`Error::Aborted`].
    pub(super) fn run(&self, sink: &mut Sink<F::Acc>) -> Result<()> {
        let (plan, chunks) = (self.plan, self.plan.chunks());
        let halt = Halt { control: self.options.control, stopped: AtomicBool::new(false) };
        let combiner = Mutex::new(Combiner {
            job: self,
            sink,
            next: 0,
            waiting: BTreeMap::new(),
            current: Vec::new(),
            outcome: None,
        });
        let counter = AtomicUsize::new(0);
        let work = || {
            while !halt.is_on() {
                let chunk = counter.fetch_add(1, Ordering::Relaxed);
                if chunk >= chunks {
                    break;
                }
                let (units, steps) = plan.chunk(chunk);
                let Some(accs) = self.fold_chunk(units, steps.clone(), &halt) else { break };
                halt.control.add(accs.len().saturating_mul(steps.len()));
                let mut combiner = combiner.lock().unwrap_or_else(PoisonError::into_inner);
                if combiner.accept(chunk, accs) {
                    halt.stopped.store(true, Ordering::Relaxed);
                }
            }
        };
        let threads = self.threads().min(chunks);
        thread::scope(|scope| {
            for _ in 1..threads {
                // One thread less is no reason to fail.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let combiner = combiner.into_inner().unwrap_or_else(PoisonError::into_inner);
        match combiner.outcome {
            Some(outcome) => outcome,
            None if combiner.next == chunks => Ok(()),
            None => Err(Error::Aborted),
        }
    }

    fn threads(&self) -> usize {
        self.options.threads.unwrap_or_else(|| {
            let elements = self.plan.chunks().saturating_mul(1 << 20);
            if elements < LARGE { 1 } else { thread::available_parallelism().map_or(1, NonZero::get) }
        })
    }

    /// What is known of some elements (or rows) of each result of some units; `None` where it was stopped.
    fn fold_chunk(&self, units: Range<usize>, steps: Range<usize>, halt: &Halt) -> Option<Vec<F::Acc>> {
        let (plan, fold) = (self.plan, self.fold);
        let mut accs = Vec::new();
        let mut scratch = Vec::new();
        let done = plan.pieces(units, &mut |([start, _], n, [stride, _])| {
            if plan.tile.is_none() {
                return (0..n.cast_signed()).all(|i| {
                    let mut acc = fold.start();
                    let done =
                        self.fold_runs(&mut acc, start + i * stride, steps.clone(), &mut scratch, halt);
                    accs.push(acc);
                    done
                });
            }
            let mut wide = vec![fold.start(); n * plan.wrap];
            let done = self.fold_rows(&mut wide, n, (start, stride), steps.clone(), &mut scratch, halt);
            let step = plan.reduced.inner().1[1];
            let (own, others) = wide.split_at_mut(n);
            for (by, accs) in (1..).zip(others.chunks_mut(n)) {
                for (acc, later) in own.iter_mut().zip(accs) {
                    fold.shift(later, by * step);
                    fold.merge(acc, later);
                }
            }
            wide.truncate(n);
            accs.append(&mut wide);
            done
        });
        done.then_some(accs)
    }

    /// One result from runs.
    fn fold_runs(
        &self,
        acc: &mut F::Acc,
        start: isize,
        steps: Range<usize>,
        block: &mut Vec<W>,
        halt: &Halt,
    ) -> bool {
        let Self { plan, source, fold, .. } = *self;
        let mut filled = 0;
        let done = plan.reduced.visit(steps, &mut |[offset, index], n, [stride, step]| {
            let (offset, index) = (start + offset, plan.first_index + index);
            if source.reads_in_place(stride) && (F::INDEXED || n >= BLOCK / 16) {
                return (0..n).step_by(MAX_RUN).all(|from| {
                    let signed = from.cast_signed();
                    // SAFETY:
                    // - the plan gives places of elements of the view, and `n - from` of them are left of this run.
                    // - they lie side by side in the order of this machine: `reads_in_place`.
                    let run = unsafe { source.run(offset + signed * stride, MAX_RUN.min(n - from)) };
                    let place = Place { first: index + signed * step, step };
                    dispatch(OfRun { fold, acc: &mut *acc, run, place });
                    !halt.is_on()
                });
            }
            block.resize(BLOCK, W::default());
            let mut from = 0;
            while from < n {
                let signed = from.cast_signed();
                let part = &mut block[filled..];
                let len = part.len().min(n - from);
                // SAFETY:
                // - the plan gives places of elements of the view, and at least `len` of them are left of this run.
                unsafe { source.gather(offset + signed * stride, stride, &mut part[..len]) };
                (filled, from) = (filled + len, from + len);
                if F::INDEXED || filled == BLOCK {
                    let run = Run::of(&block[..filled]);
                    let place = Place { first: index + signed * step, step };
                    dispatch(OfRun { fold, acc: &mut *acc, run, place });
                    filled = 0;
                    if halt.is_on() {
                        return false;
                    }
                }
            }
            true
        });
        if filled > 0 {
            dispatch(OfRun { fold, acc, run: Run::of(&block[..filled]), place: Place { first: 0, step: 0 } });
        }
        done
    }

    /// Many results from rows of `columns` elements at `start`, `stride` bytes apart.
    fn fold_rows(
        &self,
        accs: &mut [F::Acc],
        columns: usize,
        (start, stride): (isize, isize),
        steps: Range<usize>,
        scratch: &mut Vec<W>,
        halt: &Halt,
    ) -> bool {
        let Self { plan, source, fold, .. } = *self;
        let in_place = source.reads_in_place(stride);
        let most = if in_place { ROWS } else { ROWS / 4 };
        let mut rows: Vec<(isize, isize)> = Vec::with_capacity(most);
        let mut flush = |rows: &mut Vec<(isize, isize)>, width: usize| {
            if !in_place {
                scratch.resize(most * accs.len(), W::default());
                for (&(offset, _), row) in rows.iter().zip(scratch.chunks_mut(width)) {
                    // SAFETY:
                    // - the plan gives places of elements of the view, and there are `width` of them in each row.
                    unsafe { source.gather(offset, stride, row) };
                }
            }
            let mut gathered = scratch.chunks(width.max(1));
            let mut runs = [(Run::of(&[]), 0); ROWS];
            for (run, &(offset, index)) in runs.iter_mut().zip(rows.iter()) {
                *run = if in_place {
                    // SAFETY:
                    // - as above, and they lie side by side in the order of this machine: `reads_in_place`.
                    (unsafe { source.run(offset, width) }, index)
                } else {
                    (Run::of(gathered.next().unwrap_or_default()), index)
                };
            }
            dispatch(OfRows { fold, accs: &mut accs[..width], rows: &runs[..rows.len()] });
            rows.clear();
            !halt.is_on()
        };
        let mut width = 0;
        let done = plan.reduced.visit(steps, &mut |[offset, index], n, [row, step]| {
            (0..n).step_by(plan.wrap).all(|from| {
                // Rows that lie behind each other are one long row; the last may be shorter.
                let wide = columns * plan.wrap.min(n - from);
                if (rows.len() == most || wide != width) && !rows.is_empty() && !flush(&mut rows, width) {
                    return false;
                }
                width = wide;
                let from = from.cast_signed();
                rows.push((start + offset + from * row, plan.first_index + index + from * step));
                true
            })
        });
        done && (rows.is_empty() || flush(&mut rows, width))
    }
}

/// Puts the chunks together in their order.
struct Combiner<'a, 'b, W: Work, F: Fold<W>> {
    job: &'a Job<'a, W, F>,
    sink: &'a mut Sink<'b, F::Acc>,
    next: usize,
    waiting: BTreeMap<usize, Vec<F::Acc>>,
    /// What is known of a unit whose parts are not all there yet.
    current: Vec<F::Acc>,
    /// Set where the rest of the chunks is of no use.
    outcome: Option<Result<()>>,
}

impl<W: Work, F: Fold<W>> Combiner<'_, '_, W, F> {
    /// Takes what a chunk has given, and says whether that is enough.
    fn accept(&mut self, chunk: usize, accs: Vec<F::Acc>) -> bool {
        self.waiting.insert(chunk, accs);
        while self.outcome.is_none()
            && let Some(accs) = self.waiting.remove(&self.next)
        {
            if let Err(error) = self.put(self.next, accs) {
                self.outcome = Some(Err(error));
            }
            self.next += 1;
        }
        self.outcome.is_some()
    }

    fn put(&mut self, chunk: usize, accs: Vec<F::Acc>) -> Result<()> {
        let Job { plan, fold, .. } = *self.job;
        let part = chunk % plan.parts;
        if part == 0 {
            self.current = accs;
        } else {
            for (acc, later) in self.current.iter_mut().zip(&accs) {
                fold.merge(acc, later);
            }
        }
        let settled = plan.is_one_result() && self.current.first().is_some_and(|acc| fold.is_settled(acc));
        if part + 1 < plan.parts && !settled {
            return Ok(());
        }
        let mut accs = self.current.iter();
        let mut failed = Ok(());
        plan.pieces(plan.chunk(chunk).0, &mut |([_, result], n, [_, stride])| {
            for (i, acc) in (0..n.cast_signed()).zip(&mut accs) {
                failed = (self.sink)((result + i * stride).cast_unsigned(), acc);
                if failed.is_err() {
                    return false;
                }
            }
            true
        });
        if settled {
            self.outcome = Some(Ok(()));
        }
        failed
    }
}

struct OfRun<'a, W, F: Fold<W>>
where
    W: Work,
{
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
