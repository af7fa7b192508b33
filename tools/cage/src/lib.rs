//! What a native module does in Electron, done in a page of Chromium, which has the same cage around V8.
//!
//! Loaded before everything else (`LD_PRELOAD`), it waits in the process of a page for memory of WebAssembly that begins with
//! a command, and maps an array over it, as the addon would have done. The page then has the file before it. A command is
//! `mmap-ndarray-cage` and one letter: `r`, `w` or `c` opens `CAGE_FOLDER/<letter>.npy` in mode r, r+ or c; `e` and a letter
//! ends that array, and becomes `d`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, read, read_to_string};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io, ptr, thread};

use mmap_ndarray_core::{DynMmapArray, Lease, Mode, OpenOptions as ArrayOptions};

const COMMAND: &[u8] = b"mmap-ndarray-cage";

#[used]
// SAFETY:
// - the loader calls what this section holds once, with arguments that nobody has to take.
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let is_page = read("/proc/self/cmdline").is_ok_and(|line| contains(&line, b"--type=renderer"));
    if let (true, Some(folder)) = (is_page, env::var_os("CAGE_FOLDER")) {
        thread::spawn(move || serve(&PathBuf::from(folder)));
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// An array, and what keeps its file.
type Open = (DynMmapArray, Lease);

fn serve(folder: &Path) {
    let mut arrays = BTreeMap::new();
    loop {
        if let Err(error) = look(folder, &mut arrays) {
            log(folder, &format!("error: {error}"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// One line of what happened, for the test to read.
fn log(folder: &Path, line: &str) {
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(folder.join("log")) {
        let _ = writeln!(file, "{line}");
    }
}

/// Looks for commands, and follows them.
fn look(folder: &Path, arrays: &mut BTreeMap<u8, Open>) -> io::Result<()> {
    // Read and written as a file: memory that is taken away meanwhile is an error, no fault.
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
    let mut pages = Vec::new();
    for line in read_to_string("/proc/self/maps")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let range = words.next().and_then(|range| range.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        let Some((start, end)) = range.map(|(start, end)| (number(start), number(end))) else { continue };
        pages.push((start, end, words.next() == Some("rw-p")));
    }
    for &(start, _, _) in pages.iter().filter(|&&(start, _, usable)| usable && start.is_multiple_of(1 << 16))
    {
        let mut found = [0; COMMAND.len() + 2];
        if memory.read_exact_at(&mut found, start).is_err() || !found.starts_with(COMMAND) {
            continue;
        }
        let [letter, which] = [found[COMMAND.len()], found[COMMAND.len() + 1]];
        match letter {
            b'r' | b'w' | b'c' => {
                arrays.insert(letter, open(folder, letter, start)?);
                let gib = around(&pages, start) >> 30;
                log(folder, &format!("{} at {start:#x}, inside of {gib} GiB", char::from(letter)));
            }
            b'e' => {
                let ended = arrays.remove(&which).map(|(array, lease)| (array.lost(), lease.end()));
                log(folder, &format!("{} ended: {ended:?}", char::from(which)));
                done(&memory, start)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn done(memory: &File, start: u64) -> io::Result<()> {
    memory.write_all_at(b"d", start + COMMAND.len() as u64)
}

/// Bytes of address space without a gap that an address lies in: the cage.
fn around(pages: &[(u64, u64, bool)], address: u64) -> u64 {
    let (mut first, mut last) = (0, 0);
    for &(start, end, _) in pages {
        if start != last {
            if (first..last).contains(&address) {
                break;
            }
            first = start;
        }
        last = end;
    }
    last - first
}

fn open(folder: &Path, letter: u8, start: u64) -> io::Result<Open> {
    let mode = match letter {
        b'r' => Mode::ReadOnly,
        b'w' => Mode::ReadWrite,
        _ => Mode::CopyOnWrite,
    };
    let path = folder.join(format!("{}.npy", char::from(letter)));
    let array = DynMmapArray::open(path, &ArrayOptions::new(mode)).map_err(io::Error::other)?;
    let pages = ptr::with_exposed_provenance_mut(usize::try_from(start).map_err(io::Error::other)?);
    let room = array.mapping().before() + array.mapping().len();
    // SAFETY:
    // - the page has put its command there and made the memory large enough for the array; it keeps the memory until it has
    //   asked for the end of the array and been told of it, or never asks.
    let array = unsafe { array.over(pages, room) }.map_err(io::Error::other)?;
    let lease = array.lease().map_err(io::Error::other)?;
    Ok((array, lease))
}
