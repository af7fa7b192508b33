//! Elements on their way into registers.
//!
//! A kernel sees a [`Run`]: elements side by side, in the order of this machine, of one of ten types. Memory that looks
//! so is read in place, by raw pointer, aligned or not. Everything else (another byte order, strides, halves, truth
//! values) is gathered into a small block first and read from there, so that no kernel exists twice for it. Past 400 lines by a few: a run and the two ways to one are one thing.

use std::marker::PhantomData;

use half::{bf16, f16};

use super::simd::{Kernel, dispatch};
use crate::kernel::{Bool, Element, RawView, Wide, load, prefetch, with_type};

/// Elements of a gathered block.
pub(super) const BLOCK: usize = 1024;

/// The most elements that a kernel gets in one run: what small accumulators can rely on.
pub(super) const MAX_RUN: usize = 1 << 15;

/// A type that kernels are written for: any bit pattern is a value.
pub(super) trait Work: Copy + Default + PartialEq + PartialOrd + Send + Sync + 'static {
    /// Whether there is NaN.
    const FLOAT: bool;
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "what NaN is")]
    fn is_nan(self) -> bool {
        self != self
    }
}

/// How elements of a file become those that kernels are written for.
pub(super) trait Load: Element {
    /// The type that kernels see.
    type Work: Work;
    /// The type of a sum in an array.
    type Sum: Element;
    /// Whether the bytes of both are the same.
    const SAME: bool;
    /// The same value.
    fn work(self) -> Self::Work;
    /// The value that `work` was made from, or one of them.
    fn back(work: Self::Work) -> Self;
}

macro_rules! same {
    ($($type:ty, $sum:ty, $float:literal;)*) => {$(
        impl Work for $type {
            const FLOAT: bool = $float;
        }
        impl Load for $type {
            type Work = Self;
            type Sum = $sum;
            const SAME: bool = true;
            #[inline(always)]
            fn work(self) -> Self {
                self
            }
            #[inline(always)]
            fn back(work: Self) -> Self {
                work
            }
        }
    )*};
}
same! {
    i8, i64, false;
    u8, u64, false;
    i16, i64, false;
    u16, u64, false;
    i32, i64, false;
    u32, u64, false;
    i64, i64, false;
    u64, u64, false;
    f32, f64, true;
    f64, f64, true;
}

impl Load for Bool {
    type Work = u8;
    type Sum = i64;
    const SAME: bool = false;
    #[inline(always)]
    fn work(self) -> u8 {
        u8::from(bool::from(self))
    }
    fn back(work: u8) -> Self {
        Self(work)
    }
}

impl Load for f16 {
    type Work = f32;
    type Sum = f64;
    const SAME: bool = false;
    /// Without branches, so that many are converted at once: exponents are moved by a multiplication, which is exact.
    #[inline(always)]
    fn work(self) -> f32 {
        let bits = u32::from(self.to_bits());
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((254 - 15) << 23);
        let special = if bits & 0x7c00 == 0x7c00 { 0xff << 23 } else { 0 };
        f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
    }
    fn back(work: f32) -> Self {
        Self::from_f32(work)
    }
}

impl Load for bf16 {
    type Work = f32;
    type Sum = f64;
    const SAME: bool = false;
    #[inline(always)]
    fn work(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    fn back(work: f32) -> Self {
        Self::from_f32(work)
    }
}

/// Elements side by side, readable while the run is used.
#[derive(Clone, Copy)]
pub(super) struct Run<'a, W> {
    at: *const W,
    len: usize,
    memory: PhantomData<&'a ()>,
}

impl<W: Work> Run<'_, W> {
    /// The `len` elements at `at`, which need no alignment.
    ///
    /// # Safety
    /// - The bytes of `len` elements are readable for the life of the run. Others may write them meanwhile.
    pub(super) unsafe fn new(at: *const u8, len: usize) -> Self {
        Self { at: at.cast(), len, memory: PhantomData }
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// The element at `i`, which must be less than the length.
    #[inline(always)]
    pub(super) fn get(self, i: usize) -> W {
        assert!(i < self.len, "an element past the end of its run");
        // SAFETY:
        // - `i` is inside the run, whose maker promised its bytes to be readable.
        unsafe { read(self.at.wrapping_add(i)) }
    }

    /// The part from `from` on, of at most `len` elements.
    #[inline(always)]
    pub(super) fn part(self, from: usize, len: usize) -> Self {
        let from = from.min(self.len);
        Self { at: self.at.wrapping_add(from), len: len.min(self.len - from), memory: PhantomData }
    }

    /// Parts of `len` elements, the last one shorter.
    #[inline(always)]
    pub(super) fn parts(self, len: usize) -> impl Iterator<Item = Self> {
        (0..self.len).step_by(len).map(move |from| self.part(from, len))
    }

    /// All the elements, `L` at a time, without those that are left over: see [`Run::rest`].
    #[inline(always)]
    pub(super) fn lanes<const L: usize>(self) -> impl Iterator<Item = [W; L]> {
        (0..self.len / L).map(move |i| {
            let at = self.at.wrapping_add(i * L).cast::<[W; L]>();
            // SAFETY:
            // - `i` is less than the whole groups of `L` elements in the run, whose maker promised its bytes to be
            //   readable.
            // - a group has any alignment and no invalid value.
            // - not protected: with another writer at work the bytes may be a mixture of old and new.
            unsafe { at.read_unaligned() }
        })
    }

    /// What is left over behind the last whole group of `L`.
    #[inline(always)]
    pub(super) fn rest<const L: usize>(self) -> Self {
        self.part(self.len / L * L, L)
    }

    /// The elements one by one.
    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = W> {
        (0..self.len).map(move |i| self.get(i))
    }
}

