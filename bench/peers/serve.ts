/**
 * What contenders written in JavaScript share: the protocol (requests and replies as in bench/floor), the clock, and how
 * results become a few numbers.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** A request, as it was written. */
export type Request = Readonly<Record<string, string>>

/** What a task took (nanoseconds, or bytes where that is what it measures), and what it found. */
export interface Reply {
  value: number
  answer: number[]
}

export type Task = (request: Request) => Reply | Promise<Reply>

/** Answers requests on standard input, one after the other, until there are no more. */
export async function serve(tasks: Readonly<Record<string, Task>>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const request: Request = Object.fromEntries(line.split('\t').map((pair) => splitOnce(pair, '=')))
    let reply: Reply | { error: string }
    try {
      const task = tasks[request.op as string]
      if (task === undefined) throw new Error(`no such task: ${request.op}`)
      reply = await task(request)
    } catch (error) {
      reply = { error: `${error}` }
    }
    process.stdout.write(`${JSON.stringify(reply)}\n`)
  }
}

function splitOnce(text: string, by: string): [string, string] {
  const at = text.indexOf(by)
  return [text.slice(0, at), text.slice(at + 1)]
}

/** Times a task that returns what it found. */
export function timed<T>(task: () => T, finish: (found: T) => number[]): Reply {
  const start = process.hrtime.bigint()
  const found = task()
  const value = Number(process.hrtime.bigint() - start)
  return { value, answer: finish(found) }
}

/** The fastest of many, as all do it for what takes microseconds. */
export function fastest({ times }: Request, task: () => Reply): Reply {
  let best = task()
  for (let n = 1; n < Number(times); n++) {
    const one = task()
    if (one.value < best.value) best = one
  }
  return best
}

/** Many numbers as a few: how many, three of them, and their sum. */
export function digest(values: ArrayLike<number | bigint>): number[] {
  const { length } = values
  let sum = 0
  for (let n = 0; n < length; n++) sum += Number(values[n])
  return [length, ...[0, length >> 1, length - 1].map((n) => Number(values[n])), sum]
}

/** The rows that `take` takes, the same in every contender. */
export function rowsOf({ rows, k }: Request): number[] {
  return Array.from({ length: Number(k) }, (_, n) => ((n * 2654435761) % 2 ** 32) % Number(rows))
}

/** The vector that `topk` searches for, the same in every contender. */
export function queryOf({ columns }: Request): Float32Array {
  return Float32Array.from({ length: Number(columns) }, (_, n) => ((n * 7919) % 1000) / 1000 - 0.5)
}

/** Bytes before the data of a `.npy` file that the floor made. */
export const HEADER = 128

/** The elements of a `.npy` file in memory; they are float64. */
export function floatsOf({ buffer, byteOffset, length }: Uint8Array): Float64Array {
  return new Float64Array(buffer, byteOffset + HEADER, Math.floor((length - HEADER) / 8))
}

/** What a loop over elements in JavaScript makes of them. */
export function sumOf(values: Float32Array | Float64Array): number {
  let sum = 0
  for (let n = 0; n < values.length; n++) sum += values[n] as number
  return sum
}

/** What elements can be got from one by one. */
export interface Gettable {
  get(i: number, j: number): unknown
}

/** Goes through a matrix of a request by `get(i, j)`. */
export function getAll(view: Gettable, request: Request): Reply {
  const [rows, columns] = [Number(request.rows), Number(request.columns)]
  return timed(
    () => {
      let total = 0
      for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) total += view.get(i, j) as number
      return total
    },
    (total) => [total],
  )
}

/** Private memory of this process in bytes: what counts against it alone, which pages of files do not. */
export function privateBytes(): number {
  return field('/proc/self/status', 'RssAnon')
}

/** Memory of this process in bytes, pages that others have too counted in parts. */
export function shareOfBytes(): number {
  return field('/proc/self/smaps_rollup', 'Pss')
}

function field(path: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(path, 'utf8'))
  if (!found) throw new Error(`${path} has no ${name}`)
  return Number(found[1]) * 1024
}

/** The most private memory that a task takes over what there was before it. */
export async function memoryOf(task: () => Promise<number[]>): Promise<Reply> {
  globalThis.gc?.()
  const before = privateBytes()
  let most = before
  const look = () => {
    most = Math.max(most, privateBytes())
  }
  const watch = setInterval(look, 5)
  const answer = await task()
  clearInterval(watch)
  look()
  return { value: Math.max(0, most - before), answer }
}
