/**
 * Arithmetic on layouts: where the elements of an n-dimensional view lie in flat data. No data here.
 *
 * Every quantity counts elements and stays an exact integer up to 2^53; nothing is cut to 32 bits.
 *
 * A layout is told by its arrays, `Layout`, and held by a view as `Axes`, which is made for V8: see there.
 */
import { checkInteger, invalidArgType, invalidArgValue, outOfRange } from './errors.js'

/** Element `[i, j, ...]` lies at `offset + i * stride[0] + j * stride[1] + ...`, in elements. */
export interface Layout {
  readonly shape: number[]
  readonly stride: number[]
  readonly offset: number
}

/**
 * The layout that a view holds: two axes in plain fields, the axes behind them in another `Axes`, and arrays
 * only once somebody asks for them.
 *
 * In `view.lo(i, j).hi(1, 1)` nobody does. V8 then sees that nothing is left of the view in the middle and
 * never makes it, and the whole chain costs two small objects. For that everything on the way has to be
 * inlined, of which V8 does only so much: the length of `lo`, `hi` and all that they call is near that limit.
 */
export class Axes implements Layout {
  // Fields are only declared: V8 keeps a number in a slower form when the field began as undefined.

  /** Number of axes, those in `rest` included. */
  declare readonly ndim: number
  declare readonly offset: number
  /** Length of axis 0; `NO_AXIS` where there is none. */
  declare readonly n0: number
  /** Stride of axis 0; 0 where there is none. */
  declare readonly s0: number
  declare readonly n1: number
  declare readonly s1: number
  /** The axes from the third on; its offset says nothing about this layout. */
  declare readonly rest: Axes | null
  private declare extents: number[] | null
  private declare steps: number[] | null

  constructor(
    ndim: number,
    offset: number,
    n0: number,
    s0: number,
    n1: number,
    s1: number,
    rest: Axes | null,
  ) {
    this.ndim = ndim
    this.offset = offset
    this.n0 = n0
    this.s0 = s0
    this.n1 = n1
    this.s1 = s1
    this.rest = rest
    this.extents = null
    this.steps = null
  }

  /** The same layout, whose arrays it takes over. */
  static of({ shape, stride, offset }: Layout): Axes {
    const axes = Axes.from(shape, stride, offset, 0)
    axes.extents = shape
    axes.steps = stride
    return axes
  }

  /** The axes from `axis` on. */
  private static from(shape: number[], stride: number[], offset: number, axis: number): Axes {
    const next = axis + 1
    const ndim = shape.length - axis
    if (ndim <= 0) return new Axes(0, offset, NO_AXIS, 0, NO_AXIS, 0, null)
    const n0 = shape[axis] as number
    const s0 = stride[axis] as number
    if (ndim === 1) return new Axes(1, offset, n0, s0, NO_AXIS, 0, null)
    const rest = ndim === 2 ? null : Axes.from(shape, stride, 0, axis + 2)
    return new Axes(ndim, offset, n0, s0, shape[next] as number, stride[next] as number, rest)
  }

  /** Length of each axis: the same array each time. */
  get shape(): number[] {
    this.extents ??= this.list(this.n0, this.n1, this.rest?.shape)
    return this.extents
  }

  /** Distance between neighbours on each axis: the same array each time. */
  get stride(): number[] {
    this.steps ??= this.list(this.s0, this.s1, this.rest?.stride)
    return this.steps
  }

  private list(first: number, second: number, rest: number[] | undefined): number[] {
    if (rest) return [first, second, ...rest]
    return this.ndim === 2 ? [first, second] : this.ndim === 1 ? [first] : []
  }
}

/** The length of an axis that is not there: no index is below it, and no end either. */
export const NO_AXIS = -1

/**
 * True for an integer from 0 to `max`, where both have 32 bits; others are for code that may be slow. Shorter than
 * `isIndex`, because of the limit that `Axes` speaks of.
 */
export function isInside(value: unknown, max: number): value is number {
  return typeof value === 'number' && value >>> 0 === value && value <= max
}

/** C: the last index runs fastest; F: the first. */
export type Order = 'C' | 'F'

/** The most axes a view can have, as in numpy. */
export const MAX_NDIM = 64

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1
  for (const extent of shape) size *= extent
  return size
}

/**
 * Strides, in elements, of contiguous elements in C or F order. As in scijs, an axis over an empty one has
 * stride 0.
 */
