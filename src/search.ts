/**
 * What the operations of a mapped view with a second operand have in common: their options, what the operand may be, and
 * what native code finds as a number or a view. The work itself is native.
 *
 * Native work touches mappings only. A mapped operand is used where it is; one in the memory of JavaScript, whose owner
 * may move or change it, is copied first: a query, a vector or indices whole, because they are small or needed as one; what
 * `equals` and `allClose` compare with in parts of a few MiB.
 */
import { constructors, type DType, itemsizeOf, nativeLittleEndian, type TypedArray } from './dtype.js'
import {
  checkInteger,
  checkOptions,
  invalidArgType,
  invalidArgValue,
  MmapError,
  outOfRange,
} from './errors.js'
import { contiguousStride, type Layout, sizeOf } from './layout.js'
import type { NativeReduced, NativeSearchOptions } from './native.js'
import { NdView } from './nd-view.js'
import { checkWork, type SumDType, type SumOf, type WorkOptions } from './reductions.js'
import { type NdArrayLike, type NestedArray, resolveSource, toStrided } from './source.js'
import { type Data, dataViewStore } from './store.js'
import type { Strided } from './strided.js'

/** What all operations with a second operand take. */
export interface SearchOptions extends WorkOptions {
  /**
   * The most threads to use, of which four for each core count; all cores for large views and one for small ones when left
   * out.
   */
  threads?: number | undefined
}

/** Options of `take`. */
export interface TakeOptions extends SearchOptions {
  /** The axis that indices count along, negative from the end; default 0. */
  axis?: number | undefined
}

/** Options of `topk`. */
export interface TopKOptions extends SearchOptions {
  /**
   * What makes a row near to the query: the greatest product ('dot', the default), the greatest cosine of the angle
   * between them, or the least Euclidean distance ('l2').
   */
  metric?: 'dot' | 'cosine' | 'l2' | undefined
}

/** Options of `histogram`. */
export interface HistogramOptions extends SearchOptions {
  /** How many bins of equal width; default 10. */
  bins?: number | undefined
  /** Where the first bin begins and the last one ends; from the least to the greatest element when left out. */
  range?: readonly [low: number, high: number] | undefined
}

/** Options of `equals`. */
export interface EqualsOptions extends SearchOptions {
  /** NaN equals NaN; default false. */
  equalNaN?: boolean | undefined
}

/** Options of `allClose`. */
export interface AllCloseOptions extends EqualsOptions {
  /** What elements may differ by, relative to the other's magnitude; default 1e-5. */
  rtol?: number | undefined
  /** What elements may differ by in any case; default 1e-8. */
  atol?: number | undefined
}

/** Indices: one, or any array of integers. */
export type Indices = number | bigint | TypedArray | NdArrayLike | NestedArray<number | bigint>

/** A vector: numbers, which become elements of the view's dtype, or elements of that dtype. */
export type Vector = TypedArray | NdArrayLike | readonly (number | bigint | boolean)[]

/** Rows and their scores, the best first. */
export interface TopK {
  /** Indices of axis 0. */
  readonly indices: number[]
  /** What the metric says of each row. */
  readonly scores: number[]
}

/** How many elements there are between each two edges. */
export interface Histogram {
  /** Elements of each bin. */
  readonly counts: number[]
  /** One more than there are counts. */
  readonly edges: number[]
}

/** The product of a vector with a vector, or of a matrix with one. */
export type Dot<D extends DType> = SumOf<D, object> | NdView<SumDType<D>>

/** An operation whose arguments have been checked. */
export interface Search<T> {
  /** Elements that it goes through. */
  readonly total: number
  readonly native: NativeSearchOptions
  readonly work: WorkOptions
  /** What was given, and its elements as the operation wants them. */
  readonly operand: { readonly given: unknown; readonly at: Strided } | undefined
  /** What holds of a view if it holds of all of its parts can be asked of parts. */
  readonly inParts: boolean
  readonly finish: (results: readonly NativeReduced[]) => T
}

type View = Pick<NdView, 'dtype' | 'shape' | 'size'>

const WORK = ['threads', 'signal', 'onProgress']

function common(options: SearchOptions | undefined, names: readonly string[], name: string) {
  checkOptions(options, [...names, ...WORK], name)
  const { threads } = options ?? {}
  const native: NativeSearchOptions = {
    name,
    ...(threads !== undefined && { threads: checkInteger('threads', threads, 1) }),
  }
  return { native, work: checkWork(options ?? {}) }
}

