//! An open array: what TypeScript's `MmapArray` holds.
//!
//! Past 400 lines: napi wants the methods of a class in few places, and each is a conversion and one call.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mmap_ndarray_core::kernel::{self, Control, RawView};
use mmap_ndarray_core::{
    Advice, ByteOrder, DynMmapArray, ElementType, Error as CoreError, Layout, Lease, Result as CoreResult,
};
use napi::bindgen_prelude::{Object, Unknown};
use napi::{Env, Result};
use napi_derive::napi;

use crate::buffer::{self, Buffer};
use crate::convert::{NativeHandle, NativeLayout, count, distance, number, size};
use crate::error::js_error;
use crate::reduce::{NativeJob, NativeReduceOptions, NativeReduced, Reduction};
use crate::task;

/// What is known of an array for as long as it is open.
#[napi(object)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "an object of JavaScript: facts that have nothing to do with each other"
)]
pub struct NativeFacts {
    /// Long name of the dtype.
    pub dtype: String,
    /// The file's own code of the dtype.
    pub descr: String,
    /// Name of the file's format.
    pub format: String,
    /// Elements along each axis.
    pub shape: Vec<f64>,
    /// Units between neighbours along each axis.
    pub stride: Vec<f64>,
    /// Units from the start of the buffer to the first element.
    pub offset: f64,
    /// Bytes that stride and offset count: those of an element, or a divisor of it.
    pub unit: f64,
    /// Positions that an element can have in the buffer.
    pub units: f64,
    /// Whether the elements are in this machine's byte order and aligned.
    pub native: bool,
    /// The byte order of the elements.
    pub little_endian: bool,
    /// Whether the last axis holds the two parts of complex numbers.
    pub complex: bool,
    /// Whether the file is not mapped: no buffer shows its bytes.
    pub copied: bool,
}

/// An array and the buffer that JavaScript sees it through.
#[napi]
pub struct NativeArray {
    /// `None` after `close`.
    pub(crate) open: Arc<Mutex<Option<Open>>>,
    path: PathBuf,
}

pub(crate) struct Open {
    pub(crate) array: DynMmapArray,
    /// Of this environment; the buffer's finalizers own it as well.
    lease: Arc<Lease>,
    pub(crate) buffer: Buffer,
    /// Those of mappings that the array has outgrown.
    earlier: Vec<(Arc<Lease>, Buffer)>,
}

pub(crate) fn lock(open: &Mutex<Option<Open>>) -> MutexGuard<'_, Option<Open>> {
    // No panic leaves an array half closed: `close` takes it whole.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[napi]