/// Runs of one length, at equal distances.
#[derive(Clone, Copy)]
pub(super) struct Runs<'a, W> {
    first: *const u8,
    /// Bytes between the starts of neighbours.
    stride: isize,
    count: usize,
    len: usize,
    memory: PhantomData<&'a W>,
}

impl<'a, W: Work> Runs<'a, W> {
    /// `count` runs of `len` elements, the first of them at `first`.
    ///
    /// # Safety
    /// - As for [`Run::new`], for each of them.
    pub(super) unsafe fn new(first: *const u8, stride: isize, count: usize, len: usize) -> Self {
        Self { first, stride, count, len, memory: PhantomData }
    }

    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = Run<'a, W>> {
        (0..self.count.cast_signed()).map(move |i| {
            let at = self.first.wrapping_offset(i * self.stride);
            // SAFETY:
            // - one of the runs, whose maker promised its bytes to be readable.
            unsafe { Run::new(at, self.len) }
        })
    }
}

/// Eight runs beside each other, of one length so that the compiler sees it.
#[derive(Clone, Copy)]
pub(super) struct Eight<'a, W> {
    at: [*const W; 8],
    len: usize,
    memory: PhantomData<&'a ()>,
}

impl<'a, W: Work> Eight<'a, W> {
    /// The runs as far as all of them go.
    #[inline(always)]
    pub(super) fn of(runs: [Run<'a, W>; 8]) -> Self {
        let len = runs.iter().map(|run| run.len).min().unwrap_or_default();
        Self { at: runs.map(|run| run.at), len, memory: PhantomData }
    }

    /// The elements of all of them at each place.
    #[inline(always)]
    pub(super) fn columns(self) -> impl Iterator<Item = [W; 8]> {
        (0..self.len).map(move |i| {
            self.at.map(|at| {
                // SAFETY:
                // - `i` is inside each run, whose maker promised its bytes to be readable.
                unsafe { read(at.wrapping_add(i)) }
            })
        })
    }
}

/// # Safety
/// The bytes of an element at `at` are readable.
#[inline(always)]
unsafe fn read<W: Work>(at: *const W) -> W {
    // SAFETY:
    // - readable: promised by the caller; any alignment will do, and no bit pattern is invalid.
    // - not protected: with another writer at work the bytes may be a mixture of old and new.
    unsafe { at.read_unaligned() }
}

/// Where a view's elements are and how they are read, whatever their type.
#[derive(Clone, Copy)]
pub(super) struct Source {
    base: *const u8,
    gather: unsafe fn(*const u8, isize, *mut u8, usize),
    /// The stride in bytes at which no gathering is needed; 0 where it always is.
    in_place: isize,
    /// Bytes of an element as kernels see it.
    size: usize,
}

// SAFETY:
// - the address is only read from, in unsafe functions whose callers promise that it may be.
unsafe impl Send for Source {}
// SAFETY:
// - as above.
unsafe impl Sync for Source {}

impl Source {
    /// The way to read elements of `T`, which is the view's dtype.
    pub(super) fn of<T: Load>(view: &RawView) -> Self {
        let native = view.byte_order.is_native() || size_of::<T>() == 1;
        let in_place = if T::SAME && native { size_of::<T>().cast_signed() } else { 0 };
        let gather = if native { gather::<T, false> } else { gather::<T, true> };
        Self { base: view.first, gather, in_place, size: size_of::<T::Work>() }
    }

    /// The way to read elements of a view as values of another type, never in place.
    pub(super) fn converted<V: Value>(view: &RawView) -> Self {
        let gather = with_type!(view.dtype, T => {
            if view.byte_order.is_native() { gather_values::<T, V, false> } else { gather_values::<T, V, true> }
        });
        Self { base: view.first, gather, in_place: 0, size: size_of::<V>() }
    }

    /// Gathers elements, `stride` bytes apart, the first one `offset` bytes from the view's first one.
    ///
    /// # Safety
    /// - They are as many elements of the view as `block` takes, and `V` is the type that this gives.
    #[inline(always)]
    pub(super) unsafe fn gather_into<V>(&self, offset: isize, stride: isize, block: &mut [V]) {
        assert!(size_of::<V>() == self.size, "a block of another type");
        // SAFETY:
        // - elements of the view are readable while it is used: promised by the caller, and by who made the view.
        // - there is room for them in the block, which is of their type.
        unsafe { (self.gather)(self.at(offset), stride, block.as_mut_ptr().cast(), block.len()) };
    }

