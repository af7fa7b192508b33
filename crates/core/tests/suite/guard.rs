//! Lost pages, stores to pages that may only be read, and faults of others.
//!
//! Each case is the test itself in a process of its own, because the naive way ends it.

#![cfg(unix)]

use std::env;
use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use mmap_ndarray_core::{DynMmapArray, Error, Loss, Mode, OpenOptions, guard};
use ndarray::Array1;

/// Says which case a child has to run.
const CASE: &str = "MMAP_NDARRAY_TEST_GUARD_CASE";
const SIGBUS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 7 } else { 10 };
const SIGSEGV: i32 = 11;
/// What a naive store to a page that may only be read raises.
const READ_ONLY_STORE: i32 = if cfg!(target_vendor = "apple") { SIGBUS } else { SIGSEGV };

const LEN: usize = 1 << 16;

fn ones(path: &Path) {
    mmap_ndarray_core::MmapArray::create(path, &Array1::from_elem(LEN, 1.0_f64)).unwrap();
}

fn shorten(path: &Path, len: u64) {
    FileOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn sum(array: &DynMmapArray) -> f64 {
    array.to_owned_array::<f64>().unwrap().sum()
}

fn reason(result: Result<(), Error>) -> Loss {
    match result {
        Err(Error::MappingLost { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// What is done, how the process ends (a signal, or 0 for well), and the work itself.
type Case = (&'static str, i32, fn(&Path));

const CASES: &[Case] = &[
    ("truncated, without the guard", SIGBUS, |path| {
        guard::disable();
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        shorten(path, 4096);
        sum(&array);
    }),
    ("truncated", 0, |path| {
        for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
            let path = &path.with_extension(format!("{mode:?}.npy"));
            ones(path);
            let array = DynMmapArray::open(path, &OpenOptions::new(mode)).unwrap();
            let other = array.clone();
            assert_eq!(array.lost(), None);
            // The header takes 16 elements.
            shorten(path, 4096 * 3);
            assert_eq!(sum(&array), 512.0 * 3.0 - 16.0);
            assert_eq!(array.lost(), Some(Loss::Truncated));
            assert_eq!(reason(array.report_loss()), Loss::Truncated);
            assert!(array.report_loss().is_ok(), "said once");
            assert_eq!(reason(other.flush()), Loss::Truncated);
            array.mapping().retire().unwrap();
            assert_eq!((sum(&array), array.lost()), (0.0, Some(Loss::Truncated)));
        }
    }),
    ("truncated in the middle of a page", 0, |path| {
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadWrite)).unwrap();
        shorten(path, 4096 * 3 + 8);
        assert_eq!(sum(&array), 512.0 * 3.0 - 16.0 + 1.0);
        assert_eq!(reason(array.flush()), Loss::Truncated);
    }),
    ("found without a fault", 0, |path| {
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadWrite)).unwrap();
        assert!(array.flush().is_ok());
        shorten(path, 128 + 8 * (LEN as u64) - 1);
        assert_eq!(reason(array.flush()), Loss::Truncated);
    }),
    ("many arrays, one of them lost", 0, |path| {
        let arrays: Vec<_> = (0..300)
            .map(|n| {
                let path = path.with_extension(format!("{n}.npy"));
                ones(&path);
                let array = DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
                std::fs::remove_file(&path).unwrap();
                array
            })
            .collect();
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        shorten(path, 0);
        assert_eq!(sum(&array), 0.0);
        for array in &arrays {
            assert_eq!((sum(array), array.lost()), (LEN as f64, None));
        }
    }),
    ("threads that lose the same pages together", 0, |path| {
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        shorten(path, 0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(sum(&array), 0.0));
            }
        });
        assert_eq!(array.lost(), Some(Loss::Truncated));
    }),
    ("a fault of somebody else's mapping", SIGBUS, |path| {
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        assert_eq!(sum(&array), LEN as f64);
        let other = path.with_extension("other.npy");
        ones(&other);
        let naive = memmap2::MmapOptions::new().map_raw_read_only(&File::open(&other).unwrap()).unwrap();
        shorten(&other, 0);
        // SAFETY:
        // - mapped, and meant to fail.
        unsafe { naive.as_ptr().read_volatile() };
    }),
    ("a store to a page that may only be read, the naive way", READ_ONLY_STORE, |path| {
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        assert_eq!(sum(&array), LEN as f64);
        let naive = memmap2::MmapOptions::new().map_raw_read_only(&File::open(path).unwrap()).unwrap();
        // SAFETY:
        // - mapped, and meant to fail.
        unsafe { naive.as_mut_ptr().write_volatile(1) };
    }),
    ("a store to an array of mode 'r'", 0, |path| {
        let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap();
        // SAFETY:
        // - the first byte of a mapping of eight bytes and more.
        unsafe { array.mapping().as_ptr().write_volatile(9) };
        assert_eq!(array.to_owned_array::<f64>().unwrap()[[0]].to_bits().to_le_bytes()[0], 9);
        assert_eq!(std::fs::read(path).unwrap()[128], 0);
    }),
];

#[test]
fn lost_pages_are_errors_and_faults_of_others_are_theirs() {
    if let Ok(wanted) = env::var(CASE) {
        let (name, path) = wanted.split_once('|').unwrap();
        let (_, _, work) = CASES.iter().find(|case| case.0 == name).unwrap();
        return work(Path::new(path));
    }
    for (name, ends, _) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        ones(&path);
        let child = Command::new(env::current_exe().unwrap())
            .args(["guard::lost_pages_are_errors_and_faults_of_others_are_theirs", "--exact", "--nocapture"])
            .env(CASE, format!("{name}|{}", path.display()))
            .output()
            .unwrap();
        let ended = child.status.signal().or(child.status.code());
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(ended, Some(*ends), "{name}: {said}");
    }
}
