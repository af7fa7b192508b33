/**
 * MappedView: a part of a mapped file. What needs the file, or is faster beside it, is here; everything else is NdView.
 *
 * The methods are thin: arguments are settled by the pure layer, and one native call does the work on the mapping itself,
 * which also holds for elements that no typed array can show. Past 400 lines: each operation has two methods, and each
 * method its contract.
 */
import { constants } from 'node:buffer'
import { type ChunkOptions, checkChunks, readAhead } from './chunks.js'
import { checkValue, type DType, type ValueOf } from './dtype.js'
import { checkOptions, invalidArgType, invalidArgValue, MmapError } from './errors.js'
import type { Layout } from './layout.js'
import { type NativeArray, NativeJob } from './native.js'
import { type NdView, NdViewBase } from './nd-view.js'
import {
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
import { resolveSource, type Source } from './source.js'
import { allocate, bytesOf, type Data, DataViewStore, isStore, put } from './store.js'
import type { Strided } from './strided.js'

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
  /** What `lost` was when the file was closed. */
  private wasLost = false
  /** Promises of native work that is under way. */
  readonly running = new Set<Promise<unknown>>()
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

  protected override derive(layout: Layout, readOnly: boolean = this.readOnly): MappedView<D> {
    return new MappedView<D>(this.memory, layout, readOnly)
  }

  /** What a worker needs to make this view of the whole array, and whose file it is. @internal */
  static part({ file, shape, stride, offset, readOnly }: MappedView): ViewPart {
    return { file, layout: { shape, stride, offset }, readOnly }
  }

  /** The view that `part` has described. @internal */
  static ofPart(whole: MappedView, { layout, readOnly }: Omit<ViewPart, 'file'>): MappedView {
    return whole.derive(layout, readOnly)
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
    const results = this.file.native.reduceSync(name, layoutOf(this), native, new NativeJob())
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
