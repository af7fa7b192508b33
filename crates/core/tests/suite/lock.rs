//! Locks of files, and whether a path still names the file that was opened.

use std::fs;
use std::path::{Path, PathBuf};

use mmap_ndarray_core::{
    CreateOptions, DynMmapArray, Format, Identity, Lock, MmapArray, Mode, OpenOptions, Writer,
};
use mmap_ndarray_core::{DType, Error, Result};
use ndarray::array;
use tempfile::TempDir;

use crate::support::outcome;

const LOCKS: [Option<Lock>; 3] = [None, Some(Lock::Shared), Some(Lock::Exclusive)];

fn file(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("a.npy");
    MmapArray::create(&path, &array![1_i32, 2, 3]).unwrap();
    path
}

fn open(path: &Path, mode: Mode, lock: Option<Lock>) -> Result<DynMmapArray> {
    let mut options = OpenOptions::new(mode);
    options.lock = lock;
    DynMmapArray::open(path, &options)
}

fn overwrite(path: &Path) -> Result<Writer> {
    let mut options = CreateOptions::new(Format::Npy);
    options.overwrite = true;
    Writer::begin(path, DType::Int8, &[1], &options)
}

#[test]
fn who_may_open_beside_whom() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    for mode in [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite] {
        for first in LOCKS {
            let held = open(&path, mode, first).unwrap();
            assert_eq!(held.lock(), first);
            for second in LOCKS {
                let refused = matches!(
                    (first, second),
                    (Some(Lock::Exclusive), Some(_)) | (Some(_), Some(Lock::Exclusive))
                );
                let expected = if refused { "ERR_LOCKED" } else { "opens" };
                assert_eq!(outcome(&open(&path, Mode::ReadOnly, second)), expected, "{first:?} {second:?}");
            }
        }
    }
}

#[test]
fn retiring_a_mapping_gives_its_lock_back_whoever_holds_it_still() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let held = open(&path, Mode::ReadWrite, Some(Lock::Exclusive)).unwrap();
    let copy = held.clone();
    assert_eq!(outcome(&open(&path, Mode::ReadOnly, Some(Lock::Shared))), "ERR_LOCKED");
    held.mapping().retire().unwrap();
    assert_eq!(outcome(&open(&path, Mode::ReadOnly, Some(Lock::Exclusive))), "opens");
    drop(copy);
}

#[test]
fn a_locked_file_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let before = fs::read(&path).unwrap();
    for lock in [Lock::Shared, Lock::Exclusive] {
        let held = open(&path, Mode::ReadOnly, Some(lock)).unwrap();
        let refused = overwrite(&path).unwrap_err();
        assert!(matches!(&refused, Error::Locked { path: at } if *at == path), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), before);
        drop(held);
    }
    overwrite(&path).unwrap().commit().unwrap();
    assert_ne!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nobody_locks_a_file_while_it_is_being_replaced() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let writer = overwrite(&path).unwrap();
    assert_eq!(outcome(&open(&path, Mode::ReadOnly, None)), "opens");
    for lock in [Lock::Shared, Lock::Exclusive] {
        assert_eq!(outcome(&open(&path, Mode::ReadOnly, Some(lock))), "ERR_LOCKED");
    }
    assert_eq!(outcome(&overwrite(&path)), "ERR_LOCKED");
    writer.commit().unwrap();
    assert_eq!(outcome(&open(&path, Mode::ReadOnly, Some(Lock::Exclusive))), "opens");
    drop(overwrite(&path).unwrap());
    assert_eq!(outcome(&open(&path, Mode::ReadOnly, Some(Lock::Exclusive))), "opens");
}

#[test]
fn a_locked_file_that_was_made_meanwhile_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    let writer = overwrite(&path).unwrap();
    file(&folder);
    let held = open(&path, Mode::ReadOnly, Some(Lock::Shared)).unwrap();
    assert_eq!(outcome(&writer.commit()), "ERR_LOCKED");
    assert!(!held.is_stale().unwrap());
}

