//! What a copy-on-write array has that its file has not, against the plainest model: bytes of the file, bytes of the
//! array, and the set of pages that were stored to. Commits and discards of views change both as the model says.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use mmap_ndarray_core::fault::{Hook, listen};
use mmap_ndarray_core::{
    ByteOrder, CommitOptions, DType, DynMmapArray, ElementType, Format, Layout, MmapArray, Mode, OpenOptions,
    Order, Raw, Tracking, kernel,
};
use ndarray::Array1;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{check, outcome};

const PAGE: usize = 4096;
const ENOTTY: i32 = 25;
const EACCES: i32 = 13;

/// Opens copy-on-write, with the element type and place that a raw file does not say itself.
fn open_raw(path: &Path, raw: Raw) -> DynMmapArray {
    let options =
        OpenOptions { format: Some(Format::Raw), raw: Some(raw), ..OpenOptions::new(Mode::CopyOnWrite) };
    DynMmapArray::open(path, &options).unwrap()
}

/// Name, dtype, byte order, byte of the first element, shape, strides in elements.
type Case = (&'static str, DType, ByteOrder, u64, &'static [u64], Option<&'static [i64]>);

const CASES: &[Case] = &[
    ("contiguous, aligned", DType::Float32, ByteOrder::Little, 128, &[40, 256], None),
    ("starts at a page", DType::Float64, ByteOrder::Little, 4096, &[4096], None),
    ("across pages, unaligned", DType::Float64, ByteOrder::Little, 4091, &[3000], None),
    ("big-endian", DType::Int16, ByteOrder::Big, 6, &[3, 50, 60], None),
    ("gaps", DType::Int32, ByteOrder::Little, 0, &[30, 20], Some(&[200, 2])),
    ("backwards", DType::Uint8, ByteOrder::Little, 20_000, &[9000], Some(&[-2])),
    ("all of one element", DType::Int64, ByteOrder::Little, 8, &[500], Some(&[0])),
    ("small", DType::Uint8, ByteOrder::Little, 5, &[3], None),
    ("nothing", DType::Float32, ByteOrder::Little, 64, &[0, 7], None),
];

const FILE_LEN: usize = 50_000;

/// The ways of finding out, with what has to be refused for each.
const WAYS: [(Tracking, &[(&str, i32)]); 3] = [
    (Tracking::PagemapScan, &[]),
    (Tracking::Pagemap, &[("PAGEMAP_SCAN", ENOTTY)]),
    (Tracking::Compare, &[("open pagemap", EACCES)]),
];

fn refusing(refused: &'static [(&'static str, i32)]) -> Hook {
    Box::new(move |call| match refused.iter().find(|(name, _)| *name == call) {
        Some(&(_, errno)) => Err(io::Error::from_raw_os_error(errno)),
        None => Ok(()),
    })
}

/// The ways that this system has; the first is the one that it uses.
fn ways() -> Vec<(Tracking, &'static [(&'static str, i32)])> {
    let best = WAYS.iter().position(|way| way.0 == Tracking::here()).unwrap();
    WAYS[best..].to_vec()
}

fn element(case: Case) -> ElementType {
    ElementType { byte_order: case.2, ..case.1.into() }
}

struct Model {
    array: DynMmapArray,
    file: Vec<u8>,
    memory: Vec<u8>,
    touched: BTreeSet<usize>,
    compare: bool,
}

impl Model {
    fn new(path: &Path, case: Case, compare: bool) -> Self {
        let file: Vec<u8> = (0..FILE_LEN).map(|n| (n * 7 + n / 256) as u8).collect();
        fs::write(path, &file).unwrap();
        let (_, _, _, offset, shape, strides) = case;
        let array = open_raw(
            path,
            Raw {
                element: element(case),
                shape: Some(shape.to_vec()),
                offset,
                strides: strides.map(<[i64]>::to_vec),
                order: Order::C,
            },
        );
        Self { array, memory: file.clone(), file, touched: BTreeSet::new(), compare }
    }

    /// A part of the array: which of its indices, by the numbers of a random view.
    fn part(&self, picks: &[(u8, u8, i8)]) -> Layout {
        let whole = self.array.layout().unwrap();
        let (mut offset, mut shape, mut strides) =
            (whole.offset().cast_signed(), whole.shape().to_vec(), whole.strides().to_vec());
        for (axis, &(first, count, step)) in picks.iter().enumerate().take(shape.len()) {
            let n = shape[axis];
            if n == 0 {
                continue;
            }
            let first = u64::from(first) * n / 256;
            let step = i64::from(step % 4);
            let room = if step < 0 { first } else { n - 1 - first };
            let most = if step == 0 { 1 } else { room / step.unsigned_abs() + 1 };
            offset += strides[axis] * first.cast_signed();
            shape[axis] = most * u64::from(count) / 255;
            strides[axis] *= step;
        }
        Layout::new(offset.cast_unsigned(), shape, strides, self.array.units()).unwrap()
    }

