/**
 * dtype names, as types and as values: one table from which the constructor, the element size and the
 * accepted spellings follow, so that a new dtype is one new row.
 */
import { invalidArgType, invalidArgValue, MmapError } from './errors.js'

/** The dtypes a view can have; the long name is always what `dtype` says. */
export type DType =
  | 'bool'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'float32'
  | 'float64'

interface TypedArrays {
  bool: Uint8Array
  int8: Int8Array
  uint8: Uint8Array
  int16: Int16Array
  uint16: Uint16Array
  int32: Int32Array
  uint32: Uint32Array
  int64: BigInt64Array
  uint64: BigUint64Array
  float32: Float32Array
  float64: Float64Array
}

/** The typed array that holds elements of a dtype in memory. */
export type TypedArrayOf<D extends DType> = TypedArrays[D]

/** Any typed array that a dtype names. */
export type TypedArray = TypedArrayOf<DType>

/** What reading one element gives: a bigint for the 64-bit integers, else a number (bool: 0 or 1). */
export type ScalarOf<D extends DType> = D extends 'int64' | 'uint64' ? bigint : number

/** What can be written to one element: what reading gives, and for bool a boolean too. */
export type ValueOf<D extends DType> = D extends 'bool' ? number | boolean : ScalarOf<D>

interface TypedArrayConstructor<D extends DType> {
  readonly name: string
  readonly BYTES_PER_ELEMENT: number
  new (length: number): TypedArrayOf<D>
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArrayOf<D>
}

/** The typed array constructor of each dtype. */
export const constructors: { readonly [D in DType]: TypedArrayConstructor<D> } = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
}

/** Every dtype, by its long name. */
export const dtypes = Object.keys(constructors) as readonly DType[]

/** True when this machine stores the lowest byte first. */
export const nativeLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/** Bytes of one element. */
export function itemsizeOf(dtype: DType): number {
  return constructors[dtype].BYTES_PER_ELEMENT
}

/** True for the dtypes whose elements are bigints. */
export function isBigInt(dtype: DType): dtype is 'int64' | 'uint64' {
  return dtype === 'int64' || dtype === 'uint64'
}

const byTag = new Map(dtypes.map((dtype) => [constructors[dtype].name, dtype]))

/**
 * The dtype that a typed array holds, or undefined for anything else.
 *
 * A Uint8Array is 'uint8', never 'bool'. A Buffer counts as the Uint8Array it is, a Uint8ClampedArray as
 * uint8.
 */
export function dtypeOf(data: unknown): DType | undefined {
  if (!ArrayBuffer.isView(data)) return undefined
  const tag = (data as Partial<TypedArray>)[Symbol.toStringTag] as string | undefined
  return tag === 'Uint8ClampedArray' ? 'uint8' : byTag.get(tag ?? '')
}

/**
 * A new zeroed typed array of `length` elements.
 *
 * Throws ERR_TOO_LARGE when the runtime cannot make one of that size.
 */
export function allocate<D extends DType>(dtype: D, length: number): TypedArrayOf<D> {
  try {
    return new constructors[dtype](length)
  } catch (cause) {
    const message = `Cannot hold ${length} elements of ${dtype} in memory (${(cause as Error).message}); work on slices`
    throw new MmapError(message, { code: 'ERR_TOO_LARGE', cause })
  }
}

