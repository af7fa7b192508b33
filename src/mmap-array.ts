/// <reference lib="esnext.disposable" preserve="true" />
/**
 * MmapArray: the whole file, with a mode, a path and a life.
 *
 * What does not change while a file is open is kept here, because a native call costs as much as summing a thousand
 * numbers. What identifies the array survives `close()`. Past 400 lines: each operation has two methods, and each method
 * its contract.
 */
import type { Handle } from './attach.js'
import { type Backing, type BackingChoice, choose } from './backing.js'
import {
  type ChecksumOptions,
  checkChecksum,
  checkVerify,
  type Verified,
  type VerifyOptions,
  verifiedOf,
} from './checksum.js'
import { dataOf, firstDataOf, over } from './data.js'
import type { DType } from './dtype.js'
import { checkInteger } from './errors.js'
import {
  type AppendOptions,
  append,
  appendNow,
  checkDurable,
  checkLength,
  type Growing,
  Queue,
  type RowSource,
  resize,
  rowsOf,
} from './grow.js'
import { Axes, sizeOf } from './layout.js'
import { MappedFile, MappedView } from './mapped-view.js'
import { Memory } from './memory.js'
import { type NativeArray, type NativeFacts, NativeJob, tracking } from './native.js'
import type { Summary } from './nd-view.js'
import type { Format, Mode } from './open.js'
import { awaited, checkAborted } from './reductions.js'
import { isStore } from './store.js'
import { detach, release } from './wasm.js'

/**
 * How the pages that a copy-on-write array has changed are found: the kernel is asked for them ('pagemap-scan', Linux 6.7
 * and later), the state of every page is read ('pagemap', Linux), or the data is compared with the file ('compare'). Of a file
 * that is not mapped each store is noted ('marked').
 */
export type Tracking = 'pagemap-scan' | 'pagemap' | 'compare' | 'marked'

/** What `toJSON` of an array gives: everything about it but its elements. */
export interface ArraySummary extends Summary {
  /** The absolute path that the file was opened by. */
  readonly path: string
  /** How the file is mapped. */
  readonly mode: Mode
  /** The file's format. */
  readonly format: Format
  /** The file's own code of the dtype. */
  readonly descr: string
}

/** An array in a file, open: made by `open` and `create`. */
export class MmapArray<D extends DType = DType> extends MappedView<D> {
  /** @internal The open file. */
  readonly opened: MappedFile
  /** The file's format. */
  readonly format: Format
  /** The file's own code of the dtype: `<f4` in npy, `f32` in mmap. */
  readonly descr: string
  /** Where the bytes live; what `backing: 'auto'` has become. An array that outgrows that goes on as 'window'. */
  readonly backing: Backing
  private readonly choice: BackingChoice
  /** What native code has last said of the array. */
  private facts: NativeFacts
  private readonly queue = new Queue()
  /** The axis along which the array grows, once that was asked. */
  private axis: number | undefined

