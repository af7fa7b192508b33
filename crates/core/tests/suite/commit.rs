//! Commits: killed or refused at every step, beside other writers, and with stores that come meanwhile.
//!
//! The victim is the test itself in a process of its own, as in `create_faults`.
//!
//! Past 400 lines: kills and refusals at every step share one model of bytes and pages.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use mmap_ndarray_core::fault::{Hook, listen};
use mmap_ndarray_core::{
    CommitOptions, DynMmapArray, Error, Layout, Lock, MmapArray, Mode, OpenOptions, Tracking, attach, kernel,
};
use ndarray::Array1;
use tempfile::TempDir;

use crate::support::{self, outcome};

const VICTIM: &str = "MMAP_NDARRAY_TEST_COMMIT_VICTIM";
const EOPNOTSUPP: i32 = 95;
const EINVAL: i32 = 22;
const EIO: i32 = if cfg!(windows) { 1117 } else { 5 };
const ENOSPC: i32 = if cfg!(windows) { 112 } else { 28 };

const LEN: usize = 20_000;
const IN_PLACE: CommitOptions = CommitOptions { atomic: false, force: false };
const WHOLE: CommitOptions = CommitOptions { atomic: true, force: false };
const FORCED: CommitOptions = CommitOptions { atomic: false, force: true };

/// What elements have before and after: each index has values of its own.
fn old(i: usize) -> f64 {
    i as f64 + 0.5
}

fn new(i: usize) -> f64 {
    if i % 1500 < 3 { -old(i) } else { old(i) }
}

fn prepare(path: &Path) {
    drop(MmapArray::create(path, &Array1::from_shape_fn(LEN, old)).unwrap());
}

fn open(path: &Path, lock: Option<Lock>) -> DynMmapArray {
    DynMmapArray::open(path, &OpenOptions { lock, ..OpenOptions::new(Mode::CopyOnWrite) }).unwrap()
}

fn values(array: &DynMmapArray) -> Vec<f64> {
    array.to_owned_array::<f64>().unwrap().into_iter().collect()
}

fn in_file(path: &Path) -> Vec<f64> {
    values(&DynMmapArray::open(path, &OpenOptions::new(Mode::ReadOnly)).unwrap())
}

fn all(of: fn(usize) -> f64) -> Vec<f64> {
    (0..LEN).map(of).collect()
}

/// A part of the array: `count` elements from `start` on.
fn part(array: &DynMmapArray, start: usize, count: usize) -> Layout {
    Layout::new(start as u64, vec![count as u64], vec![1], array.units()).unwrap()
}

fn store(array: &DynMmapArray, i: usize, value: f64) {
    // SAFETY: the array is kept.
    let element = unsafe { array.raw(&part(array, i, 1)) }.unwrap();
    kernel::fill(&element, &value.to_ne_bytes()).unwrap();
}

fn store_new(array: &DynMmapArray) {
    for i in (0..LEN).filter(|&i| new(i) < 0.0) {
        store(array, i, new(i));
    }
}

fn is_dirty(array: &DynMmapArray) -> Option<bool> {
    array.dirty(&array.layout().unwrap()).unwrap()
}

fn commit(array: &DynMmapArray, options: CommitOptions) -> Result<(), Error> {
    array.commit(&array.layout().unwrap(), options)
}

#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    options: CommitOptions,
    /// Calls that this case's system does not have.
    refused: &'static [(&'static str, i32)],
    /// A file with holes.
    sparse: bool,
}

const CASES: &[Case] = &[
    Case { name: "in place", options: IN_PLACE, refused: &[], sparse: false },
    Case { name: "in place, holes", options: IN_PLACE, refused: &[], sparse: true },
    #[cfg(not(windows))]
    Case { name: "whole", options: WHOLE, refused: &[], sparse: true },
    #[cfg(not(windows))]
    Case {
        name: "whole, no shared blocks, no files without names",
        options: WHOLE,
        refused: &[("FICLONE", EOPNOTSUPP), ("O_TMPFILE", EINVAL)],
        sparse: false,
    },
];

impl Case {
    fn prepare(self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join("a.npy");
        prepare(&path);
        if self.sparse {
            // What follows the array is nobody's; the whole has fewer blocks than bytes.
            File::options().write(true).open(&path).unwrap().set_len(1 << 22).unwrap();
        }
        path
    }

