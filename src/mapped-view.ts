/**
 * MappedView: a part of a mapped file. What needs the file, or is faster beside it, is here; everything else is NdView.
 *
 * The methods are thin: arguments are settled by the pure layer, and one native call does the work on the mapping itself,
 * which also holds for elements that no typed array can show. Past 400 lines: each operation has two methods, and each
 * method its contract.
 */
import { constants } from 'node:buffer'
import { checkValue, type DType, type ValueOf } from './dtype.js'
import { MmapError } from './errors.js'
import { type Layout, reach, sizeOf } from './layout.js'
import type { Memory } from './memory.js'
import { type NativeArray, NativeJob, type NativeOperand } from './native.js'
import { type NdView, NdViewBase } from './nd-view.js'
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

/** Elements that are copied at a time to be compared with. */
const COMPARED = 2 ** 19

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

  /**
   * The elements at these indices along `axis`, negative ones from the end, in new memory: numpy's `take`. The view has the
   * axes of `indices` in the place of that axis; one index alone takes it away.
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
    return file.follow(total, work, async (job) => {
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
      return other.file.follow(0, {}, run).catch((error) => {
        job.cancel()
        throw error
      })
    })
  }

  private searchSync<T>(search: Search<T>): T {
    const { total, native, work, finish } = search
    checkAborted(work.signal)
    let found: T | undefined
    for (const [layout, operand] of this.calls(search)) {
      found = finish(this.file.native.searchSync(layout, operand, native, new NativeJob()))
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