  private constructor(
    memory: Memory<D>,
    file: MappedFile,
    facts: NativeFacts,
    backing: Backing,
    choice: BackingChoice,
  ) {
    const { shape, stride, offset } = facts
    super(memory, Axes.of({ shape, stride, offset }), file.mode === 'r', null)
    this.opened = file
    this.facts = facts
    this.format = facts.format as Format
    this.descr = facts.descr
    this.backing = backing
    this.choice = choice
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
      const [backing, data] = choose(choice, (backing) => firstDataOf<D>(file, facts, backing))
      const memory = new Memory(data, facts.dtype as D, () => file.gone())
      return new MmapArray(memory, file, facts, backing, choice)
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
   * storage failed. Some elements are zeros then that are not the file's, or stores are not in the file (a sync failed); reductions, `flush` and `close` throw
   * ERR_MAPPING_LOST.
   */
  get lost(): boolean {
    return this.file.lost
  }

  /** How `dirty`, `dirtyRanges`, `diff` and `commit` find what was stored to. */
  get tracking(): Tracking {
    return this.facts.copied ? 'marked' : (tracking() as Tracking)
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
    return this.derive(this.alive().axes, true)
  }

  /** The whole array as a writable view. Throws ERR_READ_ONLY in mode 'r'. */
  viewMut(): MappedView<D> {
    this.checkWritable()
    return this.derive(this.axes, false)
  }

  /**
   * Appends rows along the growth axis: the first in C order, the last in Fortran order. Rows with one axis less than the array
   * are one row. Formats mmap, npy and raw, mode 'r+'.
   *
   * Killed at any moment, the process leaves the length of before or of after; a raw file may have zeros in its new rows then.
   * With `durable` that holds for a power loss as well, else from the next `flush` on. Views and typed arrays made
   * before stay as they are; `shape` and `data` of the array itself are new. What is appended without being awaited is appended in
   * that order.
   *
   * Rejects with ERR_INVALID_ARG_VALUE for rows of another shape and for arrays that cannot grow (mode 'c', a part of a file,
   * strided), ERR_READ_ONLY, ERR_STALE when the path names another file or somebody else has changed the length (`refresh()`
   * first), ERR_TOO_LARGE when the header has no room, ENOSPC, ERR_MAPPING_LOST, ERR_CLOSED; file and array are as before.
   */
  async append(rows: RowSource<D>, options?: AppendOptions): Promise<void> {
    const durable = checkDurable(options)
    const given = rowsOf(this.growing(), rows)
    await this.file.run(
      this.queue.run(async () => {
        const growing = this.growing()
        const length = this.rowsAfter(growing, given.count)
        await append(growing, given, durable)
        this.hasRows(growing, length)
      }),
    )
  }

  /** Appends rows before it returns; throws what `append` rejects with, and ERR_INVALID_STATE while one is under way. */
  appendSync(rows: RowSource<D>, options?: AppendOptions): void {
    const durable = checkDurable(options)
    this.queue.checkIdle(this.path)
    const growing = this.growing()
    const given = rowsOf(growing, rows)
    const length = this.rowsAfter(growing, given.count)
    appendNow(growing, given, durable)
    this.hasRows(growing, length)
  }

  /**
   * Gives the array `n` rows along the growth axis. New ones are zeros, with the disk space behind them; with fewer the file
   * becomes shorter: views of what is gone throw ERR_OUT_OF_RANGE, typed arrays of it read zeros. On Windows the file becomes
   * shorter when it is closed, and a raw file cannot: EBUSY.
   *
   * Rejects as `append` does, and with ERR_OUT_OF_RANGE for an `n` that is no integer from 0 on.
   */
  async resize(n: number): Promise<void> {
    checkInteger('n', n, 0)
    this.growing()
    await this.file.run(
      this.queue.run(async () => {
        const growing = this.growing()
        const length = checkLength(growing, n)
        await resize(growing, length)
        this.hasRows(growing, length)
      }),
    )
  }

  /** Gives the array `n` rows before it returns; throws what `resize` rejects with, and ERR_INVALID_STATE as `appendSync`. */
  resizeSync(n: number): void {
    checkInteger('n', n, 0)
    this.queue.checkIdle(this.path)
    const growing = this.growing()
    const length = checkLength(growing, n)
    this.file.native.resizeSync(length)
    this.hasRows(growing, length)
  }

  /**
   * Takes the length that the file has now, which others may have changed, in any mode; true when it is another one.
   *
   * A raw array follows if it ended where the file did when it was opened. Throws ERR_STALE when the file holds another array
   * now, ERR_TOO_LARGE in mode 'c' past `capacity` (changed pages cannot move), ERR_FILE_TOO_SHORT, ERR_CLOSED, and
   * ERR_INVALID_STATE while an append of this array is under way.
   */
  refresh(): boolean {
    this.alive()
    this.queue.checkIdle(this.path)
    const changed = this.file.native.refresh()
    if (changed) this.restate()
    return changed
  }

  /**
   * Writes checksums of the file, header included, in blocks of `block` bytes to `path` + '.blocksums': whole or not at all, in
   * the place of those that are there. They are small, 8 MiB for a file of 1 TiB; `onProgress` counts bytes.
   *
   * They are of the file as others read it: what is stored in mode 'c', or through `data` in 'r', is not in them before
   * `commit`; what is stored in 'r+' is, flushed or not, and may or may not be if it is stored meanwhile. Any mode will do; the
   * folder has to be writable. Every later change of the file makes them out of date: make them again then.
   *
   * Rejects with ERR_STALE when the path names another file, or the length changes meanwhile; EEXIST when something else than
   * checksums has their name; the OS's errors (ENOSPC, EACCES); ERR_MAPPING_LOST, ERR_CLOSED, ABORT_ERR, and Node's codes for
   * wrong options. What was there is there then.
   */
  async checksum(options?: ChecksumOptions): Promise<void> {
    const { block, threads, work } = checkChecksum(options)
    this.alive()
    const { native } = this.file
    const total = work.onProgress ? native.checksumBytes(false) : 0
    await this.file.follow(total, work, (run) => {
      const job = new NativeJob()
      return awaited(job, run(native.checksum(block, threads, job)))
    })
  }

  /** Writes checksums of the file before it returns; throws what `checksum` rejects with. */
  checksumSync(options?: ChecksumOptions): void {
    const { block, threads, work } = checkChecksum(options)
    checkAborted(work.signal)
    const { native } = this.alive().file
    const total = work.onProgress ? native.checksumBytes(false) : 0
    native.checksumSync(block, threads)
    if (total > 0) work.onProgress?.(total, total)
  }

  /**
   * Compares the file with its checksums, and names the blocks that are not as they were in coordinates of this array.
   *
   * Of an npy or mmap file opened without `name` all blocks are looked at, its header and what follows the array among them;
   * otherwise those that hold bytes of this array: one sidecar is for all arrays of a file. A block that the storage does not
   * deliver (EIO) is bad. The file itself is read, whatever was stored in mode 'c'. `onProgress` counts bytes.
   *
   * Rejects with ENOENT when there are no checksums (`path` is theirs), ERR_INVALID_HEADER and ERR_UNSUPPORTED_VERSION when they
   * are damaged or none, ERR_STALE when they are of a file of another length (after `append`, for instance) or the path names
   * another file, ERR_MAPPING_LOST, ERR_CLOSED, ABORT_ERR, and Node's codes for wrong options.
   */
  async verify(options?: VerifyOptions): Promise<Verified> {
    const { threads, work } = checkVerify(options)
    this.alive()
    const { native } = this.file
    const total = work.onProgress ? native.checksumBytes(true) : 0
    return verifiedOf(await this.file.followNative(total, work, (job) => native.verify(threads, job)))
  }

  /** Compares the file with its checksums before it returns; throws what `verify` rejects with. */
  verifySync(options?: VerifyOptions): Verified {
    const { threads, work } = checkVerify(options)
    checkAborted(work.signal)
    const { native } = this.alive().file
    const total = work.onProgress ? native.checksumBytes(true) : 0
    const verified = verifiedOf(native.verifySync(threads))
    if (total > 0) work.onProgress?.(total, total)
    return verified
  }

  private growing(): Growing {
    this.checkWritable()
    this.axis ??= this.file.native.growthAxis()
    const { file, choice, shape, axis, dtype } = this
    return { file, choice, shape, axis, dtype, complex: this.facts.complex }
  }

  private rowsAfter(growing: Growing, count: number): number {
    return checkLength(growing, (growing.shape[growing.axis] as number) + count)
  }

  /** Sees the new length; of an array that can grow all else follows from it. */
  private hasRows({ axis }: Growing, n: number): void {
    const shape = this.shape.with(axis, n)
    const { facts, memory } = this
    const data = memory.data
    const array = isStore(data) ? undefined : data
    const units = sizeOf(shape)
    const end = (array?.byteOffset ?? 0) + units * this.itemsize
    // The memory of 'wasm' goes on behind the mapping.
    const outgrown = this.backing === 'wasm' && !this.file.native.isOverlaid()
    if (!array || units === 0 || outgrown || end > array.buffer.byteLength) {
      this.restate()
      return
    }
    facts.units = units
    memory.move(over(array.buffer, array.byteOffset, facts))
    this.reshapeTo({ shape, stride: this.stride, offset: this.offset })
  }

  /** Sees what native code says of the array now. */
  private restate(): void {
    const facts = this.file.native.facts()
    this.facts = facts
    const { file, memory } = this
    const take = (backing: Backing) => dataOf<D>(file, facts, backing)
    const [backing, data] = choose(this.choice, take, this.backing)
    const array = this as { -readonly [K in 'backing']: Backing }
    array.backing = backing
    memory.move(data)
    this.reshapeTo(facts)
  }

  /**
   * Takes the data away from every view and typed array, and unmaps the file. A second call does nothing.
   *
   * Typed arrays already handed out have length 0, those over a SharedArrayBuffer read zeros once every worker that attached
   * has closed as well; `data` and every method that needs it throw ERR_CLOSED; `shape`, `dtype`, `path`, `mode` and
   * `inspect` keep working. It does not bring stores to the disk: `flush()` does. Work under way rejects with
   * ERR_CLOSED; the file stays mapped until it has ended. Throws ERR_MAPPING_LOST, when all of that is done, if the array
   * is `lost` and neither a `flush` nor a reduction has said so. What was stored to a file that is not mapped is written
   * to it first; where that fails (ENOSPC) the error is thrown when all else is done, and it is gone: `flush` can be tried again.
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

  /** The same as `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Waits for work under way, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.file.running)
    this.close()
  }

  /** Everything about the array but its elements. */
  override toJSON(): ArraySummary {
    const { path, mode, format, descr } = this
    return { ...super.toJSON(), path, mode, format, descr }
  }

  protected override header(): string {
    const { path, mode, closed } = this
    const state = closed ? ' (closed)' : mode === 'c' && this.dirty ? ' (dirty)' : ''
    return `MmapArray<${this.dtype}> [${this.shape.join(', ')}] '${mode}' ${path}${state}`
  }
}