    /// Positions of the elements of a view, ascending, each once.
    fn positions(layout: &Layout) -> BTreeSet<u64> {
        let mut positions = vec![layout.offset().cast_signed()];
        for (&n, &stride) in layout.shape().iter().zip(layout.strides()) {
            positions =
                positions.iter().flat_map(|&p| (0..n.cast_signed()).map(move |i| p + i * stride)).collect();
        }
        positions.into_iter().map(i64::cast_unsigned).collect()
    }

    /// The bytes of the file that an element is.
    fn bytes(&self, position: u64) -> Range<usize> {
        let header = self.array.header();
        let start = (header.data_offset() + position * header.unit()) as usize;
        start..start + self.array.dtype().itemsize()
    }

    fn pages(&self, position: u64) -> impl Iterator<Item = usize> + use<> {
        let bytes = self.bytes(position);
        bytes.start / PAGE..=(bytes.end - 1) / PAGE
    }

    fn data(&self) -> Range<usize> {
        let header = self.array.header();
        let start = header.data_offset() as usize;
        start..start + header.data_len() as usize
    }

    /// Whether a page of the array differs from the file.
    fn differs(&self, page: usize) -> bool {
        let data = self.data();
        let part = (page * PAGE).max(data.start)..((page + 1) * PAGE).min(data.end);
        self.memory[part.clone()] != self.file[part]
    }

    /// Stores to some elements of a view; those of the model are the same.
    fn store(&mut self, layout: &Layout, value: u8) {
        let size = self.array.dtype().itemsize();
        // SAFETY: the array is kept.
        kernel::fill(&unsafe { self.array.raw(layout) }.unwrap(), &vec![value; size]).unwrap();
        for position in Self::positions(layout) {
            let bytes = self.bytes(position);
            self.memory[bytes].fill(value);
            self.touched.extend(self.pages(position));
        }
    }

    fn is_dirty(&self, position: u64) -> bool {
        self.pages(position)
            .any(|page| if self.compare { self.differs(page) } else { self.touched.contains(&page) })
    }

    /// Pages that hold elements of a view, and the file's bytes, go.
    fn settle(&mut self, positions: &BTreeSet<u64>) {
        let parts: Vec<_> = positions.iter().flat_map(|&position| self.pages(position)).collect();
        let (Some(&low), Some(&high)) = (parts.iter().min(), parts.iter().max()) else { return };
        let gone: Vec<_> =
            self.touched.range(low..=high).copied().filter(|&page| !self.differs(page)).collect();
        for page in gone {
            self.touched.remove(&page);
        }
    }

    fn commit(&mut self, layout: &Layout) {
        self.array.commit(layout, CommitOptions::default()).unwrap();
        let positions = Self::positions(layout);
        let written: Vec<_> = positions.iter().filter(|&&position| self.is_dirty(position)).collect();
        for &position in written {
            let bytes = self.bytes(position);
            self.file[bytes.clone()].copy_from_slice(&self.memory[bytes]);
        }
        self.settle(&positions);
    }

    fn discard(&mut self, layout: &Layout) {
        self.array.discard(layout).unwrap();
        let positions = Self::positions(layout);
        for &position in &positions {
            let bytes = self.bytes(position);
            self.memory[bytes.clone()].copy_from_slice(&self.file[bytes]);
        }
        self.settle(&positions);
    }

    /// Everything that can be asked about a view.
    fn verify(&self, path: &Path, layout: &Layout, context: &str) {
        let positions = Self::positions(layout);
        let dirty: BTreeSet<u64> = positions.iter().copied().filter(|&p| self.is_dirty(p)).collect();
        let changed: BTreeSet<u64> = positions
            .iter()
            .copied()
            .filter(|&p| self.memory[self.bytes(p)] != self.file[self.bytes(p)])
            .collect();
        for (name, ranges, expected) in [
            ("dirty_ranges", self.array.dirty_ranges(layout).unwrap(), &dirty),
            ("diff", self.array.diff(layout).unwrap(), &changed),
        ] {
            assert!(
                ranges.windows(2).all(|pair| pair[0].end < pair[1].start),
                "{context} {name}: not ascending and apart: {ranges:?}"
            );
            let found: BTreeSet<u64> = ranges.into_iter().flatten().collect();
            assert!(found == *expected, "{context} {name}: {found:?} instead of {expected:?}");
        }
        let told = self.array.dirty(layout).unwrap();
        if self.compare {
            assert_eq!(told, if positions.is_empty() { Some(false) } else { None }, "{context}");
        } else {
            assert_eq!(told, Some(!dirty.is_empty()), "{context}");
        }
        assert!(fs::read(path).unwrap() == self.file, "{context}: the file");
        for &position in &positions {
            let element = Layout::new(position, vec![], vec![], self.array.units()).unwrap();
            let mut found = vec![0_u8; self.array.dtype().itemsize()];
            let one = Layout::contiguous(vec![], Order::C, 1).unwrap();
            let (place, size) = (found.as_mut_ptr(), found.len());
            // SAFETY: the array is kept.
            let from = unsafe { self.array.raw(&element) }.unwrap();
            // SAFETY: `found` is kept.
            let to = unsafe { kernel::RawView::new(place, size, size, self.array.header().element(), &one) }
                .unwrap();
            kernel::assign(&to, &from).unwrap();
            assert!(found == self.memory[self.bytes(position)], "{context}: element {position}");
        }
    }
}