    fn listener(self, mut at: impl FnMut(u32, &'static str) -> io::Result<()> + 'static) -> Hook {
        let mut passed = 0;
        Box::new(move |call| {
            // What finds the pages has its own tests.
            if call.to_lowercase().contains("pagemap") {
                return Ok(());
            }
            passed += 1;
            at(passed, call)?;
            match self.refused.iter().find(|(name, _)| *name == call) {
                Some(&(_, errno)) => Err(io::Error::from_raw_os_error(errno)),
                None => Ok(()),
            }
        })
    }

    /// Whether the file has all of the new values; a value that is neither old nor new, and any mixture that this case does
    /// not allow, is a failure.
    fn is_new(self, path: &Path, context: &str) -> bool {
        let found = in_file(path);
        let Self { name, .. } = self;
        assert!(
            found.iter().enumerate().all(|(i, value)| *value == old(i) || *value == new(i)),
            "{name} {context}: an element is neither old nor new"
        );
        let (is_old, is_new) = (found == all(old), found == all(new));
        assert!(!self.options.atomic || is_old || is_new, "{name} {context}: a mixture");
        assert_eq!(fs::metadata(path).unwrap().len() == 1 << 22, self.sparse, "{name} {context}");
        is_new
    }
}

fn left(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name != "a.npy").count()
}

/// What the process does that is to be killed at point `number` of case `index`.
fn be_killed(order: &str) {
    let [index, number, folder] = order.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (number, path) = (number.parse::<u32>().unwrap(), Path::new(folder).join("a.npy"));
    let stop = support::wait_at(number);
    if index == "naive" {
        // Whole elements, but the file is cut and written again: what is not there yet is neither old nor new.
        let bytes = fs::read(&path).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes[..bytes.len() / 2]).unwrap();
        stop(number, "write").unwrap();
        return;
    }
    let case = CASES[index.parse::<usize>().unwrap()];
    let array = open(&path, None);
    store_new(&array);
    listen(Some(case.listener(stop)));
    commit(&array, case.options).unwrap();
}

fn kill_at(index: &str, number: u32, folder: &Path) -> Option<String> {
    let test = "commit::a_kill_at_any_step_leaves_old_and_new_elements_and_with_atomic_only_one_kind";
    support::kill_at(test, (VICTIM, &format!("{index} {number} {}", folder.display())), folder)
}

#[test]
fn a_kill_at_any_step_leaves_old_and_new_elements_and_with_atomic_only_one_kind() {
    if let Ok(order) = std::env::var(VICTIM) {
        return be_killed(&order);
    }
    // The naive way: half a file, which cannot even be opened.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    prepare(&path);
    assert_eq!(kill_at("naive", 1, folder.path()).as_deref(), Some("write"));
    assert!(DynMmapArray::open(&path, &OpenOptions::new(Mode::ReadOnly)).is_err());

    let mut kills = 0;
    for (index, &case) in CASES.iter().enumerate() {
        let (mut was_new, mut mixtures) = (false, 0);
        for number in 1.. {
            let folder = TempDir::new().unwrap();
            let path = case.prepare(folder.path());
            let Some(call) = kill_at(&index.to_string(), number, folder.path()) else {
                assert!(case.is_new(&path, "at its end"));
                assert_eq!(left(folder.path()), 0);
                break;
            };
            kills += 1;
            let context = format!("killed before {call} ({number})");
            let is_new = case.is_new(&path, &context);
            assert!(is_new || !was_new, "{case:?} {context}: the old values came back");
            was_new = is_new;
            mixtures += usize::from(!is_new && in_file(&path) != all(old));
            // Whoever commits next finds the file as it is, and removes what was left.
            let array = open(&path, None);
            store_new(&array);
            store(&array, 0, -77.0);
            listen(Some(case.listener(|_, _| Ok(()))));
            commit(&array, case.options).unwrap();
            listen(None);
            assert_eq!(in_file(&path)[0].to_bits(), (-77_f64).to_bits());
            if case.options.atomic {
                assert_eq!(left(folder.path()), 0, "{case:?} {context}");
            }
        }
        assert!(was_new, "{case:?}");
        // So that the test of elements is one: in place the middle was met.
        assert!(case.options.atomic || mixtures > 0, "{case:?}");
    }
    writeln!(io::stderr(), "killed {kills} times").unwrap();
    assert!(kills > if cfg!(windows) { 30 } else { 60 }, "{kills}");
}

