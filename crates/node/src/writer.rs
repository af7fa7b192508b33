//! New files: begin, write blocks, commit; each step here or on a thread.
//!
//! Memory of the JavaScript heap can be moved or detached by its owner, so a block is copied on the caller's thread
//! and only the copy travels.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use mmap_ndarray_core::{DynMmapArray, Error as CoreError, Lease, Result as CoreResult, Writer};
use napi::bindgen_prelude::{Object, Unknown};
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::NativeArray;
use crate::buffer;
use crate::convert::{NativeCreateOptions, count};
use crate::error::js_error;
use crate::open::leased;
use crate::task;

/// A file being made. Dropped before it is committed, it leaves nothing behind.
#[napi]
pub struct NativeWriter {
    /// Taken by commit and abort.
    writer: Arc<Mutex<Option<Writer>>>,
    path: PathBuf,
}

/// Starts a file of zeros, or of `element` repeated.
#[napi(catch_unwind)]
pub fn create_sync(
    env: Env,
    path: String,
    options: NativeCreateOptions,
    #[napi(ts_arg_type = "Uint8Array | undefined")] element: Option<Unknown>,
) -> Result<NativeWriter> {
    let element = element.map(|bytes| buffer::copy_bytes(&env, &bytes)).transpose()?;
    begin(&path, &options, element.as_deref())
        .map(|writer| NativeWriter::new(writer, path))
        .map_err(|error| js_error(&env, error))
}

/// Starts a file of zeros, or of `element` repeated, without holding up the caller's thread.
#[napi(catch_unwind, ts_return_type = "Promise<NativeWriter>")]
pub fn create<'env>(
    env: &'env Env,
    path: String,
    options: NativeCreateOptions,
    #[napi(ts_arg_type = "Uint8Array | undefined")] element: Option<Unknown>,
) -> Result<Object<'env>> {
    let element = element.map(|bytes| buffer::copy_bytes(env, &bytes)).transpose()?;
    let work = move || begin(&path, &options, element.as_deref()).map(|writer| (writer, path));
    task::promise(env, &task::FILES, work, |_, (writer, path)| Ok(NativeWriter::new(writer, path)))
}

fn begin(path: &str, options: &NativeCreateOptions, element: Option<&[u8]>) -> CoreResult<Writer> {
    let path = path.as_ref();
    let (dtype, shape, options) = options.check(path)?;
    let writer = Writer::begin(path, dtype, &shape, &options)?;
    if let Some(element) = element {
        writer.fill(element)?;
    }
    Ok(writer)
}

type Shared = Arc<Mutex<Option<Writer>>>;

fn write_block(writer: &Shared, path: &std::path::Path, offset: f64, bytes: &[u8]) -> CoreResult<()> {
    let offset = count(offset, "offset")?;
    match &*writer.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(writer) => writer.write_at(offset, bytes),
        None => Err(CoreError::Closed { path: path.to_path_buf() }),
    }
}

fn commit_file(writer: &Shared, path: &std::path::Path) -> CoreResult<(DynMmapArray, Lease)> {
    let taken = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    leased(DynMmapArray::from_writer(taken.ok_or_else(|| CoreError::Closed { path: path.to_path_buf() })?)?)
}

#[napi]
impl NativeWriter {
    fn new(writer: Writer, path: String) -> Self {
        Self { writer: Arc::new(Mutex::new(Some(writer))), path: path.into() }
    }

    /// Writes bytes at a byte offset of the data.
    #[napi(catch_unwind)]
    pub fn write_sync(
        &self,
        env: Env,
        offset: f64,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
    ) -> Result<()> {
        let bytes = buffer::copy_bytes(&env, &bytes)?;
        write_block(&self.writer, &self.path, offset, &bytes).map_err(|error| js_error(&env, error))
    }

    /// Copies bytes now and writes them at a byte offset of the data without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn write<'env>(
        &self,
        env: &'env Env,
        offset: f64,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
    ) -> Result<Object<'env>> {
        let bytes = buffer::copy_bytes(env, &bytes)?;
        let (writer, path) = (Arc::clone(&self.writer), self.path.clone());
        task::promise(env, &task::FILES, move || write_block(&writer, &path, offset, &bytes), |_, ()| Ok(()))
    }

    /// Brings the file to disk under its name and maps it for reading and writing.
    #[napi(catch_unwind)]
    pub fn commit_sync(&self, env: Env) -> Result<NativeArray> {
        commit_file(&self.writer, &self.path).map(NativeArray::new).map_err(|error| js_error(&env, error))
    }

    /// Brings the file to disk under its name and maps it, without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeArray>")]
    pub fn commit<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (writer, path) = (Arc::clone(&self.writer), self.path.clone());
        task::promise(
            env,
            &task::FILES,
            move || commit_file(&writer, &path),
            |_, array| Ok(NativeArray::new(array)),
        )
    }

    /// Gives the file up: nothing is left of it.
    #[napi(catch_unwind)]
    pub fn abort(&self) {
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
