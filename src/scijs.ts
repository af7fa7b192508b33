/**
 * The scijs dialect as arithmetic: `lo`, `hi`, `step`, `transpose` and `pick` of the npm package ndarray,
 * with the same results for every argument that makes sense there, and a RangeError where scijs would make a
 * shape that does not exist.
 *
 * Arguments go axis by axis from the first on; null, undefined and, but for `step` and `transpose`, any
 * negative number leave their axis as it is.
 */
import { checkInteger, outOfRange } from './errors.js'
import type { Layout } from './layout.js'

/** One argument per axis of a scijs method. */
export type AxisArguments = readonly (number | null | undefined)[]

/** What is left when the first `start[axis]` indices of each axis are cut off. */
export function lo(view: Layout, start: AxisArguments): Layout {
  checkCount('start', start, view)
  const shape = [...view.shape]
  let offset = view.offset
  for (let axis = 0; axis < start.length; axis++) {
    const extent = shape[axis] as number
    const cut = optional('start', start[axis], axis, extent)
    if (cut === undefined) continue
    shape[axis] = extent - cut
    offset += (view.stride[axis] as number) * cut
  }
  return { shape, stride: [...view.stride], offset }
}

/** The first `stop[axis]` indices of each axis. */
export function hi(view: Layout, stop: AxisArguments): Layout {
  checkCount('stop', stop, view)
  const shape = [...view.shape]
  for (let axis = 0; axis < stop.length; axis++) {
    shape[axis] = optional('stop', stop[axis], axis, shape[axis] as number) ?? (shape[axis] as number)
  }
  return { shape, stride: [...view.stride], offset: view.offset }
}

/** Every `steps[axis]`-th index of each axis; a negative step goes backwards from the last. */
export function step(view: Layout, steps: AxisArguments): Layout {
  checkCount('steps', steps, view)
  const shape = [...view.shape]
  const stride = [...view.stride]
  let offset = view.offset
  for (let axis = 0; axis < steps.length; axis++) {
    const given = steps[axis]
    if (given === null || given === undefined) continue
    const by = checkInteger(`steps[${axis}]`, given)
    if (by === 0) throw outOfRange(`steps[${axis}]`, 'an integer other than 0', 0)
    const extent = shape[axis] as number
    const stepped = (stride[axis] as number) * by + 0
    if (!Number.isSafeInteger(stepped))
      throw outOfRange(`steps[${axis}]`, 'such that the stride is exact', by)
    if (by < 0) offset += (stride[axis] as number) * (extent - 1)
    shape[axis] = Math.ceil(extent / Math.abs(by))
    stride[axis] = stepped
  }
  return { shape, stride, offset }
}

/** Axis `axes[n]` as axis n; an axis that is left out keeps its place. */
export function transpose(view: Layout, axes: readonly (number | undefined)[]): Layout {
  checkCount('axes', axes, view)
  const last = view.shape.length - 1
  const order = view.shape.map((_, axis) => {
    return axes[axis] === undefined ? axis : checkInteger(`axes[${axis}]`, axes[axis], 0, last)
  })
  if (new Set(order).size !== order.length) throw outOfRange('axes', 'a list of different axes', order)
  const shape = order.map((axis) => view.shape[axis] as number)
  const stride = order.map((axis) => view.stride[axis] as number)
  return { shape, stride, offset: view.offset }
}

/** What lies at `index[axis]` of each axis; the axis disappears. */
export function pick(view: Layout, index: AxisArguments): Layout {
  checkCount('index', index, view)
  const shape: number[] = []
  const stride: number[] = []
  let offset = view.offset
  for (let axis = 0; axis < view.shape.length; axis++) {
    const extent = view.shape[axis] as number
    const at = optional('index', index[axis], axis, extent - 1)
    if (at === undefined) {
      shape.push(extent)
      stride.push(view.stride[axis] as number)
    } else {
      offset += (view.stride[axis] as number) * at
    }
  }
  return { shape, stride, offset }
}

function checkCount(name: string, given: readonly unknown[], view: Layout): void {
  if (given.length <= view.shape.length) return
  throw outOfRange(`${name}.length`, `at most ${view.shape.length}, the number of axes`, given.length)
}

function optional(name: string, value: unknown, axis: number, max: number): number | undefined {
  if (value === null || value === undefined) return undefined
  const index = checkInteger(`${name}[${axis}]`, value, Number.MIN_SAFE_INTEGER, max)
  return index < 0 ? undefined : index
}
