/**
 * Views in the forms that other array libraries take. Nothing is copied: what comes back lies over the same memory.
 *
 * scijs libraries take a view over a typed array as it is. The functions here are for what a library cannot be told by
 * a field: another order of arguments, a string where scijs has a list, a limit of its own. What a library would take
 * and read wrongly is refused here, with a reason.
 *
 * @module
 */
import type { DType, ScalarOf, TypedArrayIn, ValueOf } from './dtype.js'
import { invalidArgType, invalidArgValue, MmapError } from './errors.js'
import { reach } from './layout.js'
import { NdView } from './nd-view.js'
import { type Data, DataViewStore, type ElementStore, isStore } from './store.js'
import { divisible } from './windows.js'

/** The names that scijs has for data of a dtype; 'generic' is an element store. */
export type ScijsDTypeOf<D extends DType> =
  | 'generic'
  | (D extends 'bool'
      ? 'uint8'
      : D extends 'int64'
        ? 'bigint64'
        : D extends 'uint64'
          ? 'biguint64'
          : Exclude<D, 'bfloat16'>)

/** What {@link toScijs} gives: an ndarray of scijs, made without generated code. */
export interface ScijsArray<D extends DType = DType> {
  /** The same typed array as the view's, a part of it, or the element store. */
  readonly data: TypedArrayIn<D> | ElementStore<ScalarOf<D>>
  /** Length of each axis, in elements. */
  readonly shape: number[]
  /** Distance between neighbours on each axis, in elements. */
  readonly stride: number[]
  /** Index in `data` of the element whose indices are all 0. */
  readonly offset: number
  /** scijs's name of the data. */
  readonly dtype: ScijsDTypeOf<D>
  /** The axes from the smallest stride to the largest. */
  readonly order: number[]
  /** Number of elements. */
  readonly size: number
  /** Number of axes. */
  readonly dimension: number
  /** The axes in reverse. */
  readonly T: ScijsArray<D>
  /** The element at one index per axis. */
  get(...index: number[]): ScalarOf<D>
  /** Writes the element at one index per axis and returns it. */
  set(...args: [...index: number[], value: ValueOf<D>]): ScalarOf<D>
  /** The index in `data` of the element at one index per axis; checks nothing. */
  index(...index: number[]): number
  /** The array without the first `start[n]` indices of axis n. */
  lo(...start: (number | null | undefined)[]): ScijsArray<D>
  /** The array of the first `stop[n]` indices of axis n. */
  hi(...stop: (number | null | undefined)[]): ScijsArray<D>
  /** The array of every `steps[n]`-th index of axis n. */
  step(...steps: (number | null | undefined)[]): ScijsArray<D>
  /** The array whose axis n is axis `axes[n]` of this one. */
  transpose(...axes: (number | undefined)[]): ScijsArray<D>
  /** The array at index `index[n]` of axis n, which disappears. */
  pick(...index: (number | null | undefined)[]): ScijsArray<D>
}

/**
 * The view as an ndarray that every scijs library reads right, element stores and offsets past 2^31 included.
 *
 * scijs cuts offsets to 32 bits, so one past that becomes a part of the data with a small offset. Where the dtype of
 * the data has another name there, or no name, it has that: 'generic' for an element store. Throws ERR_TOO_LARGE where
 * an axis, or the offset of a reversed one, is longer than 32 bits can count.
 */
export function toScijs<D extends DType>(view: NdView<D>): ScijsArray<D> {
  return new Scijs(checkView(view))
}

const SCIJS_DTYPES: Partial<Record<DType, string>> = { bool: 'uint8', int64: 'bigint64', uint64: 'biguint64' }
const MOST_OF_SCIJS = 2 ** 31 - 1

class Scijs<D extends DType> implements ScijsArray<D> {
  declare readonly data: Data<D>
  declare readonly shape: number[]
  declare readonly stride: number[]
  declare readonly offset: number
  declare readonly dtype: ScijsDTypeOf<D>
  private declare readonly view: NdView<D>