/** The bytes of a typed array, in the same memory. */
export function bytesOf(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** Names that are known and not held yet, as patterns: their long, short and numpy spellings. */
const UNSUPPORTED =
  /^(float16|f16|bfloat16|bf16|complex(64|128)|[<>|=]?(f2|f16|c8|c16|c32|O8?|[SUVa]\d*|[mM]8?(\[.*\])?))$/

const spellings = new Map<string, DType>(dtypes.map((dtype) => [dtype, dtype]))
for (const dtype of dtypes) {
  const letter = isUnsigned(dtype) ? 'u' : (dtype[0] ?? '')
  const bytes = itemsizeOf(dtype)
  const orders = bytes === 1 ? ['', '|', '=', '<', '>'] : ['', '|', '=', nativeLittleEndian ? '<' : '>']
  for (const order of orders) spellings.set(`${order}${letter}${bytes}`, dtype)
  if (bytes > 1) spellings.set(`${letter}${bytes * 8}`, dtype)
}
spellings.set('?', 'bool')

function isUnsigned(dtype: DType): boolean {
  return dtype.startsWith('u')
}

/**
 * The dtype that `text` names: a long name ('float64'), a numpy code in native byte order ('<f8', 'f8',
 * '|u1', '=i4') or a short name ('f64', 'u16').
 *
 * 'i8' and 'u8' are numpy codes, which count bytes, and so have 64 bits. Throws ERR_INVALID_ARG_TYPE for a non-string, ERR_UNSUPPORTED_DTYPE for a dtype that
 * is known and not held here, and ERR_INVALID_ARG_VALUE for text that names nothing.
 */
export function parseDType(text: unknown): DType {
  if (typeof text !== 'string') throw invalidArgType('dtype', 'of type string', text)
  const dtype = spellings.get(text)
  if (dtype !== undefined) return dtype
  if (UNSUPPORTED.test(text)) {
    const message = `dtype ${text} is not supported; supported are ${dtypes.join(', ')}`
    throw new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype: text })
  }
  const swapped = /^[<>]\w+$/.test(text) ? spellings.get(text.slice(1)) : undefined
  if (swapped !== undefined) {
    const message = `dtype ${text} is of the other byte order, which only a file can have; write '${swapped}'`
    throw new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype: text })
  }
  throw invalidArgValue('dtype', `must be one of ${dtypes.join(', ')}`, text)
}

/**
 * The value as an element of `dtype` stores it; the same value, but for bool 1 for `true` and any nonzero
 * number, NaN included, else 0.
 *
 * As in a typed array, a number outside an integer type's range wraps when it is stored. Throws
 * ERR_INVALID_ARG_TYPE for a value of another type; nothing is converted between numbers and bigints.
 */
export function checkValue<D extends DType>(dtype: D, value: unknown): ScalarOf<D> {
  return checked(dtype, value) as ScalarOf<D>
}

function checked(dtype: DType, value: unknown): number | bigint {
  if (isBigInt(dtype)) {
    if (typeof value === 'bigint') return value
    const hint = typeof value === 'number' && Number.isSafeInteger(value) ? value : 5
    throw invalidArgType('value', `of type bigint for ${dtype}: write ${hint}n`, value)
  }
  if (typeof value === 'number') return dtype !== 'bool' ? value : value === 0 ? 0 : 1
  if (dtype === 'bool') {
    if (typeof value === 'boolean') return value ? 1 : 0
    throw invalidArgType('value', 'of type boolean or number for bool', value)
  }
  const hint = typeof value === 'bigint' ? `: write Number(${value}n)` : ''
  throw invalidArgType('value', `of type number for ${dtype}${hint}`, value)
}

/**
 * The function that turns an element of `from` into one of `to`, or undefined where a typed array does it
 * when it stores the element.
 *
 * It extends JavaScript's own rules for number arrays to bigints and bool: integers wrap, fractions are cut
 * towards zero, NaN and the infinities become 0 in an integer; anything but zero is 1 in a bool.
 */
export function conversion(
  from: DType,
  to: DType,
): ((value: number | bigint) => number | bigint) | undefined {
  if (from === to) return undefined
  if (to === 'bool') return (value) => (value === 0 || value === 0n ? 0 : 1)
  if (isBigInt(to)) {
    if (isBigInt(from)) return undefined
    return (value) => (Number.isFinite(value) ? BigInt(Math.trunc(value as number)) : 0n)
  }
  if (!isBigInt(from)) return undefined
  if (to === 'float32' || to === 'float64') return Number
  return (value) => Number(BigInt.asUintN(32, value as bigint))
}
