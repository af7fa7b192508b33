/**
 * The only loops over strided memory in JavaScript: one walk copies a range of C-order positions from any
 * layout to any other, and reading, writing, filling and assigning are that walk with one side contiguous or
 * with strides of 0.
 *
 * Axes that continue one another are joined first, so that contiguous parts move in runs (`set`, `fill`), not
 * by element.
 */
import { conversion, type DType, type TypedArray, type TypedArrayOf } from './dtype.js'
import { MmapError } from './errors.js'
import { broadcastLayout, coalesce, contiguousStride, type Layout, reach, sizeOf } from './layout.js'
import { allocate, type Data, type ElementStore, isStore, put } from './store.js'

/** Elements where they lie: what a view has, without its methods. */
export interface Strided<D extends DType = DType> extends Layout {
  readonly data: Data<D>
  readonly dtype: D
}

/** Copies a run of `count` elements between two places, each given as first index and stride. */
type CopyRun = (to: number, toStride: number, from: number, fromStride: number, count: number) => void

/** Runs shorter than this are copied by element; making a subarray costs about as much. */
const SHORT = 24

/**
 * The elements at C-order positions `[start, stop)` of `source`, in new memory; all of them by
 * default.
 *
 * Throws ERR_TOO_LARGE when they do not fit into one; take a block at a time then.
 */
export function gather<D extends DType>(source: Strided<D>, start = 0, stop = sizeOf(source.shape)): Data<D> {
  const data = allocate(source.dtype, stop - start)
  copyRange(flat(source, data, source.dtype, start), source, start, stop)
  return data
}

/** Gathered elements as a typed array: those that none holds as a Float32Array of the same values. */
export function asTypedArray<D extends DType>(dtype: D, elements: Data<D>): TypedArrayOf<D> {
  if (!isStore(elements)) return elements as TypedArrayOf<D>
  const shape = [elements.length]
  const layout = { shape, stride: [1], offset: 0 }
  const data = allocate('float32', elements.length) as Float32Array
  assign({ ...layout, data, dtype: 'float32' }, { ...layout, data: elements, dtype })
  return data as TypedArrayOf<D>
}

/**
 * Elements that are packed in C order, as nested arrays of a shape; for a shape without axes the element
 * itself.
 */
export function nest(elements: Data, shape: readonly number[]): unknown {
  const read = reader(elements)
  let rows: unknown[] = Array.from({ length: elements.length }, (_, at) => read(at))
  if (shape.length === 0) return rows[0]
  for (let axis = shape.length - 1; axis > 0; axis--) {
    const inner = rows
    const extent = shape[axis] as number
    const cut = (_: unknown, row: number) => inner.slice(row * extent, (row + 1) * extent)
    rows = Array.from({ length: sizeOf(shape.slice(0, axis)) }, cut)
  }
  return rows
}

/** Writes one value, an element of the target's dtype, to every position of `target`. */
export function fill(target: Strided, value: number | bigint): void {
  const data = allocate(target.dtype, 1)
  put(data, 0, value)
  copyRange(
    target,
    { data, dtype: target.dtype, shape: target.shape, stride: target.shape.map(() => 0), offset: 0 },
    0,
    sizeOf(target.shape),
  )
}

/**
 * Copies `source` to `target`, which has the same shape, as if the source had been set aside first.
 *
 * Elements of another dtype are converted as `conversion` says. A source that shares memory with the target
 * is copied before, and so is one in a store that does not say where its memory is.
 */
export function assign(target: Strided, source: Strided): void {
  copyRange(target, mayOverlap(target, source) ? setAside(source) : source, 0, sizeOf(target.shape))
}

/** The same elements in memory of their own; an axis that repeats (stride 0) is copied once. */
function setAside(source: Strided): Strided {
  const shape = source.shape.map((extent, axis) => (source.stride[axis] === 0 ? Math.min(extent, 1) : extent))
  const once = { data: source.data, dtype: source.dtype, shape, stride: source.stride, offset: source.offset }
  const copy = flat(once, gather(once), source.dtype, 0)
  return { ...copy, ...broadcastLayout(copy, source.shape) }
}

/** The layout of `view` packed in C order, over data that begins with position `start`. */
function flat<D extends DType>(view: Layout, data: Data<D>, dtype: D, start: number): Strided<D> {
  return { data, dtype, shape: view.shape, stride: contiguousStride(view.shape), offset: -start }
}

