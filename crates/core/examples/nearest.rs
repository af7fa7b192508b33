//! The rows of a matrix in a file that are most like one of them: `cargo run --release --example nearest`
//!
//! The kernels read the pages of the file themselves, on all processors; nothing is copied into memory first.

use std::path::Path;

use mmap_ndarray_core::kernel::{Metric, Options, TopK, topk};
use mmap_ndarray_core::{Layout, MmapArray, Result};
use ndarray::Array2;

const SHAPE: (usize, usize) = (10_000, 64);

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("mmap-ndarray-nearest-{}.npy", std::process::id()));
    let found = nearest(&path, 42, 3);
    // Whatever came of it, the file goes.
    if let Err(error) = std::fs::remove_file(&path) {
        eprintln!("{}: {error}", path.display());
    }
    let TopK { indices, scores } = found?;
    for (row, score) in indices.iter().zip(scores) {
        println!("row {row}: {score:.3}");
    }
    Ok(())
}

fn nearest(path: &Path, row: u64, k: usize) -> Result<TopK> {
    let mut state = 1_u32;
    let vectors = Array2::from_shape_simple_fn(SHAPE, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(state.to_be_bytes()[0]) - 127.5
    });
    MmapArray::create(path, &vectors)?;

    let array = MmapArray::<f32>::open_read_only(path)?;
    let columns = array.shape()[1];
    let query = Layout::new(row * columns, vec![columns], vec![1], array.len())?;
    let whole = array.layout()?;
    // SAFETY: the view is used in this function only, which `array` outlives.
    let matrix = unsafe { array.raw(&whole) }?;
    // SAFETY: as above.
    let query = unsafe { array.raw(&query) }?;
    topk(&matrix, &query, k, Metric::Cosine, &Options::default())
}
