/** mmap-ndarray as a contender. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { createSync, type MappedView, type MmapArray, NdView, openSync, slice } from 'mmap-ndarray'
import {
  digest,
  fastest,
  floatsOf,
  getAll,
  memoryOf,
  queryOf,
  type Reply,
  type Request,
  rowsOf,
  serve,
  shareOfBytes,
  sumOf,
  type Task,
  timed,
} from './serve.js'

/** Arrays stay open until `forget`. */
const arrays = new Map<string, MmapArray>()

/** The array of a request, or the part of it that the request is about. */
function viewOf({ path, first, column }: Request): MappedView {
  const known = arrays.get(path as string) ?? openSync(path as string)
  arrays.set(path as string, known)
  if (first !== undefined) return known.reshape([known.size]).slice(slice(0, Number(first))) as MappedView
  return column === undefined ? known : known.slice(null, Number(column))
}

const optionsOf = ({ axis, threads }: Request) => ({
  ...(axis !== undefined && { axis: Number(axis) }),
  ...(threads !== undefined && { threads: Number(threads) }),
})

function numbersOf(found: unknown): number[] {
  if (found instanceof NdView) return digest(found.toTypedArray({ copy: true }))
  if (typeof found !== 'object' || found === null) return [Number(found)]
  return Object.values(found).flat().map(Number)
}

type Method = (options: object) => unknown

const reduction =
  (name: string): Task =>
  (request) => {
    const view = viewOf(request)
    const options = optionsOf(request)
    const method = view[`${name}Sync` as 'sumSync'] as Method
    return timed(() => method.call(view, options), numbersOf)
  }

const names = 'sum mean std var min max minmax argmin argmax any all countNonzero'.split(' ')

const take: Task = (request) => {
  const view = viewOf(request)
  const rows = rowsOf(request)
  return timed(() => view.takeSync(rows, optionsOf(request)), numbersOf)
}

const topk: Task = (request) => {
  const view = viewOf(request)
  const query = queryOf(request)
  const k = Number(request.k)
  return timed(
    () => view.topkSync(query, k, optionsOf(request)),
    ({ indices }) => indices,
  )
}

const histogram: Task = (request) => {
  const view = viewOf(request)
  return timed(() => view.histogramSync({ bins: Number(request.k), ...optionsOf(request) }), numbersOf)
}

const create: Task = ({ new: path = '', count }) => {
  const reply = timed(
    () => {
      const made = createSync(path, { shape: [Number(count)], dtype: 'float32', fill: 1.5 })
      made.flushSync()
      return made
    },
    (made) => [made.get(0) as number, made.nbytes],
  )
  rmSync(path)
  return reply
}

const openSum: Task = ({ path = '' }) =>
  timed(() => {
    using array = openSync(path)
    return array.sumSync()
  }, numbersOf)

const open: Task = (request) =>
  fastest(request, () =>
    timed(() => {
      const array = openSync(request.path as string)
      const first = array.get(0, 0)
      array.close()
      return first
    }, numbersOf),
  )

const cow: Task = (request) =>
  fastest(request, () => {
    using array = openSync(request.path as string, { mode: 'c' })
    return timed(
      () => array.set(0, 0, 7),
      () => [Number(array.get(0, 0))],
    )
  })

const edit: Task = ({ path = '', step, count, columns }) =>
  timed(
    () => {
      using array = openSync(path, { mode: 'c' })
      const width = Number(columns)
      for (let at = 0; at < Number(count); at += Number(step))
        array.set(Math.floor(at / width), at % width, 7)
      return array.get(0, 0)
    },
    (first) => [Number(first)],
  )

const get: Task = (request) => getAll(viewOf(request), request)

const openLarge: Task = ({ path = '' }) =>
  timed(
    () => openSync(path),
    (array) => {
      const [rows = 0, columns = 0] = array.shape
      const last = Number(array.get(rows - 1, columns - 1))
      array.close()
      return [array.size, last]
    },
  )

const memory: Task = (request) => {
  const view = viewOf(request)
  return memoryOf(async () => {
    if (request.task === 'topk') return (await view.topk(queryOf(request), Number(request.k))).indices
    return numbersOf(await (view[request.task as 'sum'] as Method).call(view, optionsOf(request)))
  })
}

/** How a sum of a file may be made, by how the event loop fares meanwhile. */
const ways = {
  sum: async (view: MappedView) => Number(await view.sum()),
  loop: async (view: MappedView) => sumOf(view.toTypedArray() as Float32Array),
  chunks: async (view: MappedView) => {
    let sum = 0
    for await (const chunk of view.chunks()) sum += sumOf(chunk.toTypedArray() as Float32Array)
    return sum
  },
}

/** The 99th percentile of how late the event loop was, beyond the millisecond that it was asked to wait. */
const loopDelay: Task = async (request) => {
  const view = viewOf(request)
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  await new Promise((resolve) => setTimeout(resolve, 20))
  // No reset here: the first delay after one is not counted, and a loop makes a single one.
  const sum = await ways[request.way as keyof typeof ways](view)
  // What came while the loop was held up is measured when it turns again.
  await new Promise((resolve) => setTimeout(resolve, 20))
  delays.disable()
  return { value: Math.max(0, delays.percentile(99) - 1e6), answer: [sum] }
}

/** The slowest but one in a hundred of `fs.stat` while `sums` sums run. */
const statBeside: Task = async (request) => {
  const view = viewOf(request)
  const sums = Number(request.sums)
  const times: number[] = []
  let running = true
  const all = Promise.all(Array.from({ length: sums }, () => view.sum())).finally(() => {
    running = false
  })
  while (sums > 0 ? running : times.length < 500) {
    const start = process.hrtime.bigint()
    await stat(request.path as string)
    times.push(Number(process.hrtime.bigint() - start))
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await all
  times.sort((a, b) => a - b)
  return { value: times[Math.floor(times.length * 0.99)] as number, answer: [] }
}

/** What the contender's processes hold of one file together, each having read all of it. */
const together: Task = async (request) => {
  const children = Array.from({ length: Number(request.processes) }, () =>
    fork(fileURLToPath(import.meta.url), [request.way as string, request.path as string]),
  )
  const heard = await Promise.all(children.map(said))
  const used = children.map(async (child) => {
    const answer = said(child)
    child.send('look')
    return (await answer).value
  })
  const bytes = await Promise.all(used)
  for (const child of children) child.disconnect()
  return { value: bytes.reduce((a, b) => a + b), answer: heard[0]?.answer ?? [] }
}

async function said(child: ChildProcess): Promise<Reply> {
  return (await once(child, 'message'))[0]
}

/** In a process of its own: goes through the whole file in one of two ways, and says what memory that took when asked. */
function member(way: string, path: string): void {
  const before = shareOfBytes()
  const kept = way === 'readFile' ? readFileSync(path) : openSync(path)
  const sum = Buffer.isBuffer(kept) ? sumOf(floatsOf(kept)) : Number(kept.sumSync())
  process.on('message', () => process.send?.({ value: Math.max(0, shareOfBytes() - before), answer: [sum] }))
  process.send?.({ value: 0, answer: [sum] })
}

const forget: Task = () => {
  for (const array of arrays.values()) array.close()
  arrays.clear()
  return { value: 0, answer: [] }
}

const [, , way, path] = process.argv
if (way !== undefined && path !== undefined) {
  member(way, path)
} else {
  const reductions = Object.fromEntries(names.map((name) => [name, reduction(name)]))
  const more = { get, loopDelay, statBeside, together, memory, openLarge, forget }
  await serve({ ...reductions, histogram, take, topk, create, openSum, open, cow, edit, ...more })
}
