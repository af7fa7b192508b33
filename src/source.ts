/**
 * What can be given where elements are wanted (`create`, `assign`, `append`), brought to one form: elements
 * where they lie. Views, typed arrays and foreign ndarrays are taken in place; only scalars and nested arrays
 * are copied.
 */
import { checkValue, type DType, dtypeOf, parseDType, type TypedArray, type ValueOf } from './dtype.js'
import { checkSpelling, invalidArgType, invalidArgValue } from './errors.js'
import { broadcastLayout, checkLayout, checkShape, contiguousStride, MAX_NDIM, sizeOf } from './layout.js'
import { allocate, checkData, put } from './store.js'
import { assign, type Strided } from './strided.js'

/**
 * Anything with the fields of an ndarray: a view, a scijs ndarray, a stdlib one (`strides`), a plain object.
 */
export interface NdArrayLike {
  /** The elements. */
  readonly data: TypedArray | Uint8ClampedArray | readonly (number | bigint | boolean)[] | StoreLike
  /** Length of each axis, in elements; one axis of all elements when left out. */
  readonly shape?: ArrayLike<number>
  /** Distance between neighbours on each axis, in elements; C order when left out. */
  readonly stride?: ArrayLike<number>
  /** The same as `stride`. */
  readonly strides?: ArrayLike<number>
  /** Index in `data` of the first element. */
  readonly offset?: number
  /** The dtype, where the data does not tell it, or a name of scijs. */
  readonly dtype?: string
}

interface StoreLike {
  readonly length: number
  get(index: number): unknown
  set(index: number, value: never): unknown
}

/** Arrays within arrays; the rows at the inner end may be typed arrays. */
export type NestedArray<T> = readonly (T | TypedArray | NestedArray<T>)[]

/**
 * What `assign` takes: one value for all elements, or elements in any form, repeated to the shape of the
 * target.
 */
export type Source<D extends DType = DType> =
  | ValueOf<D>
  | TypedArray
  | Uint8ClampedArray
  | NdArrayLike
  | NestedArray<ValueOf<D>>

/**
 * The elements of `source` in its own shape, in place where they lie in memory already.
 *
 * `dtype` is what the values of a nested array, of a scalar or of a store without a dtype are taken for;
 * without it numbers are 'float64', bigints 'int64' and booleans 'bool'. Throws ERR_INVALID_ARG_TYPE for what
 * is no source and for values of the wrong type, ERR_INVALID_ARG_VALUE for nested arrays of unequal length,
 * and for an ndarray-like whatever its layout deserves.
 */
export function toStrided(source: unknown, dtype?: DType): Strided {
  if (Array.isArray(source)) return fromNested(source, dtype)
  if (ArrayBuffer.isView(source)) return over(source, undefined, {})
  if (typeof source === 'object' && source !== null && 'data' in source) {
    return fromNdArray(source as NdArrayLike, dtype)
  }
  if (typeof source === 'object' && source !== null) checkSpelling(source, FIELDS, 'source')
  if (typeof source !== 'number' && typeof source !== 'bigint' && typeof source !== 'boolean') {
    throw invalidArgType('source', 'a number, bigint, boolean, typed array, ndarray or nested array', source)
  }
  const known = dtype ?? dtypeOfValue(source)
  const data = allocate(known, 1)
  put(data, 0, checkValue(known, source))
  return { data, dtype: known, shape: [], stride: [], offset: 0 }
}

/**
 * The elements of `source` repeated to the shape of a target with that dtype and shape, by numpy's rule.
 *
 * The dtype stays the source's own. Throws ERR_INVALID_ARG_VALUE when the shapes do not fit, else as
 * `toStrided`.
 */
