/**
 * Everything the library throws on purpose.
 *
 * Wrong use is a TypeError or RangeError with one of Node's own codes; everything else is an `MmapError`.
 * Callers are meant to compare `code`, never the text, so the codes are a closed union and the texts are free
 * to improve.
 */

/** Codes of the OS that files and mappings commonly meet; libuv's names, also on Windows. */
export type SystemErrorCode =
  | 'EACCES'
  | 'EAGAIN'
  | 'EBADF'
  | 'EBUSY'
  | 'EDQUOT'
  | 'EEXIST'
  | 'EFAULT'
  | 'EFBIG'
  | 'EINTR'
  | 'EINVAL'
  | 'EIO'
  | 'EISDIR'
  | 'ELOOP'
  | 'EMFILE'
  | 'EMLINK'
  | 'ENAMETOOLONG'
  | 'ENFILE'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'ENOTDIR'
  | 'ENOTSUP'
  | 'ENXIO'
  | 'EOVERFLOW'
  | 'EPERM'
  | 'EROFS'
  | 'ESTALE'
  | 'ETIMEDOUT'
  | 'ETXTBSY'
  | 'EXDEV'
  | 'UNKNOWN'

/**
 * What `MmapError.code` can be.
 *
 * | code | when | fields |
 * |---|---|---|
 * | `ENOENT`, `ENOSPC`, ... | the OS refused | `errno syscall path` |
 * | `ERR_INVALID_MAGIC` | the file is of no known format | |
 * | `ERR_UNSUPPORTED_VERSION` | a known format in an unknown version | `version` |
 * | `ERR_INVALID_HEADER` | the header is malformed or hostile | |
 * | `ERR_FILE_TOO_SHORT` | the header promises more than the file holds | `expected`, `actual`, in bytes |
 * | `ERR_TRAILING_DATA` | `strict`, and bytes are left over | |
 * | `ERR_UNSUPPORTED_DTYPE` | objects, strings, dtypes that are not (yet) held | `dtype` |
 * | `ERR_DTYPE_MISMATCH` | the file holds another dtype than was asked for | `expected`, `actual` |
 * | `ERR_SHAPE_MISMATCH` | the file holds another shape than was asked for | `expected`, `actual` |
 * | `ERR_NOT_CONTIGUOUS` | contiguous memory is needed and the view is strided | |
 * | `ERR_READ_ONLY` | a write to something opened or viewed read-only | |
 * | `ERR_CLOSED` | use after `close()` | |
 * | `ERR_LOCKED` | somebody else holds the file's lock | |
 * | `ERR_MAPPING_LOST` | pages vanished under the mapping, or stores to them did | `reason`: truncated, no-space, io |
 * | `ERR_STALE` | the file at `path` is no longer the one that was opened, or was written to, or somebody else has changed its length; its checksums are of another length | |
 * | `ERR_TOO_LARGE` | more than this runtime can address or allocate | |
 * | `ERR_INVALID_STATE` | data was detached while it was needed; an append that is under way; a commit that the mode or other users do not allow; a worker of `mapChunks` ended too early | |
 * | `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` | this runtime or OS cannot do what was asked | |
 * | `ABORT_ERR` | the caller's signal; `name` is AbortError | `cause`: the signal's reason |
 */
export type MmapErrorCode =
  | 'ERR_INVALID_MAGIC'
  | 'ERR_UNSUPPORTED_VERSION'
  | 'ERR_INVALID_HEADER'
  | 'ERR_FILE_TOO_SHORT'
  | 'ERR_TRAILING_DATA'
  | 'ERR_UNSUPPORTED_DTYPE'
  | 'ERR_DTYPE_MISMATCH'
  | 'ERR_SHAPE_MISMATCH'
  | 'ERR_NOT_CONTIGUOUS'
  | 'ERR_READ_ONLY'
  | 'ERR_CLOSED'
  | 'ERR_LOCKED'
  | 'ERR_MAPPING_LOST'
  | 'ERR_STALE'
  | 'ERR_TOO_LARGE'
  | 'ERR_INVALID_STATE'
  | 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM'
  | 'ABORT_ERR'
  | SystemErrorCode

