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
  | 'float16'
  | 'bfloat16'
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
  /** Where the runtime has it. */
  float16: Float16Array
  bfloat16: never
  float32: Float32Array
  float64: Float64Array
}

/** The typed array that shows the elements of a dtype in place; never for bfloat16. */
export type TypedArrayIn<D extends DType> = TypedArrays[D]

/** What `toTypedArray` gives: a copy of 16-bit floats that no typed array shows is a Float32Array of the same values. */
export type TypedArrayOf<D extends DType> = D extends 'float16' | 'bfloat16'
  ? TypedArrays[D] | Float32Array
  : TypedArrays[D]

/** Any typed array that a dtype names. */
export type TypedArray = TypedArrayIn<DType>

/** What reading one element gives: a bigint for the 64-bit integers, else a number (bool: 0 or 1). */
export type ScalarOf<D extends DType> = D extends 'int64' | 'uint64' ? bigint : number

/** What can be written to one element: what reading gives, and for bool a boolean too. */
export type ValueOf<D extends DType> = D extends 'bool' ? number | boolean : ScalarOf<D>

interface TypedArrayConstructor<D extends DType> {
  readonly name: string
  readonly BYTES_PER_ELEMENT: number
  new (length: number): TypedArrayIn<D>
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArrayIn<D>
}

/** Float16Array, where the runtime has it. */
const Float16: TypedArrayConstructor<'float16'> | undefined = Reflect.get(globalThis, 'Float16Array')

/** The typed array constructor of each dtype; undefined where no typed array holds its elements. */
export const constructors: { readonly [D in DType]: TypedArrayConstructor<D> | undefined } = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float16: Float16,
  bfloat16: undefined,
  float32: Float32Array,
  float64: Float64Array,
}

/** Every dtype, by its long name. */
export const dtypes = Object.keys(constructors) as readonly DType[]

/** True when this machine stores the lowest byte first. */
export const nativeLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/** Bytes of one element. */
export function itemsizeOf(dtype: DType): number {
  return constructors[dtype]?.BYTES_PER_ELEMENT ?? 2
}

/** True for the dtypes whose elements are bigints. */
export function isBigInt(dtype: DType): dtype is 'int64' | 'uint64' {
  return dtype === 'int64' || dtype === 'uint64'
}

const byTag = new Map(dtypes.map((dtype) => [constructors[dtype]?.name, dtype]))

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

/** The type of a file's elements: a dtype, or two of it that make a complex number. */
export interface ElementType {
  readonly dtype: DType
  readonly complex: boolean
}

/** Names that are known and not held, as patterns: long, short and numpy spellings. */
const UNSUPPORTED =
  /^[<>|=]?(f12|f16|f96|f128|c24|c32|longdouble|clongdouble|O8?|object|[SUVa]\d*|[mM]8?(\[.*\])?)$/

const spellings = new Map<string, ElementType>(dtypes.map((dtype) => [dtype, { dtype, complex: false }]))
const nativeOrders = ['', '|', '=', nativeLittleEndian ? '<' : '>']
for (const dtype of dtypes) {
  const bytes = itemsizeOf(dtype)
  if (dtype === 'bfloat16') continue
  const letter = dtype.startsWith('u') ? 'u' : (dtype[0] ?? '')
  const orders = bytes === 1 ? ['', '|', '=', '<', '>'] : nativeOrders
  for (const order of orders) spellings.set(`${order}${letter}${bytes}`, { dtype, complex: false })
  if (bytes > 1) spellings.set(`${letter}${bytes * 8}`, { dtype, complex: false })
}
spellings.set('?', { dtype: 'bool', complex: false })
spellings.set('bf16', { dtype: 'bfloat16', complex: false })
for (const [bytes, dtype] of [
  [8, 'float32'],
  [16, 'float64'],
] as const) {
  spellings.set(`complex${bytes * 8}`, { dtype, complex: true })
  for (const order of nativeOrders) spellings.set(`${order}c${bytes}`, { dtype, complex: true })
}

/**
 * The element type that `text` names: a long name ('float64', 'complex64'), a numpy code in native byte order ('<f8',
 * 'f8', '|u1', '=i4') or a short name ('f64', 'bf16').
 *
 * 'i8' and 'u8' are numpy codes, which count bytes, and so have 64 bits. `foreign` allows codes of the other byte order,
 * which only a file can have. Throws ERR_INVALID_ARG_TYPE for a non-string, ERR_UNSUPPORTED_DTYPE for a dtype that is
 * known and not held here, and ERR_INVALID_ARG_VALUE for text that names nothing.
 */
export function parseElementType(text: unknown, foreign = false): ElementType {
  if (typeof text !== 'string') throw invalidArgType('dtype', 'of type string', text)
  const found = spellings.get(text)
  if (found !== undefined) return found
  const swapped = /^[<>]\w+$/.test(text) ? spellings.get(text.slice(1)) : undefined
  if (swapped !== undefined && foreign) return swapped
  if (swapped !== undefined) {
    const message = `dtype ${text} is of the other byte order, which only a file can have; write '${swapped.dtype}'`
    throw new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype: text })
  }
  if (UNSUPPORTED.test(text)) {
    const message = `dtype ${text} is not supported; supported are ${dtypes.join(', ')}, complex64, complex128`
    throw new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype: text })
  }
  throw invalidArgValue('dtype', `must be one of ${dtypes.join(', ')}, complex64, complex128`, text)
}

/** The dtype that `text` names, as `parseElementType`; a complex type is refused, because a view has its parts. */
export function parseDType(text: unknown): DType {
  const { dtype, complex } = parseElementType(text)
  if (!complex) return dtype
  const message = `dtype ${text} is that of a file; a view has its parts, as '${dtype}' with a last axis of 2`
  throw new MmapError(message, { code: 'ERR_UNSUPPORTED_DTYPE', dtype: text as string })
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
  if (to === 'bool') return (value) => (value === 0 || value === 0n ? 0 : 1)
  if (from === 'bool')
    return isBigInt(to) ? (value) => (value === 0 ? 0n : 1n) : (value) => (value === 0 ? 0 : 1)
  if (from === to) return undefined
  if (isBigInt(to)) {
    if (isBigInt(from)) return undefined
    return (value) => (Number.isFinite(value) ? BigInt(Math.trunc(value as number)) : 0n)
  }
  if (!isBigInt(from)) return undefined
  if (to.includes('float')) return Number
  return (value) => Number(BigInt.asUintN(32, value as bigint))
}
