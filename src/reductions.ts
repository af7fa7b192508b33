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
import type { NativeReduced, NativeReduceOptions } from './native.js'
import { NdView } from './nd-view.js'
import { allocate, bytesOf } from './store.js'

/** What can stop and follow work that takes long. */
export interface WorkOptions {
  /** Stops the work within some 50 ms: it rejects with ABORT_ERR, whose `cause` is the signal's reason. */
  signal?: AbortSignal | undefined
  /** Told how much of how much is done, at most 20 times a second: elements, of a prefetch bytes, of mapChunks chunks. */
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
  /** The most threads to use; all cores for large views and one for small ones when left out. */
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

/** A scalar, or a view where the options name axes or keep them. */
export type Reduced<O, S, V> = O extends
  | { readonly axis: number | readonly number[] }
  | { readonly keepdims: true }
  ? V
  : SumOptions & SpreadOptions extends O
    ? S | V
    : S

/** The dtype of sums and products with `axis`. */
export type SumDType<D extends DType> = D extends 'uint8' | 'uint16' | 'uint32' | 'uint64'
  ? 'uint64'
  : D extends 'float16' | 'bfloat16' | 'float32' | 'float64'
    ? 'float64'
    : 'int64'

/** The sum or product of everything. */
export type SumOf<D extends DType, O> = D extends 'int64' | 'uint64'
  ? bigint
  : O extends { readonly bigint: true }
    ? bigint
    : number

/** No options. */
export type NoOptions = Record<never, never>

const REDUCE = ['axis', 'keepdims', 'skipNaN', 'threads', 'signal', 'onProgress']
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  sum: [...REDUCE, 'bigint'],
  prod: [...REDUCE, 'bigint'],
  var: [...REDUCE, 'ddof'],
  std: [...REDUCE, 'ddof'],
}

const INTEGERS: readonly DType[] = [
  'bool',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
]

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
  { dtype, ndim, size }: NdView,
  options: (SumOptions & SpreadOptions) | undefined,
): Reduction {
  checkOptions(options, OPTIONS[name] ?? REDUCE, name)
  const { axis, keepdims = false, skipNaN = false, threads, bigint = false, ddof = 0 } = options ?? {}
  for (const [option, value] of Object.entries({ keepdims, skipNaN, bigint })) {
    if (typeof value !== 'boolean') throw invalidArgType(option, 'of type boolean', value)
  }
  if (bigint && !INTEGERS.includes(dtype)) {
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
  const given = Array.isArray(axis) ? (axis as readonly number[]) : [axis as number]
  const axes = given.map((one, n) => {
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
  if (signal?.aborted) {
    throw new MmapError('The operation was aborted', { code: 'ABORT_ERR', cause: signal.reason })
  }
}

/** Work under way, as those see it who stop and follow it. */
export interface Job {
  /** Stops it soon: it rejects with ABORT_ERR. */
  cancel(): void
  /** How much is done. */
  done(): number
}

/** Milliseconds between two calls of `onProgress`, and the longest that it is behind. */
const PROGRESS_MS = 50

/**
 * Starts work, passes an abort on to it, and tells of its progress.
 *
 * Rejects with what the work rejects with, with ABORT_ERR for an abort, and with what `onProgress` throws, which stops
 * the work as well.
 */
export async function follow<J extends Job, T>(
  total: number,
  { signal, onProgress }: WorkOptions,
  job: J,
  start: (job: J) => Promise<T>,
): Promise<T> {
  checkAborted(signal)
  const cancel = () => job.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  let failure: { readonly error: unknown } | undefined
  let told = 0
  const tell = () => {
    const done = Math.min(job.done(), total)
    if (done <= told || failure !== undefined) return
    told = done
    try {
      onProgress?.(done, total)
    } catch (error) {
      failure = { error }
      job.cancel()
    }
  }
  const timer = onProgress && setInterval(tell, PROGRESS_MS)
  try {
    const result = await start(job)
    tell()
    if (failure !== undefined) throw failure.error
    return result
  } catch (error) {
    if (failure !== undefined) throw failure.error
    if (error instanceof MmapError && error.code === 'ABORT_ERR') checkAborted(signal)
    throw error
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', cancel)
  }
}

/** The results of native code as JavaScript has them. */
export function resultsOf({ name, dtype, bigint }: Reduction, results: readonly NativeReduced[]): unknown {
  const isElement = name === 'min' || name === 'max' || name === 'minmax'
  const isSum = name === 'sum' || name === 'prod'
  const exact = bigint || (isBigInt(dtype) && (isElement || isSum))
  const [first, second] = results.map((result) => resultOf(result, exact))
  return name === 'minmax' ? { min: first, max: second } : first
}

function resultOf({ number, integer, truth, dtype, shape, data }: NativeReduced, exact: boolean): unknown {
  if (integer !== undefined) return exact ? integer : Number(integer)
  if (dtype === undefined || shape === undefined || data === undefined) return number ?? truth
  const elements = allocate(dtype as DType, data.length / bytesOf(allocate(dtype as DType, 1)).length)
  bytesOf(elements).set(data)
  return new NdView<DType>(elements, shape, undefined, undefined, dtype as DType)
}

/** What `minmax` gives. */
export interface MinMax<T> {
  readonly min: T
  readonly max: T
}

/** The result of `min` and `max`: an element, or a view of the same dtype. */
export type Extreme<D extends DType, O> = Reduced<O, ScalarOf<D>, NdView<D>>
