//! Opening: one function, called here or on a thread.

use std::path::PathBuf;

use mmap_ndarray_core::{DynMmapArray, Result as CoreResult};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::NativeArray;
use crate::convert::NativeOpenOptions;
use crate::error::js_error;
use crate::task;

fn open_array(path: PathBuf, options: NativeOpenOptions) -> CoreResult<DynMmapArray> {
    DynMmapArray::open(&path, &options.check()?)
}

/// Opens the array in a file.
#[napi(catch_unwind)]
pub fn open_sync(env: Env, path: String, options: NativeOpenOptions) -> Result<NativeArray> {
    open_array(path.into(), options).map(NativeArray::new).map_err(|error| js_error(&env, error))
}

/// Opens the array in a file without holding up the caller's thread.
#[napi(catch_unwind, ts_return_type = "Promise<NativeArray>")]
pub fn open(env: &Env, path: String, options: NativeOpenOptions) -> Result<Object<'_>> {
    task::promise(env, move || open_array(path.into(), options), |_, array| Ok(NativeArray::new(array)))
}
