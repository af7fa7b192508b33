/**
 * Creating: the source is brought to one form here, written natively in bounded blocks, and the result is wrapped.
 *
 * Elements of the JavaScript heap are put into the file's order and dtype a few MiB at a time on the main thread, so that
 * an array of any size is written through one small buffer. In the asynchronous form a thread writes each block while the
 * event loop turns.
 */
import { type BackingChoice, checkBacking, checkFits } from './backing.js'
import { blocksOf } from './blocks.js'
import {
  checkValue,
  type DType,
  type ElementType,
  itemsizeOf,
  parseElementType,
  type TypedArray,
  type ValueOf,
} from './dtype.js'
import { checkOptions, invalidArgType, invalidArgValue } from './errors.js'
import { checkTarget, type WriteOptions } from './formats.js'
import { checkShape, sizeOf } from './layout.js'
import { MmapArray } from './mmap-array.js'
import { createNative, createNativeSync, type NativeCreateOptions } from './native.js'
import { checkCapacity } from './open.js'
import type { PathLike } from './path.js'
import { type NdArrayLike, type NestedArray, toStrided } from './source.js'
import { allocate, bytesOf, put } from './store.js'

/** What a new file is made from. */
export type CreateSource<D extends DType = DType> =
  | {
      /** Elements along each axis. */
      readonly shape: readonly number[]
      /** The dtype of the elements, by any of its names. */
      readonly dtype: D | (string & {})
      /** The value of every element; zero when left out. */
      readonly fill?: ValueOf<D> | undefined
    }
  | NdArrayLike
  | TypedArray
  | NestedArray<number | bigint | boolean>

/** The dtype of the file that a source makes, as far as its type tells. */
export type CreatedDType<S> = S extends { readonly dtype: infer D extends DType }
  ? D
  : S extends { readonly data: infer T }
    ? DTypeOfData<T>
    : S extends number | bigint | boolean
      ? DType
      : DTypeOfData<S>

/** What a typed array's own name says of its dtype. */
interface DTypeOfTag {
  Int8Array: 'int8'
  Uint8Array: 'uint8'
  Uint8ClampedArray: 'uint8'
  Int16Array: 'int16'
  Uint16Array: 'uint16'
  Int32Array: 'int32'
  Uint32Array: 'uint32'
  BigInt64Array: 'int64'
  BigUint64Array: 'uint64'
  Float16Array: 'float16'
  Float32Array: 'float32'
  Float64Array: 'float64'
}

/** The dtype of data; nested arrays are followed to a depth of `Depth` marks, deeper ones are any dtype. */
type DTypeOfData<T, Depth extends 0[] = [0, 0, 0, 0, 0, 0]> = T extends {
  readonly [Symbol.toStringTag]: infer Tag extends keyof DTypeOfTag
}
  ? DTypeOfTag[Tag]
  : T extends number
    ? 'float64'
    : T extends bigint
      ? 'int64'
      : T extends boolean
        ? 'bool'
        : T extends readonly (infer U)[]
          ? Depth extends [0, ...infer Rest extends 0[]]
            ? DTypeOfData<U, Rest>
            : DType
          : DType

/** Options of {@link create} and {@link createSync}. */
export interface CreateOptions extends WriteOptions {
  /**
   * Reserve the disk space, so that a full disk is ENOSPC here and not a fault later; default true.
   *
   * Without it a file of zeros is sparse: it takes no space, and a later store that finds no block ends the process.
   */
  reserve?: boolean | undefined
  /** Bytes of address space kept ahead for growth: see `OpenOptions`. */
  capacity?: number | undefined
  /** Where the bytes are to live, as for `open`. One that cannot be had is an error when the file is there already. */
  backing?: BackingChoice | undefined
}

/**
 * Makes an array file, whole or not at all, and returns it open in mode 'r+'; the main thread stays free.
 *
 * The source is a shape (`{ shape, dtype, fill? }`, of any size: nothing passes through memory), a typed array, anything
 * with the fields of an ndarray (strided too, `{ data, shape, stride, offset, dtype }`), or nested arrays.
 *
 * Rejects with an `MmapError`: EEXIST unless `overwrite`, ERR_LOCKED, ENOSPC, ENOENT, EACCES, ...; ERR_UNSUPPORTED_DTYPE and
 * ERR_TOO_LARGE for what the format cannot say; ERR_INVALID_STATE when the source is detached meanwhile. Wrong arguments
 * reject with Node's codes.
 */
export function create<const S extends CreateSource>(
  path: PathLike,
  source: S,
  options?: CreateOptions,
): Promise<MmapArray<CreatedDType<S>>>
export function create<D extends DType = DType>(
  path: PathLike,
  source: CreateSource<D>,
  options?: CreateOptions,
): Promise<MmapArray<D>>
export async function create<D extends DType = DType>(
  path: PathLike,
  source: CreateSource<D>,
  options?: CreateOptions,
): Promise<MmapArray<D>> {
  const { file, native, backing, element, blocks } = plan(path, source, options)
  const writer = await createNative(file, native, element)
  try {
    for (const [offset, bytes] of blocks) await writer.write(offset, bytes)
    return MmapArray.wrap(await writer.commit(), file, 'r+', backing)
  } finally {
    writer.abort()
  }
}

