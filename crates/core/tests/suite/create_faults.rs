//! Killed or refused at any step, creating leaves the old file or the new one, never a third thing.
//!
//! The victim is the test itself in a process of its own. At the wanted point it says so and waits, and is killed there
//! from outside, as `kill -9` does it. Points and refusals come through the feature `fault-injection`.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use mmap_ndarray_core::fault::{Hook, listen};
use mmap_ndarray_core::{CreateOptions, DType, DynMmapArray, Format, Mode, OpenOptions, Order, Raw, Writer};
use tempfile::TempDir;

use crate::support;

/// Says what a victim has to do: the case, the number of the point, the folder.
const VICTIM: &str = "MMAP_NDARRAY_TEST_VICTIM";

/// What these numbers mean everywhere (as far as the calls that get them exist).
const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;
const EIO: i32 = if cfg!(windows) { 1117 } else { 5 };
const ENOSPC: i32 = if cfg!(windows) { 112 } else { 28 };

/// What the file system has to offer.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Way {
    /// What is there: files without names on Linux.
    Best,
    /// No files without names.
    Named,
    /// Nor exclusive renames, nor reserved space.
    Plain,
    /// Nor hard links.
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Route {
    Absolute,
    Relative,
    /// Through a link to a link, each relative to its own folder.
    Links,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    way: Way,
    overwrite: bool,
    format: Format,
    /// Elements in three blocks into a sparse file; else zeros, and the space reserved.
    blocks: bool,
    route: Route,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (w, way) in [Way::Best, Way::Named, Way::Plain, Way::Bare].into_iter().enumerate() {
        for (f, format) in [Format::Npy, Format::Mmap, Format::Raw].into_iter().enumerate() {
            for (b, blocks) in [true, false].into_iter().enumerate() {
                // Each route meets each of the others.
                let route = [Route::Absolute, Route::Relative, Route::Links][(w + f + b) % 3];
                let route = if cfg!(windows) && route == Route::Links { Route::Absolute } else { route };
                for overwrite in [false, true] {
                    cases.push(Case { way, overwrite, format, blocks, route });
                }
            }
        }
    }
    cases
}

impl Case {
    fn create(self, path: &Path) -> mmap_ndarray_core::Result<DynMmapArray> {
        let mut options = CreateOptions::new(self.format);
        options.overwrite = self.overwrite;
        options.reserve = !self.blocks;
        let writer = Writer::begin(path, DType::Int32, &[3000], &options)?;
        for block in 0..if self.blocks { 3 } else { 0 } {
            writer.write_at(block * 4000, &[b'a' + block as u8; 4000])?;
        }
        DynMmapArray::from_writer(writer)
    }

    /// What the new file has in it.
    fn after(self) -> Vec<u8> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("array");
        self.create(&path).unwrap();
        fs::read(path).unwrap()
    }

    /// Puts into `folder` what is there before.
    fn prepare<'a>(self, folder: &Path, after: &'a [u8]) -> Scene<'a> {
        let real = folder.join("real");
        fs::create_dir(&real).unwrap();
        let target = real.join("array");
        #[cfg(unix)]
        if self.route == Route::Links {
            fs::create_dir(folder.join("links")).unwrap();
            std::os::unix::fs::symlink("links/2", folder.join("1")).unwrap();
            std::os::unix::fs::symlink("../real/array", folder.join("links/2")).unwrap();
        }
        if self.overwrite {
            fs::write(&target, "the old file").unwrap();
            #[cfg(unix)]
            fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        }
        Scene { case: self, before: content(&target), after, target, real }
    }

    /// The path that is created, from `folder` where it is relative.
    fn path(self, folder: &Path) -> PathBuf {
        match self.route {
            Route::Absolute => folder.join("real/array"),
            Route::Relative => PathBuf::from("real/array"),
            Route::Links => folder.join("1"),
        }
    }

    /// Calls `at` with the number and name of each point, and refuses what this case's file system has not.
    fn listener(self, mut at: impl FnMut(u32, &'static str) -> io::Result<()> + 'static) -> Hook {
        let mut passed = 0;
        Box::new(move |call| {
            passed += 1;
            at(passed, call)?;
            match call {
                "O_TMPFILE" if self.way != Way::Best => Err(io::Error::from_raw_os_error(EINVAL)),
                "rename exclusive" if self.way >= Way::Plain => Err(io::Error::from_raw_os_error(EINVAL)),
                "fallocate" if self.way >= Way::Plain => Err(io::Error::from_raw_os_error(EOPNOTSUPP)),
                "link" if self.way == Way::Bare => Err(io::Error::from_raw_os_error(EPERM)),
                _ => Ok(()),
            }
        })
    }
}

