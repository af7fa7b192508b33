/** What specs share: folders that clean up after themselves, fixtures, child processes, private memory. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'

/** The root of the project. */
export const root = fileURLToPath(new URL('..', import.meta.url))

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

/** How many descriptors of `path` this process has open. */
export function descriptors(path: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // The descriptor that readdir itself used.
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

/** Runs JavaScript in a process of its own; `import` of the package is `from 'mmap-ndarray'`. */
export function runScript(source: string, ...args: string[]): Promise<Ended> {
  return run(process.execPath, ['--expose-gc', '--input-type=module', '--eval', source, '--', ...args], {
    cwd: root,
  })
}

/** A tool that the set-up step of `npm test` installs, or undefined where it could not. */
export function tool(name: 'python' | 'seed'): string | undefined {
  const [done, path] = {
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