export function resolveSource(
  source: unknown,
  target: { readonly dtype: DType; readonly shape: number[] },
): Strided {
  const found = toStrided(source, target.dtype)
  const extra = Math.max(0, found.shape.length - target.shape.length)
  const own = found.shape.slice(0, extra).every((extent) => extent === 1)
    ? { shape: found.shape.slice(extra), stride: found.stride.slice(extra), offset: found.offset }
    : found
  const layout = broadcastLayout(own, target.shape)
  if (layout) return { data: found.data, dtype: found.dtype, ...layout }
  throw invalidArgValue(
    'source',
    `must have a shape that repeats to [${target.shape.join(', ')}]`,
    found.shape,
  )
}

function over(data: unknown, dtype: unknown, layout: Partial<NdArrayLike>): Strided {
  const checked = checkData(data, dtype)
  const { shape, stride, strides, offset } = layout
  return { ...checked, ...checkLayout(checked.data.length, shape, stride ?? strides, offset) }
}

/** The fields of an ndarray-like object. */
const FIELDS = ['data', 'shape', 'stride', 'strides', 'offset', 'dtype']

function fromNdArray(source: NdArrayLike, dtype: DType | undefined): Strided {
  checkSpelling(source, FIELDS, 'source')
  const { data } = source
  if (Array.isArray(data)) {
    const packed = fromNested(data, named(source) ?? dtype)
    return over(packed.data, packed.dtype, { ...source, shape: source.shape ?? packed.shape })
  }
  // scijs calls it 'buffer' or 'bigint64'; what a typed array holds is settled by the array, but for bool.
  if (dtypeOf(data) !== undefined) return over(data, source.dtype === 'bool' ? 'bool' : undefined, source)
  return over(data, named(source) ?? dtype, source)
}

function named({ dtype }: NdArrayLike): DType | undefined {
  return dtype === undefined || dtype === 'generic' || dtype === 'array' ? undefined : parseDType(dtype)
}

function fromNested(source: readonly unknown[], dtype: DType | undefined): Strided {
  const { shape, leaf } = nestedShape(source)
  const known = dtype ?? dtypeOf(leaf) ?? dtypeOfValue(leaf)
  const target = {
    data: allocate(known, sizeOf(shape)),
    dtype: known,
    shape,
    stride: contiguousStride(shape),
    offset: 0,
  }
  fillNested(target, source, 0, 0)
  return target
}

/** The dtype of a bare value; of no value at all, float64. */
function dtypeOfValue(value: unknown): DType {
  if (typeof value === 'number' || (Array.isArray(value) && value.length === 0)) return 'float64'
  if (typeof value === 'bigint') return 'int64'
  if (typeof value === 'boolean') return 'bool'
  throw invalidArgType('source', 'made of numbers, bigints or booleans', value)
}

/** The shape that the first item at each depth implies, and what is found at the bottom. */
function nestedShape(source: readonly unknown[]): { shape: number[]; leaf: unknown } {
  const shape: number[] = []
  let leaf: unknown = source
  while (Array.isArray(leaf) || dtypeOf(leaf) !== undefined) {
    const list = leaf as ArrayLike<unknown>
    shape.push(list.length)
    if (shape.length > MAX_NDIM) break
    if (!Array.isArray(leaf) || leaf.length === 0) break
    leaf = leaf[0]
  }
  return { shape: checkShape(shape, 'source.shape'), leaf }
}

function fillNested(target: Strided, list: unknown, axis: number, at: number): void {
  const { shape, dtype } = target
  const isRow = axis === shape.length - 1
  const isTyped = dtypeOf(list) !== undefined
  const extent = shape[axis] as number
  if (!(Array.isArray(list) || (isRow && isTyped)) || (list as ArrayLike<unknown>).length !== extent) {
    throw invalidArgValue(
      'source',
      `must be nested arrays of equal length, here of ${extent} at depth ${axis}`,
      list,
    )
  }
  if (isTyped) {
    assign({ ...target, shape: [extent], stride: [1], offset: at }, over(list, undefined, {}))
    return
  }
  const step = target.stride[axis] as number
  for (const [n, item] of (list as unknown[]).entries()) {
    if (isRow) put(target.data, at + n, checkValue(dtype, item))
    else fillNested(target, item, axis + 1, at + n * step)
  }
}
