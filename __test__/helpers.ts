/** What specs share: folders that clean up after themselves, fixtures, child processes, private memory. */
import { fork, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { ExecutionContext } from 'ava'
import type { Backing, NdView } from '../src/index.js'

/** The root of the project. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** The backing that arrays of this run have unless a spec asks for another: see `scripts/backings.mjs`. */
export const backing = (process.env.MMAP_NDARRAY_BACKING || 'external') as Backing

/** A mode whose arrays others can attach to: with backing 'wasm' nobody else can have private pages. */
export const attachable = backing === 'wasm' ? 'r+' : 'c'

/** Whether the buffer of an array can be moved away: the runtime knows how, and it is not memory of WebAssembly. */
export const movable = 'transfer' in ArrayBuffer.prototype && backing !== 'wasm'

/** The path of a committed fixture: `fixture('npy', 'v2.npy')`. */
export const fixture = (...names: string[]) => join(root, 'crates', 'core', 'tests', 'fixtures', ...names)

/** What a folder of fixtures says about its files. */
export function expected(folder: string): Expected[] {
  return JSON.parse(readFileSync(fixture(folder, 'expected.json'), 'utf8')).files
}

export interface Expected {
  file: string
  dtype: string
  shape: number[]
  strides: number[]
  ok?: boolean
  tier?: string
  why?: string
  category?: string
  also?: string[]
  values: string[]
  first: string
  last: string
  sum: string
  len: number
  sha256: string
  fortran_order?: boolean
}

/** A folder that is removed when the test ends. */
export function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mmap-ndarray-test-'))
  t.teardown(async () => {
    // Windows removes no file that is mapped: arrays that were not closed go first.
    if (process.platform === 'win32') await collect()
    rmSync(path, { recursive: true, force: true })
  })
  return path
}

/** RssAnon: the private memory of this process, in bytes. */
export function privateMemory(): number {
  const found = /RssAnon:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))
  return 1024 * Number(found?.[1])
}

/** How many mappings of `path` this process has, also of a file that was deleted meanwhile. */
export function mappings(path: string): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(path)).length
}

/** Private pages in the mappings of `path`, in bytes: what stores to a copy-on-write array have cost, exactly. */
export function privatePages(path: string): number {
  let [inside, bytes] = [false, 0]
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) inside = line.includes(path)
    const found = inside && /^Anonymous:\s+(\d+) kB/.exec(line)
    if (found) bytes += 1024 * Number(found[1])
  }
  return bytes
}

/** How many descriptors of `path` a process has open, this one or another. */
export function descriptors(path: string, pid: number | 'self' = 'self'): number {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return '' // Closed meanwhile, as the descriptor that readdir itself used.
    }
  })
  return links.filter((link) => link.startsWith(path)).length
}

/** Lets finalizers run: Node.js runs them on later turns of the event loop, not inside `gc()`. */
export async function collect(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/**
 * Whether `work` needs the event loop: a promise that only wraps a synchronous call settles within a few microtasks,
 * one that a thread settles cannot before the loop turns.
 */
export async function isPending(work: Promise<unknown>): Promise<boolean> {
  let pending = true
  const settled = () => {
    pending = false
  }
  work.then(settled, settled)
  for (let turn = 0; turn < 100; turn++) await null
  return pending
}

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Runs a program to its end. */
export function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text
    })
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

const UNSHARE = ['--user', '--map-root-user', '--mount', 'sh', '-c']
const MOUNT = 'mount -t tmpfs -o "$0" tmpfs "$1"'

/** Whether this process may mount, which is only known by trying; says what is skipped where it may not. */
export function mayMount(what: string): boolean {
  if (spawnSync('unshare', [...UNSHARE, MOUNT, 'size=1m', '/mnt']).status === 0) return true
  console.error(`skipped: ${what}; no tmpfs can be mounted here`)
  return false
}

/** The command that runs `program` with a small file system at `dir`, which is its own and gone when it ends. */
export function mounting(dir: string, options: string, program: string[]): [command: string, args: string[]] {
  return ['unshare', [...UNSHARE, `${MOUNT} && shift && exec "$@"`, options, dir, ...program]]
}

/** Runs JavaScript in a process of its own; `import` of the package is `from 'mmap-ndarray'`. */
export function runScript(source: string, ...args: string[]): Promise<Ended> {
  return run(process.execPath, ['--expose-gc', '--input-type=module', '--eval', source, '--', ...args], {
    cwd: root,
  })
}

/** An environment beside this one, which does what it is told for as long as the test lasts. */
export interface Elsewhere {
  /** Runs the body of an async function of `m` (the package), `x` and `kept` (what it keeps) there. */
  call<T = unknown>(body: string, x?: unknown): Promise<T>
  /** Ends it as it would by itself, when nothing keeps it any more. */
  leave(): Promise<void>
  /** Ends it from outside, whatever it is doing. */
  kill(): Promise<void>
}

