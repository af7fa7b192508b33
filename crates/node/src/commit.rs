//! What a copy-on-write array has changed, and how it is kept, dropped or saved elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use mmap_ndarray_core::{CommitOptions, Control, CreateOptions, Result as CoreResult, Tracking};
use napi::bindgen_prelude::{Float64Array, Object};
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::{NativeArray, lock};
use crate::convert::{NativeLayout, format_named, number, order_named};
use crate::error::js_error;
use crate::reduce::NativeJob;
use crate::task;

/// How this system finds the pages that a copy-on-write array has changed: pagemap-scan, pagemap or compare.
#[napi(catch_unwind)]
#[must_use]
pub fn tracking() -> &'static str {
    Tracking::here().name()
}

/// What a file saved from a view is to be.
#[napi(object)]
pub struct NativeSaveOptions {
    /// mmap, npy or raw.
    pub format: String,
    /// C or F.
    pub order: String,
    /// Replace a file that is there.
    pub overwrite: bool,
}

impl NativeSaveOptions {
    fn check(&self) -> CoreResult<CreateOptions> {
        let order = order_named(&self.order)?;
        Ok(CreateOptions {
            order,
            overwrite: self.overwrite,
            ..CreateOptions::new(format_named(&self.format)?)
        })
    }
}

#[napi]
impl NativeArray {
    /// Whether an element of `layout` is in a page that was stored to; null where only reading the data could tell.
    #[napi(catch_unwind)]
    pub fn dirty(&self, env: Env, layout: NativeLayout) -> Result<Option<bool>> {
        self.with(&env, |open| open.array.dirty(&open.layout(&layout)?))
    }

    /// The positions of `layout` in pages that were stored to: start, stop, start, stop, ...
    #[napi(catch_unwind)]
    pub fn dirty_ranges(&self, env: Env, layout: NativeLayout) -> Result<Float64Array> {
        self.with(&env, |open| flat(open.array.dirty_ranges(&open.layout(&layout)?)?))
    }

    /// The positions of `layout` whose elements differ from the file's, as `dirty_ranges` gives them.
    #[napi(catch_unwind)]
    pub fn diff(&self, env: Env, layout: NativeLayout) -> Result<Float64Array> {
        self.with(&env, |open| flat(open.array.diff(&open.layout(&layout)?)?))
    }

    /// Gives the elements of `layout` the values that they have in the file.
    #[napi(catch_unwind)]
    pub fn discard(&self, env: Env, layout: NativeLayout) -> Result<()> {
        self.with(&env, |open| open.array.discard(&open.layout(&layout)?))
    }

    /// Brings what was stored to the elements of `layout` to the file and the disk.
    #[napi(catch_unwind)]
    pub fn commit_sync(&self, env: Env, layout: NativeLayout, atomic: bool, force: bool) -> Result<()> {
        self.with(&env, |open| open.array.commit(&open.layout(&layout)?, CommitOptions { atomic, force }))
    }

    /// Brings what was stored to the elements of `layout` to the file and the disk without holding up the caller's thread,
    /// except to let go of pages in the end.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn commit<'env>(
        &self,
        env: &'env Env,
        layout: NativeLayout,
        atomic: bool,
        force: bool,
    ) -> Result<Object<'env>> {
        let (begun, mapping, layout) = self.with(env, |open| {
            let layout = open.layout(&layout)?;
            // Now, so that whoever asks next finds it under way.
            let begun = open.array.begin_commit(CommitOptions { atomic, force })?;
            Ok((begun, Arc::clone(open.array.mapping()), layout))
        })?;
        // Not an owner: what is in there belongs to the thread of its environment.
        let open = Arc::downgrade(&self.open);
        task::promise(
            env,
            &task::FILES,
            move || begun.write(&layout),
            move |env, commit| {
                let moved = open
                    .upgrade()
                    .is_some_and(|open| lock(&open).as_ref().is_some_and(|open| open.buffer.is_moved(env)));
                if moved {
                    // To a worker that stores to it while we look.
                    mapping.share();
                }
                commit.finish().map_err(|error| js_error(env, error))
            },
        )
    }

    /// Writes the elements of `layout` to a new file.
    #[napi(catch_unwind)]
    pub fn save_as_sync(
        &self,
        env: Env,
        layout: NativeLayout,
        path: String,
        options: NativeSaveOptions,
    ) -> Result<()> {
        self.with(&env, |open| {
            let layout = open.layout(&layout)?;
            open.array.save_as(&layout, path, &options.check()?, Control::default())
        })
    }

    /// Writes the elements of `layout` to a new file without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn save_as<'env>(
        &self,
        env: &'env Env,
        layout: NativeLayout,
        path: String,
        options: NativeSaveOptions,
        job: &NativeJob,
    ) -> Result<Object<'env>> {
        let (array, layout, options) =
            self.with(env, |open| Ok((open.array.clone(), open.layout(&layout)?, options.check()?)))?;
        let (path, state) = (PathBuf::from(path), job.state());
        task::promise(
            env,
            &task::FILES,
            move || array.save_as(&layout, path, &options, state.control()),
            |_, ()| Ok(()),
        )
    }
}

/// Ranges as pairs of numbers, one after the other.
fn flat(ranges: Vec<std::ops::Range<u64>>) -> CoreResult<Float64Array> {
    let bounds = ranges.into_iter().flat_map(|range| [range.start, range.end]);
    let numbers: CoreResult<Vec<_>> = bounds.map(|bound| number(bound, "a position")).collect();
    numbers.map(Float64Array::from)
}