  constructor(view: NdView<D>) {
    const { data, offset } = within32Bits(view)
    this.data = data
    this.shape = view.shape
    this.stride = view.stride
    this.offset = offset
    const dtype = isStore(data) ? 'generic' : (SCIJS_DTYPES[view.dtype] ?? view.dtype)
    this.dtype = dtype as ScijsDTypeOf<D>
    this.view = view
  }

  get order(): number[] {
    return this.view.order
  }
  get size(): number {
    return this.view.size
  }
  get dimension(): number {
    return this.view.dimension
  }
  get T(): ScijsArray<D> {
    return new Scijs(this.view.T)
  }
  get(...index: number[]): ScalarOf<D> {
    return this.view.get(...index)
  }
  set(...args: [...index: number[], value: ValueOf<D>]): ScalarOf<D> {
    return this.view.set(...args)
  }
  index(...index: number[]): number {
    return this.view.index(...index) - this.view.offset + this.offset
  }
  lo(...start: (number | null | undefined)[]): ScijsArray<D> {
    return new Scijs(this.view.lo(...start))
  }
  hi(...stop: (number | null | undefined)[]): ScijsArray<D> {
    return new Scijs(this.view.hi(...stop))
  }
  step(...steps: (number | null | undefined)[]): ScijsArray<D> {
    return new Scijs(this.view.step(...steps))
  }
  transpose(...axes: (number | undefined)[]): ScijsArray<D> {
    return new Scijs(this.view.transpose(...axes))
  }
  pick(...index: (number | null | undefined)[]): ScijsArray<D> {
    return new Scijs(this.view.pick(...index))
  }
}

function within32Bits<D extends DType>(view: NdView<D>): { data: Data<D>; offset: number } {
  const { data, offset, shape } = view
  if (shape.includes(0)) return { data, offset: 0 }
  const start = offset > MOST_OF_SCIJS ? reach(view)[0] : 0
  if (offset - start > MOST_OF_SCIJS || Math.max(...shape) > MOST_OF_SCIJS) {
    const message = `scijs counts in 32 bits and cannot take shape [${shape}] with strides [${view.stride}]; hand it slices`
    throw new MmapError(message, { code: 'ERR_TOO_LARGE' })
  }
  return { data: start === 0 ? data : from(data, start), offset: offset - start }
}

/** The data without its first `start` elements. */
function from<D extends DType>(data: Data<D>, start: number): Data<D> {
  if (!isStore(data)) return data.subarray(start) as TypedArrayIn<D>
  return {
    get length() {
      return Math.max(0, data.length - start)
    },
    get: (index) => data.get(index + start),
    set: (index, value) => data.set(index + start, value),
  } satisfies ElementStore<ScalarOf<D>>
}

/** What {@link toStdlib} gives: the fields that stdlib asks of a foreign ndarray. */
export interface StdlibArray<D extends DType = DType> {
  /** A typed array, or an accessor array in stdlib's order of arguments. */
  readonly data: TypedArrayIn<D> | StdlibAccessors<ScalarOf<D>>
  /** stdlib's name of the data: 'uint8' for bool; 'generic' for an element store, int64 and uint64. */
  readonly dtype: string
  /** Length of each axis, in elements. */
  readonly shape: number[]
  /** In elements; [0] for a view without axes. */
  readonly strides: number[]
  /** Index in `data` of the element whose indices are all 0. */
  readonly offset: number
  /** 'column-major' where strides go up from axis to axis, else 'row-major'. */
  readonly order: 'row-major' | 'column-major'
  /** Number of axes. */
  readonly ndims: number
  /** Number of elements. */
  readonly length: number
  /** How the elements lie in memory, and whether `set` is refused. */
  readonly flags: {
    /** One after the other, the last axis first. */
    readonly ROW_MAJOR_CONTIGUOUS: boolean
    /** One after the other, the first axis first. */
    readonly COLUMN_MAJOR_CONTIGUOUS: boolean
    /** Whether `set` throws. */
    readonly READONLY: boolean
  }
  /** The element at one index per axis. */
  get(...index: number[]): ScalarOf<D>
  /** Writes the element at one index per axis and returns the array. */
  set(...args: [...index: number[], value: ValueOf<D>]): StdlibArray<D>
}

