/**
 * The data of an open file, as each backing shows it, and what can wait until somebody asks for it.
 */
import { constants } from 'node:buffer'
import { type Backing, windowSize } from './backing.js'
import { rowsOfChunk } from './chunks.js'
import { CopiedStore, writeBackAtExit } from './copied.js'
import { constructors, type DType, itemsizeOf } from './dtype.js'
import { isMmapError, MmapError } from './errors.js'
import { sizeOf } from './layout.js'
import type { MappedFile } from './mapped-view.js'
import { Later } from './memory.js'
import type { NativeFacts } from './native.js'
import { type Data, dataViewStore } from './store.js'
import { overlay } from './wasm.js'
import { Windows } from './windows.js'

/**
 * The array's bytes as a typed array where one can show them, else as an element store.
 *
 * Throws ERR_FEATURE_UNAVAILABLE_ON_PLATFORM and ERR_TOO_LARGE where this backing cannot be had.
 */
export function dataOf<D extends DType>(file: MappedFile, facts: NativeFacts, backing: Backing): Data<D> {
  const { native, path } = file
  const { units } = facts
  const bytes = bytesOf(facts)
  const shared = backing === 'shared'
  if (facts.copied && backing !== 'window') throw notMapped(path)
  // An empty array maps nothing.
  if (units === 0) return over(shared ? new SharedArrayBuffer(0) : new ArrayBuffer(0), 0, facts)
  if (facts.copied) {
    writeBackAtExit()
    return new CopiedStore(file, facts.dtype as D, units)
  }
  if (backing === 'wasm') {
    const { buffer, start } = overlay(native, path)
    return over(buffer, start, facts)
  }
  if (backing !== 'window') {
    const buffer = native.buffer(shared)
    hasExternal ||= !shared
    return over(buffer, 0, facts)
  }
  file.windows ??= windowsOf<D>(file, facts)
  const windows = file.windows as Windows<D>
  const first = firstOf(file, windows.size)
  if (first === undefined) return new CopiedStore(file, facts.dtype as D, units)
  // What was in several windows stays so: a store that somebody still holds may drop the first.
  const whole = !windows.hasStores && bytes <= first.byteLength
  return whole ? over(first, 0, facts) : windows.store(units, native.span(false))
}

/** Bytes from the first element to the last. */
const bytesOf = ({ units, unit, dtype }: NativeFacts) => (units - 1) * unit + itemsizeOf(dtype as DType)

/** Whether this environment has been seen to allow external buffers. */
let hasExternal = false

/** Bytes from which on it pays. */
const LARGE = 2 ** 24

/**
 * The data of a file that was just opened: `dataOf`, or `Later` where that pays and it is known that it will be had.
 *
 * V8 counts an external buffer as memory of its own, and collects garbage each time it has counted 64 MiB more: for a large file
 * that takes longer than all the rest of opening it, and native code needs no buffer. What is opened to be stored to gets
 * one at once, for its first store is not to wait.
 */
export function firstDataOf<D extends DType>(
  file: MappedFile,
  facts: NativeFacts,
  backing: Backing,
): Data<D> | Later<D> {
  const isUsual = backing === 'external' && hasExternal && file.mode === 'r' && !facts.copied
  const bytes = bytesOf(facts)
  if (!isUsual || bytes < LARGE || bytes > constants.MAX_LENGTH) return dataOf(file, facts, backing)
  const store = new CopiedStore(file, facts.dtype as D, facts.units)
  return new Later(store, () => dataOf(file, facts, backing))
}

function notMapped(path: string): MmapError {
  const why = 'its file system maps none, or `mmap` is false'
  const message = `${path}: the file is not mapped (${why}), so that no buffer shows it. Open it with backing 'auto' or 'window', or copy it to a file system that maps files`
  return new MmapError(message, { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', path })
}

/** The first window of an array; undefined where the runtime allows none. */
function firstOf({ native }: MappedFile, size: number): ArrayBuffer | undefined {
  try {
    return native.window(0, size)
  } catch (error) {
    if (isMmapError(error, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM')) return undefined
    throw error
  }
}

/** The windows of an array, none of which is open yet. */
function windowsOf<D extends DType>(file: MappedFile, facts: NativeFacts): Windows<D> {
  const { unit, littleEndian } = facts
  const dtype = facts.dtype as D
  const row = Math.abs(facts.stride[0] ?? 0) * unit
  const elements = sizeOf(facts.shape.slice(1)) * itemsizeOf(dtype)
  const pieces = [row * rowsOfChunk(Math.max(1, elements)), row]
  const layout = { dtype, unit, littleEndian, native: facts.native, pieces }
  return new Windows(file, layout, windowSize())
}

/** The array's elements in its buffer from byte `start` on, which may go on after them. */
export function over<D extends DType>(buffer: ArrayBufferLike, start: number, facts: NativeFacts): Data<D> {
  const dtype = facts.dtype as D
  const { units, unit } = facts
  const ctor = constructors[dtype]
  if (facts.native && ctor) return new ctor(buffer, start, units)
  return dataViewStore(dtype, buffer, start, units, facts.littleEndian, unit)
}
