/** Opening: options are checked here, the file is opened natively, and the result is wrapped. */
import { type BackingChoice, checkBacking } from './backing.js'
import { type DType, parseElementType } from './dtype.js'
import { checkInteger, checkOptions, invalidArgType, invalidArgValue, show } from './errors.js'
import { checkFormat } from './formats.js'
import { checkIntegers, checkShape, type Order } from './layout.js'
import { MmapArray } from './mmap-array.js'
import { listNative, listNativeSync, type NativeOpenOptions, openNative, openNativeSync } from './native.js'
import { checkPath, type PathLike } from './path.js'

/** How stores behave: `r` refuses them, `r+` brings them to the file, `c` keeps them in this process. */
export type Mode = 'r' | 'r+' | 'c'

/** A lock of a whole file: 'shared' by any number of arrays, or 'exclusive' to one. */
export type Lock = 'shared' | 'exclusive'

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
  /**
   * A lock of the whole file, held until the array is closed: 'shared' beside other shared ones, 'exclusive' alone. It is
   * had at once or refused with ERR_LOCKED, and keeps out only those who ask for one (and `create` with `overwrite`).
   */
  lock?: Lock | undefined
  /**
   * A SharedArrayBuffer over the mapping, which workers share and `Atomics` work on: the same as `backing: 'shared'`.
   * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM in a runtime that cannot make one (Node.js 20).
   */
  shared?: boolean | undefined
  /**
   * Where the bytes live; default 'auto', or what `MMAP_NDARRAY_BACKING` in the environment says: an ArrayBuffer over the
   * mapping itself where the runtime allows it ('external'), a SharedArrayBuffer with `shared`, the memory of a
   * WebAssembly.Memory where it allows no external one ('wasm'), windows for what no one buffer can hold ('window'). One that is
   * asked for by name and cannot be had is ERR_FEATURE_UNAVAILABLE_ON_PLATFORM, or ERR_TOO_LARGE. `array.backing` says what
   * it became.
   *
   * With 'window', `data` of an array of more than 4 GiB is an element store. `toTypedArray` is for what lies in one window, as
   * each row does, else ERR_NOT_CONTIGUOUS; and when more than 32 windows are used, the one that was used longest ago is
   * detached: typed arrays of it have length 0.
   */
  backing?: BackingChoice | undefined
  /**
   * Bytes of address space kept ahead for growth, so that `append`, `resize` and `refresh` go on with the same buffer; default
   * 0. It costs neither memory nor disk; `data.buffer` is as long, and what is behind the array reads as zeros. Less
   * where there are not so many addresses, none on macOS and Windows.
   */
  capacity?: number | undefined
  /**
   * Whether the file may be mapped; default true. With false, with `MMAP_NDARRAY_MMAP=off` in the environment, and where the
   * file system maps no files, what is used of it is read to an unnamed temporary file (in TMPDIR), in blocks of 1 MiB, and what
   * is stored in mode 'r+' is written to it by `flush`, `close`, before the length changes or the file itself is read
   * (`checksum`), and at the end of the process, unless that is killed. `backing` is 'window' then, and `data` copies one element at a
   * time: see docs/modes.md.
   */
  mmap?: boolean | undefined
}

const MODES: Readonly<Record<string, Mode>> = {
  r: 'r',
  'r+': 'r+',
  c: 'c',
  readonly: 'r',
  readwrite: 'r+',
  copyonwrite: 'c',
}

/** The formats that can be opened, as values. */
export const FORMATS: readonly Format[] = ['mmap', 'npy', 'safetensors', 'npz', 'raw']

/**
 * Opens an array file and maps it, without holding up the main thread; the time does not depend on its size.
 *
 * Rejects with an `MmapError`: the OS's refusals (`ENOENT`, `EACCES`, `EISDIR`, ...), ERR_INVALID_MAGIC,
 * ERR_UNSUPPORTED_VERSION, ERR_INVALID_HEADER, ERR_FILE_TOO_SHORT, ERR_TRAILING_DATA, ERR_UNSUPPORTED_DTYPE,
 * ERR_DTYPE_MISMATCH, ERR_SHAPE_MISMATCH, ERR_TOO_LARGE, ERR_LOCKED. Wrong arguments reject with Node's codes.
 */
export async function open<D extends DType = DType>(
  path: PathLike,
  options?: OpenOptions<D>,
): Promise<MmapArray<D>> {
  const file = checkPath(path)
  const native = checkOpen(options)
  const backing = checkBacking(options)
  return MmapArray.wrap(await openNative(file, native), file, native.mode as Mode, backing)
}

/** Opens an array file and maps it before it returns; options are those of `open`, and it throws what that rejects with. */
export function openSync<D extends DType = DType>(path: PathLike, options?: OpenOptions<D>): MmapArray<D> {
  const file = checkPath(path)
  const native = checkOpen(options)
  const backing = checkBacking(options)
  return MmapArray.wrap(openNativeSync(file, native), file, native.mode as Mode, backing)
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
  'lock',
  'shared',
  'backing',
  'capacity',
  'mmap',
]

function checkOpen(options: OpenOptions | undefined): NativeOpenOptions {
  checkOptions(options, OPTIONS, 'open')
  // Each option is read once: a getter may say something else the next time.
  const { mode = 'r', dtype, shape, format, name, strict = false } = options ?? {}
  const { offset, strides, order, lock, mmap } = options ?? {}
  if (typeof strict !== 'boolean') throw invalidArgType('strict', 'of type boolean', strict)
  if (mmap !== undefined && typeof mmap !== 'boolean') throw invalidArgType('mmap', 'of type boolean', mmap)
  if (name !== undefined && typeof name !== 'string') throw invalidArgType('name', 'of type string', name)
  if (format === 'raw' && dtype === undefined)
    throw invalidArgType('dtype', "of type string for format 'raw'", dtype)
  // What only 'raw' takes: other formats say it themselves.
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
    ...(lock !== undefined && { lock: checkLock(lock) }),
    ...(mmap !== undefined && { mmap }),
    ...(options?.capacity !== undefined && { capacity: checkCapacity(options.capacity) }),
  }
}

/** Bytes kept ahead, checked. */
export function checkCapacity(capacity: unknown = 0): number {
  return checkInteger('capacity', capacity, 0)
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

/** A mode in its short name, checked. */
export function checkMode(mode: unknown): Mode {
  if (typeof mode !== 'string') throw invalidArgType('mode', 'of type string', mode)
  const found = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined
  if (found === undefined) {
    throw invalidArgValue('mode', `must be one of ${Object.keys(MODES).map(show).join(', ')}`, mode)
  }
  return found
}

/** A lock, checked. */
export function checkLock(lock: unknown): Lock {
  if (typeof lock !== 'string') throw invalidArgType('lock', 'of type string', lock)
  if (lock !== 'shared' && lock !== 'exclusive')
    throw invalidArgValue('lock', `must be 'shared' or 'exclusive'`, lock)
  return lock
}