/** Data behind two functions, as stdlib has it: the value comes before the index. */
export interface StdlibAccessors<T> {
  /** Number of elements. */
  readonly length: number
  /** The element at an index. */
  get(index: number): T
  /** Writes the element at an index. */
  set(value: T, index?: number): void
}

/**
 * The view as an ndarray-like of stdlib: functions that take one take it, and the constructor of an ndarray takes its
 * fields, `ndarray(x.dtype, x.data, x.shape, x.strides, x.offset, x.order)`.
 *
 * stdlib has no dtype for 64-bit integers, so these are 'generic' there, of bigints. A constructed ndarray does not know
 * that a view is read-only; the ndarray-like itself does, in `flags` and in `set`.
 */
export function toStdlib<D extends DType>(view: NdView<D>): StdlibArray<D> {
  const { data, dtype, shape, stride, offset, ndim, length, flags } = checkView(view)
  const { ROW_MAJOR_CONTIGUOUS, COLUMN_MAJOR_CONTIGUOUS, READONLY } = flags
  const array: StdlibArray<D> = {
    data: isStore(data) ? stdlibAccessors(data) : data,
    dtype: isStore(data) ? 'generic' : (STDLIB_DTYPES[dtype] ?? dtype),
    shape: [...shape],
    strides: ndim === 0 ? [0] : [...stride],
    offset,
    order: isColumnMajor(stride) ? 'column-major' : 'row-major',
    ndims: ndim,
    length,
    flags: { ROW_MAJOR_CONTIGUOUS, COLUMN_MAJOR_CONTIGUOUS, READONLY },
    get: (...index) => view.get(...index),
    set: (...args) => {
      view.set(...args)
      return array
    },
  }
  return array
}

const STDLIB_DTYPES: Partial<Record<DType, string>> = { bool: 'uint8', int64: 'generic', uint64: 'generic' }

function stdlibAccessors<T>(store: ElementStore<T>): StdlibAccessors<T> {
  return {
    get length() {
      return store.length
    },
    get: (index) => store.get(index),
    set: (value, index = 0) => {
      store.set(index, value)
    },
  }
}

/** True where strides grow from the first axis to the last; of what is neither, stdlib takes both. */
function isColumnMajor(stride: readonly number[]): boolean {
  const steps = stride.map(Math.abs)
  const grows = steps.every((step, axis) => axis === 0 || step >= (steps[axis - 1] as number))
  return grows && steps[0] !== steps.at(-1)
}

/** What {@link toChunk} gives: a chunk of zarrita. */
export interface Chunk<D extends DType = DType> {
  /** The part of the data that begins with the first element. */
  readonly data: TypedArrayIn<D>
  /** Length of each axis, in elements. */
  readonly shape: number[]
  /** In elements, none negative. */
  readonly stride: number[]
}

/**
 * The view as a chunk of zarrita, which it takes as the value to set: `set(array, null, toChunk(view))`.
 *
 * zarrita knows no offset, so the data begins with the first element of the view. Throws ERR_NOT_CONTIGUOUS for a
 * negative stride and for elements that no typed array shows, ERR_UNSUPPORTED_DTYPE for bfloat16: pass a `copy()`, or
 * another dtype.
 */
export function toChunk<D extends DType>(view: NdView<D>): Chunk<D> {
  const { dtype, shape, stride, offset } = checkView(view)
  const data = divisible(view.data)
  if (dtype === 'bfloat16') throw unsupported(dtype, 'zarrita has no bfloat16; write float32')
  if (data === undefined) {
    const message =
      'zarrita copies bytes, and these elements are not in a typed array (foreign byte order, unaligned, in parts, or of a file that is not mapped); pass a copy()'
    throw new MmapError(message, { code: 'ERR_NOT_CONTIGUOUS' })
  }
  if (shape.includes(0)) return { data: part(data, 0, 0), shape: [...shape], stride: stride.map(Math.abs) }
  if (stride.some((step, axis) => step < 0 && (shape[axis] as number) > 1)) {
    const message = `zarrita has no negative strides, this view has [${stride}]; pass a copy()`
    throw new MmapError(message, { code: 'ERR_NOT_CONTIGUOUS' })
  }
  return { data: part(data, offset, reach(view)[1] + 1), shape: [...shape], stride: stride.map(Math.abs) }
}

