/**
 * Contenders that are loops in JavaScript: over a file that `fs.readFileSync` read, one read in parts, one mapped by
 * @riaskov/mmap-io, and over the ndarrays of scijs and stdlib. Which of them this process is, its argument says.
 */
import { closeSync, fsyncSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import scijs from 'ndarray'
import {
  digest,
  fastest,
  floatsOf,
  type Gettable,
  getAll,
  HEADER,
  memoryOf,
  queryOf,
  type Request,
  rowsOf,
  serve,
  sumOf,
  type Task,
  timed,
} from './serve.js'

/** What of @riaskov/mmap-io is used here; its own types describe another module than it is. */
interface MmapIo {
  readonly PROT_READ: number
  readonly PROT_WRITE: number
  readonly MAP_SHARED: number
  readonly MAP_PRIVATE: number
  map(size: number, protection: number, flags: number, fd: number): Buffer
}

/** The constructor of @stdlib/ndarray. */
type Standard = (
  dtype: string,
  data: Float32Array,
  shape: number[],
  strides: number[],
  offset: number,
  order: string,
) => Gettable

/** Loads a package that is installed for the benchmark alone. */
const peer = createRequire(resolve('.cache/bench/package.json'))

type Tasks = Record<string, Task>

const sum = (found: number) => [found]

const floats32 = ({ buffer, byteOffset, length }: Uint8Array) =>
  new Float32Array(buffer, byteOffset + HEADER, Math.floor((length - HEADER) / 4))

/** A file opened for the time of a task. */
function withFile<T>(path: string, task: (fd: number) => T, flags = 'r'): T {
  const fd = openSync(path, flags)
  try {
    return task(fd)
  } finally {
    closeSync(fd)
  }
}

function readFile(): Tasks {
  return {
    openSum: ({ path = '' }) => timed(() => sumOf(floatsOf(readFileSync(path))), sum),
    open: (request) =>
      fastest(request, () => timed(() => floats32(readFileSync(request.path as string))[0] as number, sum)),
    openLarge: ({ path = '' }) =>
      timed(
        () => readFileSync(path),
        (bytes) => [(bytes.length - HEADER) / 4],
      ),
    memory: (request) =>
      memoryOf(async () => {
        const kept = readFileSync(request.path as string)
        return [sumOf(floatsOf(kept))]
      }),
  }
}

function readInParts(): Tasks {
  return {
    openSum: ({ path = '' }) =>
      timed(
        () =>
          withFile(path, (fd) => {
            const part = new Float64Array(2 ** 17)
            let total = 0
            let position = HEADER
            for (;;) {
              const read = readSync(fd, part, 0, part.byteLength, position)
              if (read === 0) return total
              total += sumOf(part.subarray(0, read / 8))
              position += read
            }
          }),
        sum,
      ),
    open: (request) =>
      fastest(request, () =>
        timed(
          () =>
            withFile(request.path as string, (fd) => {
              const bytes = Buffer.alloc(HEADER + 4)
              readSync(fd, bytes)
              return bytes.readFloatLE(HEADER)
            }),
          sum,
        ),
      ),
    take: (request) => {
      const rows = rowsOf(request)
      const width = Number(request.columns)
      return withFile(request.path as string, (fd) =>
        timed(() => {
          const out = new Float32Array(rows.length * width)
          for (const [n, row] of rows.entries()) {
            readSync(fd, out, n * width * 4, width * 4, HEADER + row * width * 4)
          }
          return out
        }, digest),
      )
    },
    create: ({ new: path = '', count }) => {
      const bytes = 4 * Number(count)
      const reply = timed(
        () =>
          withFile(
            path,
            (fd) => {
              writeSync(fd, Buffer.alloc(HEADER))
              const part = new Uint8Array(new Float32Array(2 ** 20).fill(1.5).buffer)
              for (let n = 0; n < bytes; n += part.length) {
                writeSync(fd, part, 0, Math.min(part.length, bytes - n))
              }
              fsyncSync(fd)
            },
            'w',
          ),
        () => [1.5, bytes],
      )
      rmSync(path)
      return reply
    },
  }
}

function mmapIo(): Tasks {
  const io: MmapIo = peer('@riaskov/mmap-io')
  const map = (request: Request, protection = io.PROT_READ, flags = io.MAP_SHARED) =>
    withFile(request.path as string, (fd) => io.map(Number(request.bytes), protection, flags, fd))
  const own = (request: Request) => floats32(map(request, io.PROT_READ | io.PROT_WRITE, io.MAP_PRIVATE))
  return {
    openSum: (request) => timed(() => sumOf(floatsOf(map(request))), sum),
    open: (request) =>
      fastest(request, () => {
        const reply = timed(() => floats32(map(request))[0] as number, sum)
        // It has no way to unmap but the collector's.
        globalThis.gc?.()
        return reply
      }),
    openLarge: (request) =>
      timed(
        () => map(request),
        (bytes) => [(bytes.length - HEADER) / 4],
      ),
    take: (request) => {
      const all = floats32(map(request))
      const rows = rowsOf(request)
      const width = Number(request.columns)
      return timed(() => {
        const out = new Float32Array(rows.length * width)
        for (const [n, row] of rows.entries()) {
          out.set(all.subarray(row * width, (row + 1) * width), n * width)
        }
        return out
      }, digest)
    },
    topk: (request) => {
      const all = floats32(map(request))
      const query = queryOf(request)
      const k = Number(request.k)
      return timed(
        () => topk(all, query, k),
        (found) => found,
      )
    },
    cow: (request) =>
      fastest(request, () => {
        const all = own(request)
        return timed(
          () => {
            all[0] = 7
          },
          () => [all[0] as number],
        )
      }),
    edit: (request) =>
      timed(() => {
        const all = own(request)
        const [step, count] = [Number(request.step), Number(request.count)]
        for (let n = 0; n < count; n += step) all[n] = 7
        return all[0] as number
      }, sum),
  }
}

/** The rows with the greatest products with `query`, the best first. */
function topk(all: Float32Array, query: Float32Array, k: number): number[] {
  const width = query.length
  const best: [score: number, row: number][] = []
  for (let row = 0; row < all.length / width; row++) {
    let score = 0
    for (let n = 0; n < width; n++) score += (all[row * width + n] as number) * (query[n] as number)
    if (best.length === k && score <= (best[k - 1]?.[0] as number)) continue
    best.push([score, row])
    best.sort((a, b) => b[0] - a[0])
    best.length = Math.min(best.length, k)
  }
  return best.map(([, row]) => row)
}

/** A million elements by `get(i, j)`, of a matrix that `make` makes of the file's elements. */
const getting = (make: (elements: Float32Array, shape: [number, number]) => Gettable): Tasks => ({
  get: (request) => {
    const shape: [number, number] = [Number(request.rows), Number(request.columns)]
    return getAll(make(floats32(readFileSync(request.path as string)), shape), request)
  },
})

const who: Readonly<Record<string, () => Tasks>> = {
  readFile,
  readInParts,
  mmapIo,
  scijs: () => getting((elements, shape) => scijs(elements, shape)),
  stdlib: () => {
    // What @stdlib/ndarray gives as `ndarray`, which checks indices as ours does; the views are compared with its base.
    const make: Standard = peer('@stdlib/ndarray-ctor')
    return getting((elements, [rows, columns]) =>
      make('float32', elements, [rows, columns], [columns, 1], 0, 'row-major'),
    )
  },
}

await serve((who[process.argv[2] as string] as () => Tasks)())
