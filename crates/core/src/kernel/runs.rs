//! Any strided layout as straight lines.
//!
//! The walk visits the elements of `K` operands of one shape together. Axes are put into the order of the first
//! operand's memory, and neighbouring axes that form one straight line in every operand are joined, so that a
//! contiguous array of any rank is a single run.

/// One axis: elements along it, and the bytes between neighbours in each operand.
type Axis<const K: usize> = (usize, [isize; K]);

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
    let mut axes = join(order(shape, strides));
    // The last axis is walked by `visit` itself; no axis at all is a single element.
    let (run, inner) = axes.pop().unwrap_or((1, [0; K]));
    let mut index = vec![0_usize; axes.len()];
    let mut offsets = [0_isize; K];
    loop {
        visit(offsets, run, inner);
        // Count up the outer axes like an odometer, the last one first.
        let carried = index.iter_mut().zip(&axes).rev().all(|(i, &(n, outer))| {
            let carry = *i + 1 == n;
            shift(&mut offsets, outer, if carry { -(i.cast_signed()) } else { 1 });
            *i = if carry { 0 } else { *i + 1 };
            carry
        });
        if carried {
            return;
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
