//! Opening and listing: one function each, called here or on a thread.

use std::path::PathBuf;

use mmap_ndarray_core::{DynMmapArray, Lease, Result as CoreResult};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::NativeArray;
use crate::convert::{NativeEntry, NativeHandle, NativeOpenOptions, format_named};
use crate::error::js_error;
use crate::task;

fn open_array(path: PathBuf, options: NativeOpenOptions) -> CoreResult<(DynMmapArray, Lease)> {
    leased(DynMmapArray::open(&path, &options.check()?)?)
}

/// The array with a lease of it: what a `NativeArray` is made of.
pub(crate) fn leased(array: DynMmapArray) -> CoreResult<(DynMmapArray, Lease)> {
    let lease = array.lease()?;
    Ok((array, lease))
}

/// Opens the array in a file.
#[napi(catch_unwind)]
pub fn open_sync(env: Env, path: String, options: NativeOpenOptions) -> Result<NativeArray> {
    open_array(path.into(), options).map(NativeArray::new).map_err(|error| js_error(&env, error))
}

/// Opens the array in a file without holding up the caller's thread.
#[napi(catch_unwind, ts_return_type = "Promise<NativeArray>")]
pub fn open(env: &Env, path: String, options: NativeOpenOptions) -> Result<Object<'_>> {
    task::promise(
        env,
        &task::FILES,
        move || open_array(path.into(), options),
        |_, array| Ok(NativeArray::new(array)),
    )
}

fn attach_array(handle: NativeHandle) -> CoreResult<(DynMmapArray, Lease)> {
    mmap_ndarray_core::attach(&handle.check()?)
}

/// Opens what a handle names: the same mapping in the process that made it, the file again in any other.
#[napi(catch_unwind)]
pub fn attach_sync(env: Env, handle: NativeHandle) -> Result<NativeArray> {
    attach_array(handle).map(NativeArray::new).map_err(|error| js_error(&env, error))
}

/// Opens what a handle names without holding up the caller's thread.
#[napi(catch_unwind, ts_return_type = "Promise<NativeArray>")]
pub fn attach(env: &Env, handle: NativeHandle) -> Result<Object<'_>> {
    task::promise(env, &task::FILES, move || attach_array(handle), |_, array| Ok(NativeArray::new(array)))
}

fn list_arrays(path: PathBuf, format: Option<&str>) -> CoreResult<Vec<NativeEntry>> {
    let entries = mmap_ndarray_core::list(&path, format.map(format_named).transpose()?)?;
    entries.into_iter().map(|entry| NativeEntry::try_from(entry).map_err(|error| error.at(&path))).collect()
}

/// Lists the arrays that a file holds, without mapping it.
#[napi(catch_unwind)]
pub fn list_sync(env: Env, path: String, format: Option<String>) -> Result<Vec<NativeEntry>> {
    list_arrays(path.into(), format.as_deref()).map_err(|error| js_error(&env, error))
}

/// Lists the arrays that a file holds, without mapping it or holding up the caller's thread.
#[napi(catch_unwind, ts_return_type = "Promise<Array<NativeEntry>>")]
pub fn list(env: &Env, path: String, format: Option<String>) -> Result<Object<'_>> {
    task::promise(
        env,
        &task::FILES,
        move || list_arrays(path.into(), format.as_deref()),
        |_, entries| Ok(entries),
    )
}

/// Maps no file from now on: all are read and written.
#[napi(catch_unwind)]
pub fn disable_mapping() {
    mmap_ndarray_core::mapping::disable();
}

/// Writes what was stored to files that are not mapped back to them: for the end of the process.
#[napi(catch_unwind)]
pub fn write_back(env: Env) -> Result<()> {
    mmap_ndarray_core::mapping::write_back().map_err(|error| js_error(&env, error))
}

/// Leaves pages that are lost to others: the process ends, or handles the signal itself.
#[napi(catch_unwind)]
pub fn disable_guard() {
    mmap_ndarray_core::guard::disable();
}
