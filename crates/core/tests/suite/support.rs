//! What the tests share: fixtures, and properties that are tried on the same values in every run.

use std::path::Path;

use mmap_ndarray_core::format::{PREFIX_LEN, read_header};
use mmap_ndarray_core::{Format, Header, Result};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use serde_json::Value;

const SEED: [u8; 32] = *b"the seed of all the properties. ";

/// A file of `tests/fixtures`.
pub(crate) fn fixture(folder: &str, file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is known about each file of a folder of fixtures: an object with at least the key `file`.
pub(crate) fn manifest(folder: &str) -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(&fixture(folder, "expected.json")).unwrap();
    let files = manifest["files"].as_array().unwrap().clone();
    assert!(!files.is_empty());
    files
}

/// The text at `key` of an object; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// The whole numbers at `key` of an object.
pub(crate) fn numbers(object: &Value, key: &str) -> Vec<u64> {
    object[key].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Reads the header of a whole file as whoever opens it does: from a bounded prefix and the length.
pub(crate) fn read(file: &[u8], format: Option<Format>, strict: bool) -> Result<Header> {
    read_header(&file[..file.len().min(PREFIX_LEN)], file.len() as u64, format, strict)
}

/// Reads a header as that of a file which is long enough for any array.
pub(crate) fn read_alone(header: &[u8]) -> Result<Header> {
    read_header(header, u64::MAX, None, false)
}

/// The code of the error, or `opens`.
pub(crate) fn outcome(result: &Result<Header>) -> &'static str {
    result.as_ref().err().map_or("opens", mmap_ndarray_core::Error::code)
}

/// Tries `property` on `cases` values, which depend on [`SEED`] alone.
pub(crate) fn check<S: Strategy>(cases: u32, values: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    println!("seed: {:?}", SEED.escape_ascii().to_string());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    if let Err(error) = runner.run(values, property) {
        panic!("{error}");
    }
}
