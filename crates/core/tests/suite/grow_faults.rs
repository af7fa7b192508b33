//! Killed or refused at any step, an append or a resize leaves the old length or the new one, with the rows that belong to it.
//!
//! Victims and points are those of `create_faults`.

use std::cell::RefCell;
use std::fs::{self, OpenOptions as FileOptions};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use mmap_ndarray_core::fault::{Hook, listen};
use mmap_ndarray_core::{
    CreateOptions, DType, DynMmapArray, Format, MmapArray, Mode, OpenOptions, Order, Raw, Result,
};
use ndarray::Array;
use tempfile::TempDir;

use crate::support::{self, IN_PLACE};

const VICTIM: &str = "MMAP_NDARRAY_TEST_GROWTH";
const ENOSPC: i32 = if cfg!(windows) { 112 } else { 28 };
const EIO: i32 = if cfg!(windows) { 1117 } else { 5 };

/// Rows there are before, of three elements.
const ROWS: u64 = 3000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// One row, in one write.
    Row,
    /// One row, on the disk.
    Durable,
    /// Rows in three blocks, their space set aside.
    Blocks,
    /// One row where an append that was killed has left bytes.
    Trailing,
    Longer,
    Shorter,
}

const STEPS: [Step; 6] =
    [Step::Row, Step::Durable, Step::Blocks, Step::Trailing, Step::Longer, Step::Shorter];

#[derive(Clone, Copy, Debug)]
struct Case {
    format: Format,
    step: Step,
}

fn cases() -> Vec<Case> {
    let cases = IN_PLACE.iter().flat_map(|&format| STEPS.map(|step| Case { format, step }));
    // A raw file has no room for bytes that are left over, and Windows makes none shorter that is mapped.
    let of_raw = |step| step != Step::Trailing && (step != Step::Shorter || !cfg!(windows));
    cases.filter(|case| case.format != Format::Raw || of_raw(case.step)).collect()
}

/// The elements of row `n`.
fn row(n: u64) -> [i32; 3] {
    [0, 1, 2].map(|column| n as i32 * 3 + column + 1)
}

fn rows(from: u64, to: u64) -> Vec<u8> {
    (from..to).flat_map(row).flat_map(i32::to_ne_bytes).collect()
}

impl Case {
    fn open(self, path: &Path, mode: Mode) -> Result<DynMmapArray> {
        let rows = fs::metadata(path).unwrap().len() / 12;
        let raw = (self.format == Format::Raw).then(|| Raw {
            element: DType::Int32.into(),
            shape: Some(vec![rows, 3]),
            offset: 0,
            strides: None,
            order: Order::C,
        });
        DynMmapArray::open(path, &OpenOptions { format: Some(self.format), raw, ..OpenOptions::new(mode) })
    }

    fn prepare(self, path: &Path) {
        let values = Array::from_shape_fn((ROWS as usize, 3), |(n, column)| row(n as u64)[column]);
        drop(MmapArray::create_with(path, &values, &CreateOptions::new(self.format)).unwrap());
        if self.step == Step::Trailing {
            FileOptions::new().append(true).open(path).unwrap().write_all(&[9; 5000]).unwrap();
        }
    }

    /// Rows there are after.
    fn after(self) -> u64 {
        match self.step {
            Step::Row | Step::Durable | Step::Trailing => ROWS + 1,
            Step::Blocks => ROWS + 3000,
            Step::Longer => ROWS + 1000,
            Step::Shorter => ROWS - 2000,
        }
    }

    fn run(self, array: &mut DynMmapArray) -> Result<()> {
        let n = self.after();
        match self.step {
            Step::Longer | Step::Shorter => array.resize(n),
            Step::Blocks => {
                let growth = array.begin_append(3000)?;
                growth.reserve()?;
                for block in 0..3 {
                    let from = ROWS + block * 1000;
                    growth.write_at(block * 12_000, &rows(from, from + 1000))?;
                }
                let grown = growth.commit(true)?;
                array.adopt(grown).unwrap();
                Ok(())
            }
            step => array.append_bytes(1, &rows(ROWS, n), step == Step::Durable),
        }
    }

    /// Whether the file has the new length; anything but old or new, with its rows, is a failure.
    fn is_new(self, path: &Path, context: &str) -> bool {
        let array = self.open(path, Mode::ReadOnly).unwrap();
        let n = array.shape()[0];
        assert!(n == ROWS || n == self.after(), "{self:?} {context}: {n} rows");
        let values = array.to_owned_array::<i32>().unwrap();
        for (at, found) in values.outer_iter().enumerate() {
            let expected = row(at as u64);
            let zeros = found.iter().all(|&x| x == 0);
            // A raw file is longer before it has its rows.
            let may_be_zeros = at as u64 >= ROWS && (self.step == Step::Longer || self.format == Format::Raw);
            assert!(
                found.as_slice().unwrap() == expected || (zeros && may_be_zeros),
                "{self:?} {context}: row {at} of {n} is {found}"
            );
        }
        n == self.after()
    }
}

