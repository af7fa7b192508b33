/**
 * Files over the memory of WebAssembly: zero-copy where a runtime lets JavaScript see no memory but its own.
 *
 * Electron keeps all of it inside of a cage, and refuses buffers over a mapping elsewhere. A WebAssembly.Memory lies in the cage,
 * on pages of its own, and nobody can move it; so the file is mapped over it. V8 gives its pages back when it is collected, whatever
 * is mapped there. So the memory is kept here: while the native array is there, and for work that is under way after that
 * was closed. `grow(0)` takes its buffer from JavaScript.
 */
import { MmapError } from './errors.js'
import type { NativeArray } from './native.js'

/** What is used of a WebAssembly.Memory; one with 64-bit addresses counts in bigints. */
interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number | bigint): number | bigint
}
type WasmMemoryClass = new (size: object) => WasmMemory

/** Bytes of a page of WebAssembly. */
const PAGE = 2 ** 16
/** Pages that 32-bit addresses reach. */
const MOST = 2 ** 16

/** A memory that an array is over. */
interface Lent {
  readonly memory: WasmMemory
  readonly start: number
  detach(): void
}

/** The memories of each array: the last is where it is, before it those that it has outgrown. */
const memories = new WeakMap<NativeArray, Lent[]>()

/**
 * Maps an array over a new memory, unless it is over one: the buffer of that, and the byte of it where the first element is.
 *
 * Before that byte are those of the file that share a page with it. Throws ERR_TOO_LARGE where no memory of this size is to be
 * had, ERR_INVALID_STATE where others have stored to a copy-on-write array, and ERR_FEATURE_UNAVAILABLE_ON_PLATFORM on Windows and
 * without WebAssembly.
 */
export function overlay(native: NativeArray, path: string): { buffer: ArrayBuffer; start: number } {
  const lent = memories.get(native) ?? []
  const last = lent.at(-1)
  if (last && native.isOverlaid()) return { buffer: last.memory.buffer, start: last.start }
  const { memory, large } = allocate(native.span(false), native.span(true), path)
  const { buffer } = memory
  const start = native.overlay(buffer)
  lent.push({ memory, start, detach: () => memory.grow(large ? 0n : 0) })
  memories.set(native, lent)
  return { buffer, start }
}

/** A memory of `bytes`, or of fewer where there are not so many: as many as are `needed`. */
function allocate(bytes: number, needed: number, path: string): { memory: WasmMemory; large: boolean } {
  const { Memory } = (globalThis as { WebAssembly?: { Memory: WasmMemoryClass } }).WebAssembly ?? {}
  if (Memory === undefined) {
    const message = `${path}: this runtime has no WebAssembly, whose memory backing 'wasm' needs; use 'auto'`
    throw new MmapError(message, { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', path })
  }
  const pages = Math.ceil(bytes / PAGE)
  const large = pages > MOST
  const size = large ? BigInt(pages) : pages
  try {
    return { memory: new Memory({ initial: size, maximum: size, ...(large && { address: 'i64' }) }), large }
  } catch (cause) {
    if (needed < bytes) return allocate(needed, needed, path)
    // V8 has collected what it could before it says so.
    const limits =
      'one takes 4 GiB, 16 GiB from Node.js 24 on, and an Electron process has room for about 120'
    const message = `${path}: too large: no WebAssembly.Memory of ${pages * PAGE} bytes is to be had (${(cause as Error).message}); ${limits}. Close other arrays, or open this one with backing 'window'`
    throw new MmapError(message, { code: 'ERR_TOO_LARGE', path, cause })
  }
}

/**
 * Takes the buffer of an array that is about to be closed from JavaScript, if it is one of these: views of it have length 0.
 *
 * The memory stays until `running` has settled.
 */
export function detach(native: NativeArray, running: ReadonlySet<Promise<unknown>>): void {
  const lent = memories.get(native)
  if (lent === undefined) return
  for (const { detach } of lent) detach()
  // What is mentioned there is kept, until the event loop turns at least: so only where there is something to wait for.
  if (running.size > 0) void Promise.allSettled(running).then(() => lent)
}

/** Lets go of the memory of an array that was closed, or leaves it to the work that it is kept for. */
export function release(native: NativeArray): void {
  memories.delete(native)
}
