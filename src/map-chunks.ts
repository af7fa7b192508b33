/**
 * mapChunks: a function of the caller's own over the chunks of an array, on several threads.
 *
 * Workers attach to the very mapping, so nothing is copied but what the function returns. Each has its next chunk waiting
 * while it works on one, and no more than that; whatever goes wrong, no worker is left when the promise settles.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Handle } from './attach.js'
import { CHUNK_OPTIONS, type ChunkOptions, type Cut, cut } from './chunks.js'
import type { DType } from './dtype.js'
import {
  checkInteger,
  checkOptions,
  invalidArgType,
  invalidArgValue,
  MmapError,
  type MmapErrorFields,
  makeError,
} from './errors.js'
import type { Layout } from './layout.js'
import { MappedView } from './mapped-view.js'
import { MmapArray } from './mmap-array.js'
import { checkWork, type WorkOptions } from './reductions.js'

/** Options of `mapChunks`. */
export interface MapChunksOptions extends ChunkOptions, WorkOptions {
  /** The most workers to use, 1 to 1024; one for each core, and no more than there are chunks, when left out. */
  workers?: number | undefined
}

/** Which chunk it is: its number, the first of its rows, and the row after the last. */
export interface ChunkInfo {
  /** The number of the chunk, from 0. */
  readonly index: number
  /** The first of its rows, an index of axis 0. */
  readonly start: number
  /** The row after its last. */
  readonly stop: number
}

/** What a module for `mapChunks` exports as default. It runs in a worker. */
export type ChunkFunction<D extends DType = DType, R = unknown> = (
  chunk: MappedView<D>,
  info: ChunkInfo,
) => R | Promise<R>

/** What a worker is started with. */
export interface WorkerInit {
  readonly handle: Handle
  readonly layout: Layout
  readonly readOnly: boolean
  readonly url: string
}

/** What a worker answers: the result of a chunk, or what went wrong. */
export type Answer =
  | { readonly index: number; readonly result: unknown }
  | { readonly failure: unknown; readonly fields?: object; readonly isMmapError?: boolean }

/**
 * Runs the function that a module exports as default over the chunks of an array or view, in a small pool of workers, and
 * resolves with its results in the order of the chunks.
 *
 * `moduleURL` is an absolute URL: `new URL('./work.js', import.meta.url)`, or what `import.meta.resolve` gives; a module in
 * TypeScript needs a runtime that loads it. The function gets a chunk, over the same memory as the array, and which one
 * it is; it may be asynchronous, and a worker runs one at a time. What it returns is copied as by `structuredClone`: return
 * elements as copies (`chunk.copy().data`), not as views of the file.
 *
 * Rejects with what the function throws (its class where that is JavaScript's own or MmapError, and its fields) or the
 * module with it, ERR_INVALID_ARG_VALUE for a module without such a function and for results that cannot be copied,
 * ERR_INVALID_STATE when a worker ends too early, ABORT_ERR, ERR_CLOSED when the array is closed before or meanwhile,
 * ERR_MAPPING_LOST when pages have vanished, and as `chunks` for the rest. All workers have ended by then.
 */
export async function mapChunks<R = unknown, D extends DType = DType>(
  array: MappedView<D>,
  moduleURL: string | URL,
  options?: MapChunksOptions,
): Promise<R[]> {
  if (!(array instanceof MappedView)) {
    throw invalidArgType('array', 'an open MmapArray or a view of one', array)
  }
  const url = checkModule(moduleURL)
  checkOptions(options, [...CHUNK_OPTIONS, 'workers', 'signal', 'onProgress'], 'mapChunks')
  const parts = cut(array as never, options ?? {})
  const { workers = availableParallelism() } = options ?? {}
  const most = Math.min(checkInteger('workers', workers, 1, 1024), parts.count)
  const work = checkWork(options ?? {})
  const whole = array.base ?? array
  if (!(whole instanceof MmapArray))
    throw invalidArgType('array', 'an open MmapArray or a view of one', array)
  const { file, layout, readOnly } = MappedView.part(array as never)
  const pool = new Pool({ handle: whole.toHandle(), layout, readOnly, url }, most, parts)
  const results = await file.follow(parts.count, work, (run) => ({
    // Not before all workers have ended.
    result: run(
      pool.run().then((results) => {
        file.checkLoss()
        return results
      }),
    ),
    stop: (error) => pool.stop(error),
    done: () => pool.done(),
  }))
  return results as R[]
}