/// Whoever replaces a file through us holds its lock until the rename is done, so a file that is locked cannot go stale.
/// That fails without the second look at the path: the lock may be had just after the file lost its name.
#[test]
fn a_lock_is_never_of_a_file_that_was_replaced_meanwhile() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let mut had = 0;
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            let replace = || overwrite(&path)?.commit();
            (0..20_000).filter(|_| replace().is_ok()).count()
        });
        while !replacing.is_finished() {
            match open(&path, Mode::ReadOnly, Some(Lock::Exclusive)) {
                Ok(one) => {
                    assert!(!one.is_stale().unwrap());
                    had += 1;
                }
                Err(error) => assert!(matches!(error, Error::Locked { .. }), "{error}"),
            }
        }
        assert!(replacing.join().unwrap() > 0);
    });
    assert!(had > 0);
}

/// What happens to the path, and whether the array is stale then.
type Event = (&'static str, fn(&Path), bool);

#[test]
fn staleness() {
    let events: &[Event] = &[
        ("nothing", |_| (), false),
        ("written in place", |path| fs::write(path, fs::read(path).unwrap()).unwrap(), false),
        ("a second name", |path| fs::hard_link(path, path.with_extension("link")).unwrap(), false),
        (
            "renamed away and back",
            |path| {
                fs::rename(path, path.with_extension("other")).unwrap();
                fs::rename(path.with_extension("other"), path).unwrap();
            },
            false,
        ),
        ("removed", |path| fs::remove_file(path).unwrap(), true),
        ("renamed away", |path| fs::rename(path, path.with_extension("other")).unwrap(), true),
        (
            "replaced by the same content",
            |path| {
                fs::copy(path, path.with_extension("other")).unwrap();
                fs::rename(path.with_extension("other"), path).unwrap();
            },
            true,
        ),
        (
            "removed and made again",
            |path| {
                let bytes = fs::read(path).unwrap();
                fs::remove_file(path).unwrap();
                fs::write(path, bytes).unwrap();
            },
            true,
        ),
        (
            "a folder now",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            true,
        ),
        ("its folder is gone", |path| fs::remove_dir_all(path.parent().unwrap()).unwrap(), true),
        (
            "its folder is a file now",
            |path| {
                fs::remove_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path.parent().unwrap(), "x").unwrap();
            },
            true,
        ),
    ];
    for (name, event, expected) in events {
        // Windows does not remove or replace a file that is mapped, nor write one that is locked.
        let possible = ["nothing", "a second name", "renamed away", "renamed away and back"];
        if cfg!(windows) && !possible.contains(name) {
            continue;
        }
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("inner/a.npy");
        fs::create_dir(path.parent().unwrap()).unwrap();
        // Both ways of having an array: made here, and opened.
        let made = MmapArray::create(&path, &array![1_i32, 2, 3]).unwrap();
        let opened = open(&path, Mode::ReadWrite, Some(Lock::Exclusive)).unwrap();
        event(&path);
        for array in [&made, &opened] as [&DynMmapArray; 2] {
            assert_eq!(array.is_stale().unwrap(), *expected, "{name}");
            let checked = array.check_identity();
            assert_eq!(outcome(&checked), if *expected { "ERR_STALE" } else { "opens" }, "{name}");
            array.flush().unwrap();
        }
    }
}

#[test]
fn the_text_of_an_identity() {
    for text in ["0-0-0", "2f-1a2b3c-ffffffffffffffff"] {
        assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
    }
    let long = "1-1-10000000000000000";
    for text in ["", "1", "1-2", "1-2-3-4", "1--3", "-1-2-3", "x-1-1", "1 -2-3", long, "1-2-3\n", "+1-2-3"] {
        assert!(matches!(text.parse::<Identity>(), Err(Error::OutOfRange { .. })), "{text:?}");
    }
}
