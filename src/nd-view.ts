/**
 * NdView: an n-dimensional view, which is pure index arithmetic over `(data, shape, stride, offset)`.
 *
 * Making a view never touches an element, so a view of a file costs nothing until it is read. The arithmetic
 * itself is in `layout.ts`, `scijs.ts` and `selection.ts`, the loops in `strided.ts`, the data and its life
 * in `memory.ts`; what is left here is the class that joins them, and the fast way from an index to an
 * element. It is past 400 lines because it is one class with some forty members, each with its contract; the
 * code of each is a line or a few.
 */

// biome-ignore-all lint/complexity/noArguments: a rest parameter allocates an array for each element read.

import {
  checkValue,
  type DType,
  itemsizeOf,
  type ScalarOf,
  type TypedArrayIn,
  type TypedArrayOf,
  type ValueOf,
} from './dtype.js'
import { checkOptions, invalidArgType, invalidArgValue, MmapError, outOfRange } from './errors.js'
import { formatView } from './inspect.js'
import {
  Axes,
  axisOrder,
  broadcastLayout,
  checkLayout,
  checkReshape,
  checkShape,
  isContiguous,
  isInside,
  type Layout,
  reach,
  reshapeLayout,
  sizeOf,
} from './layout.js'
import { Memory } from './memory.js'
import * as scijs from './scijs.js'
import { isRange, parseTexts, type Selection, select, selectNear, slice2 } from './selection.js'
import { resolveSource, type Source } from './source.js'
import { checkData, type Data } from './store.js'
import { assign, asTypedArray, fill, gather, nest } from './strided.js'
import { divisible } from './windows.js'

/** An array of arrays, as deep as the view has axes; for a view without axes the element itself. */
export type Nested<T> = T | Nested<T>[]

/** How the elements of a view lie in memory, by the names of numpy and of stdlib. */
export interface Flags {
  /** One after the other, the last axis first. */
  readonly C_CONTIGUOUS: boolean
  /** One after the other, the first axis first. */
  readonly F_CONTIGUOUS: boolean
  /** stdlib's name of `C_CONTIGUOUS`. */
  readonly ROW_MAJOR_CONTIGUOUS: boolean
  /** stdlib's name of `F_CONTIGUOUS`. */
  readonly COLUMN_MAJOR_CONTIGUOUS: boolean
  /** Whether the writing methods work. */
  readonly WRITEABLE: boolean
  /** Whether the writing methods throw ERR_READ_ONLY. */
  readonly READONLY: boolean
}

/** What `toJSON` gives: everything about a view but its elements. */
export interface Summary {
  /** The long name of the dtype. */
  readonly dtype: DType
  /** Length of each axis, in elements. */
  readonly shape: number[]
  /** In elements. */
  readonly stride: number[]
  /** In elements. */
  readonly offset: number
  /** The axes from the smallest stride to the largest. */
  readonly order: number[]
  /** Bytes. */
  readonly nbytes: number
}

/**
 * The class behind `NdView`, for classes that extend it; `V` is what their views are.
 *
 * Its constructor checks nothing. Whoever has data to check goes through `NdView`, which makes the same
 * objects.
 */
export class NdViewBase<D extends DType, V extends NdView<D>> {
  // Fields are only declared, as in `Axes`, whose header says what a view has to be so that V8 can leave it out.

  /** @internal Where the elements lie in the data. */
  declare readonly axes: Axes
  /** The data, its dtype and its life, shared with every view made from this one. */
  protected declare readonly memory: Memory<D>
  /** True when the writing methods of this view, and of views made from it, throw ERR_READ_ONLY. */
  protected declare readonly readOnly: boolean

  /**
   * `root` is null for the view that owns the data, and only for that; what else it is does not matter.
   *
   * @internal
   */
  constructor(memory: Memory<D>, axes: Axes, readOnly: boolean, root?: NdView<D> | null) {
    this.axes = axes
    this.memory = memory
    this.readOnly = readOnly
    if (root === null) memory.root = this
  }

