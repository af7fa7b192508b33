//! Checksums beside a file, and the blocks that are not as they were.

use mmap_ndarray_core::{Control, Result as CoreResult, Verified};
use napi::bindgen_prelude::{Float64Array, Object};
use napi::{Env, Result};
use napi_derive::napi;

use crate::array::NativeArray;
use crate::convert::{count, number, size};
use crate::error::js_error;
use crate::reduce::NativeJob;
use crate::task;

/// What became of the blocks of an array.
#[napi(object)]
pub struct NativeVerified {
    /// Bytes of a block.
    pub block: f64,
    /// How many were looked at.
    pub blocks: f64,
    /// How many of them are bad.
    pub damaged: f64,
    /// Of each that is listed: its index, the first element and the one after the last, the first row and the one after the
    /// last; -1 for rows that there are not.
    pub bad: Float64Array,
}

impl NativeVerified {
    fn new(verified: Verified) -> CoreResult<Self> {
        let count = |n: u64| number(n, "a count");
        let mut bad = Vec::new();
        for block in verified.bad {
            bad.extend([
                count(block.index)?,
                count(block.elements.start)?,
                count(block.elements.end)?,
                block.rows.as_ref().map_or(Ok(-1.0), |rows| count(rows.start))?,
                block.rows.as_ref().map_or(Ok(-1.0), |rows| count(rows.end))?,
            ]);
        }
        Ok(Self {
            block: count(verified.block)?,
            blocks: count(verified.blocks)?,
            damaged: count(verified.damaged)?,
            bad: Float64Array::from(bad),
        })
    }
}

#[napi]
impl NativeArray {
    /// Bytes that `checksum` goes through; with `verify` those that that one counts.
    #[napi(catch_unwind)]
    pub fn checksum_bytes(&self, env: Env, verify: bool) -> Result<f64> {
        self.with(&env, |open| {
            let bytes = if verify { open.array.verify_bytes() } else { open.array.checksum_bytes() };
            number(bytes?, "the size")
        })
    }

    /// Writes checksums of the file beside it, in blocks of so many bytes.
    #[napi(catch_unwind)]
    pub fn checksum_sync(&self, env: Env, block: f64, threads: Option<f64>) -> Result<()> {
        self.with(&env, |open| {
            open.array.checksum(count(block, "block")?, most(threads)?, Control::default())
        })
    }

    /// Writes checksums of the file beside it without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn checksum<'env>(
        &self,
        env: &'env Env,
        block: f64,
        threads: Option<f64>,
        job: &NativeJob,
    ) -> Result<Object<'env>> {
        let (array, block, threads) =
            self.with(env, |open| Ok((open.array.clone(), count(block, "block")?, most(threads)?)))?;
        let state = job.state();
        task::promise(
            env,
            &task::FILES,
            move || array.checksum(block, threads, state.control()),
            |_, ()| Ok(()),
        )
    }

    /// Compares the file with the checksums beside it.
    #[napi(catch_unwind)]
    pub fn verify_sync(&self, env: Env, threads: Option<f64>) -> Result<NativeVerified> {
        self.with(&env, |open| NativeVerified::new(open.array.verify(most(threads)?, Control::default())?))
    }

    /// Compares the file with the checksums beside it without holding up the caller's thread.
    #[napi(catch_unwind, ts_return_type = "Promise<NativeVerified>")]
    pub fn verify<'env>(
        &self,
        env: &'env Env,
        threads: Option<f64>,
        job: &NativeJob,
    ) -> Result<Object<'env>> {
        let (array, threads) = self.with(env, |open| Ok((open.array.clone(), most(threads)?)))?;
        let state = job.state();
        task::promise(
            env,
            &task::FILES,
            move || array.verify(threads, state.control()),
            |env, verified| NativeVerified::new(verified).map_err(|error| js_error(env, error)),
        )
    }
}

fn most(threads: Option<f64>) -> CoreResult<Option<usize>> {
    threads.map(|threads| size(threads, "threads")).transpose()
}
