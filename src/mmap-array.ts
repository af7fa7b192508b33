/// <reference lib="esnext.disposable" preserve="true" />
/**
 * MmapArray: the whole file, with a mode, a path and a life.
 *
 * What does not change while a file is open is kept here, because a native call costs as much as summing a thousand
 * numbers. What identifies the array survives `close()`.
 */
import type { Handle } from './attach.js'
import { type Backing, type BackingChoice, choose } from './backing.js'
import { constructors, type DType } from './dtype.js'
import { MmapError } from './errors.js'
import { MappedFile, MappedView } from './mapped-view.js'
import { Memory } from './memory.js'
import { type NativeArray, type NativeFacts, tracking } from './native.js'
import type { Summary } from './nd-view.js'
import type { Format, Mode } from './open.js'
import { type Data, dataViewStore } from './store.js'
import { detach, overlay, release } from './wasm.js'

/**
 * How the pages that a copy-on-write array has changed are found: the kernel is asked for them ('pagemap-scan', Linux 6.7
 * and later), the state of every page is read ('pagemap', Linux), or the data is compared with the file ('compare').
 */
export type Tracking = 'pagemap-scan' | 'pagemap' | 'compare'

/** An array in a file, open: made by `open` and `create`. */
export class MmapArray<D extends DType = DType> extends MappedView<D> {
  /** @internal The open file. */
  readonly opened: MappedFile
  /** The file's format. */
  readonly format: Format
  /** The file's own code of the dtype: `<f4` in npy, `f32` in mmap. */
  readonly descr: string
  /** Where the bytes live; what `backing: 'auto'` has become. */
  readonly backing: Backing

  private constructor(memory: Memory<D>, file: MappedFile, facts: NativeFacts, backing: Backing) {
    const { shape, stride, offset } = facts
    super(memory, { shape, stride, offset }, file.mode === 'r', null)
    this.opened = file
    this.format = facts.format as Format
    this.descr = facts.descr
    this.backing = backing
  }

  /** @internal */
  static wrap<D extends DType>(
    native: NativeArray,
    path: string,
    mode: Mode,
    choice: BackingChoice,
  ): MmapArray<D> {
    try {
      const facts = native.facts()
      const file = new MappedFile(native, path, mode, facts.unit)
      const [backing, data] = choose(choice, (backing) => dataOf<D>(file, facts, backing))
      const memory = new Memory(data, facts.dtype as D, () => file.gone())
      return new MmapArray(memory, file, facts, backing)
    } catch (error) {
      native.close()
      throw error
    }
  }

  /** The absolute path that the file was opened by. */
  get path(): string {
    return this.file.path
  }

  /** How the file is mapped. */
  get mode(): Mode {
    return this.file.mode
  }

  /** Whether `set`, `fill` and `assign` are allowed. */
  get writable(): boolean {
    return !this.readOnly
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.file.closed
  }

  /**
   * Whether pages have vanished under the array: its file was made shorter by somebody, its disk was full, or its
   * storage failed. Some elements are zeros then that are not the file's; reductions, `flush` and `close` throw
   * ERR_MAPPING_LOST.
   */
  get lost(): boolean {
    return this.file.lost
  }

  /** How `dirty`, `dirtyRanges`, `diff` and `commit` find what was stored to on this system. */
  get tracking(): Tracking {
    return tracking() as Tracking
  }

  /**
   * Whether `path` names another file than the one that is open, or none: it was replaced, renamed or removed.
   *
   * The array, its data and `flush` work on all the same, on the file that was opened. Throws ERR_CLOSED, and the OS's
   * refusal to look (`EACCES`).
   */
  isStale(): boolean {
    return this.file.native.isStale()
  }

  /**
   * This array as plain data, for `attach` in a worker or in another process.
   *
   * It names the file and which file that is; it keeps nothing open. Throws ERR_CLOSED.
   */
  toHandle(): Handle {
    const { options, identity, process, id } = this.file.native.toHandle()
    const { strict: _, ...described } = options
    const { path, backing } = this
    return {
      path,
      ...(described as Pick<Handle, 'mode' | 'format' | 'dtype'>),
      backing,
      identity,
      process,
      id,
    }
  }

  override is<E extends DType>(dtype: E): this is MmapArray<E> {
    return super.is(dtype)
  }

  /**
   * The whole array as a read-only view: its writing methods, and those of views made from it, throw ERR_READ_ONLY.
   *
   * Its `data` is the same memory, and is not protected.
   */
  view(): MappedView<D> {
    return this.derive(this.alive(), true)
  }

  /** The whole array as a writable view. Throws ERR_READ_ONLY in mode 'r'. */
  viewMut(): MappedView<D> {
    this.checkWritable()
    return this.derive(this, false)
  }

  /**
   * Takes the data away from every view and typed array, and unmaps the file. A second call does nothing.
   *
   * Typed arrays already handed out have length 0, those over a SharedArrayBuffer read zeros once every worker that attached
   * has closed as well; `data` and every method that needs it throw ERR_CLOSED; `shape`, `dtype`, `path`, `mode` and
   * `inspect` keep working. It does not bring stores to the disk: `flush()` does. Work under way rejects with
   * ERR_CLOSED; the file stays mapped until it has ended. Throws ERR_MAPPING_LOST, when all of that is done, if the array
   * is `lost` and neither a `flush` nor a reduction has said so.
   */
  close(): void {
    if (this.file.closed) return
    this.file.markClosed()
    try {
      detach(this.file.native, this.file.running)
      // Before the views let go of the buffer: while it lives its mapping can be taken back at once.
      this.file.native.close()
    } finally {
      release(this.file.native)
      this.memory.release()
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Waits for work under way, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.file.running)
    this.close()
  }

  /** Everything about the array but its elements. */
  override toJSON(): Summary & { path: string; mode: Mode; format: Format; descr: string } {
    const { path, mode, format, descr } = this
    return { ...super.toJSON(), path, mode, format, descr }
  }

  protected override header(): string {
    const { path, mode, closed } = this
    const state = closed ? ' (closed)' : mode === 'c' && this.dirty ? ' (dirty)' : ''
    return `MmapArray<${this.dtype}> [${this.shape.join(', ')}] '${mode}' ${path}${state}`
  }
}

/**
 * The array's bytes as a typed array where one can show them, else as an element store.
 *
 * Throws ERR_FEATURE_UNAVAILABLE_ON_PLATFORM and ERR_TOO_LARGE where this backing cannot be had.
 */
function dataOf<D extends DType>(file: MappedFile, facts: NativeFacts, backing: Backing): Data<D> {
  const dtype = facts.dtype as D
  const { native, path } = file
  if (backing === 'window') {
    const message = `${path}: backing '${backing}' is not there yet; use 'auto'`
    throw new MmapError(message, { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', path })
  }
  const { units, unit } = facts
  const shared = backing === 'shared'
  const empty = () => (shared ? new SharedArrayBuffer(0) : new ArrayBuffer(0))
  const mapped = () =>
    backing === 'wasm' ? overlay(native, path) : { buffer: native.buffer(shared), start: 0 }
  // An empty array maps nothing.
  const { buffer, start } = units === 0 ? { buffer: empty(), start: 0 } : mapped()
  const ctor = constructors[dtype]
  if (facts.native && ctor) return new ctor(buffer, start, units)
  return dataViewStore(dtype, buffer, start, units, facts.littleEndian, unit)
}
