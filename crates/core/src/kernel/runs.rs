//! Any strided layout as straight lines.
//!
//! The walk visits the elements of `K` operands of one shape together. Axes are put into the order of the first
//! operand's memory, and neighbouring axes that form one straight line in every operand are joined, so that a
//! contiguous array of any rank is a single run.

use std::ops::Range;

/// One axis: elements along it, and the distance between neighbours in each operand.
pub(super) type Axis<const K: usize> = (usize, [isize; K]);

/// Calls `visit` with the byte offsets where a run starts in each operand, its number of elements, and the bytes
/// between neighbours in each operand.
///
/// Offsets are relative to each operand's first element. Runs come in ascending address order of the first operand
/// where its strides are not negative. `visit` is called through a pointer, once a run: the walk is compiled once and
/// not once for each of the hundred pairs of dtypes.
pub(super) fn for_each_run<const K: usize>(
    shape: &[usize],
    strides: [&[isize]; K],
    visit: &mut dyn FnMut([isize; K], usize, [isize; K]),
) {
    if shape.contains(&0) {
        return;
    }
    let lines = Lines::new(shape, strides);
    lines.visit(0..lines.len(), &mut |offsets, n, strides| {
        visit(offsets, n, strides);
        true
    });
}

/// Elements as straight lines, in the order of the first operand's memory; any part of them can be walked by itself.
pub(super) struct Lines<const K: usize> {
    outer: Vec<Axis<K>>,
    inner: Axis<K>,
}

impl<const K: usize> Lines<K> {
    /// The lines of operands of one shape, which has no axis of length 0.
    pub(super) fn new(shape: &[usize], strides: [&[isize]; K]) -> Self {
        let mut outer = join(order(shape, strides));
        // No axis at all is a single element.
        let inner = outer.pop().unwrap_or((1, [0; K]));
        Self { outer, inner }
    }

    /// The number of elements.
    pub(super) fn len(&self) -> usize {
        self.lines() * self.inner.0
    }

    /// The number of lines.
    pub(super) fn lines(&self) -> usize {
        self.outer.iter().map(|axis| axis.0).product()
    }

    /// The axis that each line lies along.
    pub(super) fn inner(&self) -> Axis<K> {
        self.inner
    }

    /// Where a line starts in each operand.
    pub(super) fn start(&self, line: usize) -> [isize; K] {
        let (mut rest, mut offsets) = (line, [0; K]);
        for &(n, outer) in self.outer.iter().rev() {
            shift(&mut offsets, outer, (rest % n).cast_signed());
            rest /= n;
        }
        offsets
    }

    /// Calls `visit` for each run of the elements `range`, counted in the order of the walk, until it answers `false`;
    /// says whether it never did.
    pub(super) fn visit(
        &self,
        range: Range<usize>,
        visit: &mut dyn FnMut([isize; K], usize, [isize; K]) -> bool,
    ) -> bool {
        if range.is_empty() {
            return true;
        }
        let (n, inner) = self.inner;
        let (line, mut from) = (range.start / n, range.start % n);
        let mut left = range.len();
        let mut offsets = self.start(line);
        let mut rest = line;
        let mut index = vec![0_usize; self.outer.len()];
        for (i, &(n, _)) in index.iter_mut().zip(&self.outer).rev() {
            *i = rest % n;
            rest /= n;
        }
        loop {
            let run = left.min(n - from);
            let mut start = offsets;
            shift(&mut start, inner, from.cast_signed());
            if !visit(start, run, inner) {
                return false;
            }
            left -= run;
            from = 0;
            if left == 0 {
                return true;
            }
            // Count up the outer axes like an odometer, the last one first.
            for (i, &(n, outer)) in index.iter_mut().zip(&self.outer).rev() {
                let carry = *i + 1 == n;
                shift(&mut offsets, outer, if carry { -(i.cast_signed()) } else { 1 });
                *i = if carry { 0 } else { *i + 1 };
                if !carry {
                    break;
                }
            }
        }
    }
}

