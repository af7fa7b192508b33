/**
 * The scijs dialect as arithmetic: `lo`, `hi`, `step`, `transpose` and `pick` of the npm package ndarray,
 * with the same results for every argument that makes sense there, and a RangeError where scijs would make a
 * shape that does not exist.
 *
 * Arguments go axis by axis from the first on; null, undefined and, but for `step` and `transpose`, any
 * negative number leave their axis as it is.
 */
import { checkInteger, outOfRange } from './errors.js'
import { Axes, copyOf, cut, type Layout, NO_AXIS } from './layout.js'

/** One argument per axis of a scijs method. */
export type AxisArguments = readonly (number | null | undefined)[]

/** What is left when the first `start[axis]` indices of each axis are cut off. */
export function lo(axes: Axes, start: AxisArguments): Axes {
  checkCount('start', start, axes.ndim)
  return loFrom(axes, start, 0)
}

function loFrom(axes: Axes, start: AxisArguments, axis: number): Axes {
  const count = start.length - axis
  const { rest } = axes
  const i = count > 0 ? Math.max(0, position('start', start[axis], axis, axes.n0)) : 0
  const j = count > 1 ? Math.max(0, position('start', start[axis + 1], axis + 1, axes.n1)) : 0
  const further = rest !== null && count > 2 ? loFrom(rest, start, axis + 2) : rest
  const offset = axes.offset + i * axes.s0 + j * axes.s1
  const moved = rest !== null && further !== null ? further.offset - rest.offset : 0
  return new Axes(axes.ndim, offset + moved, axes.n0 - i, axes.s0, axes.n1 - j, axes.s1, further)
}

/** The first `stop[axis]` indices of each axis. */
export function hi(axes: Axes, stop: AxisArguments): Axes {
  checkCount('stop', stop, axes.ndim)
  return hiFrom(axes, stop, 0)
}

function hiFrom(axes: Axes, stop: AxisArguments, axis: number): Axes {
  const count = stop.length - axis
  const { n0, n1, rest } = axes
  const i = count > 0 ? position('stop', stop[axis], axis, n0) : -1
  const j = count > 1 ? position('stop', stop[axis + 1], axis + 1, n1) : -1
  const further = rest !== null && count > 2 ? hiFrom(rest, stop, axis + 2) : rest
  return new Axes(axes.ndim, axes.offset, i < 0 ? n0 : i, axes.s0, j < 0 ? n1 : j, axes.s1, further)
}

/** `lo` for two arguments that are checked: integers inside their axes. */
export function lo2(axes: Axes, i: number, j: number): Axes {
  const { s0, s1 } = axes
  return new Axes(axes.ndim, axes.offset + i * s0 + j * s1, axes.n0 - i, s0, axes.n1 - j, s1, axes.rest)
}

/** `hi` for two arguments that are checked: integers inside their axes. */
export function hi2(axes: Axes, i: number, j: number): Axes {
  return new Axes(axes.ndim, axes.offset, i + 0, axes.s0, j + 0, axes.s1, axes.rest)
}

/** Every `steps[axis]`-th index of each axis; a negative step goes backwards from the last. */
export function step(view: Layout, steps: AxisArguments): Layout {
  checkCount('steps', steps, view.shape.length)
  const shape = copyOf(view.shape)
  const stride = copyOf(view.stride)
  let offset = view.offset
  for (let axis = 0; axis < steps.length; axis++) {
    const by = steps[axis]
    if (by === null || by === undefined) continue
    if (!Number.isSafeInteger(by) || by === 0) {
      const name = `steps[${axis}]`
      throw outOfRange(name, 'an integer other than 0', checkInteger(name, by))
    }
    const extent = shape[axis] as number
    const before = stride[axis] as number
    const stepped = before * by + 0
    if (!Number.isSafeInteger(stepped)) {
      throw outOfRange(`steps[${axis}]`, 'such that the stride is exact', by)
    }
    if (by < 0) offset += before * (extent - 1)
    shape[axis] = Math.ceil(extent / Math.abs(by))
    stride[axis] = stepped
  }
  return { shape, stride, offset }
}

/** Axis `axes[n]` as axis n; an axis that is left out keeps its place. */
export function transpose(view: Layout, axes: readonly (number | undefined)[]): Layout {
  checkCount('axes', axes, view.shape.length)
  const count = view.shape.length
  const order = copyOf(view.shape)
  const shape = copyOf(view.shape)
  const stride = copyOf(view.stride)
  for (let n = 0; n < count; n++) {
    const given = n < axes.length ? axes[n] : undefined
    const axis = given === undefined ? n : given
    if (!Number.isInteger(axis) || axis < 0 || axis >= count) checkInteger(`axes[${n}]`, axis, 0, count - 1)
    order[n] = axis
    shape[n] = view.shape[axis] as number
    stride[n] = view.stride[axis] as number
    for (let m = 0; m < n; m++) {
      if (order[m] === axis) throw outOfRange('axes', 'a list of different axes', axes)
    }
  }
  return { shape, stride, offset: view.offset }
}

/** What lies at `index[axis]` of each axis; the axis disappears. */
export function pick(view: Layout, index: AxisArguments): Layout {
  checkCount('index', index, view.shape.length)
  const shape = copyOf(view.shape)
  const stride = copyOf(view.stride)
  let offset = view.offset
  let kept = 0
  for (let axis = 0; axis < view.shape.length; axis++) {
    const extent = shape[axis] as number
    const by = stride[axis] as number
    const at = axis < index.length ? position('index', index[axis], axis, extent - 1) : -1
    if (at < 0) {
      shape[kept] = extent
      stride[kept++] = by
    } else {
      offset += by * at
    }
  }
  return { shape: cut(shape, kept), stride: cut(stride, kept), offset }
}

/** `pick` for one argument that is checked: an index of axis 0. */
export function pick1(axes: Axes, i: number): Axes {
  const { rest } = axes
  const offset = axes.offset + i * axes.s0
  if (rest === null) return new Axes(axes.ndim - 1, offset, axes.n1, axes.s1, NO_AXIS, 0, null)
  return new Axes(
    axes.ndim - 1,
    offset,
    axes.n1,
    axes.s1,
    rest.n0,
    rest.s0,
    rest.ndim > 1 ? pick1(rest, 0) : null,
  )
}

// What follows is small, and what throws stands apart: V8 makes a view in one piece only when all of it is
// inlined, and counts the length of code that never runs.

function checkCount(name: string, given: readonly unknown[], ndim: number): void {
  if (given.length > ndim) throw tooMany(name, given, ndim)
}

function tooMany(name: string, given: readonly unknown[], ndim: number): RangeError {
  return outOfRange(`${name}.length`, `at most ${ndim}, the number of axes`, given.length)
}

/** The argument of one axis, checked; -1 where it leaves the axis as it is. */
function position(name: string, value: unknown, axis: number, max: number): number {
  const at = value as number
  return Number.isSafeInteger(at) && at >= 0 && at <= max ? at + 0 : otherPosition(name, value, axis, max)
}

function otherPosition(name: string, value: unknown, axis: number, max: number): number {
  if (value === null || value === undefined) return -1
  return Math.max(-1, checkInteger(`${name}[${axis}]`, value, Number.MIN_SAFE_INTEGER, max))
}