/** Checks the arguments of `take`: all but whether indices are inside the axis. */
export function checkTake<D extends DType>(
  view: View & { readonly dtype: D },
  indices: unknown,
  options: TakeOptions | undefined,
): Search<NdView<D>> {
  const { native, work } = common(options, ['axis'], 'take')
  const { shape } = view
  const { axis = 0 } = options ?? {}
  if (shape.length === 0) throw invalidArgValue('shape', 'must have an axis to take from', shape)
  const along = checkInteger('axis', axis, -shape.length, shape.length - 1)
  const at = checkIndices(indices)
  const extent = shape.at(along) as number
  return {
    total: extent === 0 ? 0 : (view.size / extent) * sizeOf(at.shape),
    native: { ...native, axis: along },
    work,
    operand: { given: indices, at },
    inParts: false,
    finish: ([taken]) => viewOf(taken as NativeReduced),
  }
}

const INDICES = 'an integer, or an array of them'

function checkIndices(indices: unknown): Strided {
  const isValue = typeof indices === 'number' || typeof indices === 'bigint'
  if (!isValue && (typeof indices !== 'object' || indices === null)) {
    throw invalidArgType('indices', INDICES, indices)
  }
  const at = toStrided(indices)
  // Numbers of a plain array are looked at one by one; an array of floats is taken for a mistake, as in numpy.
  if (at.dtype === 'float64' && (isValue || Array.isArray(indices))) {
    for (const [n, index] of (at.data as Float64Array).entries()) checkInteger(`indices[${n}]`, index)
  } else if (at.dtype === 'bool' || at.dtype.includes('float')) {
    throw invalidArgType('indices', `${INDICES}; these are of dtype ${at.dtype}`, indices)
  }
  return at
}

/** Checks the arguments of `topk`. */
export function checkTopK(
  view: View,
  query: unknown,
  k: unknown,
  options: TopKOptions | undefined,
): Search<TopK> {
  const { native, work } = common(options, ['metric'], 'topk')
  const { dtype, shape } = view
  const { metric = 'dot' } = options ?? {}
  if (shape.length !== 2) {
    throw invalidArgValue('shape', 'must have the two axes of a matrix for topk', shape)
  }
  if (!dtype.includes('float')) {
    const message = `topk is for floats, and the dtype is ${dtype}; copy the matrix to float32 first`
    throw new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype })
  }
  if (metric !== 'dot' && metric !== 'cosine' && metric !== 'l2') {
    throw invalidArgValue('metric', `must be 'dot', 'cosine' or 'l2'`, metric)
  }
  const at = checkVector('query', view, query)
  const rows = shape[0] as number
  if (typeof k === 'number' && Number.isInteger(k) && (k < 1 || k > rows)) {
    throw outOfRange('k', `an integer from 1 to ${rows}, the number of rows`, k)
  }
  return {
    total: view.size,
    native: { ...native, k: checkInteger('k', k, 1), metric },
    work,
    operand: { given: query, at },
    inParts: false,
    finish: ([indices, scores]) => ({ indices: numbersOf(indices), scores: numbersOf(scores) }),
  }
}

/** Checks the arguments of `dot`. */
export function checkDot<D extends DType>(
  view: View & { readonly dtype: D },
  other: unknown,
  options: SearchOptions | undefined,
): Search<Dot<D>> {
  const { native, work } = common(options, [], 'dot')
  const { dtype, shape, size } = view
  if (shape.length === 0) throw invalidArgValue('shape', 'must have an axis for a product', shape)
  const at = checkVector('other', view, other)
  const finish = ([product]: readonly NativeReduced[]): unknown => {
    const { number, integer } = product as NativeReduced
    if (shape.length > 1) return viewOf(product as NativeReduced)
    return integer !== undefined && itemsizeOf(dtype) < 8 ? Number(integer) : (number ?? integer)
  }
  return {
    total: size,
    native,
    work,
    operand: { given: other, at },
    inParts: false,
    finish: finish as Search<Dot<D>>['finish'],
  }
}

function checkVector(name: string, { dtype, shape }: View, source: unknown): Strided {
  if (typeof source !== 'object' || source === null) {
    throw invalidArgType(name, 'a vector: an array of numbers, a typed array or a view', source)
  }
  const at = toStrided(source, dtype)
  if (at.dtype !== dtype) {
    const message = `${name} has dtype ${at.dtype}, the view ${dtype}; convert it first, or give plain numbers`
    throw new MmapError(message, { code: 'ERR_DTYPE_MISMATCH', expected: dtype, actual: at.dtype })
  }
  const extent = shape.at(-1) as number
  if (at.shape.length !== 1 || at.shape[0] !== extent) {
    throw invalidArgValue(
      name,
      `must be a vector of ${extent} elements, as many as the last axis has`,
      at.shape,
    )
  }
  return at
}

/** The most bins; each takes 16 bytes of the JavaScript heap in the result. */
const MAX_BINS = 2 ** 24