/// What is, and what may be, in the folder of the file.
struct Scene<'a> {
    case: Case,
    real: PathBuf,
    target: PathBuf,
    before: Option<Vec<u8>>,
    after: &'a [u8],
}

fn content(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

impl Scene<'_> {
    /// Whether the new file is there; anything but it or what was before is a failure.
    fn is_new(&self, context: &str) -> bool {
        let now = content(&self.target);
        let new = now.as_deref() == Some(self.after);
        assert!(new || now == self.before, "{:?} {context}: neither the old file nor the new one", self.case);
        #[cfg(unix)]
        if self.case.overwrite {
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&self.target).unwrap().permissions());
            assert_eq!(mode & 0o7777, 0o640, "{:?} {context}", self.case);
        }
        if new {
            let raw = (self.case.format == Format::Raw).then(|| Raw {
                element: DType::Int32.into(),
                shape: None,
                offset: 0,
                strides: None,
                order: Order::C,
            });
            let options =
                OpenOptions { format: Some(self.case.format), raw, ..OpenOptions::new(Mode::ReadOnly) };
            assert_eq!(DynMmapArray::open(&self.target, &options).unwrap().shape(), [3000], "{context}");
        }
        new
    }

    /// The names beside the file; anything but our own temporary ones is a failure.
    fn left(&self, context: &str) -> usize {
        let names = fs::read_dir(&self.real).unwrap().map(|entry| entry.unwrap().file_name());
        let beside: Vec<_> = names.filter(|name| name != "array").collect();
        for name in &beside {
            let name = name.to_str().unwrap();
            let unique = name.strip_prefix(".mmap-ndarray-").and_then(|rest| rest.strip_suffix(".tmp"));
            assert!(unique.is_some(), "{:?} {context}: {name} was left", self.case);
        }
        beside.len()
    }
}

/// What the process does that is to be killed at point `number` of case `index`.
fn be_killed(order: &str) {
    let [index, number, folder] = order.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (number, folder) = (number.parse::<u32>().unwrap(), Path::new(folder));
    let stop = support::wait_at(number);
    if index == "naive" {
        let mut file = File::create(folder.join("real/array")).unwrap();
        for (block, passed) in [([b'a'; 4000], 1), ([b'b'; 4000], 2)] {
            stop(passed, "write").unwrap();
            file.write_all(&block).unwrap();
        }
        return;
    }
    let case = cases()[index.parse::<usize>().unwrap()];
    listen(Some(case.listener(stop)));
    case.create(&case.path(folder)).unwrap();
}

fn kill_at(index: &str, number: u32, folder: &Path) -> Option<String> {
    let test = "create_faults::a_kill_at_any_step_leaves_the_old_file_or_the_new_one";
    support::kill_at(test, (VICTIM, &format!("{index} {number} {}", folder.display())), folder)
}

/// Kills the creation of case `index` at every point; returns how many there were.
fn kill_everywhere(index: usize, case: Case) -> u32 {
    let (after, mut was_new) = (case.after(), false);
    for number in 1.. {
        let folder = TempDir::new().unwrap();
        let scene = case.prepare(folder.path(), &after);
        let Some(call) = kill_at(&index.to_string(), number, folder.path()) else {
            assert!(scene.is_new("at its end"));
            assert_eq!(scene.left("at its end"), 0);
            return number - 1;
        };
        let context = format!("killed before {call} ({number})");
        let is_new = scene.is_new(&context);
        assert!(is_new || !was_new, "{case:?} {context}: the old file came back");
        was_new = is_new;
        let left = scene.left(&context);
        // A file without a name has one beside the file's own for one moment, and only to take another's place.
        let may_be_left = cfg!(not(target_os = "linux")) || case.way != Way::Best || call == "rename";
        assert!(left <= usize::from(may_be_left), "{case:?} {context}: {left} left");

        // Whoever creates the file again finds what was left, where a lock says that nobody writes it any more.
        let again = Case { overwrite: true, ..case };
        listen(Some(again.listener(|_, _| Ok(()))));
        again.create(&scene.target).unwrap();
        listen(None);
        assert!(scene.is_new("created again"));
        let left = if cfg!(unix) { 0 } else { left };
        assert_eq!(scene.left("created again"), left, "{case:?} {context}");
    }
    unreachable!()
}