  /**
   * The one way from a view to a view on the same data: every method below that makes one ends here.
   *
   * It names no root: V8 would have to make each view that may be one.
   */
  protected derive(axes: Axes, readOnly: boolean = this.readOnly): V {
    return new NdViewBase(this.memory, axes, readOnly) as unknown as V
  }

  /** Gives this very view another layout: for an array that becomes longer or shorter. Views made from it keep theirs. */
  protected reshapeTo(layout: Layout): void {
    const view = this as { -readonly [K in 'axes']: Axes }
    view.axes = Axes.of(layout)
  }

  /** The view itself, while its data is there: else throws the memory's `gone()` error. */
  protected alive(): this {
    if (this.memory.isGone) throw this.memory.gone()
    return this
  }

  /** Throws unless elements may be written: as `alive`, else ERR_READ_ONLY. */
  protected checkWritable(): void {
    if (this.alive().readOnly) throw this.readOnlyError()
  }

  /** The elements in C order, in new memory: what every copying method ends in. Throws ERR_TOO_LARGE. */
  protected gather(): Data<D> {
    return gather(this)
  }

  /** The ERR_READ_ONLY error; its message says what to do instead. */
  protected readOnlyError(): MmapError {
    return new MmapError('This view is read-only; write to a copy()', { code: 'ERR_READ_ONLY' })
  }

  /** The typed array or element store under the view: all of it, of which a slice shows a part. */
  get data(): Data<D> {
    return this.memory.data
  }

  /** The long name of the dtype. */
  get dtype(): D {
    return this.memory.dtype
  }

  /** The view that owns the data, or null for a view that was not made from another. */
  get base(): NdView<D> | null {
    const { root } = this
    return (root as unknown) === this ? null : root
  }

  /** The view that owns the data: itself where it was not made from another. */
  protected get root(): NdView<D> {
    return this.memory.root as NdView<D>
  }

  /** Length of each axis, in elements. To be read only: other methods rely on it. */
  get shape(): number[] {
    return this.axes.shape
  }

  /** Distance between neighbours on each axis, in elements; negative or 0 too. To be read only. */
  get stride(): number[] {
    return this.axes.stride
  }

  /** The same as `stride`. */
  get strides(): number[] {
    return this.axes.stride
  }

  /** Index in `data` of the element whose indices are all 0. */
  get offset(): number {
    return this.axes.offset
  }

  /** Number of axes. */
  get ndim(): number {
    return this.axes.ndim
  }