function checkModule(moduleURL: unknown): string {
  const text = moduleURL instanceof URL ? moduleURL.href : moduleURL
  if (typeof text !== 'string') throw invalidArgType('moduleURL', 'an instance of URL or a string', moduleURL)
  if (!URL.canParse(text)) {
    const hint = "new URL('./work.js', import.meta.url) or import.meta.resolve('package')"
    throw invalidArgValue('moduleURL', `must be an absolute URL, as ${hint} gives`, text)
  }
  return text
}

/** Chunks that a worker has at once: one to work on and one that waits for it. */
const IN_HAND = 2

/** What each worker runs. */
const ENTRY = new URL('./chunk-worker.js', import.meta.url)

const takesText = () =>
  [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((option) => option.includes('--input-type'))

/** The workers of one call. */
class Pool {
  private readonly init: WorkerInit
  private readonly most: number
  private readonly parts: Cut
  private readonly results: unknown[] = []
  private next = 0
  private finished = 0
  private settle: { resolve(): void; reject(error: unknown): void } | undefined

  constructor(init: WorkerInit, most: number, parts: Cut) {
    this.init = init
    this.most = most
    this.parts = parts
  }

  done(): number {
    return this.finished
  }

  stop(error: unknown): void {
    this.settle?.reject(error)
  }

  async run(): Promise<unknown[]> {
    if (this.parts.count === 0) return []
    const workers: Worker[] = []
    const ends: Promise<unknown>[] = []
    try {
      await new Promise<void>((resolve, reject) => {
        this.settle = { resolve, reject }
        for (let n = 0; n < this.most; n++) {
          const worker = this.start(reject)
          workers.push(worker)
          ends.push(new Promise((ended) => worker.once('exit', ended)))
        }
        for (let n = 0; n < IN_HAND; n++) for (const worker of workers) this.give(worker)
      })
      for (const worker of workers) worker.postMessage(null)
    } catch (error) {
      for (const worker of workers) worker.terminate()
      throw error
    } finally {
      await Promise.all(ends)
    }
    return this.results
  }

  private start(reject: (error: unknown) => void): Worker {
    const { init: workerData } = this
    // A process that takes its program as text of some type refuses files, unless text loads them; that knows no loaders.
    const worker = takesText()
      ? new Worker(`import(${JSON.stringify(ENTRY)})`, { eval: true, workerData })
      : new Worker(ENTRY, { workerData })
    worker.on('message', (answer: Answer) => {
      if ('failure' in answer) {
        reject(revive(answer))
        return
      }
      this.results[answer.index] = answer.result
      this.finished++
      if (this.finished === this.parts.count) this.settle?.resolve()
      else this.give(worker)
    })
    worker.on('error', reject)
    worker.on('messageerror', reject)
    worker.on('exit', (code) => {
      const { url } = this.init
      const message = `A worker of mapChunks ended (exit code ${code}) before its chunks were done; ${url} must not end it`
      reject(new MmapError(message, { code: 'ERR_INVALID_STATE' }))
    })
    return worker
  }

  private give(worker: Worker): void {
    if (this.next === this.parts.count) return
    const index = this.next++
    const [start, stop] = this.parts.bounds(index)
    worker.postMessage({ index, start, stop } satisfies ChunkInfo)
  }
}

/** The error that a worker has described. */
function revive(answer: Extract<Answer, { failure: unknown }>): unknown {
  const { failure, fields, isMmapError } = answer
  if (!(failure instanceof Error)) return failure
  if (!isMmapError) return Object.assign(failure, fields)
  const { message, stack, cause } = failure
  return Object.assign(makeError(message, { ...(fields as MmapErrorFields), cause }), { stack })
}
