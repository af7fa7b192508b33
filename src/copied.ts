/**
 * Elements that no buffer can show, copied one at a time.
 *
 * For arrays that are larger than any memory that a runtime without external buffers has, on systems where it has none that a
 * file can be mapped over, and for files that are not mapped. No copy is kept here, so that none is ever old: what
 * has to be written back native code knows.
 */
import { isMainThread } from 'node:worker_threads'
import { type DType, itemsizeOf, nativeLittleEndian, type ScalarOf } from './dtype.js'
import type { Layout } from './layout.js'
import { writeBack } from './native.js'
import { dataViewStore, type ElementStore } from './store.js'

/** What elements are copied from and to: an open file. */
export interface ElementSource {
  /** Whether it is there no more. */
  readonly closed: boolean
  readonly mode: 'r' | 'r+' | 'c'
  readonly native: {
    /** Copies the element at a position, in this machine's byte order. */
    element(position: number, target: Uint8Array): void
    /** Copies elements to those of a layout. */
    assignFrom(layout: Layout, source: Uint8Array, dtype: string, sourceLayout: Layout): void
  }
}

/** The elements of a source. */
export class CopiedStore<D extends DType = DType> implements ElementStore<ScalarOf<D>> {
  private readonly source: ElementSource
  private readonly dtype: D
  private readonly count: number
  private readonly bytes: Uint8Array<ArrayBuffer>
  /** The element in `bytes`. */
  private readonly element: ElementStore<ScalarOf<D>>

  constructor(source: ElementSource, dtype: D, count: number) {
    this.source = source
    this.dtype = dtype
    this.count = count
    this.bytes = new Uint8Array(itemsizeOf(dtype))
    this.element = dataViewStore(dtype, this.bytes.buffer, 0, 1, nativeLittleEndian)
  }

  get length(): number {
    return this.source.closed ? 0 : this.count
  }

  get(index: number): ScalarOf<D> {
    if (!this.holds(index)) return undefined as unknown as ScalarOf<D>
    this.source.native.element(index, this.bytes)
    return this.element.get(0)
  }

  set(index: number, value: ScalarOf<D>): ScalarOf<D> {
    const { source } = this
    // In mode 'r' there is no page of our own that could take it, as there is behind a buffer.
    if (this.holds(index) && source.mode !== 'r') {
      this.element.set(0, value)
      source.native.assignFrom(one(index), this.bytes, this.dtype, one(0))
    }
    return value
  }

  private holds(index: number): boolean {
    return index >= 0 && index < this.length && Math.floor(index) === index
  }
}

let isAwaitingExit = false

/**
 * Has what is stored to files that are not mapped written to them when the process ends without closing them, by
 * `process.exit` too. An error there ends the process as any that nobody catches.
 *
 * A worker that ends needs none of it: its finalizers run, and they write.
 */
export function writeBackAtExit(): void {
  if (isAwaitingExit || !isMainThread) return
  isAwaitingExit = true
  process.once('exit', () => writeBack())
}

/** The layout of one element. */
const one = (offset: number): Layout => ({ offset, shape: [], stride: [] })
