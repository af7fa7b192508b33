/**
 * MappedView: a part of a mapped file. What needs the file, or is faster beside it, is here; everything else is NdView.
 *
 * The methods are thin: arguments are settled by the pure layer, and one native call does the work on the mapping itself,
 * which also holds for elements that no typed array can show. Past 400 lines: each operation has two methods, and each
 * method its contract.
 */
import { constants } from 'node:buffer'
import { type ChunkOptions, checkChunks, readAhead } from './chunks.js'
import {
  type CommitOptions,
  checkCommit,
  checkSave,
  type ElementRange,
  pairsOf,
  type SaveOptions,
} from './commit.js'
import { checkValue, type DType, type ValueOf } from './dtype.js'
import { checkOptions, invalidArgType, invalidArgValue, MmapError } from './errors.js'
import { Axes, type Layout } from './layout.js'
import { type NativeArray, NativeJob, type NativeOperand } from './native.js'
import { type NdView, NdViewBase } from './nd-view.js'
import type { PathLike } from './path.js'
import {
  awaited,
  checkAborted,
  checkReduction,
  checkWork,
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
  stoppable,
  type Work,
  type WorkOptions,
} from './reductions.js'
import {
  type AllCloseOptions,
  checkAllClose,
  checkDot,
  checkEquals,
  checkHistogram,
  checkTake,
  checkTopK,
  type Dot,
  type EqualsOptions,
  type Histogram,
  type HistogramOptions,
  type Indices,
  packed,
  parts,
  type Search,
  type SearchOptions,
  type TakeOptions,
  type TopK,
  type TopKOptions,
  type Vector,
} from './search.js'
import { resolveSource, type Source } from './source.js'
import { allocate, bytesOf, type Data, DataViewStore, isStore, put } from './store.js'
import { gather, type Strided } from './strided.js'
import type { Windows } from './windows.js'

/** Elements that are copied at a time to be compared with. */
const COMPARED = 2 ** 19

/** What `advise` takes. */
export type Advice = 'sequential' | 'random' | 'willneed' | 'dontneed' | 'normal'

const ADVICE: readonly Advice[] = ['sequential', 'random', 'willneed', 'dontneed', 'normal']

/** What all views of one open file share. */
export class MappedFile {
  readonly native: NativeArray
  readonly path: string
  readonly mode: 'r' | 'r+' | 'c'
  /** Bytes that strides and offsets of views of this file count. */
  readonly unit: number
  closed = false
  /** The windows that its elements are seen through, where one buffer does not hold them. */
  windows: Windows | undefined
  /** What `lost` was when the file was closed. */
  private wasLost = false
  /** Promises of native work that is under way. */
  readonly running = new Set<Promise<unknown>>()
  /** The commit that was started last. */
  private last: Promise<unknown> = Promise.resolve()
  /** What stops the work that can be stopped. */
  private readonly stops = new Set<Work<unknown>['stop']>()

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

  /** Throws ERR_MAPPING_LOST where pages have vanished, and ERR_CLOSED. */
  checkLoss(): void {
    // Of no element: it looks at nothing but the loss.
    this.native.prefetchSync({ offset: 0, shape: [0], stride: [0] })
  }

  /** The last thing before the native array is closed; stops what can be stopped. */
  markClosed(): void {
    this.wasLost = this.lost
    this.closed = true
    for (const stop of this.stops) stop(this.gone())
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

  /** As `run`, for work that an abort stops, and closing the file. `start` has what runs counted as under way. */
  async follow<T>(
    total: number,
    options: WorkOptions,
    start: (run: <R>(work: Promise<R>) => Promise<R>) => Work<T>,
  ): Promise<T> {
    checkAborted(options.signal)
    const work = start((promise) => this.run(promise))
    this.stops.add(work.stop)
    try {
      return await follow(total, options, work)
    } finally {
      this.stops.delete(work.stop)
    }
  }

  /** As `follow`, for native work. */
  async followNative<T>(
    total: number,
    options: WorkOptions,
    start: (job: NativeJob) => Promise<T>,
  ): Promise<T> {
    return this.follow(total, options, (run) => {
      const job = new NativeJob()
      return stoppable(job, run(start(job)))
    })
  }
}

/** A view as a part of a whole array. */
export interface ViewPart {
  readonly file: MappedFile
  readonly layout: Layout
  readonly readOnly: boolean
}

/** A view of a mapped file: everything of `NdView`, over the file itself. */
export class MappedView<D extends DType = DType> extends NdViewBase<D, MappedView<D>> {
  /** The open file, which the view that owns the data holds for all views of it. */
  protected get file(): MappedFile {
    return (this.memory.root as { opened: MappedFile }).opened
  }

