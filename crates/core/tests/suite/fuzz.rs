//! The fuzz targets without a fuzzer: the committed corpus, the fixtures, and a fixed number of mutations of both.
//!
//! `scripts/fuzz.mjs` lets libFuzzer look for new inputs, which needs the nightly toolchain; this runs everywhere and
//! finds again what was found once. It also counts what each input allocates, which libFuzzer does not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

#[expect(unreachable_pub, reason = "a crate of its own for libFuzzer, and a module here")]
#[path = "../../fuzz/src/lib.rs"]
pub(crate) mod targets;

const SEED: u64 = 20_261_124;
/// Mutated inputs for each target.
const CASES: usize = if cfg!(miri) { 20 } else { 2_000 };

/// Of the corpus every file, but for Miri, which takes a thousand times as long as the machine.
const STEP: usize = if cfg!(miri) { 20 } else { 1 };

/// Bytes alive at once that a target may need for any input: the buffer that zip directories are read with.
const ALLOWED: usize = 1 << 19;
/// And for each byte of input.
const ALLOWED_PER_BYTE: usize = 64;

/// Counts the bytes that each thread has allocated and not freed.
struct Counting;

thread_local! {
    static ALIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    let alive = ALIVE.get() + more.cast_signed() - less.cast_signed();
    ALIVE.set(alive);
    PEAK.set(PEAK.get().max(alive));
}

// SAFETY: every method is that of the system's allocator, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is the one asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise is the one asked for.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes that were alive at once in `work` beyond those alive before it.
fn peak(work: impl FnOnce()) -> usize {
    let before = ALIVE.get();
    PEAK.set(before);
    work();
    (PEAK.get() - before).try_into().unwrap()
}

/// Numbers that are the same in every run: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// Pieces that mean something to one of the parsers.
const TOKENS: [&[u8]; 24] = [
    b"0",
    b"-1",
    b"9223372036854775807",
    b"18446744073709551615",
    b"4294967296",
    b"1_0",
    b"0x7fffffffffffffff",
    b"[",
    b"(",
    b"{",
    b"()",
    b",",
    b"'",
    b"\\x",
    b"'<f8'",
    b"'|O'",
    b"'V3'",
    b"'descr':",
    b"[('a','<f8'),('b','>i2',(2,))]",
    b"\"F32\"",
    b"\"data_offsets\":[0,0]",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
];

fn mutate(input: &mut Vec<u8>, random: &mut Random, others: &[Vec<u8>]) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = at + random.below(input.len() - at + 1).min(random.below(32));
        let bytes = match random.below(7) {
            0 => vec![random.next().to_le_bytes()[0]; end - at],
            1 => random.of(&TOKENS).to_vec(),
            2 => (random.next() >> random.below(64)).to_le_bytes().to_vec(),
            3 => input[at..end].repeat(2),
            4 => others[random.below(others.len())].iter().skip(at).take(64).copied().collect(),
            5 => {
                input.truncate(at);
                continue;
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
                continue;
            }
        };
        input.splice(at..end, bytes);
    }
}

/// The files of a folder in the order of their names; none where there is no folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.iter().step_by(STEP).map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures: &[&str] = match target {
        "mmap" => &["mmap", "hostile"],
        "npy" => &["npy", "records"],
        "safetensors" => &["safetensors"],
        "npz" => &["npz"],
        _ => &[],
    };
    let fixtures = fixtures.iter().flat_map(|folder| files(&root.join("tests/fixtures").join(folder)));
    files(&root.join("fuzz/corpus").join(target)).into_iter().chain(fixtures).collect()
}

/// Runs a target; a failure is told with the input and where it came from.
fn attempt(name: &str, target: targets::Target, input: &[u8], what: &str) {
    let told = || format!("target {name}, {what}: b\"{}\"", input.escape_ascii());
    let peak = peak(|| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            eprintln!("{}", told());
            resume_unwind(panic);
        }
    });
    let allowed = ALLOWED + ALLOWED_PER_BYTE * input.len();
    assert!(peak <= allowed, "{peak} bytes allocated, at most {allowed} expected; {}", told());
}

#[test]
fn every_target_holds_for_its_corpus_and_for_mutations_of_it() {
    println!("seed {SEED}");
    for (name, target) in targets::TARGETS {
        // Miri is after unsafe code, and of what is run here only the kernels have any.
        if cfg!(miri) && name != "layout" {
            continue;
        }
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for (i, input) in corpus.iter().enumerate() {
            attempt(name, target, input, &format!("file {i} of the corpus"));
        }
        let mut random = Random(SEED);
        for case in 0..CASES {
            let mut input = corpus[random.below(corpus.len())].clone();
            mutate(&mut input, &mut random, &corpus);
            attempt(name, target, &input, &format!("case {case}"));
        }
    }
}
