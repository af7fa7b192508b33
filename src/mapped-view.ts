/**
 * MappedView: a part of a mapped file. What needs the file, or is faster beside it, is here; everything else is NdView.
 *
 * The methods are thin: arguments are settled by the pure layer, and one native call does the work on the mapping itself,
 * which also holds for elements that no typed array can show.
 */
import { constants } from 'node:buffer'
import { checkValue, type DType, type ValueOf } from './dtype.js'
import { MmapError } from './errors.js'
import { type Layout, reach, sizeOf } from './layout.js'
import type { Memory } from './memory.js'
import type { NativeArray } from './native.js'
import { type NdView, NdViewBase } from './nd-view.js'
import { resolveSource, type Source } from './source.js'
import { allocate, bytesOf, type Data, DataViewStore, isStore, put } from './store.js'
import type { Strided } from './strided.js'

/** What all views of one open file share. */
export class MappedFile {
  readonly native: NativeArray
  readonly path: string
  readonly mode: 'r' | 'r+' | 'c'
  /** Bytes that strides and offsets of views of this file count. */
  readonly unit: number
  closed = false
  /** Promises of native work that is under way. */
  readonly running = new Set<Promise<unknown>>()

  constructor(native: NativeArray, path: string, mode: 'r' | 'r+' | 'c', unit: number) {
    this.native = native
    this.path = path
    this.mode = mode
    this.unit = unit
  }

  /** Why the data is gone: ERR_CLOSED, or ERR_INVALID_STATE where the buffer was moved away by its user. */
  gone(): MmapError {
    const { path, closed } = this
    if (closed)
      return new MmapError(`${path}: the array is closed; open the file again`, { code: 'ERR_CLOSED', path })
    const message = `${path}: the buffer of this array was transferred or detached; open the file again`
    return new MmapError(message, { code: 'ERR_INVALID_STATE', path })
  }

  /** Waits for native work; rejects with ERR_CLOSED when the array was closed meanwhile. */
  async run<T>(work: Promise<T>): Promise<T> {
    this.running.add(work)
    try {
      const result = await work
      if (this.closed) throw this.gone()
      return result
    } finally {
      this.running.delete(work)
    }
  }
}

/** A view of a mapped file: everything of `NdView`, over the file itself. */
export class MappedView<D extends DType = DType> extends NdViewBase<D, MappedView<D>> {
  /** The open file, shared with every view of it. */
  protected declare readonly file: MappedFile

  /** @internal */
  constructor(
    memory: Memory<D>,
    layout: Layout,
    readOnly: boolean,
    root: NdView<D> | null,
    file: MappedFile,
  ) {
    super(memory, layout, readOnly, root)
    this.file = file
  }

  protected override derive(layout: Layout, readOnly: boolean = this.readOnly): MappedView<D> {
    return new MappedView<D>(this.memory, layout, readOnly, this.root, this.file)
  }

  protected override readOnlyError(): MmapError {
    const { path, mode } = this.file
    const why =
      mode === 'r'
        ? "the array is open in mode 'r'; open it with 'r+' or 'c' to write"
        : 'this view is read-only; write to viewMut() of the array, or to a copy()'
    return new MmapError(`${path}: ${why}`, { code: 'ERR_READ_ONLY', path })
  }

  override is<E extends DType>(dtype: E): this is MappedView<E> {
    return super.is(dtype)
  }

  override fill(value: ValueOf<D>): this {
    this.checkWritable()
    const element = allocate(this.dtype, 1)
    put(element, 0, checkValue(this.dtype, value))
    this.file.native.fill(layoutOf(this), bytesOf(element))
    return this
  }

  override assign(source: Source<D>): this {
    this.checkWritable()
    const from = resolveSource(source, this)
    const { native } = this.file
    if (source instanceof MappedView) {
      native.assign(layoutOf(this), source.file.native, layoutOf(from))
    } else if (isPlainMemory(from.data)) {
      native.assignFrom(layoutOf(this), bytesOf(from.data), from.dtype, layoutOf(from))
    } else {
      super.assign(source)
    }
    return this.alive()
  }

  protected override gather(): Data<D> {
    if (this.memory.isGone) throw this.memory.gone()
    const elements = allocate(this.dtype, this.size)
    if (!isPlainMemory(elements)) return super.gather()
    this.file.native.copyTo(layoutOf(this), bytesOf(elements))
    return elements
  }

  /**
   * Brings what was stored to this view to the disk, without holding up the main thread; nothing to do in modes 'r' and 'c'.
   *
   * Rejects with the OS's error (`EIO`, `ENOSPC`), and with ERR_CLOSED when the array is closed before or meanwhile.
   */
  async flush(): Promise<void> {
    const [offset, length] = this.byteRange()
    await this.file.run(this.file.native.flush(offset, length))
  }

  /** Brings what was stored to this view to the disk before it returns; throws what `flush` rejects with. */
  flushSync(): void {
    const [offset, length] = this.byteRange()
    this.file.native.flushSync(offset, length)
  }

  /** The bytes between the first and the last element, counted from the start of the data. */
  private byteRange(): [offset: number, length: number] {
    if (this.memory.isGone) throw this.memory.gone()
    if (sizeOf(this.shape) === 0) return [0, 0]
    const [low, high] = reach(this)
    const { unit } = this.file
    return [low * unit, (high - low) * unit + this.itemsize]
  }
}

/** A layout as native code takes it; one without elements may start anywhere, which native code would refuse. */
function layoutOf({ offset, shape, stride }: Layout): Layout {
  return { offset: shape.includes(0) ? 0 : offset, shape, stride }
}

/** Memory that native code can look into: its own buffer, not shared, no longer than a Uint8Array of this runtime. */
function isPlainMemory(data: Strided['data']): boolean {
  if (isStore(data))
    return data instanceof DataViewStore && !data.isForeign && data.bytes.length <= constants.MAX_LENGTH
  return data.buffer instanceof ArrayBuffer && data.byteLength <= constants.MAX_LENGTH
}