export function contiguousStride(shape: readonly number[], order: Order = 'C'): number[] {
  const stride = new Array<number>(shape.length)
  let step = 1
  for (let n = 0; n < shape.length; n++) {
    const axis = order === 'C' ? shape.length - 1 - n : n
    stride[axis] = step
    step *= shape[axis] as number
  }
  return stride
}

/** A copy of one number per axis. Up to three are copied as a literal, which is twice as fast as `slice`. */
export function copyOf(list: readonly number[]): number[] {
  switch (list.length) {
    case 1:
      return [list[0] as number]
    case 2:
      return [list[0] as number, list[1] as number]
    case 3:
      return [list[0] as number, list[1] as number, list[2] as number]
    default:
      return list.slice()
  }
}

/** The list with its first `count` numbers only. */
export function cut(list: number[], count: number): number[] {
  while (list.length > count) list.pop()
  return list
}

/**
 * True when the elements lie one after the other in that order; axes of length 1 and empty views never
 * disturb it.
 */
export function isContiguous({ shape, stride }: Layout, order: Order): boolean {
  const last = shape.length - 1
  let step = 1
  let contiguous = true
  for (let n = 0; n <= last; n++) {
    const axis = order === 'C' ? last - n : n
    const extent = shape[axis] as number
    if (extent === 0) return true
    if (extent !== 1 && stride[axis] !== step) contiguous = false
    step *= extent
  }
  return contiguous
}

/** The lowest and the highest index that a layout with at least one element reaches. */
export function reach({ shape, stride, offset }: Layout): [low: number, high: number] {
  let low = offset
  let high = offset
  for (let axis = 0; axis < shape.length; axis++) {
    const span = ((shape[axis] as number) - 1) * (stride[axis] as number)
    if (span < 0) low += span
    else high += span
  }
  return [low, high]
}

/**
 * The axes from the smallest stride to the largest, exactly as scijs lists them.
 *
 * Equal strides keep the order of their axes, but for one case of three axes where scijs puts axis 2 before
 * axis 1.
 */
export function axisOrder(stride: readonly number[]): number[] {
  const steps = stride.map(Math.abs)
  const [a, b, c] = steps as [number, number, number]
  if (steps.length === 3 && a <= c && b === c) return [0, 2, 1]
  return steps.map((_, axis) => axis).sort((p, q) => (steps[p] as number) - (steps[q] as number))
}

/**
 * A copy of `shape` as a plain array, checked.
 *
 * Throws ERR_INVALID_ARG_TYPE when it is no list of numbers, ERR_OUT_OF_RANGE for a length that is negative
 * or no integer, for more than 64 axes, and when the nonzero lengths multiply to more than 2^53 - 1.
 */
export function checkShape(shape: unknown, name = 'shape'): number[] {
  const extents = checkIntegers(shape, name, 0)
  if (!Number.isSafeInteger(sizeOf(extents.filter((extent) => extent !== 0)))) {
    throw outOfRange(name, 'a shape of at most 2^53 - 1 elements', extents)
  }
  return extents
}

/** A copy of a list of integers as a plain array, checked as `checkShape` does, negative ones allowed. */
export function checkIntegers(list: unknown, name: string, min?: number): number[] {
  if (!Array.isArray(list) && !(ArrayBuffer.isView(list) && 'length' in list)) {
    throw invalidArgType(name, 'an array of integers', list)
  }
  const length = checkInteger(`${name}.length`, (list as ArrayLike<unknown>).length, 0)
  if (length > MAX_NDIM) throw outOfRange(`${name}.length`, `<= ${MAX_NDIM}`, length)
  // By index: the iterator of a detached typed array throws, and one of the caller's own could go on for ever.
  const numbers = new Array<number>(length)
  for (let n = 0; n < length; n++) {
    numbers[n] = checkInteger(`${name}[${n}]`, (list as ArrayLike<unknown>)[n], min)
  }
  return numbers
}

/**
 * The layout of a view over `length` elements of data, checked, with what is missing filled in as scijs does:
 * one axis over all of the data, C order, and the offset that makes negative strides start at the end.
 *
 * Throws as `checkShape` does, ERR_INVALID_ARG_VALUE when stride and shape differ in length, and
 * ERR_OUT_OF_RANGE when an element would lie outside the data. A view without elements reaches nothing, so
 * its offset may be any integer.
 */