    /// Whether elements at this stride, in bytes, can be read where they are.
    pub(super) fn reads_in_place(&self, stride: isize) -> bool {
        stride == self.in_place && stride != 0
    }

    /// The address `offset` bytes from the view's first element.
    pub(super) fn at(&self, offset: isize) -> *const u8 {
        self.base.wrapping_offset(offset)
    }
}

/// Elements that were gathered, as kernels see them, in memory of our own.
#[derive(Default)]
pub(super) struct Block {
    words: Vec<u64>,
}

impl Block {
    /// Makes room for `len` elements.
    pub(super) fn reserve(&mut self, source: &Source, len: usize) {
        self.words.resize((len * source.size).div_ceil(size_of::<u64>()), 0);
    }

    /// The address of the element at `index`.
    pub(super) fn at(&self, source: &Source, index: usize) -> *const u8 {
        self.words.as_ptr().cast::<u8>().wrapping_add(index * source.size)
    }

    /// Gathers `len` elements, `stride` bytes apart, the first one `offset` bytes from the view's first one. They come
    /// to stand from `index` on.
    ///
    /// # Safety
    /// - They are elements of the view.
    pub(super) unsafe fn gather(
        &mut self,
        source: &Source,
        index: usize,
        (offset, stride): (isize, isize),
        len: usize,
    ) {
        assert!(
            (index + len) * source.size <= self.words.len() * size_of::<u64>(),
            "a block that is too short"
        );
        let to = self.words.as_mut_ptr().cast::<u8>().wrapping_add(index * source.size);
        // SAFETY:
        // - elements of the view are readable while it is used: promised by the caller, and by who made the view.
        // - there is room for them, as just checked, in memory that is ours and aligned for any element.
        unsafe { (source.gather)(source.at(offset), stride, to, len) };
    }
}

/// # Safety
/// - `len` elements are readable from `at` on, `stride` bytes apart.
/// - `to` is aligned for `len` elements of `T::Work`, in memory that is initialised and that nobody else uses.
unsafe fn gather<T: Load, const SWAP: bool>(at: *const u8, stride: isize, to: *mut u8, len: usize) {
    // SAFETY:
    // - promised by the caller; any bytes are elements.
    let block = unsafe { std::slice::from_raw_parts_mut(to.cast::<T::Work>(), len) };
    dispatch(Gather::<T, SWAP> { at, stride, block });
}

/// What elements of any type can be read as.
pub(super) trait Value: Copy + Send + Sync + 'static {
    fn of(wide: Wide) -> Self;
}

impl Value for f64 {
    #[inline(always)]
    fn of(wide: Wide) -> Self {
        wide.float()
    }
}

impl Value for Wide {
    #[inline(always)]
    fn of(wide: Wide) -> Self {
        wide
    }
}

/// As [`gather`], to values.
///
/// # Safety
/// - As for [`gather`], for values of `V`.
unsafe fn gather_values<T: Load, V: Value, const SWAP: bool>(
    at: *const u8,
    stride: isize,
    to: *mut u8,
    len: usize,
) {
    // SAFETY:
    // - promised by the caller: initialised memory for as many values.
    let block = unsafe { std::slice::from_raw_parts_mut(to.cast::<V>(), len) };
    for (i, slot) in (0..).zip(block) {
        // SAFETY:
        // - the `i`-th of the elements that the caller promised to be readable.
        *slot = V::of(unsafe { load::<T>(at.wrapping_offset(i * stride), SWAP) }.widen());
    }
}

/// Bytes of a stride from which on the processor does not see what comes next: it looks no further than a page.
const FORESEEN: isize = 2048;
/// How many elements ahead are asked for then.
const AHEAD: isize = 16;

struct Gather<'a, T: Load, const SWAP: bool> {
    at: *const u8,
    stride: isize,
    block: &'a mut [T::Work],
}

impl<T: Load, const SWAP: bool> Kernel for Gather<'_, T, SWAP> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { at, stride, block } = self;
        let mut fill = |stride: isize, ahead: isize| {
            for (i, slot) in (0..).zip(block.iter_mut()) {
                if ahead > 0 {
                    prefetch(at.wrapping_offset((i + ahead).wrapping_mul(stride)), 1);
                }
                // SAFETY:
                // - the `i`-th of the elements that the caller of `gather`, the only maker of this, promised to be readable.
                *slot = unsafe { load::<T>(at.wrapping_offset(i * stride), SWAP) }.work();
            }
        };
        // The compiler sees a straight line in the one and cannot in the other.
        let size = size_of::<T>().cast_signed();
        if stride == size {
            fill(size, 0);
        } else if stride.abs() < FORESEEN {
            fill(stride, 0);
        } else {
            fill(stride, AHEAD);
        }
    }
}