fn shift<const K: usize>(offsets: &mut [isize; K], strides: [isize; K], steps: isize) {
    for (offset, stride) in offsets.iter_mut().zip(strides) {
        *offset += stride * steps;
    }
}

/// The axes of more than one element, the first operand's widest stride first.
fn order<const K: usize>(shape: &[usize], strides: [&[isize]; K]) -> Vec<Axis<K>> {
    let of_axis = |axis: usize| strides.map(|strides| strides.get(axis).copied().unwrap_or_default());
    let mut axes: Vec<Axis<K>> =
        shape.iter().enumerate().filter(|&(_, &n)| n > 1).map(|(axis, &n)| (n, of_axis(axis))).collect();
    axes.sort_by_key(|&(_, strides)| {
        std::cmp::Reverse(strides.first().map_or(0, |stride| stride.unsigned_abs()))
    });
    axes
}

/// Joins neighbours that form one line in every operand.
fn join<const K: usize>(axes: Vec<Axis<K>>) -> Vec<Axis<K>> {
    let mut joined: Vec<Axis<K>> = Vec::with_capacity(axes.len());
    for (n, inner) in axes {
        match joined.last_mut() {
            Some((outer_n, outer))
                if outer.iter().zip(&inner).all(|(&outer, &inner)| {
                    isize::try_from(n).ok().and_then(|n| inner.checked_mul(n)) == Some(outer)
                }) =>
            {
                *outer_n *= n;
                *outer = inner;
            }
            _ => joined.push((n, inner)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::for_each_run;

    fn visited(shape: &[usize], strides: [&[isize]; 2]) -> (usize, Vec<[isize; 2]>) {
        let (mut runs, mut seen) = (0, Vec::new());
        for_each_run(shape, strides, &mut |[a, b], n, [step_a, step_b]| {
            runs += 1;
            seen.extend((0..n.cast_signed()).map(|i| [a + i * step_a, b + i * step_b]));
        });
        (runs, seen)
    }

    /// name, shape, strides of both operands, runs expected
    type Case = (&'static str, &'static [usize], [&'static [isize]; 2], usize);

    #[test]
    fn visits_every_element_once_in_few_runs() {
        let cases: &[Case] = &[
            ("no axis", &[], [&[], &[]], 1),
            ("one line", &[5], [&[4], &[4]], 1),
            ("contiguous 3-d is one run", &[2, 3, 4], [&[48, 16, 4], &[96, 32, 8]], 1),
            ("one operand has gaps", &[2, 3], [&[12, 4], &[16, 4]], 2),
            ("Fortran order is one run", &[2, 3], [&[4, 8], &[4, 8]], 1),
            ("transposed source", &[2, 3], [&[12, 4], &[4, 8]], 2),
            ("reversed", &[4], [&[-4], &[4]], 1),
            ("broadcast source", &[3, 2], [&[8, 4], &[0, 4]], 3),
            ("axes of one element", &[1, 4, 1], [&[999, 4, -7], &[0, 4, 0]], 1),
            ("nothing", &[3, 0, 2], [&[0, 8, 4], &[0, 8, 4]], 0),
        ];
        for &(name, shape, strides, runs) in cases {
            let (found, mut seen) = visited(shape, strides);
            assert_eq!(found, runs, "{name}");
            let mut expected = vec![[0, 0]];
            if shape.contains(&0) {
                expected.clear();
            }
            for (axis, &n) in shape.iter().enumerate() {
                expected = expected
                    .iter()
                    .flat_map(|&[a, b]| {
                        (0..n.cast_signed())
                            .map(move |i| [a + i * strides[0][axis], b + i * strides[1][axis]])
                    })
                    .collect();
            }
            seen.sort_unstable();
            expected.sort_unstable();
            assert_eq!(seen, expected, "{name}");
        }
    }
}
