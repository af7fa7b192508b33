//! Chunks of a reduction on one thread or several.
//!
//! What the workers make is put together in the order of the chunks, whichever is ready first, so the result is the
//! same for any number of threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::Options;
use super::fold::{Partial, Places, Recipe};
use super::load::{BLOCK, Block, MAX_RUN, Source};
use super::plan::{Plan, ROWS};
use crate::error::{Error, Result};
use crate::kernel::crew::{Halt, share};

/// Runs shorter than this are gathered, so that kernels get longer ones.
const SHORT: usize = 64;

/// Where the elements of a run are in the C order of what is reduced: the first one, and from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) first: isize,
    pub(super) step: isize,
}

/// A reduction of a view: how to go through it, how to read it, and what to make of it.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) source: Source,
    pub(super) recipe: &'a dyn Recipe,
    pub(super) options: &'a Options<'a>,
}

/// Takes results as they get ready: what is known, where in it they are, and their places among all.
pub(super) type Sink<'a> = dyn FnMut(&dyn Partial, usize, Places) -> Result<()> + Send + 'a;

impl Job<'_> {
    /// Does it all.
    ///
    /// # Errors
    /// Those of the sink; [`Error::Aborted`].
    pub(super) fn run(&self, sink: &mut Sink) -> Result<()> {
        let (plan, chunks) = (self.plan, self.plan.chunks());
        let halt = Halt::new(self.options.control);
        let combiner = Mutex::new(Combiner {
            plan,
            sink,
            next: 0,
            waiting: BTreeMap::new(),
            current: None,
            outcome: None,
        });
        share(chunks, self.options.threads, &halt, |next| {
            let mut block = Block::default();
            while let Some(chunk) = next() {
                let (units, steps) = plan.chunk(chunk);
                let Some(partial) = self.fold(units, steps.clone(), &mut block, &halt) else { break };
                halt.add(partial.len().saturating_mul(steps.len()));
                let mut combiner = combiner.lock().unwrap_or_else(PoisonError::into_inner);
                if combiner.accept(chunk, partial) {
                    halt.stop();
                }
            }
        });
        let combiner = combiner.into_inner().unwrap_or_else(PoisonError::into_inner);
        match combiner.outcome {
            Some(outcome) => outcome,
            None if combiner.next == chunks => Ok(()),
            None => Err(Error::Aborted),
        }
    }

    /// What is known of some elements (or rows) of each result of some units; `None` where it was stopped.
    fn fold(
        &self,
        units: Range<usize>,
        steps: Range<usize>,
        block: &mut Block,
        halt: &Halt,
    ) -> Option<Box<dyn Partial>> {
        let plan = self.plan;
        let mut partial = self.recipe.begin();
        let line = self.line(&steps);
        let done = plan.pieces(units, &mut |([start, _], n, [stride, _])| {
            if let Some((len, place)) = line {
                // SAFETY:
                // - the plan gives places of elements of the view, and each result is made of `len` from there on.
                // - they lie side by side in the order of this machine: `line`.
                unsafe { partial.runs(self.source.at(start), stride, n, len, place) };
                return !halt.is_on();
            }
            if plan.tile.is_none() {
                return (0..n.cast_signed()).all(|i| {
                    partial.extend(1);
                    self.fold_runs(&mut *partial, start + i * stride, steps.clone(), block, halt)
                });
            }
            let from = partial.len();
            partial.extend(n * plan.wrap);
            let done = self.fold_rows(&mut *partial, n, (start, stride), steps.clone(), block, halt);
            partial.unwrap(from, n, plan.reduced.inner().1[1]);
            done
        });
        done.then_some(partial)
    }

    /// The elements of each result and their place, where they are one run that is read in place: many results are made at
    /// once then, which costs less than half for rows of some hundred elements.
    fn line(&self, steps: &Range<usize>) -> Option<(usize, Place)> {
        let Self { plan, source, recipe, .. } = self;
        let (n, [stride, step]) = plan.reduced.inner();
        let is_run = plan.tile.is_none() && plan.reduced.lines() == 1 && *steps == (0..n) && n <= MAX_RUN;
        let is_long = recipe.is_indexed() || n >= SHORT;
        (is_run && is_long && source.reads_in_place(stride))
            .then_some((n, Place { first: plan.first_index, step }))
    }

    /// One result from runs.
    fn fold_runs(
        &self,
        partial: &mut dyn Partial,
        start: isize,
        steps: Range<usize>,
        block: &mut Block,
        halt: &Halt,
    ) -> bool {
        let Self { plan, source, .. } = self;
        let indexed = self.recipe.is_indexed();
        block.reserve(source, BLOCK);
        let mut filled = 0;
        let done = plan.reduced.visit(steps, &mut |[offset, index], n, [stride, step]| {
            let place =
                |from: usize| Place { first: plan.first_index + index + from.cast_signed() * step, step };
            let offset = |from: usize| start + offset + from.cast_signed() * stride;
            if source.reads_in_place(stride) && (indexed || n >= SHORT) {
                return (0..n).step_by(MAX_RUN).all(|from| {
                    // SAFETY:
                    // - the plan gives places of elements of the view, and `n - from` of them are left of this run.
                    // - they lie side by side in the order of this machine: `reads_in_place`.
                    unsafe { partial.run(source.at(offset(from)), MAX_RUN.min(n - from), place(from)) };
                    !halt.is_on()
                });
            }
            let mut from = 0;
            while from < n {
                let len = (BLOCK - filled).min(n - from);
                // SAFETY:
                // - the plan gives places of elements of the view, and `n - from` of them are left of this run.
                unsafe { block.gather(source, filled, (offset(from), stride), len) };
                filled += len;
                if indexed || filled == BLOCK {
                    // SAFETY:
                    // - they have just been gathered.
                    unsafe { partial.run(block.at(source, 0), filled, place(from)) };
                    filled = 0;
                    if halt.is_on() {
                        return false;
                    }
                }
                from += len;
            }
            true
        });
        if filled > 0 {
            // SAFETY:
            // - they have been gathered, in the last rounds of the walk.
            unsafe { partial.run(block.at(source, 0), filled, Place { first: 0, step: 0 }) };
        }
        done
    }

    /// The last results, from rows of `columns` elements at `start`, `stride` bytes apart.
    fn fold_rows(
        &self,
        partial: &mut dyn Partial,
        columns: usize,
        (start, stride): (isize, isize),
        steps: Range<usize>,
        block: &mut Block,
        halt: &Halt,
    ) -> bool {
        let Self { plan, source, .. } = self;
        let widest = columns * plan.wrap;
        let first = partial.len() - widest;
        let in_place = source.reads_in_place(stride);
        let most = if in_place { ROWS } else { GATHERED_ROWS };
        if !in_place {
            block.reserve(source, most * widest);
        }
        let mut rows: Vec<(*const u8, isize)> = Vec::with_capacity(most);
        let mut flush = |rows: &mut Vec<(*const u8, isize)>, width: usize| {
            // SAFETY:
            // - the plan gives places of elements of the view, `width` of them for each row, read in place or gathered.
            unsafe { partial.rows(first, width, rows) };
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
                let offset = start + offset + from * row;
                let at = if in_place {
                    source.at(offset)
                } else {
                    let index = rows.len() * widest;
                    // SAFETY:
                    // - the plan gives places of elements of the view, `width` of them for each row.
                    unsafe { block.gather(source, index, (offset, stride), width) };
                    block.at(source, index)
                };
                rows.push((at, plan.first_index + index + from * step));
                true
            })
        });
        done && (rows.is_empty() || flush(&mut rows, width))
    }
}

