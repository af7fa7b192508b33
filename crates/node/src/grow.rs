//! Arrays that become longer or shorter: in one call, or begin, write blocks, commit and adopt.
//!
//! Only the caller's thread adopts a new length: nobody there sees an array change under a running function.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mmap_ndarray_core::{Error as CoreError, Grown, Growth, Result as CoreResult};
use napi::bindgen_prelude::{Object, Unknown};
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::NativeArray;
use crate::buffer;
use crate::convert::count;
use crate::error::js_error;
use crate::task;

#[napi]
impl NativeArray {
    /// The axis along which the array grows; throws where it cannot.
    #[napi(catch_unwind)]
    pub fn growth_axis(&self, env: Env) -> Result<f64> {
        self.with(&env, |open| {
            let axis = open.array.growth_axis()?;
            crate::convert::number(axis as u64, "the axis")
        })
    }

    /// Appends rows, given as the bytes of whole elements in the order of the file.
    #[napi(catch_unwind)]
    pub fn append_sync(
        &self,
        env: Env,
        rows: f64,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
        durable: bool,
    ) -> Result<()> {
        let memory = buffer::memory(&env, &bytes)?;
        self.with(&env, |open| {
            let (rows, len) = (count(rows, "rows")?, memory.len() as u64);
            open.change(|array| array.append_with(rows, len, durable, |growth| memory.write_to(growth, 0)))
        })
    }

    /// Gives the array `n` rows.
    #[napi(catch_unwind)]
    pub fn resize_sync(&self, env: Env, n: f64) -> Result<()> {
        self.with(&env, |open| {
            let n = count(n, "n")?;
            open.change(|array| array.resize(n))
        })
    }

    /// Begins to append rows that come in several blocks.
    #[napi(catch_unwind)]
    pub fn begin_append(&self, env: Env, rows: f64) -> Result<NativeGrowth> {
        let growth = self.with(&env, |open| open.array.begin_append(count(rows, "rows")?));
        growth.map(|growth| NativeGrowth::new(growth, self.path()))
    }

    /// Begins to give the array `n` rows.
    #[napi(catch_unwind)]
    pub fn begin_resize(&self, env: Env, n: f64) -> Result<NativeGrowth> {
        let growth = self.with(&env, |open| open.array.begin_resize(count(n, "n")?));
        growth.map(|growth| NativeGrowth::new(growth, self.path()))
    }

    /// Makes a committed length the array's own.
    #[napi(catch_unwind)]
    pub fn adopt(&self, env: Env, growth: &NativeGrowth) -> Result<()> {
        self.with(&env, |open| match growth.grown.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(grown) => open.change(|array| array.adopt(grown)),
            None => Err(CoreError::Closed { path: growth.path.clone() }),
        })
    }

    /// Takes the length that the file has now; whether it is another one.
    #[napi(catch_unwind)]
    pub fn refresh(&self, env: Env) -> Result<bool> {
        self.with(&env, |open| open.change(mmap_ndarray_core::DynMmapArray::refresh))
    }
}

/// A new length on its way. Dropped before it is committed, it leaves the file as it was.
#[napi]
pub struct NativeGrowth {
    /// Taken by commit and abort.
    growth: Shared<Growth>,
    /// Taken by adopt.
    grown: Shared<Grown>,
    path: PathBuf,
}

type Shared<T> = Arc<Mutex<Option<T>>>;

fn with<R>(
    growth: &Shared<Growth>,
    path: &Path,
    use_it: impl FnOnce(&Growth) -> CoreResult<R>,
) -> CoreResult<R> {
    match &*growth.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(growth) => use_it(growth),
        None => Err(CoreError::Closed { path: path.to_path_buf() }),
    }
}

fn commit(growth: &Shared<Growth>, grown: &Shared<Grown>, path: &Path, durable: bool) -> CoreResult<()> {
    let taken = growth.lock().unwrap_or_else(PoisonError::into_inner).take();
    let taken = taken.ok_or_else(|| CoreError::Closed { path: path.to_path_buf() })?;
    *grown.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken.commit(durable)?);
    Ok(())
}

#[napi]
impl NativeGrowth {
    fn new(growth: Growth, path: &Path) -> Self {
        let growth = Arc::new(Mutex::new(Some(growth)));
        Self { growth, grown: Arc::new(Mutex::new(None)), path: path.to_path_buf() }
    }

    /// Sets the disk space for all rows aside, without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn reserve<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (growth, path) = (Arc::clone(&self.growth), self.path.clone());
        task::promise(env, &task::FILES, move || with(&growth, &path, Growth::reserve), |_, ()| Ok(()))
    }

    /// Sets the disk space for all rows aside.
    #[napi(catch_unwind)]
    pub fn reserve_sync(&self, env: Env) -> Result<()> {
        with(&self.growth, &self.path, Growth::reserve).map_err(|error| js_error(&env, error))
    }

    /// Writes whole elements at a byte offset of the new rows.
    #[napi(catch_unwind)]
    pub fn write_sync(
        &self,
        env: Env,
        offset: f64,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
    ) -> Result<()> {
        let memory = buffer::memory(&env, &bytes)?;
        let write = |growth: &Growth| memory.write_to(growth, count(offset, "offset")?);
        with(&self.growth, &self.path, write).map_err(|error| js_error(&env, error))
    }

    /// Copies elements now and writes them at a byte offset of the new rows without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn write<'env>(
        &self,
        env: &'env Env,
        offset: f64,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
    ) -> Result<Object<'env>> {
        let bytes = buffer::copy_bytes(env, &bytes)?;
        let (growth, path) = (Arc::clone(&self.growth), self.path.clone());
        let work = move || with(&growth, &path, |growth| growth.write_at(count(offset, "offset")?, &bytes));
        task::promise(env, &task::FILES, work, |_, ()| Ok(()))
    }

    /// Gives the new rows zeros without holding up the caller's thread; nothing to do where there are none.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn zeros<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (growth, path) = (Arc::clone(&self.growth), self.path.clone());
        let zeros = |growth: &Growth| if growth.is_empty() { Ok(()) } else { growth.write_zeros() };
        task::promise(env, &task::FILES, move || with(&growth, &path, zeros), |_, ()| Ok(()))
    }

    /// Gives the file its new length.
    #[napi(catch_unwind)]
    pub fn commit_sync(&self, env: Env, durable: bool) -> Result<()> {
        commit(&self.growth, &self.grown, &self.path, durable).map_err(|error| js_error(&env, error))
    }

    /// Gives the file its new length without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn commit<'env>(&self, env: &'env Env, durable: bool) -> Result<Object<'env>> {
        let (growth, grown) = (Arc::clone(&self.growth), Arc::clone(&self.grown));
        let path = self.path.clone();
        task::promise(env, &task::FILES, move || commit(&growth, &grown, &path, durable), |_, ()| Ok(()))
    }

    /// Copies all elements now, writes them and gives the file its new length without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn finish<'env>(
        &self,
        env: &'env Env,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
        durable: bool,
    ) -> Result<Object<'env>> {
        let bytes = buffer::copy_bytes(env, &bytes)?;
        let (growth, grown) = (Arc::clone(&self.growth), Arc::clone(&self.grown));
        let path = self.path.clone();
        let work = move || {
            with(&growth, &path, |growth| growth.write_at(0, &bytes))?;
            commit(&growth, &grown, &path, durable)
        };
        task::promise(env, &task::FILES, work, |_, ()| Ok(()))
    }

    /// Gives the growth up: the file is as long as it was.
    #[napi(catch_unwind)]
    pub fn abort(&self) {
        drop(self.growth.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