/// Calls `at` with the number and name of each point.
fn listener(mut at: impl FnMut(u32, &'static str) -> io::Result<()> + 'static) -> Hook {
    let mut passed = 0;
    Box::new(move |call| {
        passed += 1;
        at(passed, call)
    })
}

fn be_killed(order: &str) {
    let [index, number, path] = order.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (number, path) = (number.parse::<u32>().unwrap(), Path::new(path));
    let stop = support::wait_at(number);
    if index == "naive" {
        // The header first, as one would.
        let mut bytes = fs::read(path).unwrap();
        bytes.splice(8..24, [9003_u64.to_le_bytes(), 3001_u64.to_le_bytes()].concat());
        fs::write(path, bytes).unwrap();
        stop(1, "write").unwrap();
        return;
    }
    let case = cases()[index.parse::<usize>().unwrap()];
    let mut array = case.open(path, Mode::ReadWrite).unwrap();
    listen(Some(listener(stop)));
    case.run(&mut array).unwrap();
}

/// Runs the victim and kills it at the point; returns the point's name, none where the victim came to its end.
fn kill_at(index: &str, number: u32, path: &Path) -> Option<String> {
    let test = "grow_faults::a_kill_at_any_step_leaves_the_old_length_or_the_new_one";
    let folder = path.parent().unwrap();
    support::kill_at(test, (VICTIM, &format!("{index} {number} {}", path.display())), folder)
}

#[test]
fn a_kill_at_any_step_leaves_the_old_length_or_the_new_one() {
    if let Ok(order) = std::env::var(VICTIM) {
        return be_killed(&order);
    }
    let folder = TempDir::new().unwrap();
    let naive = Case { format: Format::Mmap, step: Step::Row };
    let path = folder.path().join("naive");
    naive.prepare(&path);
    assert_eq!(kill_at("naive", 1, &path).as_deref(), Some("write"));
    assert_eq!(naive.open(&path, Mode::ReadOnly).unwrap_err().code(), "ERR_FILE_TOO_SHORT");

    let (mut kills, mut trailing) = (0, 0);
    for (index, case) in cases().into_iter().enumerate() {
        let mut was_new = false;
        for number in 1.. {
            let path = folder.path().join(format!("{index}-{number}"));
            case.prepare(&path);
            let Some(call) = kill_at(&index.to_string(), number, &path) else {
                assert!(case.is_new(&path, "at its end"));
                break;
            };
            kills += 1;
            let context = format!("killed before {call} ({number})");
            let is_new = case.is_new(&path, &context);
            assert!(is_new || !was_new, "{case:?} {context}: the old length came back");
            was_new = is_new;

            // Whoever appends next goes on from there, and removes what was left.
            let mut array = case.open(&path, Mode::ReadWrite).unwrap();
            trailing += u32::from(fs::metadata(&path).unwrap().len() > array.header().file_len());
            array.append_bytes(1, &rows(7, 8), false).unwrap();
            let end = array.header().file_len();
            let n = array.shape()[0] as usize;
            let values = array.to_owned_array::<i32>().unwrap();
            assert_eq!(values.outer_iter().nth(n - 1).unwrap().as_slice().unwrap(), row(7));
            if cfg!(windows) {
                // It cuts no file that is mapped.
                drop(array);
            }
            assert_eq!(fs::metadata(&path).unwrap().len(), end, "{case:?} {context}");
            fs::remove_file(&path).unwrap();
        }
    }
    writeln!(io::stderr(), "killed {kills} times, {trailing} times with bytes left over").unwrap();
    assert!(kills >= 100, "{kills}");
    assert!(trailing >= 10, "{trailing}");
}

#[test]
fn a_refusal_at_any_step_leaves_file_and_array_as_they_were() {
    let folder = TempDir::new().unwrap();
    let mut refusals = 0;
    for (case, (errno, code)) in
        cases().into_iter().flat_map(|case| [(case, (EIO, "EIO")), (case, (ENOSPC, "ENOSPC"))])
    {
        for number in 1.. {
            let path = folder.path().join("array");
            drop(fs::remove_file(&path));
            case.prepare(&path);
            let mut before = fs::read(&path).unwrap();
            if case.step == Step::Trailing {
                before.truncate(before.len() - 5000);
            }
            let mut array = case.open(&path, Mode::ReadWrite).unwrap();
            let refused = Rc::new(RefCell::new(None));
            let note = Rc::clone(&refused);
            listen(Some(listener(move |passed, call| {
                if passed != number {
                    return Ok(());
                }
                note.replace(Some(call));
                Err(io::Error::from_raw_os_error(errno))
            })));
            let done = case.run(&mut array);
            listen(None);
            let Some(call) = refused.take() else {
                done.unwrap();
                assert!(case.is_new(&path, "at its end"));
                break;
            };
            refusals += 1;
            let context = format!("{case:?}: refused {call} ({number})");
            assert_eq!(done.unwrap_err().code(), code, "{context}");
            let found = fs::read(&path).unwrap();
            assert_eq!(array.shape(), [ROWS, 3], "{context}");
            assert!(found.get(..before.len()) == Some(&before[..]), "{context}");
            let may_be_longer = case.step == Step::Trailing || cfg!(windows);
            assert!(found.len() == before.len() || may_be_longer, "{context}");
            // Linux forgets what a sync could not write, so that what was stored before may be in no file.
            let forgotten = call == "fsync" && cfg!(any(target_os = "linux", target_os = "android"));
            assert_eq!(array.lost().is_some(), forgotten, "{context}");
            if forgotten {
                assert_eq!(case.run(&mut array).unwrap_err().code(), "ERR_MAPPING_LOST", "{context}");
                array = case.open(&path, Mode::ReadWrite).unwrap();
            }
            // And it can be done again.
            case.run(&mut array).unwrap();
            assert_eq!(array.shape(), [case.after(), 3], "{context}");
            assert!(case.is_new(&path, &context));
            assert!(array.lost().is_none(), "{context}");
            let end = array.header().file_len();
            drop(array);
            assert_eq!(fs::metadata(&path).unwrap().len(), end, "{context}");
        }
    }
    writeln!(io::stderr(), "refused {refusals} times").unwrap();
    assert!(refusals >= if cfg!(windows) { 180 } else { 200 }, "{refusals}");
}