/** What an `MmapError` carries beside its message; a field that is undefined is not set. */
export interface MmapErrorFields {
  /** Which error it is. */
  readonly code: MmapErrorCode
  /** The file it is about. */
  readonly path?: string | undefined
  /** The OS's number, negative as in Node.js. */
  readonly errno?: number | undefined
  /** What the OS refused. */
  readonly syscall?: string | undefined
  /** What should have been there: bytes, a dtype or a shape. */
  readonly expected?: number | string | readonly number[] | undefined
  /** What was there instead. */
  readonly actual?: number | string | readonly number[] | undefined
  /** The dtype that is not supported. */
  readonly dtype?: string | undefined
  /** The version that is not known. */
  readonly version?: number | string | undefined
  /** Why a mapping was lost: 'truncated', 'no-space' or 'io'. */
  readonly reason?: string | undefined
  /** What led to it: the reason of the caller's signal. */
  readonly cause?: unknown
}

const FIELDS = [
  'code',
  'path',
  'errno',
  'syscall',
  'expected',
  'actual',
  'dtype',
  'version',
  'reason',
] as const satisfies readonly (keyof MmapErrorFields)[]

/** An error of the library or of the OS under it; `code` says which, and never changes its meaning. */
export class MmapError extends Error implements MmapErrorFields {
  /** Which error it is. */
  declare readonly code: MmapErrorCode
  /** The file it is about. */
  declare readonly path?: string
  /** The OS's number, negative as in Node.js. */
  declare readonly errno?: number
  /** What the OS refused. */
  declare readonly syscall?: string
  /** What should have been there: bytes, a dtype or a shape. */
  declare readonly expected?: number | string | readonly number[]
  /** What was there instead. */
  declare readonly actual?: number | string | readonly number[]
  /** The dtype that is not supported. */
  declare readonly dtype?: string
  /** The version that is not known. */
  declare readonly version?: number | string
  /** Why a mapping was lost: 'truncated', 'no-space' or 'io'. */
  declare readonly reason?: string

  constructor(message: string, fields: MmapErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause })
    for (const field of FIELDS) {
      if (fields[field] !== undefined) Object.assign(this, { [field]: fields[field] })
    }
    if (fields.code === 'ABORT_ERR') define(this, 'name', 'AbortError')
  }
}
define(MmapError.prototype, 'name', 'MmapError')

function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, configurable: true, writable: true })
}

/**
 * True when `err` is an `MmapError` whose code is one of `codes`, or any `MmapError` when no code is given.
 *
 * It narrows the type: `if (isMmapError(err, 'ERR_LOCKED')) err.code` is `'ERR_LOCKED'`.
 */
export function isMmapError<C extends MmapErrorCode = MmapErrorCode>(
  err: unknown,
  ...codes: C[]
): err is MmapError & {
  /** One of `codes`. */
  readonly code: C
} {
  return err instanceof MmapError && (codes.length === 0 || (codes as string[]).includes(err.code))
}

/** The codes of wrong use; they are Node's own. */
export type ArgumentErrorCode = 'ERR_INVALID_ARG_TYPE' | 'ERR_INVALID_ARG_VALUE' | 'ERR_OUT_OF_RANGE'

type Coded<E extends Error, C extends ArgumentErrorCode> = E & { readonly code: C }

/** A TypeError with ERR_INVALID_ARG_TYPE: `The "path" argument must be of type string. Received null`. */
export function invalidArgType(name: string, expected: string, value: unknown) {
  const message = `The "${name}" argument must be ${expected}. Received ${received(value)}`
  return coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE')
}

/** A TypeError with ERR_INVALID_ARG_VALUE: `The argument 'mode' must be 'r', 'r+' or 'c'. Received 'w'`. */
export function invalidArgValue(name: string, reason: string, value: unknown) {
  const message = `The argument '${name}' ${reason}. Received ${show(value)}`
  return coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE')
}

/**
 * A RangeError with ERR_OUT_OF_RANGE: `The value of "axis" is out of range. It must be >= 0 && < 2. Received
 * 5`.
 */
export function outOfRange(name: string, range: string, value: unknown) {
  const message = `The value of "${name}" is out of range. It must be ${range}. Received ${show(value)}`
  return coded(new RangeError(message), 'ERR_OUT_OF_RANGE')
}