export function checkLayout(length: number, shape?: unknown, stride?: unknown, offset?: unknown): Layout {
  const extents = shape === undefined ? [length] : checkShape(shape)
  const steps = stride === undefined ? contiguousStride(extents) : checkIntegers(stride, 'stride')
  if (steps.length !== extents.length) {
    const reason = `must have one stride for each of the ${extents.length} axes of shape`
    throw invalidArgValue('stride', reason, steps)
  }
  const start = offset === undefined ? offsetOf(extents, steps) : checkInteger('offset', offset)
  const layout = { shape: extents, stride: steps, offset: start }
  if (sizeOf(extents) > 0) {
    const [low, high] = reach(layout)
    if (low < 0 || high >= length) {
      const range = `a layout inside data of ${length} elements; this one reaches from ${low} to ${high}`
      throw outOfRange('shape, stride, offset', range, extents)
    }
  }
  return layout
}

function offsetOf(shape: readonly number[], stride: readonly number[]): number {
  let offset = 0
  for (const [axis, step] of stride.entries()) {
    if (step < 0) offset -= ((shape[axis] as number) - 1) * step
  }
  return offset
}

/**
 * The fewest axes that walk the same elements in the same C order for every one of `strides`: axes of length
 * 1 are dropped and neighbours that continue one another are joined. There is at least one axis.
 */
export function coalesce(
  shape: readonly number[],
  ...strides: readonly (readonly number[])[]
): { shape: number[]; strides: number[][] } {
  const joined: number[] = []
  const steps: number[][] = strides.map(() => [])
  for (const [axis, extent] of shape.entries()) {
    if (extent === 1) continue
    const last = joined.length - 1
    const continues = steps.every((step, n) => step[last] === (strides[n]?.[axis] as number) * extent)
    if (last >= 0 && continues) joined[last] = (joined[last] as number) * extent
    else joined.push(extent)
    for (const [n, step] of steps.entries()) step[joined.length - 1] = strides[n]?.[axis] as number
  }
  if (joined.length === 0) return { shape: [1], strides: strides.map(() => [1]) }
  return { shape: joined, strides: steps }
}

/**
 * `shape` checked for a reshape of `size` elements, with one -1 replaced by the length that fits.
 *
 * Throws ERR_INVALID_ARG_VALUE when the sizes differ, else as `checkShape` does.
 */
export function checkReshape(shape: unknown, size: number): number[] {
  const extents = checkIntegers(shape, 'shape', -1)
  const free = extents.indexOf(-1)
  if (free >= 0) {
    const rest = sizeOf(extents.with(free, 1))
    extents[free] = rest === 0 ? -1 : size / rest
    if (extents.includes(-1) || !Number.isInteger(extents[free])) {
      throw invalidArgValue('shape', `must have one -1 at most and fit ${size} elements`, shape)
    }
  }
  if (sizeOf(checkShape(extents)) !== size)
    throw invalidArgValue('shape', `must have ${size} elements`, shape)
  return extents
}

/**
 * The layout of another shape of as many elements, in C order, or undefined where only a copy could have it.
 */
export function reshapeLayout(layout: Layout, shape: number[]): Layout | undefined {
  const { offset } = layout
  if (sizeOf(shape) === 0) return { shape, stride: contiguousStride(shape), offset }
  // Each run of joined axes is cut up from its fast end; a new axis across two runs has no single stride.
  const runs = coalesce(layout.shape, layout.stride)
  const stride = new Array<number>(shape.length)
  let run = runs.shape.length - 1
  let left = runs.shape[run] as number
  let step = runs.strides[0]?.[run] as number
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const extent = shape[axis] as number
    if (left === 1 && extent !== 1) {
      run--
      left = runs.shape[run] as number
      step = runs.strides[0]?.[run] as number
    }
    if (left % extent !== 0) return undefined
    stride[axis] = step
    step *= extent
    left /= extent
  }
  return { shape, stride, offset }
}

/**
 * The layout repeated to `shape` by strides of 0, by numpy's rule, or undefined where the shapes do not fit.
 */
export function broadcastLayout(layout: Layout, shape: number[]): Layout | undefined {
  const missing = shape.length - layout.shape.length
  if (missing < 0) return undefined
  const stride = new Array<number>(shape.length).fill(0)
  for (const [axis, extent] of layout.shape.entries()) {
    if (extent === shape[axis + missing]) stride[axis + missing] = layout.stride[axis] as number
    else if (extent !== 1) return undefined
  }
  return { shape, stride, offset: layout.offset }
}
