/**
 * What the reductions of a mapped view have in common: their options, how they are followed and stopped, and how
 * what native code finds becomes a number or a view. The work itself is native.
 */
import { type DType, isBigInt, type ScalarOf } from './dtype.js'
import {
  checkInteger,
  checkOptions,
  invalidArgType,
  invalidArgValue,
  MmapError,
  outOfRange,
} from './errors.js'
import { sizeOf } from './layout.js'
import type { NativeJob, NativeReduced, NativeReduceOptions } from './native.js'
import { NdView } from './nd-view.js'
import { allocate, bytesOf } from './store.js'

/** What can stop and follow work that takes long. */
export interface WorkOptions {
  /**
   * Stops the work: it rejects with ABORT_ERR, whose `cause` is the signal's reason. A `...Sync` twin looks at it before it
   * starts, and never again.
   */
  signal?: AbortSignal | undefined
  /**
   * Told how much of how much is done (elements; bytes of a prefetch, chunks of mapChunks), at most 20 times a second, and
   * at the end; a `...Sync` twin tells only at the end. What it throws stops the work, and is what it rejects with.
   */
  onProgress?: ((done: number, total: number) => void) | undefined
}

/** Options of every reduction. */
export interface ReduceOptions extends WorkOptions {
  /** The axis or axes to reduce, negative ones from the end; everything when left out. */
  axis?: number | readonly number[] | undefined
  /** Keep reduced axes, with length 1: the result is a view that repeats to the shape of this one. */
  keepdims?: boolean | undefined
  /** Leave NaN out; otherwise one NaN makes the result NaN, as in numpy. */
  skipNaN?: boolean | undefined
  /**
   * The most threads to use, of which four for each core count; all cores for large views and one for small ones when left
   * out.
   */
  threads?: number | undefined
}

/** Options of `sum` and `prod`. */
export interface SumOptions extends ReduceOptions {
  /** Integers up to 32 bits: the exact result as a bigint, and not rounded once to a number. */
  bigint?: boolean | undefined
}

/** Options of `var` and `std`. */
export interface SpreadOptions extends ReduceOptions {
  /** What is taken off the number of elements before it divides; default 0, 1 for a sample. */
  ddof?: number | undefined
}

/** What is known of an option; undefined where it may be left out. */
type Option<O, K extends PropertyKey> = K extends keyof O ? O[K] : undefined

/** A scalar, or a view where the options name axes or keep them; either where the types leave it open. */
export type Reduced<O, S, V> =
  | (undefined extends Option<O, 'axis'> ? ([Option<O, 'keepdims'>] extends [true] ? never : S) : never)
  | ([Option<O, 'axis'>] extends [undefined] ? (true extends Option<O, 'keepdims'> ? V : never) : V)

/** The dtype of sums and products with `axis`. */
export type SumDType<D extends DType> = D extends 'uint8' | 'uint16' | 'uint32' | 'uint64'
  ? 'uint64'
  : D extends 'float16' | 'bfloat16' | 'float32' | 'float64'
    ? 'float64'
    : 'int64'

/** The sum or product of everything. */
export type SumOf<D extends DType, O> = D extends 'int64' | 'uint64'
  ? bigint
  : [Option<O, 'bigint'>] extends [true]
    ? bigint
    : true extends Option<O, 'bigint'>
      ? number | bigint
      : number

/** The options of a call without any; it also tells the compiler what an `onProgress` in one with some is given. */
export type NoOptions = WorkOptions

const REDUCE = ['axis', 'keepdims', 'skipNaN', 'threads', 'signal', 'onProgress']
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  sum: [...REDUCE, 'bigint'],
  prod: [...REDUCE, 'bigint'],
  var: [...REDUCE, 'ddof'],
  std: [...REDUCE, 'ddof'],
}

/** A reduction whose options have been checked. */
export interface Reduction {
  readonly name: string
  readonly dtype: DType
  /** Elements of the view. */
  readonly total: number
  readonly native: NativeReduceOptions
  readonly work: WorkOptions
  readonly bigint: boolean
}

/**
 * Checks the options of a reduction of a view.
 *
 * Throws ERR_INVALID_ARG_TYPE and ERR_INVALID_ARG_VALUE (an axis given twice), and ERR_OUT_OF_RANGE for an axis that the
 * view has not.
 */
export function checkReduction(
  name: string,
  { dtype, ndim, size }: Pick<NdView, 'dtype' | 'ndim' | 'size'>,
  options: (SumOptions & SpreadOptions) | undefined,
): Reduction {
  checkOptions(options, OPTIONS[name] ?? REDUCE, name)
  const { axis, keepdims = false, skipNaN = false, threads, bigint = false, ddof = 0 } = options ?? {}
  for (const [option, value] of Object.entries({ keepdims, skipNaN, bigint })) {
    if (typeof value !== 'boolean') throw invalidArgType(option, 'of type boolean', value)
  }
  if (bigint && dtype.includes('float')) {
    throw invalidArgValue('bigint', `is for integers; the dtype is ${dtype}`, bigint)
  }
  if (typeof ddof !== 'number') throw invalidArgType('ddof', 'of type number', ddof)
  if (!Number.isFinite(ddof)) throw outOfRange('ddof', 'a finite number', ddof)
  const axes = axis === undefined ? undefined : checkAxes(axis, ndim)
  const native = {
    ...(axes !== undefined && { axes }),
    ...(threads !== undefined && { threads: checkInteger('threads', threads, 1) }),
    keepdims,
    skipNan: skipNaN,
    ddof,
  }
  return { name, dtype, total: size, native, work: checkWork(options ?? {}), bigint }
}

