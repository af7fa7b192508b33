/**
 * MappedView: a part of a mapped file. What needs the file, or is faster beside it, is here; everything else is NdView.
 *
 * The methods are thin: arguments are settled by the pure layer, and one native call does the work on the mapping itself,
 * which also holds for elements that no typed array can show.
 */
import { constants } from 'node:buffer'
import {
  type CommitOptions,
  checkCommit,
  checkSave,
  type ElementRange,
  pairsOf,
  type SaveOptions,
} from './commit.js'
import { checkValue, type DType, type ValueOf } from './dtype.js'
import { MmapError } from './errors.js'
import { type Layout, reach, sizeOf } from './layout.js'
import type { Memory } from './memory.js'
import { type NativeArray, NativeJob } from './native.js'
import { type NdView, NdViewBase } from './nd-view.js'
import type { PathLike } from './path.js'
import {
  checkAborted,
  checkReduction,
  type Extreme,
  follow,
  type MinMax,
  type NoOptions,
  type Reduced,
  type ReduceOptions,
  resultsOf,
  type SpreadOptions,
  type SumDType,
  type SumOf,
  type SumOptions,
  type WorkOptions,
} from './reductions.js'
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
  /** What `lost` was when the file was closed. */
  private wasLost = false
  /** Promises of native work that is under way. */
  readonly running = new Set<Promise<unknown>>()
  /** The commit that was started last. */
  private last: Promise<unknown> = Promise.resolve()
  /** The work among it that can be stopped. */
  private readonly jobs = new Set<NativeJob>()

  constructor(native: NativeArray, path: string, mode: 'r' | 'r+' | 'c', unit: number) {
    this.native = native
    this.path = path
    this.mode = mode
    this.unit = unit
  }

  /** Whether pages have vanished under the mapping. */
  get lost(): boolean {
    return this.closed ? this.wasLost : this.native.lost()
  }

  /** The last thing before the native array is closed; stops what can be stopped. */
  markClosed(): void {
    this.wasLost = this.lost
    this.closed = true
    for (const job of this.jobs) job.cancel()
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
    } catch (error) {
      throw this.closed ? this.gone() : error
    } finally {
      this.running.delete(work)
    }
  }

  /** Starts work when what was started here before has ended, well or not. */
  async inTurn<T>(start: () => Promise<T>): Promise<T> {
    const before = this.last
    const work = before.then(() => this.run(start()))
    this.last = work.catch(() => {})
    return work
  }

  /** As `run`, for work that an abort stops, and closing the file. */
  async follow<T>(total: number, options: WorkOptions, start: (job: NativeJob) => Promise<T>): Promise<T> {
    return follow(total, options, async (job) => {
      this.jobs.add(job)
      try {
        return await this.run(start(job))
      } finally {
        this.jobs.delete(job)
      }
    })
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
   * Rejects with the OS's error (`EIO`, `ENOSPC`), with ERR_MAPPING_LOST in any mode when the array is `lost`, and with
   * ERR_CLOSED when it is closed before or meanwhile.
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

  /**
   * Whether something of this view was stored to in a private mode: true where an element is in such a page, be it the same
   * value; undefined where only reading the data could tell (`tracking` is 'compare'); false in mode 'r+'.
   *
   * It never reads the data. Throws ERR_CLOSED.
   */
  get dirty(): boolean | undefined {
    return this.file.native.dirty(layoutOf(this)) ?? undefined
  }

  /**
   * The elements of this view in pages that were stored to, as ranges of indices into `data`, ascending and apart.
   *
   * Whole pages (4 KiB): elements that were not stored to are among them. Where `tracking` is 'compare', those in pages that
   * differ from the file. Elements that are not neighbours in `data` are a range each. Throws ERR_CLOSED, and what `diff`
   * throws.
   */
  dirtyRanges(): ElementRange[] {
    return pairsOf(this.file.native.dirtyRanges(layoutOf(this.alive())))
  }

  /**
   * The elements of this view whose bytes differ from those in the file, as ranges like those of `dirtyRanges`.
   *
   * It reads the pages that were stored to, and the file, as it is now. Throws ERR_CLOSED, ERR_MAPPING_LOST and the OS's
   * errors.
   */
  diff(): ElementRange[] {
    return pairsOf(this.file.native.diff(layoutOf(this.alive())))
  }

  /**
   * Gives the elements of this view the values that they have in the file; every view and typed array sees it at once, in
   * workers that attached as well. In mode 'r+' there is nothing to do.
   *
   * Throws ERR_READ_ONLY in mode 'r' and on read-only views, ERR_INVALID_STATE while a commit is under way, ERR_CLOSED,
   * ERR_MAPPING_LOST and the OS's errors.
   */
  discard(): void {
    this.checkWritable()
    this.file.native.discard(layoutOf(this))
  }

  /**
   * Brings what was stored to this view, in whole pages, to the file and to the disk, without holding up the main thread;
   * commits of one array are made one after the other.
   *
   * In place, a crash in the middle leaves some elements new and some old; with `atomic` all or none. What is stored
   * meanwhile is kept, and stays dirty. While workers have the array attached, or it was opened with `shared`, pages that
   * were committed stay private.
   *
   * Rejects with ERR_READ_ONLY in mode 'r' and on read-only views; ERR_INVALID_STATE in mode 'r+' (`flush` is what you
   * want), and with `atomic` while others have the array; ERR_STALE when the file at the path is another one or none, or was
   * written to by somebody, unless `force`; ERR_LOCKED; ERR_MAPPING_LOST; the OS's errors, ENOSPC before anything is
   * written; ERR_FEATURE_UNAVAILABLE_ON_PLATFORM for `atomic` on Windows; ERR_CLOSED when the array is closed meanwhile,
   * though the commit is brought to its end. After an error the array is as dirty as before.
   */
  async commit(options?: CommitOptions): Promise<void> {
    const [atomic, force] = checkCommit(options)
    this.checkWritable()
    await this.file.inTurn(() => this.file.native.commit(layoutOf(this), atomic, force))
  }

  /** As `commit`, before it returns; throws what `commit` rejects with, and ERR_INVALID_STATE while another is under way. */
  commitSync(options?: CommitOptions): void {
    const [atomic, force] = checkCommit(options)
    this.checkWritable()
    this.file.native.commitSync(layoutOf(this), atomic, force)
  }

  /**
   * Writes this view to a file of its own: another format, another order, in this machine's byte order and without gaps,
   * whole or not at all. It passes through 8 MiB of memory, on another thread; `onProgress` counts elements.
   *
   * Complex numbers stay complex where the last axis is their two parts. With `overwrite` the file may be the array's own:
   * the array keeps the old one. What is stored meanwhile may or may not be in the file.
   *
   * Rejects as `create` does, and with ERR_MAPPING_LOST, ERR_CLOSED, ABORT_ERR; there is no new file then.
   */
  async saveAs(path: PathLike, options?: SaveOptions): Promise<void> {
    const { file, native, work } = checkSave(path, options)
    const layout = layoutOf(this.alive())
    await this.file.follow(this.size, work, (job) => this.file.native.saveAs(layout, file, native, job))
  }

  /** As `saveAs`, before it returns; throws what `saveAs` rejects with. */
  saveAsSync(path: PathLike, options?: SaveOptions): void {
    const { file, native, work } = checkSave(path, options)
    checkAborted(work.signal)
    this.file.native.saveAsSync(layoutOf(this.alive()), file, native)
    if (this.size > 0) work.onProgress?.(this.size, this.size)
  }

  /**
   * The sum. Of integers and bools it is exact: a number, which rounds once beyond 2^53, a bigint with `{ bigint: true }`
   * and for int64 and uint64. Of floats it is summed in float64, pairwise. Of nothing it is 0.
   *
   * With `axis` it is a view: int64 or uint64 for integers, float64 for floats. Rejects with ERR_OUT_OF_RANGE where a
   * sum does not fit into those, and as every reduction: with ERR_MAPPING_LOST, ERR_CLOSED (also when the array is closed
   * meanwhile), ABORT_ERR, and Node's codes for wrong options.
   */
  sum<const O extends SumOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, SumOf<D, O>, NdView<SumDType<D>>>> {
    return this.reduce('sum', options)
  }

  /** The sum, before it returns; throws what `sum` rejects with. */
  sumSync<const O extends SumOptions = NoOptions>(options?: O): Reduced<O, SumOf<D, O>, NdView<SumDType<D>>> {
    return this.reduceSync('sum', options)
  }

  /** The product; results and errors are those of `sum`. Of nothing it is 1. */
  prod<const O extends SumOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, SumOf<D, O>, NdView<SumDType<D>>>> {
    return this.reduce('prod', options)
  }

  /** As `prod`, before it returns; throws what `prod` rejects with. */
  prodSync<const O extends SumOptions = NoOptions>(
    options?: O,
  ): Reduced<O, SumOf<D, O>, NdView<SumDType<D>>> {
    return this.reduceSync('prod', options)
  }

  /** The mean, in float64. Of nothing it is NaN. */
  mean<const O extends ReduceOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, number, NdView<'float64'>>> {
    return this.reduce('mean', options)
  }

  /** As `mean`, before it returns; throws what `mean` rejects with. */
  meanSync<const O extends ReduceOptions = NoOptions>(options?: O): Reduced<O, number, NdView<'float64'>> {
    return this.reduceSync('mean', options)
  }

  /** The variance, in float64, found in one pass. NaN where there are no more elements than `ddof`. */
  var<const O extends SpreadOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, number, NdView<'float64'>>> {
    return this.reduce('var', options)
  }

  /** As `var`, before it returns; throws what `var` rejects with. */
  varSync<const O extends SpreadOptions = NoOptions>(options?: O): Reduced<O, number, NdView<'float64'>> {
    return this.reduceSync('var', options)
  }

  /** The standard deviation: the root of the variance. */
  std<const O extends SpreadOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, number, NdView<'float64'>>> {
    return this.reduce('std', options)
  }

  /** As `std`, before it returns; throws what `std` rejects with. */
  stdSync<const O extends SpreadOptions = NoOptions>(options?: O): Reduced<O, number, NdView<'float64'>> {
    return this.reduceSync('std', options)
  }

  /** The least element; with `axis` a view of the same dtype. Of nothing it is ERR_INVALID_ARG_VALUE. */
  min<const O extends ReduceOptions = NoOptions>(options?: O): Promise<Extreme<D, O>> {
    return this.reduce('min', options)
  }

  /** As `min`, before it returns; throws what `min` rejects with. */
  minSync<const O extends ReduceOptions = NoOptions>(options?: O): Extreme<D, O> {
    return this.reduceSync('min', options)
  }

  /** The greatest element; with `axis` a view of the same dtype. Of nothing it is ERR_INVALID_ARG_VALUE. */
  max<const O extends ReduceOptions = NoOptions>(options?: O): Promise<Extreme<D, O>> {
    return this.reduce('max', options)
  }

  /** As `max`, before it returns; throws what `max` rejects with. */
  maxSync<const O extends ReduceOptions = NoOptions>(options?: O): Extreme<D, O> {
    return this.reduceSync('max', options)
  }

  /** The least and the greatest element, found together; as `min` and `max`. */
  minmax<const O extends ReduceOptions = NoOptions>(options?: O): Promise<MinMax<Extreme<D, O>>> {
    return this.reduce('minmax', options)
  }

  /** As `minmax`, before it returns; throws what `minmax` rejects with. */
  minmaxSync<const O extends ReduceOptions = NoOptions>(options?: O): MinMax<Extreme<D, O>> {
    return this.reduceSync('minmax', options)
  }

  /** Where the least element is: its index in C order, along `axis` where one is given. The first of equals, and the first NaN. */
  argmin<const O extends ReduceOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, number, NdView<'int64'>>> {
    return this.reduce('argmin', options)
  }

  /** As `argmin`, before it returns; throws what `argmin` rejects with. */
  argminSync<const O extends ReduceOptions = NoOptions>(options?: O): Reduced<O, number, NdView<'int64'>> {
    return this.reduceSync('argmin', options)
  }

  /** Where the greatest element is, as `argmin`. */
  argmax<const O extends ReduceOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, number, NdView<'int64'>>> {
    return this.reduce('argmax', options)
  }

  /** As `argmax`, before it returns; throws what `argmax` rejects with. */
  argmaxSync<const O extends ReduceOptions = NoOptions>(options?: O): Reduced<O, number, NdView<'int64'>> {
    return this.reduceSync('argmax', options)
  }

  /** Whether any element is not zero; NaN is not zero. Of nothing it is false. */
  any<const O extends ReduceOptions = NoOptions>(options?: O): Promise<Reduced<O, boolean, NdView<'bool'>>> {
    return this.reduce('any', options)
  }

  /** As `any`, before it returns; throws what `any` rejects with. */
  anySync<const O extends ReduceOptions = NoOptions>(options?: O): Reduced<O, boolean, NdView<'bool'>> {
    return this.reduceSync('any', options)
  }

  /** Whether no element is zero. Of nothing it is true. */
  all<const O extends ReduceOptions = NoOptions>(options?: O): Promise<Reduced<O, boolean, NdView<'bool'>>> {
    return this.reduce('all', options)
  }

  /** As `all`, before it returns; throws what `all` rejects with. */
  allSync<const O extends ReduceOptions = NoOptions>(options?: O): Reduced<O, boolean, NdView<'bool'>> {
    return this.reduceSync('all', options)
  }

  /** How many elements are not zero; NaN is not zero. */
  countNonzero<const O extends ReduceOptions = NoOptions>(
    options?: O,
  ): Promise<Reduced<O, number, NdView<'int64'>>> {
    return this.reduce('countNonzero', options)
  }

  /** As `countNonzero`, before it returns; throws what `countNonzero` rejects with. */
  countNonzeroSync<const O extends ReduceOptions = NoOptions>(
    options?: O,
  ): Reduced<O, number, NdView<'int64'>> {
    return this.reduceSync('countNonzero', options)
  }

  private async reduce<T>(name: string, options: ReduceOptions | undefined): Promise<T> {
    const reduction = checkReduction(name, this.alive() as never, options)
    const { total, native, work } = reduction
    const layout = layoutOf(this)
    const results = await this.file.follow(total, work, (job) =>
      this.file.native.reduce(name, layout, native, job),
    )
    return resultsOf(reduction, results) as T
  }

  private reduceSync<T>(name: string, options: ReduceOptions | undefined): T {
    const reduction = checkReduction(name, this.alive() as never, options)
    const { total, native, work } = reduction
    checkAborted(work.signal)
    const results = this.file.native.reduceSync(name, layoutOf(this), native, new NativeJob())
    work.onProgress?.(total, total)
    return resultsOf(reduction, results) as T
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