impl NativeArray {
    pub(crate) fn new((array, lease): (DynMmapArray, Lease)) -> Self {
        let path = array.file_path().to_path_buf();
        let open = Open { array, lease: Arc::new(lease), buffer: Buffer::default(), earlier: Vec::new() };
        Self { open: Arc::new(Mutex::new(Some(open))), path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        lock(&self.open)
    }

    /// The one door to the array: `ERR_CLOSED` behind it after `close`.
    pub(crate) fn with<R>(&self, env: &Env, use_it: impl FnOnce(&mut Open) -> CoreResult<R>) -> Result<R> {
        let result = match self.lock().as_mut() {
            Some(open) => use_it(open),
            None => Err(CoreError::Closed { path: self.path.clone() }),
        };
        // Making the error runs JavaScript: not with the lock held.
        result.map_err(|error| js_error(env, error.at(&self.path)))
    }

    /// The array's description, for TypeScript to keep.
    #[napi(catch_unwind)]
    pub fn facts(&self, env: Env) -> Result<NativeFacts> {
        self.with(&env, |Open { array, .. }| {
            let header = array.header();
            let numbers =
                |counts: &[u64]| counts.iter().map(|&n| number(n, "an axis")).collect::<CoreResult<_>>();
            Ok(NativeFacts {
                dtype: header.dtype().name().to_owned(),
                descr: header.descr().to_owned(),
                format: header.format().name().to_owned(),
                shape: numbers(header.shape())?,
                stride: array.strides().iter().map(|&stride| distance(stride)).collect::<CoreResult<_>>()?,
                offset: number(header.offset(), "the offset")?,
                unit: number(header.unit(), "the unit")?,
                units: number(array.units(), "the size")?,
                native: array.is_native(),
                little_endian: header.byte_order() == ByteOrder::Little,
                complex: header.element().complex,
                copied: array.is_copied(),
            })
        })
    }

    /// The bytes of the elements: always the same buffer, never a copy. The first call says whether it is a shared one.
    #[napi(catch_unwind, ts_return_type = "ArrayBuffer | SharedArrayBuffer")]
    pub fn buffer<'env>(&self, env: &'env Env, shared: bool) -> Result<Unknown<'env>> {
        self.with(env, |Open { array, lease, buffer, .. }| buffer.get(env, array, lease, shared))
    }

    /// The bytes of the elements from byte `start` on, `len` or as many as are mapped: the same buffer until `dropWindow`, never
    /// a copy.
    #[napi(catch_unwind, ts_return_type = "ArrayBuffer")]
    pub fn window<'env>(&self, env: &'env Env, start: f64, len: f64) -> Result<Unknown<'env>> {
        self.with(env, |Open { array, lease, buffer, .. }| {
            buffer.window(env, array, lease, size(start, "the start")?, size(len, "the length")?)
        })
    }

    /// Detaches the window that starts at a byte, if there is one.
    #[napi(catch_unwind)]
    pub fn drop_window(&self, env: Env, start: f64) -> Result<()> {
        let start = size(start, "the start").map_err(|error| js_error(&env, error))?;
        self.lock().as_mut().map_or(Ok(()), |open| open.buffer.drop_window(&env, start))
    }

    /// Bytes of memory that `overlay` can use, from the start of the array's first page on; with `least` those that it needs.
    #[napi(catch_unwind)]
    pub fn span(&self, env: Env, least: bool) -> Result<f64> {
        self.with(&env, |Open { array, .. }| {
            let mapping = array.mapping();
            let len = if least { array.header().data_len() } else { mapping.len() as u64 };
            number((mapping.before() as u64).saturating_add(len), "the size")
        })
    }

    /// Whether the array is over the memory of the last `overlay`; one that has outgrown it is not.
    #[napi(catch_unwind)]
    pub fn is_overlaid(&self, env: Env) -> Result<bool> {
        self.with(&env, |Open { buffer, .. }| Ok(buffer.is_lent()))
    }

    /// Maps the array over the memory of a WebAssembly.Memory, given by its buffer, and says at which byte of that the first
    /// element is. Called instead of `buffer`, once for each memory.
    ///
    /// Whoever calls it keeps the memory for as long as this object is there, and after `close` until work under way
    /// has ended; and takes the buffer from JavaScript before `close`, by `grow(0)`.
    #[napi(catch_unwind)]
    pub fn overlay(&self, env: Env, #[napi(ts_arg_type = "ArrayBuffer")] memory: Unknown) -> Result<f64> {
        // In the order in which an environment that ends goes through them: first this waits, then the memory goes.
        task::wait_at_end(&env)?;
        self.with(&env, |open| {
            let before = open.array.mapping().before();
            (open.array, open.lease, open.buffer) = buffer::overlay(&env, &open.array, &memory)?;
            number(before as u64, "the offset")
        })
    }

    /// Stores one element, given as bytes, everywhere in `layout`.
    #[napi(catch_unwind)]
    pub fn fill(
        &self,
        env: Env,
        layout: NativeLayout,
        #[napi(ts_arg_type = "Uint8Array")] element: Unknown,
    ) -> Result<()> {
        let element = buffer::copy_bytes(&env, &element)?;
        self.with(&env, |open| open.store(&layout, |target| kernel::fill(target, &element)))
    }

    /// Copies the elements of another open array into `layout`.
    #[napi(catch_unwind)]
    pub fn assign(
        &self,
        env: Env,
        layout: NativeLayout,
        source: &NativeArray,
        source_layout: NativeLayout,
    ) -> Result<()> {
        if std::ptr::eq(self, source) {
            return self.with(&env, |open| {
                open.store(&layout, |target| kernel::assign(target, &open.view(&source_layout)?))
            });
        }
        // Both are locked on the one thread that JavaScript has here, so no other order of locking can wait for us.
        self.with(&env, |open| {
            open.store(&layout, |target| match source.lock().as_mut() {
                Some(from) => kernel::assign(target, &from.view(&source_layout)?),
                None => Err(CoreError::Closed { path: source.path.clone() }),
            })
        })
    }

    /// Copies elements of memory of JavaScript's own into `layout`.
    #[napi(catch_unwind)]
    pub fn assign_from(
        &self,
        env: Env,
        layout: NativeLayout,
        #[napi(ts_arg_type = "Uint8Array")] source: Unknown,
        dtype: String,
        source_layout: NativeLayout,
    ) -> Result<()> {
        let memory = buffer::memory(&env, &source)?;
        self.with(&env, |open| {
            let source = memory.view(ElementType::parse(&dtype)?.dtype, &source_layout)?;
            open.store(&layout, |target| kernel::assign(target, &source))
        })
    }

    /// Copies the elements of `layout` into memory of JavaScript's own, of the same dtype, in C order.
    #[napi(catch_unwind)]
    pub fn copy_to(
        &self,
        env: Env,
        layout: NativeLayout,
        #[napi(ts_arg_type = "Uint8Array")] target: Unknown,
    ) -> Result<()> {
        let memory = buffer::memory(&env, &target)?;
        self.with(&env, |open| {
            let source = open.view(&layout)?;
            kernel::assign(&memory.contiguous(source.dtype(), source.shape())?, &source)
        })
    }

    /// Copies the element at a position into memory of JavaScript's own, in this machine's byte order.
    #[napi(catch_unwind)]
    pub fn element(
        &self,
        env: Env,
        position: f64,
        #[napi(ts_arg_type = "Uint8Array")] target: Unknown,
    ) -> Result<()> {
        let memory = buffer::memory(&env, &target)?;
        self.with(&env, |open| memory.take_element(&open.array, count(position, "the position")?))
    }

    /// Reduces the elements of `layout`: one result, or the two of `minmax`.
    #[napi(catch_unwind)]
    pub fn reduce_sync(
        &self,
        env: Env,
        name: String,
        layout: NativeLayout,
        options: NativeReduceOptions,
    ) -> Result<Vec<NativeReduced>> {
        self.with(&env, |open| {
            let layout = open.layout(&layout)?;
            let reduced = Reduction::new(&name, options, Arc::default())?.run(&open.array, &layout)?;
            reduced.into_iter().map(NativeReduced::new).collect()
        })
    }

    /// Reduces the elements of `layout` without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<Array<NativeReduced>>")]
    pub fn reduce<'env>(
        &self,
        env: &'env Env,
        name: String,
        layout: NativeLayout,
        options: NativeReduceOptions,
        job: &NativeJob,
    ) -> Result<Object<'env>> {
        let (array, layout, reduction) = self.with(env, |open| {
            let layout = open.layout(&layout)?;
            Ok((open.array.clone(), layout, Reduction::new(&name, options, job.state())?))
        })?;
        task::promise(
            env,
            &task::KERNELS,
            move || reduction.run(&array, &layout),
            |env, reduced| {
                let reduced = reduced.into_iter().map(NativeReduced::new).collect::<CoreResult<Vec<_>>>();
                reduced.map_err(|error| js_error(env, error))
            },
        )
    }

    /// Brings what was stored to the pages of `layout` to the disk.
    #[napi(catch_unwind)]
    pub fn flush_sync(&self, env: Env, layout: NativeLayout) -> Result<()> {
        self.with(&env, |open| open.array.flush_part(&open.layout(&layout)?))
    }

    /// Brings what was stored to the pages of `layout` to the disk without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn flush<'env>(&self, env: &'env Env, layout: NativeLayout) -> Result<Object<'env>> {
        let (array, layout) = self.with(env, |open| Ok((open.array.clone(), open.layout(&layout)?)))?;
        task::promise(env, &task::FILES, move || array.flush_part(&layout), |_, ()| Ok(()))
    }

    /// Tells the system what is to come for the pages of `layout`.
    #[napi(catch_unwind)]
    pub fn advise(&self, env: Env, layout: NativeLayout, advice: String) -> Result<()> {
        self.with(&env, |open| open.array.advise(&open.layout(&layout)?, Advice::parse(&advice)?))
    }

    /// Bytes of the pages of `layout`.
    #[napi(catch_unwind)]
    pub fn page_bytes(&self, env: Env, layout: NativeLayout) -> Result<f64> {
        self.with(&env, |open| number(open.array.page_bytes(&open.layout(&layout)?)?, "the size"))
    }

    /// Reads the pages of `layout` in.
    #[napi(catch_unwind)]
    pub fn prefetch_sync(&self, env: Env, layout: NativeLayout) -> Result<()> {
        self.with(&env, |open| open.array.prefetch(&open.layout(&layout)?, Control::default()))
    }

    /// Reads the pages of `layout` in without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn prefetch<'env>(
        &self,
        env: &'env Env,
        layout: NativeLayout,
        job: &NativeJob,
    ) -> Result<Object<'env>> {
        let (array, layout) = self.with(env, |open| Ok((open.array.clone(), open.layout(&layout)?)))?;
        let state = job.state();
        task::promise(env, &task::FILES, move || array.prefetch(&layout, state.control()), |_, ()| Ok(()))
    }

    /// How much of the pages of `layout` is in memory, from 0 to 1.
    #[napi(catch_unwind)]
    pub fn residency_sync(&self, env: Env, layout: NativeLayout) -> Result<f64> {
        self.with(&env, |open| open.array.residency(&open.layout(&layout)?))
    }

    /// How much of the pages of `layout` is in memory, without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<number>")]
    pub fn residency<'env>(&self, env: &'env Env, layout: NativeLayout) -> Result<Object<'env>> {
        let (array, layout) = self.with(env, |open| Ok((open.array.clone(), open.layout(&layout)?)))?;
        task::promise(env, &task::FILES, move || array.residency(&layout), |_, share| Ok(share))
    }

    /// Whether pages have vanished under the mapping.
    #[napi(catch_unwind)]
    pub fn lost(&self, env: Env) -> Result<bool> {
        self.with(&env, |open| Ok(open.array.lost().is_some()))
    }

    /// Whether the path names another file than the one that is open, or none.
    #[napi(catch_unwind)]
    pub fn is_stale(&self, env: Env) -> Result<bool> {
        self.with(&env, |open| open.array.is_stale())
    }

    /// A name for this array, for `attach` in another thread or process.
    #[napi(catch_unwind)]
    pub fn to_handle(&self, env: Env) -> Result<NativeHandle> {
        self.with(&env, |open| NativeHandle::try_from(open.array.to_handle()))
    }

    /// Takes the buffer from JavaScript and lets go of the mapping. A second call does nothing.
    ///
    /// Fails with `ERR_MAPPING_LOST`, when all that is done, if pages have vanished and no flush has said so; and with the
    /// system's error where the file is not mapped, and what was stored cannot be written to it.
    ///
    /// The file goes when no other environment has the array open. The pages are unmapped when work under way has let
    /// go of them as well; a buffer that JavaScript has moved elsewhere keeps them until it is collected.
    #[napi(catch_unwind)]
    pub fn close(&self, env: Env) -> Result<()> {
        let Some(Open { array, lease, buffer, earlier }) = self.lock().take() else {
            return Ok(());
        };
        let failed = |source| CoreError::Io { syscall: "mmap", path: self.path.clone(), source };
        let (mut detached, mut ended) = (Ok(()), Ok(()));
        let written = array.write_back().map_err(|error| js_error(&env, error));
        for (lease, buffer) in earlier.into_iter().chain([(lease, buffer)]) {
            detached = detached.and(buffer.close(&env));
            ended = ended.and(lease.end().map_err(|error| js_error(&env, failed(error))));
        }
        let kept = array.report_loss().map_err(|error| js_error(&env, error));
        detached.and(written).and(ended).and(kept)
    }
}