/**
 * The error that native code asks for: an `MmapError`, or where an argument got past all checks here, or only native code
 * could check it, a RangeError or TypeError of Node's kind.
 */
export function makeError(message: string, fields: MmapErrorFields | ArgumentErrorFields): Error {
  if (fields.code === 'ERR_OUT_OF_RANGE') return Object.assign(new RangeError(message), fields)
  if (fields.code === 'ERR_INVALID_ARG_VALUE') return Object.assign(new TypeError(message), fields)
  return new MmapError(message, fields as MmapErrorFields)
}

interface ArgumentErrorFields {
  readonly code: ArgumentErrorCode
  readonly path?: string
}

function coded<E extends Error, C extends ArgumentErrorCode>(error: E, code: C): Coded<E, C> {
  return Object.assign(error, { code })
}

/**
 * The number itself when it is an integer within `[min, max]`, both included.
 *
 * Throws ERR_INVALID_ARG_TYPE for anything but a number (a bigint too) and ERR_OUT_OF_RANGE for NaN, a
 * fraction or an integer outside the bounds, which are the exact integers of JavaScript unless told
 * otherwise. -0 comes back as 0.
 */
export function checkInteger(
  name: string,
  value: unknown,
  min: number = Number.MIN_SAFE_INTEGER,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value)
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value)
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value)
  return value + 0
}

/**
 * Checks that `options` is undefined or a plain object that has only known names.
 *
 * A misspelt option would otherwise be ignored, which for `mode` or `overwrite` loses data. `what` names the
 * function in the message. Throws ERR_INVALID_ARG_TYPE for a non-object, ERR_INVALID_ARG_VALUE for an unknown
 * name, with the nearest known one.
 */
export function checkOptions(options: unknown, knownNames: readonly string[], what: string): void {
  if (options === undefined) return
  if (
    typeof options !== 'object' ||
    options === null ||
    Array.isArray(options) ||
    ArrayBuffer.isView(options)
  ) {
    throw invalidArgType('options', 'of type object', options)
  }
  for (const name of Object.keys(options)) {
    if (knownNames.includes(name)) continue
    const meant = nearest(name, knownNames)
    const hint = meant === undefined ? '.' : `; did you mean '${meant}'?`
    const message = `Unknown option '${name}'${hint} ${what} takes ${knownNames.join(', ') || 'no options'}`
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE')
  }
}

/**
 * Checks that no name of a plain object is a misspelling of a known one; unlike options, it may have other names.
 *
 * Throws ERR_INVALID_ARG_VALUE with the known name. Objects of a class are taken as they are.
 */
export function checkSpelling(object: object, knownNames: readonly string[], what: string): void {
  const prototype: unknown = Object.getPrototypeOf(object)
  if (prototype !== Object.prototype && prototype !== null) return
  for (const name of Object.keys(object)) {
    const meant = knownNames.includes(name) ? undefined : nearest(name, knownNames, 1)
    if (meant === undefined || Object.hasOwn(object, meant)) continue
    const message = `Unknown field '${name}' in ${what}; did you mean '${meant}'?`
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE')
  }
}

/** The known name within `most` edits of `name`, case aside, or undefined. */
function nearest(name: string, knownNames: readonly string[], most = 2): string | undefined {
  let best: string | undefined
  let least = most + 1
  for (const known of knownNames) {
    const distance = edits(name.toLowerCase(), known.toLowerCase())
    if (distance < least) {
      least = distance
      best = known
    }
  }
  return best
}

/** The Levenshtein distance of two short words. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** A value as messages print it: short, and never the contents of anything large. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 40 ? `${value.slice(0, 40)}...` : value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (Object.is(value, -0)) return '-0'
  if (Array.isArray(value)) {
    const items = value.slice(0, 8).map((item) => (Array.isArray(item) ? '[...]' : show(item)))
    return `[${items.join(', ')}${value.length > 8 ? ', ...' : ''}]`
  }
  return typeof value === 'object' || typeof value === 'function' ? received(value) : String(value)
}

/** What Node prints after "Received": the kind of a value, and the value where it is a primitive. */
function received(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`
  if (typeof value !== 'object') return `type ${typeof value} (${show(value)})`
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object'
}