#[test]
fn a_refusal_at_any_step_is_an_error_after_which_the_array_is_as_it_was_and_a_retry_works() {
    let mut refusals = 0;
    for (&case, (errno, code)) in
        CASES.iter().flat_map(|case| [(case, (EIO, "EIO")), (case, (ENOSPC, "ENOSPC"))])
    {
        for number in 1.. {
            let folder = TempDir::new().unwrap();
            let path = case.prepare(folder.path());
            let array = open(&path, None);
            store_new(&array);
            let refused = Rc::new(RefCell::new(None));
            let note = Rc::clone(&refused);
            listen(Some(case.listener(move |passed, call| {
                if passed != number {
                    return Ok(());
                }
                note.replace(Some(call));
                Err(io::Error::from_raw_os_error(errno))
            })));
            let done = commit(&array, case.options);
            listen(Some(case.listener(|_, _| Ok(()))));
            let Some(call) = refused.take() else {
                done.unwrap();
                break;
            };
            refusals += 1;
            let context = format!("refused {call} ({number})");
            assert_eq!(done.unwrap_err().code(), code, "{case:?} {context}");
            let is_new = case.is_new(&path, &context);
            assert_eq!(values(&array), all(new), "{case:?} {context}");
            assert_eq!(left(folder.path()), 0, "{case:?} {context}");
            if call == "fsync folder" {
                // The file is there, whole, and the array goes on with it.
                assert!(is_new);
                assert!(!array.is_stale().unwrap());
            } else {
                assert_eq!(is_new, call == "fdatasync", "{case:?} {context}");
                assert!(Tracking::here() == Tracking::Compare || is_dirty(&array) == Some(true));
            }
            if !matches!(call, "write" | "fdatasync" | "fsync folder") {
                assert_eq!(in_file(&path), all(old), "{case:?} {context}");
            }
            commit(&array, case.options).unwrap();
            assert!(case.is_new(&path, &context));
            assert_ne!(is_dirty(&array), Some(true), "{case:?} {context}");
            assert_eq!(values(&array), all(new), "{case:?} {context}");
            listen(None);
        }
    }
    writeln!(io::stderr(), "refused {refusals} times").unwrap();
    assert!(refusals > if cfg!(windows) { 60 } else { 120 }, "{refusals}");
}

/// What happens to the file, and what a commit says without and with `force`, in place and whole.
type Stale = (&'static str, fn(&Path), [&'static str; 2]);

const STALE: &[Stale] = &[
    ("nothing", |_| {}, ["opens", "opens"]),
    ("only read", |path| drop(fs::read(path).unwrap()), ["opens", "opens"]),
    (
        "written to",
        |path| {
            let array = DynMmapArray::open(path, &OpenOptions::new(Mode::ReadWrite)).unwrap();
            store(&array, 9000, 1.0);
            array.flush().unwrap();
        },
        ["ERR_STALE", "opens"],
    ),
    (
        "longer",
        |path| File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap(),
        ["ERR_STALE", "opens"],
    ),
    (
        "shorter",
        |path| File::options().write(true).open(path).unwrap().set_len(1 << 12).unwrap(),
        ["ERR_MAPPING_LOST", "ERR_MAPPING_LOST"],
    ),
    ("removed", |path| fs::remove_file(path).unwrap(), ["ERR_STALE", "ERR_STALE"]),
    (
        "replaced by an array like it",
        |path| {
            fs::remove_file(path).unwrap();
            prepare(path);
        },
        ["ERR_STALE", "opens"],
    ),
    (
        "replaced by a longer array",
        |path| {
            fs::remove_file(path).unwrap();
            drop(MmapArray::create(path, &Array1::from_shape_fn(LEN + 1, old)).unwrap());
        },
        ["ERR_STALE", "ERR_STALE"],
    ),
    (
        "replaced by something else",
        |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "no array").unwrap();
        },
        ["ERR_STALE", "ERR_STALE"],
    ),
    (
        "locked by somebody",
        |path| {
            let file = File::open(path).unwrap();
            file.try_lock_shared().unwrap();
            std::mem::forget(file);
        },
        ["ERR_LOCKED", "ERR_LOCKED"],
    ),
];