function copyRange(target: Strided, source: Strided, start: number, stop: number): void {
  if (start >= stop) return
  const { shape, strides } = coalesce(source.shape, target.stride, source.stride)
  const [toStride, fromStride] = strides as [number[], number[]]
  const copyRun = runCopier(target, source)
  const last = shape.length - 1
  const index = unravel(start, shape)
  let to = target.offset
  let from = source.offset
  for (let axis = 0; axis <= last; axis++) {
    to += (index[axis] as number) * (toStride[axis] as number)
    from += (index[axis] as number) * (fromStride[axis] as number)
  }
  for (let position = start; position < stop; ) {
    const count = Math.min((shape[last] as number) - (index[last] as number), stop - position)
    copyRun(to, toStride[last] as number, from, fromStride[last] as number, count)
    position += count
    // Carry: the innermost axis moves by the run; a full axis goes back to 0 and moves the one outside it.
    let moved = count
    for (let axis = last; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + moved
      to += moved * (toStride[axis] as number)
      from += moved * (fromStride[axis] as number)
      if (index[axis] !== shape[axis]) break
      to -= (shape[axis] as number) * (toStride[axis] as number)
      from -= (shape[axis] as number) * (fromStride[axis] as number)
      index[axis] = 0
      moved = 1
    }
  }
}

/** The index of a C-order position. */
function unravel(position: number, shape: readonly number[]): number[] {
  const index = new Array<number>(shape.length)
  let rest = position
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = rest % (shape[axis] as number)
    rest = Math.floor(rest / (shape[axis] as number))
  }
  return index
}

function runCopier(target: Strided, source: Strided): CopyRun {
  const convert = conversion(source.dtype, target.dtype)
  if (convert || isStore(target.data) || isStore(source.data)) {
    return elementCopier(target.data, source.data, convert ?? ((value) => value))
  }
  // Both hold numbers, or both bigints; a typed array converts between its kind while it stores.
  return arrayCopier(target.data as Float64Array, source.data as Float64Array)
}

function arrayCopier(target: Float64Array, source: Float64Array): CopyRun {
  return (to, toStride, from, fromStride, count) => {
    if (toStride === 1 && count >= SHORT) {
      if (fromStride === 1) return void target.set(source.subarray(from, from + count), to)
      if (fromStride === 0) return void target.fill(source[from] as number, to, to + count)
    }
    for (let n = 0; n < count; n++) target[to + n * toStride] = source[from + n * fromStride] as number
  }
}

function elementCopier(
  target: Data,
  source: Data,
  convert: (value: number | bigint) => number | bigint,
): CopyRun {
  const read = reader(source)
  const write = writer(target)
  return (to, toStride, from, fromStride, count) => {
    for (let n = 0; n < count; n++) {
      const value = read(from + n * fromStride)
      if (value === undefined) {
        const message = 'The source was detached while it was being read'
        throw new MmapError(message, { code: 'ERR_INVALID_STATE' })
      }
      write(to + n * toStride, convert(value))
    }
  }
}

function reader(data: Data): (at: number) => number | bigint | undefined {
  if (isStore(data)) return (at) => data.get(at)
  return (at) => data[at]
}

function writer(data: Data): (at: number, value: number | bigint) => void {
  if (isStore(data)) return (at, value) => data.set(at, value)
  return (at, value) => {
    data[at] = value
  }
}

function mayOverlap(a: Strided, b: Strided): boolean {
  if (sizeOf(a.shape) === 0 || sizeOf(b.shape) === 0) return false
  const one = a.data as Partial<TypedArray & ElementStore>
  const two = b.data as Partial<TypedArray & ElementStore>
  if (one.buffer === undefined || two.buffer === undefined) return isStore(a.data) || isStore(b.data)
  if (one.buffer !== two.buffer) return false
  if (isStore(a.data) || isStore(b.data)) return true
  const [aLow, aHigh] = byteRange(a, a.data)
  const [bLow, bHigh] = byteRange(b, b.data)
  return aLow < bHigh && bLow < aHigh
}

function byteRange(layout: Layout, data: TypedArray): [start: number, stop: number] {
  const [low, high] = reach(layout)
  const size = data.BYTES_PER_ELEMENT
  return [data.byteOffset + low * size, data.byteOffset + (high + 1) * size]
}