/// Rows that are gathered before a kernel gets them: few, so that the block stays in the cache.
const GATHERED_ROWS: usize = 8;

/// Puts the chunks together in their order.
struct Combiner<'a, 'b> {
    plan: &'a Plan,
    sink: &'a mut Sink<'b>,
    next: usize,
    waiting: BTreeMap<usize, Box<dyn Partial>>,
    /// What is known of a unit whose parts are not all there yet.
    current: Option<Box<dyn Partial>>,
    /// Set where the rest of the chunks is of no use.
    outcome: Option<Result<()>>,
}

impl Combiner<'_, '_> {
    /// Takes what a chunk has given, and says whether that is enough.
    fn accept(&mut self, chunk: usize, partial: Box<dyn Partial>) -> bool {
        self.waiting.insert(chunk, partial);
        while self.outcome.is_none()
            && let Some(partial) = self.waiting.remove(&self.next)
        {
            if let Err(error) = self.put(self.next, partial) {
                self.outcome = Some(Err(error));
            }
            self.next += 1;
        }
        self.outcome.is_some()
    }

    fn put(&mut self, chunk: usize, partial: Box<dyn Partial>) -> Result<()> {
        let plan = self.plan;
        let known = match self.current.take() {
            Some(mut known) => {
                known.merge(&*partial);
                known
            }
            None => partial,
        };
        let settled = plan.is_one_result() && known.is_settled();
        if chunk % plan.parts + 1 < plan.parts && !settled {
            self.current = Some(known);
            return Ok(());
        }
        let (mut from, mut result) = (0, Ok(()));
        plan.pieces(plan.chunk(chunk).0, &mut |([_, place], n, [_, step])| {
            result = (self.sink)(&*known, from, (place.cast_unsigned(), n, step));
            from += n;
            result.is_ok()
        });
        if settled {
            self.outcome = Some(Ok(()));
        }
        result
    }
}