const SERVE = `
  const m = require('mmap-ndarray')
  const kept = {}
  const serve = async ([n, body, x]) => {
    if (n === 0) return close()
    try {
      answer([n, await new Function('m', 'x', 'kept', 'return (async () => {' + body + '})()')(m, x, kept)])
    } catch (error) {
      answer([n, undefined, { message: error.message, code: error.code, name: error.name }])
    }
  }`

type Answer = [n: number, result: unknown, error?: Error]

function elsewhere(
  send: (message: unknown) => void,
  listen: (heard: (answer: Answer) => void) => void,
  ended: Promise<void>,
  kill: () => unknown,
): Elsewhere {
  const waiting = new Map<number, (answer: Answer) => void>()
  listen((answer) => waiting.get(answer[0])?.(answer))
  let n = 0
  return {
    call: (body, x) =>
      new Promise((resolve, reject) => {
        n++
        waiting.set(n, ([, result, error]) =>
          error ? reject(Object.assign(new Error(), error)) : resolve(result as never),
        )
        ended.then(() => reject(new Error('ended')))
        send([n, body, x])
      }),
    leave: () => {
      send([0])
      return ended
    },
    kill: () => {
      kill()
      return ended
    },
  }
}

/** A worker of this process. */
export function worker(t: ExecutionContext): Elsewhere {
  const code = `
    const { parentPort } = require('node:worker_threads')
    const answer = (message) => parentPort.postMessage(message)
    const close = () => parentPort.close()
    ${SERVE}
    parentPort.on('message', serve)`
  const made = new Worker(code, { eval: true, execArgv: [] })
  const ended = new Promise<void>((resolve) => made.once('exit', () => resolve()))
  t.teardown(() => made.terminate())
  return elsewhere(
    (message) => made.postMessage(message),
    (heard) => made.on('message', heard),
    ended,
    () => made.terminate(),
  )
}

/** Another process. */
export function child(t: ExecutionContext): Elsewhere {
  const code = `
    const answer = (message) => process.send(message)
    const close = () => process.disconnect()
    ${SERVE}
    process.on('message', serve)`
  const made = fork('-', [], {
    cwd: root,
    execArgv: ['--expose-gc', '--input-type=commonjs', '--eval', code],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = new Promise<void>((resolve) => made.once('exit', () => resolve()))
  t.teardown(() => made.kill('SIGKILL'))
  return elsewhere(
    (message) => made.send(message as object),
    (heard) => made.on('message', heard as never),
    ended,
    () => made.kill('SIGKILL'),
  )
}

/** A tool that the set-up step of `npm test` installs, or undefined where it could not. */
export function tool(name: 'fuse' | 'python' | 'seed'): string | undefined {
  const [done, path] = {
    fuse: ['.cache/fuse.ok', '.cache/fuse/debug/fuse'],
    python: ['.cache/numpy.ok', '.cache/numpy/bin/python'],
    seed: ['.cache/seed.ok', '.cache/seed/debug/seed'],
  }[name] as [string, string]
  return existsSync(join(root, done)) ? join(root, path) : undefined
}

/** The elements of any typed array as a plain array. */
export const listOf = (data: Iterable<number | bigint>): (number | bigint)[] => Array.from(data)

/** The element that an expected.json writes as text. */
export function parseValue(text: string, dtype: string): number | bigint {
  if (text === 'true' || text === 'false') return Number(text === 'true')
  return /int64|[iu]8|i64/.test(dtype) ? BigInt(text) : Number(text)
}

/** For specs of what happens to the typed array of a whole array: windows that hold any of theirs. */
export function wholeInOneWindow(): void {
  delete process.env.MMAP_NDARRAY_WINDOW
}

/**
 * The elements of `data` by their index in it, past the checks of views: of a typed array, and of the element store that an array
 * in windows has.
 */
export function elementsOf(view: { readonly data: unknown }) {
  const data = view.data as NdView<'float64'>['data']
  return {
    length: data.length,
    get: (at: number): number | undefined => (ArrayBuffer.isView(data) ? data[at] : data.get(at)),
    set: (at: number, value: number): void => {
      if (ArrayBuffer.isView(data)) data[at] = value
      else data.set(at, value)
    },
  }
}

/** What an error says of itself. */
export type Code = { code?: string; message?: string }

/** The error of both forms of a call, the promise and the `...Sync` twin, which is one. */
export async function refusal(call: (sync: string) => unknown): Promise<Code> {
  const settle = async (sync: string): Promise<Code> => {
    try {
      await call(sync)
      return {}
    } catch (error) {
      return error as Code
    }
  }
  const [promised, sync] = [await settle(''), await settle('Sync')]
  if (promised.code !== sync.code) throw new Error(`rejects with ${promised.code}, throws ${sync.code}`)
  return promised
}
