//! What the tests share: fixtures, and properties that are tried on the same values in every run.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use mmap_ndarray_core::layout::contiguous_strides;
use mmap_ndarray_core::{Entry, Format, Header, Order, Request, Result, format};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use serde_json::Value;

const SEED: [u8; 32] = *b"the seed of all the properties. ";

/// The formats of new files that this machine can use in place: an mmap file is little-endian.
pub(crate) const IN_PLACE: &[Format] = if cfg!(target_endian = "little") {
    &[Format::Npy, Format::Mmap, Format::Raw]
} else {
    &[Format::Npy, Format::Raw]
};

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

/// Reads the header of a whole file as whoever opens it does.
pub(crate) fn read(file: &[u8], format: Option<Format>, strict: bool) -> Result<Header> {
    request(file, &Request { format, strict, ..Request::default() })
}

/// Reads the header of one array of a whole file.
pub(crate) fn request(file: &[u8], request: &Request) -> Result<Header> {
    format::read(&mut Cursor::new(file), file.len() as u64, request)
}

/// Reads the header of the array called `name`, which the file's content says how to find.
pub(crate) fn read_named(file: &[u8], name: &str) -> Result<Header> {
    request(file, &Request { name: Some(name.to_owned()), ..Request::default() })
}

/// Lists the arrays of a whole file.
pub(crate) fn list(file: &[u8]) -> Result<Vec<Entry>> {
    format::list(&mut Cursor::new(file), file.len() as u64, None)
}

/// Reads a header as that of a file which is long enough for any array.
pub(crate) fn read_alone(header: &[u8]) -> Result<Header> {
    format::read(&mut Cursor::new(header), u64::MAX, &Request::default())
}

/// The order of an array without gaps; `None` for one with other strides.
pub(crate) fn order_of(header: &Header) -> Option<Order> {
    // Complex numbers are pairs, which lie side by side in both orders.
    let (shape, strides) = (header.shape(), header.strides());
    let pairs = usize::from(header.element().complex);
    let (shape, strides) = (&shape[..shape.len() - pairs], &strides[..strides.len() - pairs]);
    [Order::C, Order::Fortran].into_iter().find(|&order| {
        let expected = contiguous_strides(shape, order).unwrap();
        expected.iter().map(|stride| stride << pairs).eq(strides.iter().copied())
    })
}

/// More elements than anybody waits for, as far as this machine can count.
pub(crate) const MANY: u64 = if usize::BITS == 64 { 1 << 50 } else { 1 << 30 };

/// The code of the error, or `opens`.
pub(crate) fn outcome<T>(result: &Result<T>) -> &'static str {
    result.as_ref().err().map_or("opens", mmap_ndarray_core::Error::code)
}

/// How many of `cases` values are tried: Miri takes a thousand times as long as the machine.
pub(crate) fn tried(cases: u32) -> u32 {
    if cfg!(miri) { cases / 100 } else { cases }
}

/// Tries `property` on `cases` values, which depend on [`SEED`] alone.
pub(crate) fn check<S: Strategy>(cases: u32, values: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    println!("seed: {:?}", SEED.escape_ascii().to_string());
    let config = Config { cases: tried(cases), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    if let Err(error) = runner.run(values, property) {
        panic!("{error}");
    }
}

/// The victim's side of [`kill_at`]: says which call comes at point `number`, and waits there for the kill.
pub(crate) fn wait_at(number: u32) -> impl Fn(u32, &'static str) -> io::Result<()> + Copy + 'static {
    move |passed, call| {
        if passed == number {
            writeln!(io::stderr(), "at {call}").unwrap();
            // Until the kill; were there none, the closed pipe would end this.
            io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        Ok(())
    }
}

/// Runs a test in a process of its own, as the victim that `order` makes of it, and kills it at the point where it says
/// `at <call>` and waits; returns the call, none where the victim came to its end.
pub(crate) fn kill_at(test: &str, order: (&str, &str), folder: &Path) -> Option<String> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact"])
        .env(order.0, order.1)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let Some(call) = line.trim_end().strip_prefix("at ") else {
        assert!(victim.wait().unwrap().success(), "{}: {line}", order.1);
        return None;
    };
    victim.kill().unwrap();
    let status = victim.wait().unwrap();
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert!(!status.success());
    Some(call.to_owned())
}