  protected override derive(axes: Axes, readOnly: boolean = this.readOnly): MappedView<D> {
    return new MappedView<D>(this.memory, axes, readOnly)
  }

  /** What a worker needs to make this view of the whole array, and whose file it is. @internal */
  static part({ file, shape, stride, offset, readOnly }: MappedView): ViewPart {
    return { file, layout: { shape, stride, offset }, readOnly }
  }

  /** The view that `part` has described. @internal */
  static ofPart(whole: MappedView, { layout, readOnly }: Omit<ViewPart, 'file'>): MappedView {
    return whole.derive(Axes.of(layout), readOnly)
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
   * What was stored beside it in the same pages goes with it, and where the view has more than 64 ranges of pages, what
   * lies in the gaps between them; on macOS and Windows what the system has of the file. Rejects with the OS's error
   * (`EIO`, `ENOSPC`), with ERR_MAPPING_LOST in any mode when the array is `lost`, and with ERR_CLOSED when it is closed
   * before or meanwhile.
   */
  async flush(): Promise<void> {
    await this.file.run(this.file.native.flush(layoutOf(this.alive())))
  }

  /** Brings what was stored to this view to the disk before it returns; throws what `flush` rejects with. */
  flushSync(): void {
    this.file.native.flushSync(layoutOf(this.alive()))
  }

  /**
   * Tells the system what is to come for the pages of this view. No element changes and no store is lost, in any mode.
   *
   * 'sequential' reads far ahead of what is touched, 'random' nothing but what is touched, until 'normal' takes them back;
   * where the view has more than 64 ranges of pages that holds for the gaps between them, too. 'willneed' starts reading in,
   * 'dontneed' takes out of memory: on Linux what was stored in mode 'c', or through `data` in 'r', goes to the swap
   * or stays. On macOS 'dontneed' does nothing in modes 'r' and 'c'; on Windows only 'willneed' does something. Both may take
   * a while for many pages. Throws ERR_INVALID_ARG_VALUE for another word, ERR_CLOSED, and the OS's refusal.
   */
  advise(advice: Advice): void {
    const layout = layoutOf(this.alive())
    if (typeof advice !== 'string') throw invalidArgType('advice', 'of type string', advice)
    if (!ADVICE.includes(advice)) {
      throw invalidArgValue(
        'advice',
        `must be one of ${ADVICE.map((word) => `'${word}'`).join(', ')}`,
        advice,
      )
    }
    this.file.native.advise(layout, advice)
  }

  /**
   * Reads the pages of this view in, without holding up the main thread: what is touched soon afterwards is there.
   *
   * `onProgress` counts bytes of pages. What does not fit into memory has partly gone again when the promise resolves. Rejects
   * with ERR_MAPPING_LOST when pages have vanished, ERR_CLOSED when the array is closed before or meanwhile, ABORT_ERR, and
   * Node's codes for wrong options.
   */
  async prefetch(options?: WorkOptions): Promise<void> {
    const layout = layoutOf(this.alive())
    checkOptions(options, ['signal', 'onProgress'], 'prefetch')
    const work = checkWork(options ?? {})
    const { native } = this.file
    const total = work.onProgress ? native.pageBytes(layout) : 0
    await this.file.followNative(total, work, (job) => native.prefetch(layout, job))
  }

  /** Reads the pages of this view in before it returns; throws what `prefetch` rejects with. */
  prefetchSync(): void {
    this.file.native.prefetchSync(layoutOf(this.alive()))
  }

  /**
   * How much of the pages of this view is in memory, from 0 to 1; 1 for a view without elements.
   *
   * On Linux and macOS that is in the page cache, whoever has read it, or private to this process. Linux says 1 to those
   * who neither own the file nor may write it. On Windows it is what this process has touched of late. Rejects with
   * ERR_CLOSED when the array is closed before or meanwhile.
   */
  async residency(): Promise<number> {
    return this.file.run(this.file.native.residency(layoutOf(this.alive())))
  }

  /** How much of the pages of this view is in memory, found before it returns; throws what `residency` rejects with. */
  residencySync(): number {
    return this.file.native.residencySync(layoutOf(this.alive()))
  }

  /**
   * This view in parts of `rows` indices of axis 0, each a view, for `for await`.
   *
   * The pages of a chunk are in memory when it is handed over, and those of the next are read while it is worked on. An
   * overlap begins each chunk with the last rows of the one before. The system is told to read far ahead meanwhile, and
   * 'normal' afterwards, also when the loop is left early. Throws a TypeError for a view without axes, ERR_INVALID_ARG_TYPE
   * and ERR_OUT_OF_RANGE for wrong options, and ERR_CLOSED; the iterator rejects with ERR_CLOSED when the array is closed
   * meanwhile, and with ERR_MAPPING_LOST when pages have vanished.
   */
  chunks(options?: ChunkOptions): AsyncGenerator<MappedView<D>, undefined, undefined> {
    const cut = checkChunks(this.alive() as never, options)
    return readAhead(
      this,
      cut,
      () => this.memory.isGone,
      () => this.file.checkLoss(),
    )
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
    await this.file.follow(this.size, work, (run) => {
      const job = new NativeJob()
      return awaited(job, run(this.file.native.saveAs(layout, file, native, job)))
    })
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
   * and for int64 and uint64. Floats are added up as float64, with an error of a dozen roundings at most. Of nothing
   * it is 0.
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

  /**
   * The product; results and errors are those of `sum`, and a bigint past 2^1024 is ERR_OUT_OF_RANGE. Of nothing it is 1.
   */
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

  /**
   * The elements at these indices along `axis`, negative ones from the end, in new memory: numpy's `take`. The view has the
   * axes of `indices` in the place of that axis; one index alone takes it away.
   *
   * Of short rows here and there the system reads no more than is touched: they are advised as 'random' meanwhile, unless
   * `advise` has said anything else than 'normal' of the same pages.
   *
   * Rejects with ERR_OUT_OF_RANGE for an index outside the axis (named by its place in C order) or with a fraction,
   * ERR_INVALID_ARG_TYPE for what is no integer, ERR_TOO_LARGE, and as every reduction.
   */
  async take(indices: Indices, options?: TakeOptions): Promise<NdView<D>> {
    return this.search(checkTake<D>(this.alive(), indices, options))
  }

  /** As `take`, before it returns; throws what `take` rejects with. */
  takeSync(indices: Indices, options?: TakeOptions): NdView<D> {
    return this.searchSync(checkTake<D>(this.alive(), indices, options))
  }

  /**
   * The `k` rows of a matrix of floats that are nearest to `query`, the best first: their indices and what `metric` says of
   * them (for 'l2' the Euclidean distance, for 'cosine' NaN where the row or the query has length 0).
   *
   * Scores are found in float64. Rows of one score are in the order of their indices; those of NaN are behind all others.
   * Rejects with ERR_OUT_OF_RANGE for a `k` of less than 1 or of more than there are rows, ERR_DTYPE_MISMATCH for a
   * query of another dtype (plain numbers are converted), ERR_INVALID_ARG_VALUE for one of another length,
   * ERR_UNSUPPORTED_DTYPE for integers, and as every reduction.
   */
  async topk(query: Vector, k: number, options?: TopKOptions): Promise<TopK> {
    return this.search(checkTopK(this.alive(), query, k, options))
  }

  /** As `topk`, before it returns; throws what `topk` rejects with. */
  topkSync(query: Vector, k: number, options?: TopKOptions): TopK {
    return this.searchSync(checkTopK(this.alive(), query, k, options))
  }

  /**
   * The product with a vector: of a vector a number, of a matrix a view of the products of its rows; any axes before the
   * last stay. Results are those of `sum`: of floats made in float64, of integers exact, bools count as 0 and 1.
   *
   * Rejects with ERR_DTYPE_MISMATCH for a vector of another dtype (plain numbers are converted), ERR_INVALID_ARG_VALUE
   * for one that is not as long as the last axis, ERR_OUT_OF_RANGE where an integer does not fit into the view, and as
   * every reduction.
   */
  async dot(other: Vector, options?: SearchOptions): Promise<Dot<D>> {
    return this.search(checkDot<D>(this.alive(), other, options))
  }

  /** As `dot`, before it returns; throws what `dot` rejects with. */
  dotSync(other: Vector, options?: SearchOptions): Dot<D> {
    return this.searchSync(checkDot<D>(this.alive(), other, options))
  }

  /**
   * How many elements fall into each of `bins` bins of equal width, and where those begin and end: numpy's `histogram`. Each
   * bin takes its lower edge, the last one both.
   *
   * Elements outside `range` are not counted, nor is NaN; without one, NaN or an infinity is ERR_INVALID_ARG_VALUE, as
   * are more bins than there are floats in the range. Rejects also with ERR_TOO_LARGE for more than 2^24 bins, and
   * as every reduction.
   */
  async histogram(options?: HistogramOptions): Promise<Histogram> {
    return this.search(checkHistogram(this.alive(), options))
  }

  /** As `histogram`, before it returns; throws what `histogram` rejects with. */
  histogramSync(options?: HistogramOptions): Histogram {
    return this.searchSync(checkHistogram(this.alive(), options))
  }

  /**
   * Whether `other` has the same shape and equal elements; the first difference ends it. Numbers of different dtypes are
   * compared exactly. NaN equals nothing, or with `equalNaN` NaN.
   *
   * Rejects with ERR_INVALID_ARG_TYPE for what has no elements, and as every reduction.
   */
  async equals(other: Source, options?: EqualsOptions): Promise<boolean> {
    const search = checkEquals(this.alive(), other, options)
    return search && this.search(search)
  }

  /** As `equals`, before it returns; throws what `equals` rejects with. */
  equalsSync(other: Source, options?: EqualsOptions): boolean {
    const search = checkEquals(this.alive(), other, options)
    return search && this.searchSync(search)
  }

  /**
   * Whether each element differs from the one of `other`, which is repeated to this shape, by no more than `atol` and `rtol`
   * times the other's magnitude: numpy's `allclose`. Differences are found in float64.
   *
   * Rejects with ERR_INVALID_ARG_VALUE where the shapes do not fit, ERR_OUT_OF_RANGE for a tolerance below 0, and as
   * every reduction.
   */
  async allClose(other: Source, options?: AllCloseOptions): Promise<boolean> {
    return this.search(checkAllClose(this.alive(), other, options))
  }

  /** As `allClose`, before it returns; throws what `allClose` rejects with. */
  allCloseSync(other: Source, options?: AllCloseOptions): boolean {
    return this.searchSync(checkAllClose(this.alive(), other, options))
  }

  private async search<T>(search: Search<T>): Promise<T> {
    const { total, native, work, finish } = search
    const { file } = this
    const calls = this.calls(search)
    const other = search.operand?.given
    return file.followNative(total, work, (job) => {
      const run = async () => {
        let found: T | undefined
        for (const [layout, operand] of calls) {
          found = finish(await file.native.search(layout, operand, native, job))
          if (found === false) break
        }
        return found as T
      }
      if (!(other instanceof MappedView) || other.file === file) return run()
      // Closing the other file ends it as well.
      return other.file.follow(0, {}, (counted) => stoppable(job, counted(run())))
    })
  }

  private searchSync<T>(search: Search<T>): T {
    const { total, native, work, finish } = search
    checkAborted(work.signal)
    let found: T | undefined
    for (const [layout, operand] of this.calls(search)) {
      found = finish(this.file.native.searchSync(layout, operand, native))
      if (found === false) break
    }
    work.onProgress?.(total, total)
    return found as T
  }

  /** The calls of native code that a search needs: one, or one for each part of an operand that has to be copied. */
  private *calls({
    operand,
    inParts,
  }: Search<unknown>): Generator<[layout: Layout, operand: NativeOperand | undefined]> {
    if (operand === undefined) {
      yield [layoutOf(this), undefined]
      return
    }
    const { given, at } = operand
    if (given instanceof MappedView) {
      yield [layoutOf(this), { dtype: at.dtype, layout: layoutOf(at), array: given.file.native }]
      return
    }
    for (const [part, from] of parts(this, at, inParts ? COMPARED : Number.POSITIVE_INFINITY)) {
      const source = { ...from, data: at.data, dtype: at.dtype }
      yield [layoutOf(part), { ...packed(source), bytes: bytesOf(gather(source)) }]
    }
  }

  private async reduce<T>(name: string, options: ReduceOptions | undefined): Promise<T> {
    const reduction = checkReduction(name, this.alive(), options)
    const { total, native, work } = reduction
    const layout = layoutOf(this)
    const results = await this.file.followNative(total, work, (job) =>
      this.file.native.reduce(name, layout, native, job),
    )
    return resultsOf(reduction, results) as T
  }

  private reduceSync<T>(name: string, options: ReduceOptions | undefined): T {
    const reduction = checkReduction(name, this.alive(), options)
    const { total, native, work } = reduction
    checkAborted(work.signal)
    const results = this.file.native.reduceSync(name, layoutOf(this), native)
    work.onProgress?.(total, total)
    return resultsOf(reduction, results) as T
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