#[cfg(not(windows))]
#[test]
fn a_file_that_is_another_or_has_changed_is_left_alone_unless_forced() {
    for &(name, happens, expected) in STALE {
        for (force, code) in [false, true].into_iter().zip(expected) {
            for atomic in [false, true] {
                let context = format!("{name}, force {force}, atomic {atomic}");
                let folder = TempDir::new().unwrap();
                let path = folder.path().join("a.npy");
                prepare(&path);
                let array = open(&path, None);
                store_new(&array);
                happens(&path);
                let before = fs::read(&path).ok();
                let done = commit(&array, CommitOptions { atomic, force });
                assert_eq!(outcome(&done), code, "{context}");
                assert_eq!(left(folder.path()), 0, "{context}");
                if done.is_err() {
                    assert!(fs::read(&path).ok() == before, "{context}");
                    if code != "ERR_MAPPING_LOST" {
                        assert_eq!(values(&array), all(new), "{context}");
                    }
                    continue;
                }
                let found = in_file(&path);
                assert!((0..LEN).all(|i| found[i] == new(i) || (i == 9000 && found[i] == 1.0)), "{context}");
                // In place another file is only written to; a whole commit goes on with what it made.
                let other = name.starts_with("replaced");
                assert_eq!(array.is_stale().unwrap(), other && !atomic, "{context}");
                assert_eq!(
                    outcome(&commit(&array, CommitOptions { atomic, force: false })),
                    if other && !atomic { "ERR_STALE" } else { "opens" }
                );
            }
        }
    }
}

#[test]
fn a_store_between_writing_and_finishing_stays() {
    let folder = TempDir::new().unwrap();
    for options in [IN_PLACE, WHOLE].into_iter().filter(|options| !(cfg!(windows) && options.atomic)) {
        let path = folder.path().join("a.npy");
        prepare(&path);
        let array = open(&path, None);
        store_new(&array);
        let whole = array.layout().unwrap();
        let begun = array.begin_commit(options).unwrap().write(&whole).unwrap();
        // In a page that was written, and in one that nobody had stored to.
        store(&array, 1, 1234.0);
        store(&array, 700, 5678.0);
        if options.atomic {
            assert_eq!(outcome(&array.begin_commit(options)), "ERR_INVALID_STATE");
        }
        begun.finish().unwrap();
        let mut expected = all(new);
        assert_eq!(in_file(&path), expected);
        (expected[1], expected[700]) = (1234.0, 5678.0);
        assert_eq!(values(&array), expected);
        assert_eq!(array.diff(&whole).unwrap(), [1..2, 700..701]);
        commit(&array, options).unwrap();
        assert_eq!(in_file(&path), expected);
        assert!(array.diff(&whole).unwrap().is_empty());
        assert_ne!(is_dirty(&array), Some(true));
        fs::remove_file(&path).unwrap();
    }
}

#[cfg(not(windows))]
#[test]
fn a_whole_commit_of_a_view_keeps_the_rest_and_the_lock_and_the_permissions_and_the_holes() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    for lock in [None, Some(Lock::Shared), Some(Lock::Exclusive)] {
        let folder = TempDir::new().unwrap();
        let real = folder.path().join("real.npy");
        prepare(&real);
        File::options().write(true).open(&real).unwrap().set_len(1 << 30).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        let path = folder.path().join("link.npy");
        std::os::unix::fs::symlink("real.npy", &path).unwrap();
        let array = open(&path, lock);
        let old_file = File::open(&real).unwrap();
        store_new(&array);
        let (handle, place) = (array.to_handle(), array.mapping().as_ptr());

        let first = part(&array, 0, 2000);
        array.commit(&first, WHOLE).unwrap();
        let mut expected = all(old);
        for (i, value) in expected.iter_mut().enumerate().take(2000) {
            *value = new(i);
        }
        assert_eq!(in_file(&path), expected);
        assert_eq!(values(&array), all(new));
        assert_eq!(array.mapping().as_ptr(), place);
        assert!(!array.is_stale().unwrap());
        if Tracking::here() != Tracking::Compare {
            assert_eq!(array.dirty(&part(&array, 0, 1000)).unwrap(), Some(false));
            assert_eq!(array.dirty(&part(&array, 3000, 10)).unwrap(), Some(true));
        }
        let metadata = fs::metadata(&real).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.len()), (0o640, 1 << 30));
        assert!(metadata.blocks() * 512 < 1 << 24, "holes were filled");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_ne!(metadata.ino(), old_file.metadata().unwrap().ino());

        // The lock is on the new file, of the same kind, until the array is gone.
        let try_lock = |lock| {
            outcome(&DynMmapArray::open(&path, &OpenOptions { lock, ..OpenOptions::new(Mode::ReadOnly) }))
        };
        let [shared, exclusive] = match lock {
            None => ["opens"; 2],
            Some(Lock::Shared) => ["opens", "ERR_LOCKED"],
            Some(Lock::Exclusive) => ["ERR_LOCKED"; 2],
        };
        assert_eq!(try_lock(Some(Lock::Shared)), shared, "{lock:?}");
        assert_eq!(try_lock(Some(Lock::Exclusive)), exclusive, "{lock:?}");
        old_file.try_lock().unwrap();

        // A handle from before leads to the same mapping as one from now.
        let lease = array.lease().unwrap();
        for handle in [array.to_handle(), handle] {
            let (attached, _other) = attach(&handle).unwrap();
            assert_eq!(attached.mapping().as_ptr(), place);
        }
        drop(lease);
        assert_eq!(try_lock(Some(Lock::Exclusive)), "opens");
    }
}

