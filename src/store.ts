/**
 * Element stores: data that no typed array can show, because its byte order is foreign, its offset is not a
 * multiple of the element size, or its bytes are not all in one place.
 *
 * A store has the shape of scijs's `generic` data, so the libraries of that family read it as they are.
 */
import {
  constructors,
  type DType,
  dtypeOf,
  itemsizeOf,
  nativeLittleEndian,
  parseDType,
  type ScalarOf,
  type TypedArray,
  type TypedArrayIn,
} from './dtype.js'
import { invalidArgType, invalidArgValue, MmapError } from './errors.js'
import { BFLOAT16, decode16, encode16, FLOAT16 } from './half.js'

/**
 * Elements behind two functions, numbered from 0.
 *
 * It behaves as a typed array does: `get` outside `length`, or after the memory is gone, is undefined, and
 * `set` there changes nothing. Neither throws.
 */
export interface ElementStore<T = number | bigint> {
  /** Number of elements; 0 after the memory is gone. */
  readonly length: number
  /**
   * The memory behind the store, when that is one buffer: it lets `assign` see that two views do not overlap.
   */
  readonly buffer?: ArrayBufferLike
  /** The element at an index. */
  get(index: number): T
  /** Writes the element at an index. */
  // biome-ignore lint/suspicious/noConfusingVoidType: scijs's type for stores that return nothing
  set(index: number, value: T): T | void
}

/** What a view can lie over: a typed array of its dtype, or a store of its elements. */
export type Data<D extends DType = DType> = TypedArrayIn<D> | ElementStore<ScalarOf<D>>

/** True for data that is read through `get`, false for a typed array. */
export function isStore(data: Data): data is ElementStore {
  return !ArrayBuffer.isView(data)
}

interface Accessors<T> {
  readonly get: (view: DataView, at: number, littleEndian: boolean) => T
  readonly set: (view: DataView, at: number, value: T, littleEndian: boolean) => void
}

// Functions of their own, and not the methods by name, so that V8 inlines each.
const accessors: { readonly [D in DType]: Accessors<ScalarOf<D>> } = {
  bool: { get: (v, at) => (v.getUint8(at) === 0 ? 0 : 1), set: (v, at, x) => v.setUint8(at, x) },
  int8: { get: (v, at) => v.getInt8(at), set: (v, at, x) => v.setInt8(at, x) },
  uint8: { get: (v, at) => v.getUint8(at), set: (v, at, x) => v.setUint8(at, x) },
  int16: { get: (v, at, le) => v.getInt16(at, le), set: (v, at, x, le) => v.setInt16(at, x, le) },
  uint16: { get: (v, at, le) => v.getUint16(at, le), set: (v, at, x, le) => v.setUint16(at, x, le) },
  int32: { get: (v, at, le) => v.getInt32(at, le), set: (v, at, x, le) => v.setInt32(at, x, le) },
  uint32: { get: (v, at, le) => v.getUint32(at, le), set: (v, at, x, le) => v.setUint32(at, x, le) },
  int64: { get: (v, at, le) => v.getBigInt64(at, le), set: (v, at, x, le) => v.setBigInt64(at, x, le) },
  uint64: { get: (v, at, le) => v.getBigUint64(at, le), set: (v, at, x, le) => v.setBigUint64(at, x, le) },
  float16: {
    get: (v, at, le) => decode16(v.getUint16(at, le), FLOAT16),
    set: (v, at, x, le) => v.setUint16(at, encode16(x, FLOAT16), le),
  },
  bfloat16: {
    get: (v, at, le) => decode16(v.getUint16(at, le), BFLOAT16),
    set: (v, at, x, le) => v.setUint16(at, encode16(x, BFLOAT16), le),
  },
  float32: { get: (v, at, le) => v.getFloat32(at, le), set: (v, at, x, le) => v.setFloat32(at, x, le) },
  float64: { get: (v, at, le) => v.getFloat64(at, le), set: (v, at, x, le) => v.setFloat64(at, x, le) },
}

/** The store of this library; see `dataViewStore`. */
export class DataViewStore<D extends DType = DType> implements ElementStore<ScalarOf<D>> {
  // Only declared, for speed, as in `Memory`.
  declare readonly buffer: ArrayBufferLike
  private declare readonly view: DataView
  private declare readonly count: number
  private declare readonly unit: number
  private declare readonly littleEndian: boolean
  private declare readonly access: Accessors<ScalarOf<D>>

  constructor(dtype: D, view: DataView, count: number, unit: number, littleEndian: boolean) {
    this.buffer = view.buffer
    this.view = view
    this.count = count
    this.unit = unit
    this.littleEndian = littleEndian
    this.access = accessors[dtype] as Accessors<ScalarOf<D>>
  }

  get length(): number {
    return this.buffer.byteLength === 0 ? 0 : this.count
  }

  /** True when an element is not where a packed array of this machine would have it. */
  get isForeign(): boolean {
    return this.littleEndian !== nativeLittleEndian || this.unit * this.count !== this.view.byteLength
  }

