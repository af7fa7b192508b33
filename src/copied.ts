/**
 * Elements that no buffer can show, copied one at a time.
 *
 * For arrays that are larger than any memory that a runtime without external buffers has, and on systems where it has none that a
 * file can be mapped over. No copy is kept, so that none is ever old and nothing has to be written back.
 */
import { type DType, itemsizeOf, nativeLittleEndian, type ScalarOf } from './dtype.js'
import { dataViewStore, type ElementStore } from './store.js'

/** What elements are copied from and to, in this machine's byte order. */
export interface ElementSource {
  /** Whether it is there no more. */
  readonly closed: boolean
  /** Copies the element at an index into `bytes`. */
  load(index: number, bytes: Uint8Array): void
  /** Copies `bytes` to the element at an index, where it takes stores. */
  store(index: number, bytes: Uint8Array): void
}

/** The elements of a source. */
export class CopiedStore<D extends DType = DType> implements ElementStore<ScalarOf<D>> {
  private readonly source: ElementSource
  private readonly count: number
  private readonly bytes: Uint8Array<ArrayBuffer>
  /** The element in `bytes`. */
  private readonly element: ElementStore<ScalarOf<D>>

  constructor(source: ElementSource, dtype: D, count: number) {
    this.source = source
    this.count = count
    this.bytes = new Uint8Array(itemsizeOf(dtype))
    this.element = dataViewStore(dtype, this.bytes.buffer, 0, 1, nativeLittleEndian)
  }

  get length(): number {
    return this.source.closed ? 0 : this.count
  }

  get(index: number): ScalarOf<D> {
    if (!this.holds(index)) return undefined as unknown as ScalarOf<D>
    this.source.load(index, this.bytes)
    return this.element.get(0)
  }

  set(index: number, value: ScalarOf<D>): ScalarOf<D> {
    if (this.holds(index)) {
      this.element.set(0, value)
      this.source.store(index, this.bytes)
    }
    return value
  }

  private holds(index: number): boolean {
    return index >= 0 && index < this.length && Math.floor(index) === index
  }
}