/** Checks the arguments of `histogram`. */
export function checkHistogram({ size }: View, options: HistogramOptions | undefined): Search<Histogram> {
  const { native, work } = common(options, ['bins', 'range'], 'histogram')
  const { bins = 10, range } = options ?? {}
  checkInteger('bins', bins, 1, 2 ** 31)
  if (bins > MAX_BINS) {
    const message = `${bins} bins are more than the arrays of a result should hold; take at most ${MAX_BINS}`
    throw new MmapError(message, { code: 'ERR_TOO_LARGE' })
  }
  return {
    // Once for the range, and once to count.
    total: range === undefined ? 2 * size : size,
    native: { ...native, bins, ...(range !== undefined && { range: checkRange(range) }) },
    work,
    operand: undefined,
    inParts: false,
    finish: ([counts, edges]) => ({ counts: numbersOf(counts), edges: numbersOf(edges) }),
  }
}

function checkRange(range: unknown): number[] {
  const ends = Array.isArray(range) ? Array.from(range as unknown[]) : []
  const [low, high] = ends
  if (ends.length !== 2 || typeof low !== 'number' || typeof high !== 'number') {
    throw invalidArgType('range', 'an array of two numbers', range)
  }
  if (!Number.isFinite(low) || !Number.isFinite(high)) throw outOfRange('range', 'two finite numbers', range)
  if (low > high) throw invalidArgValue('range', 'must have its lesser end first', range)
  return [low, high]
}

/** Checks the arguments of `equals`; says false at once where the shapes differ. */
export function checkEquals(
  view: View,
  other: unknown,
  options: EqualsOptions | undefined,
): Search<boolean> | false {
  const { native, work } = common(options, ['equalNaN'], 'equals')
  const { equalNaN = false } = options ?? {}
  if (typeof equalNaN !== 'boolean') throw invalidArgType('equalNaN', 'of type boolean', equalNaN)
  const at = toStrided(other)
  const { shape } = view
  if (at.shape.length !== shape.length || at.shape.some((extent, axis) => extent !== shape[axis]))
    return false
  return comparison(view, { given: other, at }, { ...native, equalNan: equalNaN }, work)
}

/** Checks the arguments of `allClose`. */
export function checkAllClose(
  view: View,
  other: unknown,
  options: AllCloseOptions | undefined,
): Search<boolean> {
  const { native, work } = common(options, ['rtol', 'atol', 'equalNaN'], 'allClose')
  const { rtol = 1e-5, atol = 1e-8, equalNaN = false } = options ?? {}
  if (typeof equalNaN !== 'boolean') throw invalidArgType('equalNaN', 'of type boolean', equalNaN)
  for (const [name, value] of Object.entries({ rtol, atol })) {
    if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value)
    if (!(value >= 0)) throw outOfRange(name, '>= 0', value)
  }
  // A number is what it is, not what the view's dtype would make of it.
  const own = toStrided(other).dtype
  const at = resolveSource(other, { dtype: own, shape: view.shape })
  return comparison(view, { given: other, at }, { ...native, rtol, atol, equalNan: equalNaN }, work)
}

function comparison(
  { size }: View,
  operand: Search<boolean>['operand'],
  native: NativeSearchOptions,
  work: WorkOptions,
): Search<boolean> {
  return { total: size, native, work, operand, inParts: true, finish: ([found]) => found?.truth === true }
}

/** A part of two layouts of one shape, of at most `most` elements; parts are in C order. */
export function* parts(a: Layout, b: Layout, most: number): Generator<[a: Layout, b: Layout]> {
  const size = sizeOf(a.shape)
  if (size <= most) {
    yield [a, b]
    return
  }
  const axis = a.shape.findIndex((extent) => extent > 1)
  const extent = a.shape[axis] as number
  const step = Math.max(1, Math.floor(most / (size / extent)))
  for (let from = 0; from < extent; from += step) {
    const cut = ({ shape, stride, offset }: Layout) => ({
      shape: shape.with(axis, Math.min(step, extent - from)),
      stride,
      offset: offset + from * (stride[axis] as number),
    })
    yield* parts(cut(a), cut(b), most)
  }
}

/** Elements that are packed in C order, as native code is told of them. */
export function packed({ dtype, shape }: Strided) {
  return { dtype, layout: { offset: 0, shape, stride: contiguousStride(shape) } }
}

/** A new array of native code as a view, over the same memory. */
function viewOf<D extends DType>({ dtype, shape, data }: NativeReduced): NdView<D> {
  const { buffer, byteOffset, length } = data as Uint8Array
  const known = dtype as D
  const count = length / itemsizeOf(known)
  const ctor = constructors[known]
  const elements = ctor
    ? new ctor(buffer, byteOffset, count)
    : dataViewStore(known, buffer, byteOffset, count, nativeLittleEndian)
  return new NdView<D>(elements as Data<D>, shape as number[], undefined, undefined, known)
}

function numbersOf(found: NativeReduced | undefined): number[] {
  const { buffer, byteOffset, length } = (found as NativeReduced).data as Uint8Array
  return Array.from(new Float64Array(buffer, byteOffset, length / 8))
}
