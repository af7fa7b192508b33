/** Opening: options are checked here, the file is opened natively, and the result is wrapped. */
import { type DType, parseDType } from './dtype.js'
import { checkOptions, invalidArgType, invalidArgValue, show } from './errors.js'
import { checkShape } from './layout.js'
import { MmapArray } from './mmap-array.js'
import { type NativeOpenOptions, openNative, openNativeSync } from './native.js'
import { checkPath, type PathLike } from './path.js'

/** How stores behave: `r` refuses them, `r+` brings them to the file, `c` keeps them in this process. */
export type Mode = 'r' | 'r+' | 'c'

/** The formats that can be opened. */
export type Format = 'mmap' | 'npy'

/** Options of {@link open} and {@link openSync}. */
export interface OpenOptions<D extends DType = DType> {
  /** How the file is mapped; default 'r'. */
  mode?: Mode | 'readonly' | 'readwrite' | 'copyonwrite' | undefined
  /** The dtype you expect; ERR_DTYPE_MISMATCH when the file holds another. */
  dtype?: D | (string & {}) | undefined
  /** The shape you expect, in elements; ERR_SHAPE_MISMATCH when the file holds another. */
  shape?: readonly number[] | undefined
  /** The format; found from the content when left out, never from the name. */
  format?: Format | undefined
  /** Refuse bytes after the array and padding that is not zero. */
  strict?: boolean | undefined
  /** Where the bytes live; 'external' (and 'auto') is an ArrayBuffer over the mapping itself. */
  backing?: 'auto' | 'external' | undefined
}

const MODES: Readonly<Record<string, Mode>> = {
  r: 'r',
  'r+': 'r+',
  c: 'c',
  readonly: 'r',
  readwrite: 'r+',
  copyonwrite: 'c',
}

/** The formats that can be opened and written. */
export const FORMATS: readonly Format[] = ['mmap', 'npy']

/**
 * Opens an array file and maps it, without holding up the main thread; the time does not depend on its size.
 *
 * Rejects with an `MmapError`: the OS's refusals (`ENOENT`, `EACCES`, `EISDIR`, ...), ERR_INVALID_MAGIC,
 * ERR_UNSUPPORTED_VERSION, ERR_INVALID_HEADER, ERR_FILE_TOO_SHORT, ERR_TRAILING_DATA, ERR_UNSUPPORTED_DTYPE,
 * ERR_DTYPE_MISMATCH, ERR_SHAPE_MISMATCH, ERR_TOO_LARGE. Wrong arguments reject with Node's codes.
 */
export async function open<D extends DType = DType>(
  path: PathLike,
  options?: OpenOptions<D>,
): Promise<MmapArray<D>> {
  const file = checkPath(path)
  const native = checkOpen(options)
  return MmapArray.wrap(await openNative(file, native), file, native.mode as Mode)
}

/** Opens an array file and maps it before it returns; options are those of `open`, and it throws what that rejects with. */
export function openSync<D extends DType = DType>(path: PathLike, options?: OpenOptions<D>): MmapArray<D> {
  const file = checkPath(path)
  const native = checkOpen(options)
  return MmapArray.wrap(openNativeSync(file, native), file, native.mode as Mode)
}

function checkOpen(options: OpenOptions | undefined): NativeOpenOptions {
  checkOptions(options, ['mode', 'dtype', 'shape', 'format', 'strict', 'backing'], 'open')
  const { mode = 'r', dtype, shape, format, strict = false, backing = 'auto' } = options ?? {}
  if (typeof strict !== 'boolean') throw invalidArgType('strict', 'of type boolean', strict)
  if (!['auto', 'external'].includes(backing)) {
    throw invalidArgValue('backing', `must be 'auto' or 'external'`, backing)
  }
  return {
    mode: checkMode(mode),
    strict,
    ...(dtype !== undefined && { dtype: parseDType(dtype) }),
    ...(shape !== undefined && { shape: checkShape(shape) }),
    ...(format !== undefined && { format: checkFormat(format) }),
  }
}

function checkMode(mode: unknown): Mode {
  if (typeof mode !== 'string') throw invalidArgType('mode', 'of type string', mode)
  const found = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined
  if (found === undefined) {
    throw invalidArgValue('mode', `must be one of ${Object.keys(MODES).map(show).join(', ')}`, mode)
  }
  return found
}

/** A format that can be opened and written, checked. */
export function checkFormat(format: unknown): Format {
  if (typeof format !== 'string') throw invalidArgType('format', 'of type string', format)
  if (!FORMATS.includes(format as Format)) {
    throw invalidArgValue('format', `must be one of ${FORMATS.map(show).join(', ')}`, format)
  }
  return format as Format
}