#[test]
fn views_are_told_apart_committed_and_discarded_as_the_model_is() {
    type Step = (u8, Vec<(u8, u8, i8)>, u8);
    let picks = || proptest::collection::vec((any::<u8>(), any::<u8>(), any::<i8>()), 3);
    let steps = proptest::collection::vec((0_u8..8, picks(), any::<u8>()), 1..8);
    check(8, &steps, |steps: Vec<Step>| {
        for (tracking, refused) in ways() {
            listen(Some(refusing(refused)));
            for &case in CASES {
                let folder = TempDir::new().unwrap();
                let path = folder.path().join("a.raw");
                let mut model = Model::new(&path, case, tracking == Tracking::Compare);
                for (n, (kind, picks, value)) in steps.iter().enumerate() {
                    let part = model.part(picks);
                    match kind {
                        0..5 => model.store(&part, *value),
                        5 => model.commit(&part),
                        6 => model.discard(&part),
                        _ => model.discard(&model.array.layout().unwrap()),
                    }
                    let context = format!("{} {tracking} step {n} {kind}", case.0);
                    model.verify(&path, &model.part(picks), &context);
                }
                let whole = model.array.layout().unwrap();
                model.verify(&path, &whole, case.0);
                model.commit(&whole);
                model.verify(&path, &whole, case.0);
                // Nothing of the array differs from the file, and no page of it is private any more.
                assert!(model.array.diff(&whole).unwrap().is_empty(), "{}", case.0);
                if tracking != Tracking::Compare {
                    assert_eq!(model.array.dirty(&whole).unwrap(), Some(false), "{}", case.0);
                }
            }
            listen(None);
        }
        Ok(())
    });
}

#[test]
fn what_finds_the_pages_is_known_and_the_last_resort_reads_nothing_for_dirty() {
    for (tracking, refused) in ways() {
        listen(Some(refusing(refused)));
        assert_eq!(Tracking::here(), tracking);
        listen(None);
    }
    assert_eq!(WAYS.map(|way| way.0.name()), ["pagemap-scan", "pagemap", "compare"]);
    if cfg!(target_os = "linux") {
        assert_ne!(Tracking::here(), Tracking::Compare);
    }
}

#[test]
fn other_modes_have_nothing_to_tell() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.npy");
    drop(MmapArray::create(&path, &Array1::from_elem(5000, 1.0_f64)).unwrap());
    for (mode, dirty, discarded) in
        [(Mode::ReadWrite, Some(false), "opens"), (Mode::ReadOnly, None, "ERR_READ_ONLY")]
    {
        let array = DynMmapArray::open(&path, &OpenOptions::new(mode)).unwrap();
        let whole = array.layout().unwrap();
        // SAFETY: the array is kept.
        kernel::fill(&unsafe { array.raw(&whole) }.unwrap(), &2_f64.to_ne_bytes()).unwrap();
        if let Some(dirty) = dirty {
            assert_eq!(array.dirty(&whole).unwrap(), Some(dirty));
            assert!(array.dirty_ranges(&whole).unwrap().is_empty());
            assert!(array.diff(&whole).unwrap().is_empty());
        }
        assert_eq!(outcome(&array.discard(&whole)), discarded);
        // A stray store in mode `r` can be seen, too: the first file had ones, the second twos.
        let code = if mode == Mode::ReadOnly { "ERR_READ_ONLY" } else { "ERR_INVALID_STATE" };
        let before = fs::read(&path).unwrap();
        for options in [CommitOptions::default(), CommitOptions { atomic: true, force: true }] {
            assert_eq!(outcome(&array.commit(&whole, options)), code);
        }
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn many_scattered_pages_are_found_once_each_by_every_way() {
    // Far more regions than one call of the system is given room for.
    const PAGES: u64 = 1500;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sparse.raw");
    fs::File::create(&path).unwrap().set_len(2 * PAGES * 4096).unwrap();
    let raw = Raw { element: DType::Uint8.into(), shape: None, offset: 0, strides: None, order: Order::C };
    let array = open_raw(&path, raw);
    let every_other = Layout::new(0, vec![PAGES], vec![8192], array.units()).unwrap();
    // SAFETY: the array is kept.
    kernel::fill(&unsafe { array.raw(&every_other) }.unwrap(), &[1]).unwrap();
    let whole = array.layout().unwrap();
    let expected: Vec<_> = (0..PAGES).map(|n| n * 8192..n * 8192 + 4096).collect();
    for (_, refused) in ways() {
        listen(Some(refusing(refused)));
        assert!(array.dirty_ranges(&whole).unwrap() == expected);
        assert!(array.diff(&whole).unwrap().into_iter().eq((0..PAGES).map(|n| n * 8192..n * 8192 + 1)));
        listen(None);
    }
}
