/**
 * Handles: an open array as plain data, and the way back from there in another worker or process.
 *
 * A handle may come from anywhere. It is checked field by field as any argument is, here and again natively, and what it
 * leads to is what `open` of its path would have given: never another file, and never memory that it only claims to know.
 */
import { isAbsolute } from 'node:path'
import { type Backing, type BackingChoice, checkAttached, isBacking } from './backing.js'
import { type DType, parseElementType } from './dtype.js'
import { checkInteger, checkOptions, invalidArgType, invalidArgValue, show } from './errors.js'
import { checkFormat } from './formats.js'
import { checkIntegers, checkShape } from './layout.js'
import { MmapArray } from './mmap-array.js'
import { attachNative, attachNativeSync, type NativeHandle } from './native.js'
import { checkLock, checkMode, FORMATS, type Format, type Lock, type Mode } from './open.js'
import { checkPath } from './path.js'

/**
 * An open array as plain data: numbers and strings, which survive `postMessage`, `structuredClone` and JSON.
 *
 * Made by `MmapArray.toHandle()`, for {@link attach}. Its fields are for reading; a changed one makes another handle, or
 * none.
 */
export interface Handle {
  /** The absolute path that the file was opened by. */
  readonly path: string
  /** How the file is mapped. */
  readonly mode: Mode
  /** The format that it was opened as. */
  readonly format: Format
  /** The dtype of the elements; for 'raw' with their byte order. */
  readonly dtype: string
  /** Which array of the file, where it holds several. */
  readonly name?: string
  /** 'raw' only: elements along each axis, complex ones whole. */
  readonly shape?: readonly number[]
  /** 'raw' only: byte of the file where the first element is. */
  readonly offset?: number
  /** 'raw' only: elements between neighbours along each axis, complex ones whole. */
  readonly strides?: readonly number[]
  /** The lock that is held. */
  readonly lock?: Lock
  /** Where the bytes live, there. */
  readonly backing: Backing
  /** Which file it is, whatever its name: device, inode and time of birth. */
  readonly identity: string
  /** Which process made the handle. */
  readonly process: string
  /** Which array of that process it is. */
  readonly id: number
}

/** Options of {@link attach} and {@link attachSync}. */
export interface AttachOptions {
  /**
   * Where the bytes are to live here, as for `open`; when left out, where they do for the one who made the handle, and 'auto'
   * if that is 'external'.
   */
  backing?: BackingChoice | undefined
}

/**
 * Opens the array that a handle names: in a worker of the process that made the handle the very same mapping, in another
 * process the file again.
 *
 * The same mapping shows every store at once, those of mode 'c' too, whatever its path names meanwhile, and the array holds its lock
 * together with all that attached to it. `close()` takes it from one worker; the file goes with the last. Once all are
 * closed, and in another process, the file is opened again, and locked again; what was stored in mode 'c' is not there.
 *
 * With backing 'wasm' each environment maps the file for itself: 'r+' is the same, what was stored through `data` in mode 'r'
 * stays where it was stored, and mode 'c' is ERR_INVALID_STATE while the array is open.
 *
 * Rejects as `open` does, with ERR_STALE when the path names another file than the handle, or none, and with Node's codes
 * for what is no handle.
 */
export async function attach<D extends DType = DType>(
  handle: Handle,
  options?: AttachOptions,
): Promise<MmapArray<D>> {
  const [native, mode, backing] = checkHandle(handle, options)
  return MmapArray.wrap(await attachNative(native), native.path, mode, backing)
}

/** Opens the array that a handle names before it returns; throws what `attach` rejects with. */
export function attachSync<D extends DType = DType>(handle: Handle, options?: AttachOptions): MmapArray<D> {
  const [native, mode, backing] = checkHandle(handle, options)
  return MmapArray.wrap(attachNativeSync(native), native.path, mode, backing)
}

const RAW = ['shape', 'offset', 'strides']
const KNOWN = [
  ...['path', 'mode', 'format', 'dtype', 'name', ...RAW, 'lock', 'backing'],
  ...['identity', 'process', 'id'],
]

function checkHandle(
  handle: unknown,
  options: AttachOptions | undefined,
): [handle: NativeHandle, mode: Mode, backing: BackingChoice] {
  checkOptions(options, ['backing'], 'attach')
  if (typeof handle !== 'object' || handle === null || Array.isArray(handle)) {
    throw invalidArgType('handle', 'an object that toHandle() made', handle)
  }
  // Read once: an accessor could say something else the second time.
  const fields: Partial<Record<string, unknown>> = { ...handle }
  for (const name of Object.keys(fields)) {
    if (!KNOWN.includes(name)) {
      throw invalidArgValue(
        'handle',
        `must have no field ${show(name)}; pass on what toHandle() made`,
        handle,
      )
    }
    if (fields[name] === undefined) delete fields[name]
  }
  const text = (name: string): string => {
    const value = fields[name]
    if (typeof value !== 'string') throw invalidArgType(`handle.${name}`, 'of type string', value)
    return value
  }
  const hex = (name: string, pattern: RegExp): string => {
    const value = text(name)
    if (!pattern.test(value)) throw invalidArgValue(`handle.${name}`, 'must be what toHandle() made', value)
    return value
  }
  const path = checkPath(text('path'))
  if (!isAbsolute(text('path'))) throw invalidArgValue('handle.path', 'must be absolute', fields.path)
  const mode = checkMode(fields.mode)
  const format = checkFormat(fields.format, FORMATS)
  const dtype = text('dtype')
  parseElementType(dtype, format === 'raw')
  for (const name of RAW) {
    if ((fields[name] !== undefined) !== (format === 'raw')) {
      throw invalidArgValue(
        `handle.${name}`,
        "must be there for format 'raw', and for no other",
        fields[name],
      )
    }
  }
  const native = {
    path,
    options: {
      mode,
      format,
      dtype,
      strict: false,
      ...(fields.name !== undefined && { name: text('name') }),
      ...(fields.lock !== undefined && { lock: checkLock(fields.lock) }),
      ...(format === 'raw' && {
        shape: checkShape(fields.shape),
        offset: checkInteger('handle.offset', fields.offset, 0),
        strides: checkIntegers(fields.strides, 'handle.strides'),
      }),
    },
    identity: hex('identity', /^[0-9a-f]{1,16}(-[0-9a-f]{1,16}){2}$/),
    process: hex('process', /^[0-9a-f]{32}$/),
    id: checkInteger('handle.id', fields.id, 0),
  }
  const backing = text('backing')
  if (!isBacking(backing)) throw invalidArgValue('handle.backing', 'must be what toHandle() made', backing)
  return [native, mode, checkAttached(options?.backing, backing)]
}
