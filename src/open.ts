/** Opening: options are checked here, the file is opened natively, and the result is wrapped. */
import { type DType, parseElementType } from './dtype.js'
import { checkInteger, checkOptions, invalidArgType, invalidArgValue, show } from './errors.js'
import { checkIntegers, checkShape, type Order } from './layout.js'
import { MmapArray } from './mmap-array.js'
import { listNative, listNativeSync, type NativeOpenOptions, openNative, openNativeSync } from './native.js'
import { checkPath, type PathLike } from './path.js'

/** How stores behave: `r` refuses them, `r+` brings them to the file, `c` keeps them in this process. */
export type Mode = 'r' | 'r+' | 'c'

/** The formats that can be opened. */
export type Format = 'mmap' | 'npy' | 'safetensors' | 'npz' | 'raw'

/** Options of {@link open} and {@link openSync}. */
export interface OpenOptions<D extends DType = DType> {
  /** How the file is mapped; default 'r'. */
  mode?: Mode | 'readonly' | 'readwrite' | 'copyonwrite' | undefined
  /** The dtype you expect, ERR_DTYPE_MISMATCH when the file holds another; that of the elements of 'raw'. */
  dtype?: D | (string & {}) | undefined
  /** The shape you expect, in elements, ERR_SHAPE_MISMATCH when the file holds another; that of 'raw'. */
  shape?: readonly number[] | undefined
  /** The format; found from the content when left out, never from the name. */
  format?: Format | undefined
  /** Which tensor (safetensors), member (npz) or record field (npy), where a file holds several. */
  name?: string | undefined
  /** 'raw' only: byte of the file where the first element is; any number, aligned or not; default 0. */
  offset?: number | undefined
  /** 'raw' only: elements between neighbours along each axis, 0 and negative ones too; contiguous when left out. */
  strides?: readonly number[] | undefined
  /** 'raw' only: the order of the elements when there are no strides; default 'C'. */
  order?: Order | undefined
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

/** The formats that can be opened. */
const FORMATS: readonly Format[] = ['mmap', 'npy', 'safetensors', 'npz', 'raw']

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

/** One array of a file, as `list` finds it. */
export interface Entry {
  /** What `open` takes as `name`; empty for a file of one array without a name. */
  readonly name: string
  /** Long name of the dtype, or the file's own code where it cannot be opened. */
  readonly dtype: string
  /** Elements along each axis. */
  readonly shape: number[]
  /** Byte of the file where the elements start. */
  readonly offset: number
}

/**
 * Lists what a file holds, without mapping it: the tensors of safetensors, the members of npz, the fields of records.
 *
 * Rejects as `open` does for a file that is no array file.
 */
export async function list(path: PathLike): Promise<Entry[]> {
  return listNative(checkPath(path))
}

/** Lists what a file holds before it returns; throws what `list` rejects with. */
export function listSync(path: PathLike): Entry[] {
  return listNativeSync(checkPath(path))
}

const OPTIONS = [
  'mode',
  'dtype',
  'shape',
  'format',
  'name',
  'offset',
  'strides',
  'order',
  'strict',
  'backing',
]
function checkOpen(options: OpenOptions | undefined): NativeOpenOptions {
  checkOptions(options, OPTIONS, 'open')
  const { mode = 'r', dtype, shape, format, name, strict = false, backing = 'auto' } = options ?? {}
  const { offset, strides, order } = options ?? {}
  // Each option is read once: a getter may say something else the next time.
  if (typeof strict !== 'boolean') throw invalidArgType('strict', 'of type boolean', strict)
  if (name !== undefined && typeof name !== 'string') throw invalidArgType('name', 'of type string', name)
  if (!['auto', 'external'].includes(backing)) {
    throw invalidArgValue('backing', `must be 'auto' or 'external'`, backing)
  }
  if (format === 'raw' && dtype === undefined)
    throw invalidArgType('dtype', "of type string for format 'raw'", dtype)
  for (const [option, value] of Object.entries({ offset, strides, order })) {
    if (value !== undefined && format !== 'raw') {
      throw invalidArgValue(option, "is for format 'raw' only; the file says it itself", value)
    }
  }
  if (order !== undefined && order !== 'C' && order !== 'F')
    throw invalidArgValue('order', `must be 'C' or 'F'`, order)
  const complex = dtype !== undefined && parseElementType(dtype, true).complex
  const parts = {
    shape: shape === undefined ? undefined : checkShape(shape),
    strides: strides === undefined ? undefined : checkIntegers(strides, 'strides'),
  }
  const raw = format === 'raw' && complex ? wholeNumbers(parts) : parts
  return {
    mode: checkMode(mode),
    strict,
    ...(dtype !== undefined && { dtype }),
    ...(raw.shape !== undefined && { shape: raw.shape }),
    ...(format !== undefined && { format: checkFormat(format, FORMATS) }),
    ...(name !== undefined && { name }),
    ...(offset !== undefined && { offset: checkInteger('offset', offset, 0) }),
    ...(raw.strides !== undefined && { strides: raw.strides }),
    ...(order !== undefined && { order }),
  }
}

/** Shape and strides of raw complex numbers as native code takes them: without the axis of their two parts. */
function wholeNumbers({ shape, strides }: { shape: number[] | undefined; strides: number[] | undefined }) {
  if (shape !== undefined && shape.at(-1) !== 2) {
    throw invalidArgValue('shape', 'must end in an axis of 2, the parts of a complex number', shape)
  }
  if (
    strides !== undefined &&
    (strides.at(-1) !== 1 || strides.slice(0, -1).some((stride) => stride % 2 !== 0))
  ) {
    const reason = 'must end in 1 and be even before, in parts of complex numbers'
    throw invalidArgValue('strides', reason, strides)
  }
  return { shape: shape?.slice(0, -1), strides: strides?.slice(0, -1).map((stride) => stride / 2) }
}

function checkMode(mode: unknown): Mode {
  if (typeof mode !== 'string') throw invalidArgType('mode', 'of type string', mode)
  const found = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined
  if (found === undefined) {
    throw invalidArgValue('mode', `must be one of ${Object.keys(MODES).map(show).join(', ')}`, mode)
  }
  return found
}

/** A format of those that the caller offers, checked. */
export function checkFormat<F extends Format>(format: unknown, offered: readonly F[]): F {
  if (typeof format !== 'string') throw invalidArgType('format', 'of type string', format)
  if (!offered.includes(format as F)) {
    throw invalidArgValue('format', `must be one of ${offered.map(show).join(', ')}`, format)
  }
  return format as F
}