function checkAxes(axis: number | readonly number[], ndim: number): number[] {
  const given: readonly unknown[] = Array.isArray(axis) ? axis : [axis]
  const axes = Array.from(given, (one, n) => {
    const name = Array.isArray(axis) ? `axis[${n}]` : 'axis'
    if (typeof one !== 'number') throw invalidArgType(name, 'an integer, or an array of them', one)
    if (ndim === 0) throw outOfRange(name, 'left out, the view has no axes', one)
    const checked = checkInteger(name, one, -ndim, ndim - 1)
    return checked < 0 ? checked + ndim : checked
  })
  if (new Set(axes).size < axes.length) throw invalidArgValue('axis', 'must name each axis once', axis)
  return axes
}

/** Checks what can stop and follow work. Throws ERR_INVALID_ARG_TYPE. */
export function checkWork({ signal, onProgress }: WorkOptions): WorkOptions {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidArgType('signal', 'an AbortSignal', signal)
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidArgType('onProgress', 'a function', onProgress)
  }
  return { signal, onProgress }
}

/** Throws ABORT_ERR if the signal says so already. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal)
}

function aborted({ reason }: AbortSignal): MmapError {
  return new MmapError('The operation was aborted', { code: 'ABORT_ERR', cause: reason })
}

/** Milliseconds between two calls of `onProgress`. */
const PROGRESS_MS = 50

/** Work under way: its promise, what makes it reject with an error soon, and how much of it is done. */
export interface Work<T> {
  readonly result: Promise<T>
  readonly stop: (error: unknown) => void
  readonly done: () => number
}

/**
 * Native work as something to stop. The promise does not wait until it has: work may still be waiting for its turn behind
 * other work, and what it gives is of no use any more.
 */
export function stoppable<T>(job: NativeJob, work: Promise<T>): Work<T> {
  let stop!: (error: unknown) => void
  const result = new Promise<T>((resolve, reject) => {
    work.then(resolve, reject)
    stop = (error) => {
      job.cancel()
      reject(error)
    }
  })
  return { result, stop, done: () => job.done() }
}

/**
 * Native work as something to stop, whose promise waits until it has, or has ended in spite of it: what it makes is then
 * there, or is not.
 */
export function awaited<T>(job: NativeJob, work: Promise<T>): Work<T> {
  let stopped: { readonly error: unknown } | undefined
  const result = work.catch((error: unknown) => {
    throw stopped === undefined ? error : stopped.error
  })
  const stop = (error: unknown) => {
    stopped ??= { error }
    job.cancel()
  }
  return { result, stop, done: () => job.done() }
}

/**
 * Passes an abort on to work, and tells of its progress, until it has its result.
 *
 * Rejects with what the work rejects with, with ABORT_ERR for an abort, and with what `onProgress` throws, which stops
 * the work as well.
 */
export async function follow<T>(
  total: number,
  { signal, onProgress }: WorkOptions,
  { result, stop, done }: Work<T>,
): Promise<T> {
  const abort = () => stop(aborted(signal as AbortSignal))
  let told = 0
  const tell = (count: number) => {
    if (count > told) onProgress?.(count, total)
    told = Math.max(told, count)
  }
  const tick = () => {
    try {
      tell(Math.min(done(), total))
    } catch (error) {
      stop(error)
    }
  }
  signal?.addEventListener('abort', abort, { once: true })
  const timer = onProgress && setInterval(tick, PROGRESS_MS)
  try {
    const found = await result
    // Elements that did not matter are done with, too.
    tell(total)
    return found
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', abort)
  }
}

/** The results of native code as JavaScript has them. Throws ERR_OUT_OF_RANGE for a bigint that is too large to be known. */
export function resultsOf({ name, dtype, bigint }: Reduction, results: readonly NativeReduced[]): unknown {
  const isSum = name === 'sum' || name === 'prod'
  const isElement = name === 'min' || name === 'max' || name === 'minmax'
  const exact = bigint || (isBigInt(dtype) && (isSum || isElement))
  const [first, second] = results.map((result) => {
    const found = resultOf(result)
    if (found instanceof NdView || name === 'any' || name === 'all') return found
    if (!exact) return Number(found)
    if (typeof found === 'bigint') return found
    const less = bigint && !isBigInt(dtype) ? 'leave out `bigint`, or ' : ''
    throw outOfRange(name, `less than 2 ** 1024; ${less}reduce a part of the view`, found)
  })
  return name === 'minmax' ? { min: first, max: second } : first
}

function resultOf({ number, integer, truth, dtype, shape, data }: NativeReduced): unknown {
  if (dtype === undefined || shape === undefined || data === undefined) return number ?? integer ?? truth
  const elements = allocate(dtype as DType, sizeOf(shape))
  bytesOf(elements).set(data)
  return new NdView<DType>(elements, shape, undefined, undefined, dtype as DType)
}

/** What `minmax` gives. */
export interface MinMax<T> {
  /** The least element. */
  readonly min: T
  /** The greatest element. */
  readonly max: T
}

/** The result of `min` and `max`: an element, or a view of the same dtype. */
export type Extreme<D extends DType, O> = Reduced<O, ScalarOf<D>, NdView<D>>
