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

/** The memory of each array, with what detaches its buffer. */
const memories = new WeakMap<NativeArray, { memory: WasmMemory; detach(): void }>()

/**
 * Maps an array over a new memory: its buffer, and the byte of it where the first element is.
 *
 * Before that byte are those of the file that share a page with it. Throws ERR_TOO_LARGE where no memory of this size is to be
 * had, ERR_INVALID_STATE where others have stored to a copy-on-write array, and ERR_FEATURE_UNAVAILABLE_ON_PLATFORM on Windows and
 * without WebAssembly.
 */
export function overlay(native: NativeArray, path: string): { buffer: ArrayBuffer; start: number } {
  const pages = Math.ceil(native.span() / PAGE)
  const large = pages > MOST
  const memory = allocate(pages, large, path)
  const { buffer } = memory
  const start = native.overlay(buffer)
  memories.set(native, { memory, detach: () => memory.grow(large ? 0n : 0) })
  return { buffer, start }
}

function allocate(pages: number, large: boolean, path: string): WasmMemory {
  const { Memory } = (globalThis as { WebAssembly?: { Memory: WasmMemoryClass } }).WebAssembly ?? {}
  if (Memory === undefined) {
    const message = `${path}: this runtime has no WebAssembly, whose memory backing 'wasm' needs; use 'auto'`
    throw new MmapError(message, { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', path })
  }
  const size = large ? BigInt(pages) : pages
  try {
    return new Memory({ initial: size, maximum: size, ...(large && { address: 'i64' }) })
  } catch (cause) {
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
  lent.detach()
  // What is mentioned there is kept, until the event loop turns at least: so only where there is something to wait for.
  if (running.size > 0) void Promise.allSettled(running).then(() => lent)
}

/** Lets go of the memory of an array that was closed, or leaves it to the work that it is kept for. */
export function release(native: NativeArray): void {
  memories.delete(native)
}