#[test]
fn others_keep_their_pages_and_nobody_comes_in_while_a_file_takes_the_place() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    prepare(&path);
    let array = open(&path, None);
    let mine = array.lease().unwrap();
    store_new(&array);
    {
        let _theirs = array.lease().unwrap();
        if cfg!(not(windows)) {
            assert_eq!(outcome(&commit(&array, WHOLE)), "ERR_INVALID_STATE");
            assert_eq!(in_file(&path), all(old));
        }
        commit(&array, IN_PLACE).unwrap();
        assert_eq!(in_file(&path), all(new));
        // Clean, but not dropped: others may be storing to them.
        assert!(array.diff(&array.layout().unwrap()).unwrap().is_empty());
        assert_ne!(is_dirty(&array), Some(false));
    }
    // Alone again, the next commit lets go of them.
    commit(&array, IN_PLACE).unwrap();
    assert_ne!(is_dirty(&array), Some(true));
    if cfg!(not(windows)) {
        store(&array, 5, 1.0);
        let begun = array.begin_commit(WHOLE).unwrap().write(&array.layout().unwrap()).unwrap();
        assert_eq!(outcome(&array.lease()), "ERR_INVALID_STATE");
        assert_eq!(outcome(&attach(&array.to_handle())), "ERR_INVALID_STATE");
        assert_eq!(outcome(&array.discard(&array.layout().unwrap())), "ERR_INVALID_STATE");
        begun.finish().unwrap();
        drop(array.lease().unwrap());
        // Stored to by whoever has a shared buffer, at any time.
        array.mapping().share();
        store(&array, 6, 1.0);
        assert_eq!(outcome(&commit(&array, WHOLE)), "ERR_INVALID_STATE");
        commit(&array, IN_PLACE).unwrap();
        assert_ne!(is_dirty(&array), Some(false));
    }
    drop(mine);
    assert_eq!(outcome(&commit(&array, IN_PLACE)), "ERR_CLOSED");
}

#[test]
fn work_under_way_keeps_the_pages_until_it_ends() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    prepare(&path);
    let array = open(&path, Some(Lock::Exclusive));
    let lease = array.lease().unwrap();
    store_new(&array);
    let whole = array.layout().unwrap();
    if cfg!(windows) {
        return;
    }
    let begun = array.begin_commit(WHOLE).unwrap().write(&whole).unwrap();
    lease.end().unwrap();
    // The last user has left, but zeros must not come between a commit and its data.
    assert_eq!(values(&array), all(new));
    begun.finish().unwrap();
    assert_eq!(values(&array), vec![0.0; LEN]);
    assert_eq!(in_file(&path), all(new));
    open(&path, Some(Lock::Exclusive));
}

#[cfg(not(windows))]
#[test]
fn pages_that_go_while_they_are_committed_are_an_error_and_no_zeros_get_to_the_file() {
    for options in [FORCED, CommitOptions { atomic: true, force: true }] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.npy");
        prepare(&path);
        let array = open(&path, None);
        store_new(&array);
        let cut = path.clone();
        let mut is_cut = false;
        listen(Some(Box::new(move |call| {
            if matches!(call, "write" | "FICLONE") && !is_cut {
                is_cut = true;
                File::options().write(true).open(&cut).unwrap().set_len(1 << 12).unwrap();
            }
            Ok(())
        })));
        let done = commit(&array, options);
        listen(None);
        assert_eq!(outcome(&done), "ERR_MAPPING_LOST", "{options:?}");
        let bytes = fs::read(&path).unwrap();
        let found = bytes[128..].chunks_exact(8).map(|bytes| f64::from_ne_bytes(bytes.try_into().unwrap()));
        for (i, value) in found.enumerate() {
            assert!(value == old(i) || value == new(i), "{options:?} element {i} is {value}");
        }
        assert_eq!(left(folder.path()), 0);
    }
}
