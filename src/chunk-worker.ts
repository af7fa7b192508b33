/** What each worker of `mapChunks` runs: it attaches to the array, loads the module, and answers for one chunk after the other. */
import { inspect, types } from 'node:util'
import { parentPort, workerData } from 'node:worker_threads'
import { attachSync } from './attach.js'
import { invalidArgValue, MmapError } from './errors.js'
import type { Answer, ChunkFunction, ChunkInfo, WorkerInit } from './map-chunks.js'
import { MappedView } from './mapped-view.js'
import { slice } from './selection.js'

const { handle, url, ...part } = workerData as WorkerInit

const isPart = ({ buffer, byteLength }: NodeJS.TypedArray) =>
  buffer instanceof ArrayBuffer && byteLength < buffer.byteLength

async function load(): Promise<(chunk: ChunkInfo) => Promise<void>> {
  const whole = attachSync(handle)
  const view = MappedView.ofPart(whole as never, part)
  const { file } = MappedView.part(whole as never)
  const bytes = types.isTypedArray(whole.data) ? whole.data.buffer : undefined
  const module: { default?: unknown } = await import(url)
  const run = module.default as ChunkFunction
  if (typeof run !== 'function') {
    throw invalidArgValue('moduleURL', 'must name a module whose default export is a function', url)
  }
  return async ({ index, start, stop }) => {
    let result = await run(view.slice(slice(start, stop)), { index, start, stop })
    // Where this worker has a mapping of its own, nobody else learns of pages that vanish under it.
    file.checkLoss()
    // Copied as it is, such a view would take the whole file along, or a window of it.
    if (types.isTypedArray(result) && (result.buffer === bytes || isPart(result))) result = result.slice()
    try {
      parentPort?.postMessage({ index, result } satisfies Answer)
    } catch (error) {
      const { message } = error as Error
      const reason = `of chunk ${index} cannot be copied to the main thread (${message}); return plain data`
      throw invalidArgValue('result', reason, result)
    }
  }
}

/**
 * Says what went wrong as well as it can be copied: a copy of an error has its class, message, stack and cause, but no other
 * field, and one of a DOMException is none.
 */
function fail(failure: unknown): void {
  const answer: Answer = {
    failure,
    fields: { ...(failure as object) },
    isMmapError: failure instanceof MmapError,
  }
  try {
    if (failure instanceof Error && !types.isNativeError(failure)) throw failure
    parentPort?.postMessage(answer)
  } catch {
    const error = (failure instanceof Error ? failure : new Error(inspect(failure))) as NodeJS.ErrnoException
    const { name, message, stack, code } = error
    const fields = { name, stack, ...(typeof code === 'string' && { code }) }
    parentPort?.postMessage({ failure: new Error(message), fields } satisfies Answer)
  }
}

const loaded = load()
loaded.catch(fail)
// One chunk at a time, also where the function is asynchronous.
let last: Promise<unknown> = loaded
parentPort?.on('message', (chunk: ChunkInfo | null) => {
  // The array is closed with this environment.
  if (chunk === null) process.exit(0)
  last = last.then(async () => (await loaded)(chunk))
  last.catch(fail)
})