#[test]
fn a_kill_at_any_step_leaves_the_old_file_or_the_new_one() {
    if let Ok(order) = std::env::var(VICTIM) {
        return be_killed(&order);
    }

    // The naive way: half a file.
    let folder = TempDir::new().unwrap();
    let real = folder.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::write(real.join("array"), "the old file").unwrap();
    assert_eq!(kill_at("naive", 2, folder.path()).as_deref(), Some("write"));
    assert_eq!(fs::read(real.join("array")).unwrap(), [b'a'; 4000]);

    let cases: Vec<_> = cases().into_iter().enumerate().collect();
    let kills: u32 = thread::scope(|scope| {
        let work =
            |part: &[(usize, Case)]| part.iter().map(|&(index, case)| kill_everywhere(index, case)).sum();
        let threads: Vec<_> =
            cases.chunks(9).map(|part| scope.spawn(move || -> u32 { work(part) })).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    writeln!(io::stderr(), "killed {kills} times in {} ways of creating", cases.len()).unwrap();
    assert!(kills >= 200, "{kills}");
}

#[test]
fn a_refusal_at_any_step_leaves_the_old_file_and_nothing_else() {
    let mut refusals = 0;
    for (case, (errno, code)) in
        cases().into_iter().flat_map(|case| [(case, (EIO, "EIO")), (case, (ENOSPC, "ENOSPC"))])
    {
        // The working folder belongs to all tests.
        let case =
            Case { route: if case.route == Route::Links { Route::Links } else { Route::Absolute }, ..case };
        let after = case.after();
        for number in 1.. {
            let folder = TempDir::new().unwrap();
            let scene = case.prepare(folder.path(), &after);
            let refused = Rc::new(RefCell::new(None));
            let note = Rc::clone(&refused);
            listen(Some(case.listener(move |passed, call| {
                if passed != number {
                    return Ok(());
                }
                note.replace(Some(call));
                Err(io::Error::from_raw_os_error(errno))
            })));
            let made = case.create(&case.path(folder.path()));
            listen(None);
            let Some(call) = refused.take() else {
                made.unwrap();
                assert!(scene.is_new("at its end"));
                break;
            };
            refusals += 1;
            let context = format!("refused {call} ({number})");
            assert_eq!(made.unwrap_err().code(), code, "{case:?} {context}");
            // Only two calls come after the file has its name: the caller hears that it may not be durable.
            let named = matches!(call, "fsync folder" | "unlink");
            assert_eq!(scene.is_new(&context), named, "{case:?} {context}");
            assert_eq!(scene.left(&context), 0, "{case:?} {context}");
        }
    }
    writeln!(io::stderr(), "refused {refusals} times").unwrap();
    assert!(refusals >= 400, "{refusals}");
}

#[cfg(unix)]
#[test]
fn an_existing_file_stays_whatever_the_file_system_has_to_offer() {
    for case in cases().into_iter().filter(|case| !case.overwrite) {
        let folder = TempDir::new().unwrap();
        let scene = case.prepare(folder.path(), b"");
        let real = scene.target.clone();
        listen(Some(case.listener(move |_, call| {
            // Somebody makes one meanwhile.
            if call == "fsync" { fs::write(&real, "theirs") } else { Ok(()) }
        })));
        let made = case.create(&scene.target);
        listen(None);
        assert_eq!(made.unwrap_err().code(), "EEXIST", "{case:?}");
        assert_eq!(fs::read(&scene.target).unwrap(), b"theirs", "{case:?}");
        assert_eq!(scene.left("refused"), 0, "{case:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_being_written_is_not_taken_for_an_abandoned_one() {
    let case =
        Case { way: Way::Named, overwrite: false, format: Format::Npy, blocks: true, route: Route::Absolute };
    let (folder, after) = (TempDir::new().unwrap(), case.after());
    let scene = case.prepare(folder.path(), &after);
    let options = CreateOptions::new(Format::Npy);
    listen(Some(case.listener(|_, _| Ok(()))));
    let first = Writer::begin(&scene.target, DType::Int8, &[1], &options).unwrap();
    let name = fs::read_dir(&scene.real).unwrap().map(|entry| entry.unwrap().path());
    let name = name.filter(|path| !path.ends_with("array")).collect::<Vec<_>>().pop().unwrap();
    let second = Writer::begin(&scene.target, DType::Int8, &[2], &options).unwrap();
    assert_eq!(scene.left("written by two"), 2);
    first.commit().unwrap();
    assert_eq!(second.commit().unwrap_err().code(), "EEXIST");
    assert_eq!(scene.left("written"), 0);
    let case = Case { overwrite: true, ..case };
    // The lock ends with the writing, although the array that comes of it still has the file.
    let _array = case.create(&scene.target).unwrap();
    File::open(&scene.target).unwrap().try_lock().unwrap();

    // Everybody finds abandoned files, and everybody creates, at once: whoever is first, nothing is left.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                listen(Some(case.listener(|_, _| Ok(()))));
                for _ in 0..100 {
                    drop(File::options().write(true).create_new(true).open(&name));
                    let made = case.create(&scene.target);
                    assert!(made.map_or_else(|error| error.code() == "ERR_LOCKED", |_| true));
                }
            });
        }
    });
    assert!(scene.is_new("at the end"));
    case.create(&scene.target).unwrap();
    assert_eq!(scene.left("at the end"), 0);
}
