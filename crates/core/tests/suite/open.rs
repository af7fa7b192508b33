//! Things at a path that are no array: each a clear error, at once.

use std::fs;
use std::path::Path;

use mmap_ndarray_core::{DynMmapArray, Mode, OpenOptions};
use tempfile::TempDir;

const MODES: [Mode; 3] = [Mode::ReadOnly, Mode::ReadWrite, Mode::CopyOnWrite];

fn code(path: &Path, mode: Mode) -> &'static str {
    DynMmapArray::open(path, &OpenOptions::new(mode)).map_or_else(|error| error.code(), |_| "opened")
}

#[test]
fn no_array_there() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    // Windows says that the path does not exist.
    let no_folder = if cfg!(windows) { "ENOENT" } else { "ENOTDIR" };
    let cases = [
        ("nothing", folder.path().join("nothing.npy"), "ENOENT"),
        ("a directory", folder.path().to_path_buf(), "EISDIR"),
        ("a path through a file", file("a", b"x").join("b"), no_folder),
        ("an empty file", file("empty", b""), "ERR_FILE_TOO_SHORT"),
        ("text", file("text", b"hello, world"), "ERR_INVALID_MAGIC"),
        ("a NUL byte in the path", folder.path().join("a\0b"), "EINVAL"),
    ];
    for (name, path, expected) in cases {
        for mode in MODES {
            assert_eq!(code(&path, mode), expected, "{name}, mode {mode}");
        }
    }
}

#[cfg(unix)]
#[test]
fn devices_pipes_and_sockets_are_refused_without_waiting() {
    let folder = TempDir::new().unwrap();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for mode in MODES {
        for path in [Path::new("/dev/zero"), Path::new("/dev/null"), &fifo, &socket] {
            assert_eq!(code(path, mode), "ENODEV", "{}", path.display());
        }
    }
}

/// The first store to a private mapping of 1 GiB costs a page, not a copy.
#[cfg(target_os = "linux")]
#[test]
fn the_first_store_of_copy_on_write_costs_a_page() {
    use mmap_ndarray_core::{CreateOptions, Format, MmapArray};
    const MIB: u64 = 1 << 20;

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sparse.npy");
    let mut options = CreateOptions::new(Format::Npy);
    options.reserve = false;
    MmapArray::create_filled(&path, &[256 * MIB], 0.0_f32, &options).unwrap();
    let array = MmapArray::<f32>::open_cow(&path).unwrap();
    let last = array.raw_view_mut().unwrap().as_mut_ptr().wrapping_add(256 * 1024 * 1024 - 1);
    let before = private_memory();
    // SAFETY:
    // - the last of the 2^28 elements; nobody else has the file.
    unsafe { last.write_volatile(1.0) };
    let grown = private_memory().saturating_sub(before);
    // Other tests run beside this one, so not exactly one page; a copy would be 1 GiB.
    assert!(grown < 64 * MIB, "grown by {grown} bytes");
}

/// `RssAnon` of this process, in bytes.
#[cfg(target_os = "linux")]
fn private_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}