  /** The axes from the smallest stride to the largest, as scijs lists them. */
  get order(): number[] {
    return axisOrder(this.stride)
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  /** Number of elements, the same as `size`. */
  get length(): number {
    return this.size
  }

  /** Number of axes, the same as `ndim`. */
  get dimension(): number {
    return this.ndim
  }

  /** Bytes of one element. */
  get itemsize(): number {
    return itemsizeOf(this.dtype)
  }

  /** Bytes of all elements. */
  get nbytes(): number {
    return this.size * this.itemsize
  }

  /** True when there are no elements. */
  get isEmpty(): boolean {
    return this.size === 0
  }

  /** How the elements lie in memory, and whether they may be written. */
  get flags(): Flags {
    const rows = isContiguous(this, 'C')
    const columns = isContiguous(this, 'F')
    return {
      C_CONTIGUOUS: rows,
      F_CONTIGUOUS: columns,
      ROW_MAJOR_CONTIGUOUS: rows,
      COLUMN_MAJOR_CONTIGUOUS: columns,
      WRITEABLE: !this.readOnly,
      READONLY: this.readOnly,
    }
  }

  /** True when the dtype is `dtype`; narrows the type of the view. */
  is<E extends DType>(dtype: E): this is NdView<E> {
    return (this.dtype as DType) === dtype
  }

  /**
   * The element at one index per axis; a bigint for int64 and uint64.
   *
   * Throws ERR_INVALID_ARG_VALUE for a wrong number of indices, ERR_INVALID_ARG_TYPE for one that is no
   * number, and ERR_OUT_OF_RANGE for one outside its axis; negative numbers and fractions are outside.
   */
  get(...index: number[]): ScalarOf<D>
  get(i?: number, j?: number, k?: number, l?: number): ScalarOf<D> {
    const at = this.near(arguments.length, i, j, k, l)
    return this.memory.read(at >= 0 ? at : this.find.apply(this, arguments as never))
  }

  /**
   * Writes the element at one index per axis and returns it.
   *
   * Throws as `get`, ERR_READ_ONLY on a read-only view, and ERR_INVALID_ARG_TYPE for a value of the wrong
   * type: int64 and uint64 take bigints, bool takes booleans and numbers, the others numbers, which wrap as
   * in a typed array.
   */
  set(...args: [...index: number[], value: ValueOf<D>]): ScalarOf<D>
  set(i?: unknown, j?: unknown, k?: unknown, l?: unknown, m?: unknown, ..._: unknown[]): ScalarOf<D> {
    if (this.readOnly) this.checkWritable()
    const count = arguments.length - 1
    const at = this.near(count, i, j, k, l)
    if (at < 0) return this.setFar.apply(this, arguments as never)
    return this.memory.write(at, count === 1 ? j : count === 2 ? k : count === 3 ? l : m)
  }

  /**
   * The index in `data` of the element at one index per axis. Checks nothing: for loops that stay inside the
   * shape.
   */
  index(...index: number[]): number
  index(i = 0, j = 0, k?: number, ...more: number[]): number {
    const { offset, s0, s1, rest } = this.axes
    const two = offset + i * s0 + j * s1
    if (k === undefined) return two
    let at = two + k * (rest?.s0 as number)
    for (let n = 0; n < more.length; n++) at += (more[n] as number) * (this.stride[n + 3] as number)
    return at
  }

  /**
   * The checked index in `data` for one to four axes, without a loop or an array; -1 where there is none, or
   * where there are more axes: then `locate` says why, or finds it.
   */
  private near(count: number, i: unknown, j: unknown, k: unknown, l: unknown): number {
    const { axes } = this
    if (count !== axes.ndim || !isIndex(i, axes.n0)) return -1
    const first = axes.offset + i * axes.s0
    if (count === 1) return first
    if (!isIndex(j, axes.n1)) return -1
    const second = first + j * axes.s1
    return count === 2 ? second : nearer(axes.rest as Axes, second, count, k, l)
  }

  /** What `get` reads where `near` finds nothing. */
  private find(...index: unknown[]): number {
    return this.locate(index, index.length)
  }

  /** What `set` does where `near` finds nothing. */
  private setFar(...args: unknown[]): ScalarOf<D> {
    return this.memory.write(this.locate(args, args.length - 1), args.at(-1))
  }

  /** The checked index in `data` for any number of axes; throws what `get` promises. */
  private locate(index: readonly unknown[], count: number): number {
    const { shape, stride, ndim } = this.alive()
    if (count !== ndim) {
      const given = index.slice(0, Math.max(count, 0))
      const reason = `must be ${ndim} numbers, one per axis, and not ${given.length}`
      throw invalidArgValue('index', reason, given)
    }
    let at = this.offset
    for (let axis = 0; axis < count; axis++) {
      const i = index[axis]
      const extent = shape[axis] as number
      if (typeof i !== 'number') throw invalidArgType(`index[${axis}]`, 'of type number', i)
      if (!isIndex(i, extent)) throw outOfRange(`index[${axis}]`, `an integer >= 0 && < ${extent}`, i)
      at += i * (stride[axis] as number)
    }
    return at
  }

  /**
   * The elements of this view, in C order, as a typed array over the same memory; with `{ copy: true }` in
   * new memory.
   *
   * Throws ERR_NOT_CONTIGUOUS without `copy` when they do not lie one after the other in a typed array, or not in one
   * window of an array with backing 'window', and ERR_TOO_LARGE when a copy does not fit.
   */
  toTypedArray(options?: { readonly copy?: boolean | undefined }): TypedArrayOf<D> {
    checkOptions(options, ['copy'], 'toTypedArray')
    const copy = options?.copy ?? false
    if (typeof copy !== 'boolean') throw invalidArgType('copy', 'of type boolean', copy)
    if (copy) return asTypedArray(this.dtype, this.alive().gather())
    const { offset, size } = this
    const data = divisible(this.data)
    const hint = 'toTypedArray({ copy: true }) copies'
    if (data === undefined) {
      const message = `The elements are not in a typed array (foreign byte order, unaligned, in parts, or of a file that is not mapped); ${hint}`
      throw new MmapError(message, { code: 'ERR_NOT_CONTIGUOUS' })
    }
    if (!isContiguous(this, 'C')) {
      const message = `A view of shape ${list(this.shape)} with strides ${list(this.stride)} is not contiguous; ${hint}`
      throw new MmapError(message, { code: 'ERR_NOT_CONTIGUOUS' })
    }
    if (size === 0) return data.subarray(0, 0) as TypedArrayOf<D>
    if (offset + size > data.length) throw this.memory.missing()
    return data.subarray(offset, offset + size) as TypedArrayOf<D>
  }

  /** The axes in reverse: the transposed matrix. */
  get T(): V {
    const { shape, stride, offset } = this.alive()
    return this.derive(Axes.of({ shape: shape.toReversed(), stride: stride.toReversed(), offset }))
  }

  /**
   * scijs: the view without the first `start[n]` indices of axis n.
   *
   * Null, undefined or a negative number leaves an axis as it is. Throws ERR_OUT_OF_RANGE for a start past
   * the end, a fraction, or more arguments than axes.
   */
  lo(...start: (number | null | undefined)[]): V
  lo(i: unknown, j: unknown): V {
    const { axes, memory } = this
    if (memory.isGone || arguments.length !== 2 || !isInside(i, axes.n0) || !isInside(j, axes.n1)) {
      return this.otherLo(...(arguments as Iterable<never>))
    }
    return this.derive(scijs.lo2(axes, i, j))
  }

  /** `lo` of what is not two small integers inside their axes; `otherHi` and the others likewise. */
  private otherLo(...start: (number | null | undefined)[]): V {
    return this.derive(scijs.lo(this.alive().axes, start))
  }

  /** scijs: the view of the first `stop[n]` indices of axis n. Arguments and errors are those of `lo`. */
  hi(...stop: (number | null | undefined)[]): V
  hi(i: unknown, j: unknown): V {
    const { axes, memory } = this
    if (memory.isGone || arguments.length !== 2 || !isInside(i, axes.n0) || !isInside(j, axes.n1)) {
      return this.otherHi(...(arguments as Iterable<never>))
    }
    return this.derive(scijs.hi2(axes, i, j))
  }

  private otherHi(...stop: (number | null | undefined)[]): V {
    return this.derive(scijs.hi(this.alive().axes, stop))
  }

  /**
   * scijs: the view of every `steps[n]`-th index of axis n, backwards from the last where negative.
   *
   * Null or undefined leaves an axis as it is. Throws ERR_OUT_OF_RANGE for 0, a fraction, or more arguments
   * than axes.
   */
  step(...steps: (number | null | undefined)[]): V {
    return this.derive(Axes.of(scijs.step(this.alive(), steps)))
  }

  /**
   * scijs: the view whose axis n is axis `axes[n]` of this one; without arguments nothing moves (numpy
   * reverses: `T`).
   *
   * Throws ERR_OUT_OF_RANGE when the axes are not all different axes of this view.
   */
  transpose(...axes: (number | undefined)[]): V {
    return this.derive(Axes.of(scijs.transpose(this.alive(), axes)))
  }

  /**
   * scijs: the view at index `index[n]` of axis n, which disappears. Arguments and errors are those of `lo`.
   */
  pick(...index: (number | null | undefined)[]): V
  pick(i: unknown): V {
    const { axes, memory } = this
    if (memory.isGone || arguments.length !== 1 || !isIndex(i, axes.n0)) {
      return this.otherPick(...(arguments as Iterable<never>))
    }
    return this.derive(scijs.pick1(axes, i))
  }

  private otherPick(...index: (number | null | undefined)[]): V {
    return this.derive(Axes.of(scijs.pick(this.alive(), index)))
  }

  /**
   * numpy: the part that the selections take, one for each axis from the first on.
   *
   * null is all of an axis, a number one index of it (from the end where negative; the axis disappears), and
   * `slice(start, stop, step)` or text like `'1:5'` a range, whose ends are cut to the axis. Unlike the
   * `slice` of a typed array it does not copy. Throws as `select` does.
   */
  slice(...selections: Selection[]): V
  slice(a: unknown, b: unknown): V {
    const { axes, memory } = this
    if (memory.isGone || arguments.length !== 2 || !isRange(a, axes.n0) || !isRange(b, axes.n1)) {
      const near = memory.isGone ? null : selectNear(axes, arguments.length, a, b)
      return near === null ? this.otherSlice(...(arguments as Iterable<never>)) : this.derive(near)
    }
    return this.derive(slice2(axes, a, b))
  }

  private otherSlice(...selections: readonly Selection[]): V {
    const { axes } = this.alive()
    const ranges = parseTexts(selections)
    const near = ranges === selections ? null : selectNear(axes, ranges.length, ranges[0], ranges[1])
    return this.derive(near ?? Axes.of(select(axes.shape, axes.stride, axes.offset, ranges)))
  }

  /**
   * The same elements, in C order, in another shape; one length may be -1, which is then worked out.
   *
   * Throws ERR_INVALID_ARG_VALUE when the number of elements differs, ERR_NOT_CONTIGUOUS when it would need a
   * copy.
   */
  reshape(shape: readonly number[]): V {
    const extents = checkReshape(shape, this.alive().size)
    const layout = reshapeLayout(this, extents)
    if (layout) return this.derive(Axes.of(layout))
    const from = `shape ${list(this.shape)} with strides ${list(this.stride)}`
    const message = `Cannot reshape ${from} to ${list(extents)} without copying; reshape a copy()`
    throw new MmapError(message, { code: 'ERR_NOT_CONTIGUOUS' })
  }

  /**
   * This view repeated to `shape` by numpy's rule, without copying; read-only, since its elements are one in
   * memory.
   *
   * Throws ERR_INVALID_ARG_VALUE when an axis is neither of that length nor of length 1.
   */
  broadcastTo(shape: readonly number[]): V {
    const layout = broadcastLayout(this.alive(), checkShape(shape))
    if (layout) return this.derive(Axes.of(layout), true)
    throw invalidArgValue('shape', `must be one that ${list(this.shape)} repeats to`, shape)
  }

  /** Writes one value to every element and returns the view. Throws as `set` does. */
  fill(value: ValueOf<D>): this {
    this.checkWritable()
    fill(this, checkValue(this.dtype, value))
    return this
  }

  /**
   * Writes the elements of `source` to this view and returns the view.
   *
   * The source is one value, a typed array, anything with the fields of an ndarray, or a nested array; it is
   * repeated to this shape by numpy's rule, may overlap this view, and is converted as a typed array would.
   * Throws ERR_READ_ONLY, ERR_INVALID_ARG_VALUE when the shape does not fit, and ERR_INVALID_ARG_TYPE for
   * anything else.
   */
  assign(source: Source<D>): this {
    this.checkWritable()
    assign(this, resolveSource(source, this))
    // A source may run code of its own, which may have closed this view.
    return this.alive()
  }

  /**
   * The elements in new memory, in C order: a view that no longer depends on this one. Throws ERR_TOO_LARGE.
   */
  copy(): NdView<D> {
    return new NdView<D>(this.alive().gather(), this.shape, undefined, undefined, this.dtype)
  }

  /** The elements as nested arrays, or the element itself where there are no axes. Copies everything. */
  toArray(): Nested<ScalarOf<D>> {
    return nest(this.alive().gather(), this.shape) as Nested<ScalarOf<D>>
  }

  /**
   * Goes along axis 0: elements where that is the only axis, else views. A view without axes throws a
   * TypeError.
   */
  [Symbol.iterator](): IterableIterator<ScalarOf<D> | V> {
    if (this.alive().ndim > 0) return this.items()
    throw invalidArgType('view', 'of one axis or more to be iterated; read its element with get()', this)
  }

  private *items(): Generator<ScalarOf<D> | V, undefined> {
    const count = this.shape[0] as number
    for (let i = 0; i < count; i++) yield this.ndim === 1 ? this.get(i) : this.pick(i)
  }

  /** dtype and layout, never elements: an array may be larger than any text. */
  toJSON(): Summary {
    const { dtype, shape, stride, offset, order, nbytes } = this
    return { dtype, shape, stride, offset, order, nbytes }
  }

  /** The first line of `inspect`; a subclass adds what it knows. Reads no element. */
  protected header(): string {
    const state = this.memory.isGone ? ' (detached)' : ''
    return `${this.constructor.name}<${this.dtype}> ${list(this.shape)}${state}`
  }

  /**
   * What console.log prints: the header, and a few elements from both ends of each axis while the data is
   * there.
   */
  [Symbol.for('nodejs.util.inspect.custom')](depth: number): string {
    const isThere = () => this.size === 0 || reach(this)[1] < this.memory.data.length
    if (depth < 0 || this.memory.isGone || !isThere()) return this.header()
    return formatView(this.header(), this, this.dtype, (at) => this.memory.read(at))
  }
}

type UnionToIntersection<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void
  ? I
  : never

type TypedArrayForms = {
  [D in Exclude<DType, 'bool' | 'bfloat16'>]: new (
    data: TypedArrayIn<D>,
    shape?: readonly number[],
    stride?: readonly number[],
    offset?: number,
  ) => NdView<D>
}

/** The constructor of `NdView`: a typed array tells its dtype, anything else is told. */
export type NdViewConstructor = UnionToIntersection<TypedArrayForms[keyof TypedArrayForms]> & {
  new <D extends DType>(
    data: Data<D>,
    shape?: readonly number[],
    stride?: readonly number[],
    offset?: number,
    dtype?: D,
  ): NdView<D>
  readonly prototype: NdView
}

/** An n-dimensional view of typed data: shape, strides and offset over a typed array or an element store. */
export interface NdView<D extends DType = DType> extends NdViewBase<D, NdView<D>> {}
/**
 * Makes a view: of a typed array, whose dtype it tells, or of an element store with a `dtype`. Strides and offset are in
 * elements.
 *
 * Throws ERR_INVALID_ARG_TYPE and ERR_INVALID_ARG_VALUE for what is no data or layout, and ERR_OUT_OF_RANGE for a layout that
 * reaches outside the data.
 */
// A function, so that it can have the prototype of the class that it checks for.
export const NdView = function NdView(
  data: Data,
  shape?: unknown,
  stride?: unknown,
  offset?: unknown,
  dtype?: unknown,
): object {
  if (new.target === undefined)
    throw new TypeError("Class constructor NdView cannot be invoked without 'new'")
  const checked = checkData(data, dtype)
  const axes = Axes.of(checkLayout(checked.data.length, shape, stride, offset))
  const memory = new Memory(checked.data, checked.dtype)
  const made = new.target === NdView ? NdViewBase : new.target
  return Reflect.construct(NdViewBase, [memory, axes, false, null], made)
} as unknown as NdViewConstructor
Object.assign(NdView, { prototype: NdViewBase.prototype })
NdViewBase.prototype.constructor = NdView

/** The rest of `near`, apart because V8 inlines only so much, and counts what never runs. */
function nearer(rest: Axes, second: number, count: number, k: unknown, l: unknown): number {
  if (!isIndex(k, rest.n0)) return -1
  const third = second + k * rest.s0
  if (count === 3) return third
  return count === 4 && isIndex(l, rest.n1) ? third + l * rest.s1 : -1
}

/** True for an integer from 0 up to, and without, `extent`. Here, since V8 looks through an import each time. */
function isIndex(value: unknown, extent: number): value is number {
  return typeof value === 'number' && value >= 0 && value < extent && Math.floor(value) === value
}

function list(numbers: readonly number[]): string {
  return `[${numbers.join(', ')}]`
}