  /** The bytes of the store. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.buffer, this.view.byteOffset, this.view.byteLength)
  }

  get(index: number): ScalarOf<D> {
    const missing = undefined as unknown as ScalarOf<D>
    if (!this.holds(index)) return missing
    try {
      return this.access.get(this.view, index * this.unit, this.littleEndian)
    } catch {
      return missing // The buffer is detached; asking it first would cost more than the element.
    }
  }

  set(index: number, value: ScalarOf<D>): ScalarOf<D> {
    if (this.holds(index) && this.length > 0) {
      this.access.set(this.view, index * this.unit, value, this.littleEndian)
    }
    return value
  }

  private holds(index: number): boolean {
    return index >= 0 && index < this.count && Math.floor(index) === index
  }
}

/**
 * A store of `length` elements of `dtype` that lie in `buffer` from byte `byteOffset` on, at any alignment
 * and in either byte order, `unit` bytes apart.
 *
 * The unit is the size of an element, or a divisor of it: then the store has an element at each of these
 * places, and a view takes those that are meant. Throws a RangeError when they reach past the end of the
 * buffer.
 */
export function dataViewStore<D extends DType>(
  dtype: D,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
  littleEndian: boolean,
  unit: number = itemsizeOf(dtype),
): ElementStore<ScalarOf<D>> {
  const bytes = length === 0 ? 0 : (length - 1) * unit + itemsizeOf(dtype)
  return new DataViewStore(dtype, new DataView(buffer, byteOffset, bytes), length, unit, littleEndian)
}

/**
 * New zeroed memory for `length` elements: a typed array, or a store where no typed array holds the dtype.
 *
 * Throws ERR_TOO_LARGE when the runtime cannot make one of that size.
 */
export function allocate<D extends DType>(dtype: D, length: number): Data<D> {
  try {
    const ctor = constructors[dtype]
    if (ctor) return new ctor(length)
    return dataViewStore(dtype, new ArrayBuffer(length * itemsizeOf(dtype)), 0, length, nativeLittleEndian)
  } catch (cause) {
    const message = `Cannot hold ${length} elements of ${dtype} in memory (${(cause as Error).message}); work on slices`
    throw new MmapError(message, { code: 'ERR_TOO_LARGE', cause })
  }
}

/** Stores one element, whatever holds it. */
export function put(data: Data, index: number, value: number | bigint): void {
  if (isStore(data)) data.set(index, value)
  else data[index] = value
}

/** The bytes of data that `allocate` made, or of a typed array, in the same memory. */
export function bytesOf(data: Data): Uint8Array {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (data instanceof DataViewStore) return data.bytes
  throw new TypeError('the bytes of a foreign store are not known')
}

/**
 * Data as a view keeps it, with its dtype: exactly the typed array class of that dtype, or the store itself.
 *
 * A Buffer or a Uint8ClampedArray becomes a Uint8Array over the same memory. `dtype` may be left out for a
 * typed array; for one it may only say 'bool' where the array alone says 'uint8'. Throws ERR_INVALID_ARG_TYPE
 * for anything that is not data, ERR_INVALID_ARG_VALUE when the dtype is missing or is not that of the array.
 */
export function checkData(data: unknown, dtype?: unknown): { data: Data; dtype: DType } {
  const wanted = dtype === undefined ? undefined : parseDType(dtype)
  const found = dtypeOf(data)
  if (found !== undefined) {
    if (isDetached((data as TypedArray).buffer)) {
      const message = 'The data was detached or transferred; its elements are gone'
      throw new MmapError(message, { code: 'ERR_INVALID_STATE' })
    }
    const actual = found === 'uint8' && wanted === 'bool' ? 'bool' : found
    if (wanted !== undefined && wanted !== actual) {
      throw invalidArgValue('dtype', `must be '${found}', the dtype of the data`, dtype)
    }
    return { data: plain(data as TypedArray, constructors[found] as Constructor), dtype: actual }
  }
  if (!isStoreLike(data)) {
    throw invalidArgType('data', 'a typed array or an element store with length, get and set', data)
  }
  if (wanted === undefined) throw invalidArgValue('dtype', 'must be given for an element store', dtype)
  return { data, dtype: wanted }
}

/** Asked of an empty buffer only, and without `ArrayBuffer.prototype.detached`, which Node.js 20 has not. */
function isDetached(buffer: ArrayBufferLike): boolean {
  if (buffer.byteLength > 0) return false
  try {
    return new Uint8Array(buffer).length > 0
  } catch {
    return true
  }
}

type Constructor = NonNullable<(typeof constructors)[DType]>

function plain(data: TypedArray, ctor: Constructor): TypedArray {
  return data.constructor === ctor ? data : new ctor(data.buffer, data.byteOffset, data.length)
}

function isStoreLike(data: unknown): data is ElementStore {
  if (typeof data !== 'object' || data === null) return false
  const { length, get, set } = data as Partial<ElementStore>
  return (
    Number.isSafeInteger(length) &&
    Number(length) >= 0 &&
    typeof get === 'function' &&
    typeof set === 'function'
  )
}