function part<D extends DType>(
  data: NonNullable<ReturnType<typeof divisible<D>>>,
  start: number,
  stop: number,
): TypedArrayIn<D> {
  return data.subarray(start, stop) as TypedArrayIn<D>
}

/** The typed array that a tensor of ONNX Runtime holds for a dtype. */
export type OnnxArrayOf<D extends DType> = D extends 'float16' ? Float16Array | Uint16Array : TypedArrayIn<D>

/** The dtypes that both sides have, which are the ones without a copy. */
export type TfjsDType = 'float32' | 'int32' | 'bool'

/**
 * The arguments of a tensor over the elements of the view: `new Tensor(...toTensorArgs(view))` for ONNX Runtime,
 * `tf.tensor(...toTensorArgs(view, 'tfjs'))` for TensorFlow.js.
 *
 * Both want the elements one after the other in a typed array of their own type; throws ERR_NOT_CONTIGUOUS where they
 * are not (pass a `copy()`), ERR_UNSUPPORTED_DTYPE where the runtime has no such type: bfloat16 in ONNX Runtime, all but
 * float32, int32 and bool in TensorFlow.js. It does not tell whether a model or a backend takes the type.
 */
export function toTensorArgs<D extends DType>(
  view: NdView<D>,
  runtime?: 'onnxruntime',
): [type: Exclude<D, 'bfloat16'>, data: OnnxArrayOf<D>, dims: number[]]
export function toTensorArgs<D extends DType>(
  view: NdView<D>,
  runtime: 'tfjs',
): [data: TypedArrayIn<D & TfjsDType>, shape: number[], dtype: D & TfjsDType]
export function toTensorArgs(view: NdView, runtime: 'onnxruntime' | 'tfjs' = 'onnxruntime'): unknown[] {
  const { dtype, shape } = checkView(view)
  if (runtime === 'tfjs') {
    if (!TFJS_DTYPES.includes(dtype)) {
      const message = `TensorFlow.js has no ${dtype}; assign the view to one of ${TFJS_DTYPES.join(', ')}`
      throw unsupported(dtype, message)
    }
    return [view.toTypedArray(), [...shape], dtype]
  }
  if (runtime !== 'onnxruntime') {
    throw invalidArgValue('runtime', "must be 'onnxruntime' or 'tfjs'", runtime)
  }
  if (dtype === 'bfloat16')
    throw unsupported(dtype, 'ONNX Runtime for JavaScript has no bfloat16; use float32')
  return [dtype, halves(view) ?? view.toTypedArray(), [...shape]]
}

const TFJS_DTYPES: readonly DType[] = ['float32', 'int32', 'bool'] satisfies TfjsDType[]

/** float16 in a runtime without Float16Array: its bits, which is what ONNX Runtime takes there. */
function halves({ data, dtype, offset, size, flags }: NdView): Uint16Array | undefined {
  if (dtype !== 'float16' || !(data instanceof DataViewStore) || data.isForeign) return undefined
  // Then the store is the whole of its buffer, from byte 0 on.
  const isWhole = data.buffer.byteLength === 2 * data.length
  return isWhole && flags.C_CONTIGUOUS ? new Uint16Array(data.buffer, 2 * offset, size) : undefined
}

function checkView<D extends DType>(view: NdView<D>): NdView<D> {
  if (view instanceof NdView) return view
  throw invalidArgType('view', 'an NdView or an MmapArray', view)
}

function unsupported(dtype: DType, message: string): MmapError {
  return new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype })
}