/** Makes an array file before it returns; arguments are those of `create`, and it throws what that rejects with. */
export function createSync<const S extends CreateSource>(
  path: PathLike,
  source: S,
  options?: CreateOptions,
): MmapArray<CreatedDType<S>>
export function createSync<D extends DType = DType>(
  path: PathLike,
  source: CreateSource<D>,
  options?: CreateOptions,
): MmapArray<D>
export function createSync<D extends DType = DType>(
  path: PathLike,
  source: CreateSource<D>,
  options?: CreateOptions,
): MmapArray<D> {
  const { file, native, backing, element, blocks } = plan(path, source, options)
  const writer = createNativeSync(file, native, element)
  try {
    for (const [offset, bytes] of blocks) writer.writeSync(offset, bytes)
    return MmapArray.wrap(writer.commitSync(), file, 'r+', backing)
  } finally {
    writer.abort()
  }
}

interface Plan {
  readonly file: string
  readonly native: NativeCreateOptions
  readonly backing: BackingChoice
  /** One element in bytes, when every element of the file is that. */
  readonly element: Uint8Array | undefined
  /** Byte offset and bytes of each part of the data. */
  readonly blocks: Iterable<[offset: number, bytes: Uint8Array]>
}

function plan(path: PathLike, source: unknown, options: CreateOptions | undefined): Plan {
  checkOptions(options, ['format', 'order', 'overwrite', 'reserve', 'capacity', 'backing'], 'create')
  const { reserve = true } = options ?? {}
  if (typeof reserve !== 'boolean') throw invalidArgType('reserve', 'of type boolean', reserve)
  const backing = checkBacking(options)
  const { file, format, order, overwrite } = checkTarget(path, options ?? {})
  const capacity = checkCapacity(options?.capacity)
  const common = { format, order, overwrite, reserve, capacity }
  const wanted = typeOfSource(source)
  if (isShapeSource(source)) {
    checkOptions(source, ['shape', 'dtype', 'fill'], 'create by shape')
    if (wanted === undefined) throw invalidArgType('source.dtype', 'of type string', undefined)
    const native = { ...common, ...typed(wanted, checkShape(source.shape, 'source.shape')) }
    checkSize(native.shape, wanted, file, backing)
    return { file, native, backing, element: elementOf(wanted, source.fill), blocks: [] }
  }
  if (typeof source !== 'object' || source === null) {
    const expected = 'a shape with a dtype, a typed array, an ndarray or a nested array'
    throw invalidArgType('source', expected, source)
  }
  const strided = toStrided(source, wanted?.dtype)
  const type = wanted ?? { dtype: strided.dtype, complex: false }
  const native = { ...common, ...typed(type, strided.shape) }
  checkSize(native.shape, type, file, backing)
  return { file, native, backing, element: undefined, blocks: blocksOf(strided, type, order) }
}

/** dtype and shape as native code takes them: complex numbers whole, without the axis of their parts. */
function typed({ dtype, complex }: ElementType, shape: number[]): { dtype: string; shape: number[] } {
  if (!complex) return { dtype, shape }
  if (shape.at(-1) !== 2) {
    throw invalidArgValue(
      'shape',
      'must end in an axis of 2, the real and the imaginary part, for a complex dtype',
      shape,
    )
  }
  return { dtype: dtype === 'float32' ? 'complex64' : 'complex128', shape: shape.slice(0, -1) }
}

/** Throws ERR_TOO_LARGE where the array could not be opened after it was made: then there is to be no file either. */
function checkSize(
  shape: readonly number[],
  { dtype, complex }: ElementType,
  file: string,
  backing: BackingChoice,
): void {
  checkFits(sizeOf(shape) * itemsizeOf(dtype) * (complex ? 2 : 1), file, backing)
}

interface ShapeSource {
  readonly shape: unknown
  readonly fill?: unknown
}

function isShapeSource(source: unknown): source is ShapeSource {
  return typeof source === 'object' && source !== null && 'shape' in source && !('data' in source)
}

/** What scijs calls the types that have another name here; its other names say nothing about the elements. */
const SCIJS: Readonly<Record<string, DType | undefined>> = {
  array: undefined,
  generic: undefined,
  buffer: 'uint8',
  uint8_clamped: 'uint8',
  bigint64: 'int64',
  biguint64: 'uint64',
}

/** The element type that a source asks for by name. */
function typeOfSource(source: unknown): ElementType | undefined {
  if (typeof source !== 'object' || source === null || !('dtype' in source) || source.dtype === undefined) {
    return undefined
  }
  const { dtype } = source
  if (typeof dtype !== 'string' || !Object.hasOwn(SCIJS, dtype)) return parseElementType(dtype)
  const meant = SCIJS[dtype]
  return meant && { dtype: meant, complex: false }
}

/** One element in bytes; each part of a complex number is one. */
function elementOf({ dtype }: ElementType, value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined
  const element = allocate(dtype, 1)
  put(element, 0, checkValue(dtype, value))
  return bytesOf(element)
}