impl Open {
    /// Changes the array, and follows it to another mapping where it outgrows the one it has.
    pub(crate) fn change<R>(
        &mut self,
        change: impl FnOnce(&mut DynMmapArray) -> CoreResult<R>,
    ) -> CoreResult<R> {
        let before = Arc::clone(self.array.mapping());
        let changed = change(&mut self.array)?;
        if !Arc::ptr_eq(&before, self.array.mapping()) {
            let lease = std::mem::replace(&mut self.lease, Arc::new(self.array.lease()?));
            self.earlier.retain(|(_, buffer)| buffer.is_there());
            self.earlier.push((lease, std::mem::take(&mut self.buffer)));
        }
        Ok(changed)
    }

    /// Calls `store` with a view to be written to: `ERR_READ_ONLY` in mode `r`.
    fn store(&self, layout: &NativeLayout, store: impl FnOnce(&RawView) -> CoreResult<()>) -> CoreResult<()> {
        if self.array.mode().writable() {
            return buffer::store(&self.array, &self.layout(layout)?, store);
        }
        Err(CoreError::ReadOnly { path: self.array.file_path().to_path_buf() })
    }

    fn view(&self, layout: &NativeLayout) -> CoreResult<RawView> {
        buffer::view(&self.array, &self.layout(layout)?)
    }

    pub(crate) fn layout(&self, layout: &NativeLayout) -> CoreResult<Layout> {
        layout.check(self.array.units())
    }
}
