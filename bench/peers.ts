/**
 * Contenders as processes: what sets each up, how it is started, and the protocol. A contender has a process of its own,
 * because V8 compiles a loop for all that it has met there, and what one leaves behind should burden no other.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { Args } from './case.js'

/** What a contender answers. */
export interface Reply {
  readonly value: number
  readonly answer: readonly number[]
}

type Command = readonly [command: string, ...args: string[]]

const node = (file: string, ...args: string[]): Command => [
  process.execPath,
  '--expose-gc',
  '--import=@oxc-node/core/register',
  join('bench/peers', file),
  ...args,
]

/** How a contender is started, and what has to be done for it before the first time. */
interface Recipe {
  readonly command: (quick: boolean) => Command
  readonly prepare?: (quick: boolean) => void
}

const profile = (quick: boolean) => (quick ? 'debug' : 'release')
const numpyAt = '.cache/numpy/bin/python'

const recipes: Readonly<Record<string, Recipe>> = {
  floor: {
    command: () => ['.cache/floor/release/floor'],
    prepare: () =>
      // In its folder, because that is where cargo looks for the settings that name the processor's features.
      cargo('bench/floor', 'build', '--release', '--locked', '--target-dir', resolve('.cache/floor')),
  },
  seed: {
    command: (quick) => [join('.cache/seed', profile(quick), 'seed'), 'serve'],
    prepare: (quick) =>
      cargo(
        'tools/seed',
        'build',
        '--locked',
        '--profile',
        quick ? 'dev' : 'release',
        '--target-dir',
        resolve('.cache/seed'),
      ),
  },
  numpy: {
    command: () => [numpyAt, 'bench/peers/numpy_peer.py'],
    prepare: () => {
      if (!existsSync(numpyAt)) throw new Error('there is no .cache/numpy; `npm test` sets it up')
    },
  },
  ours: { command: () => node('ours.ts') },
  readFile: { command: () => node('loops.ts', 'readFile') },
  readInParts: { command: () => node('loops.ts', 'readInParts') },
  mmapIo: { command: () => node('loops.ts', 'mmapIo'), prepare: () => install('@riaskov/mmap-io') },
  scijs: { command: () => node('loops.ts', 'scijs') },
  stdlib: { command: () => node('loops.ts', 'stdlib'), prepare: () => install('@stdlib/ndarray-ctor') },
}

function cargo(folder: string, ...args: string[]): void {
  execFileSync('cargo', args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] })
}

/** Installs what bench/npm/package.json names, which nothing else here uses, and says whether this is among it. */
function install(name: string): void {
  const [at, lock] = ['.cache/bench', 'package-lock.json']
  mkdirSync(at, { recursive: true })
  const known = join(at, 'node_modules', lock)
  const wanted = readFileSync(join('bench/npm', lock), 'utf8')
  if (!existsSync(known) || readFileSync(known, 'utf8') !== wanted) {
    for (const file of ['package.json', lock]) copyFileSync(join('bench/npm', file), join(at, file))
    // What has no binary is built from source, for the headers beside this Node.js where they are.
    const headers = resolve(process.execPath, '../..')
    const nodedir = existsSync(join(headers, 'include/node/node.h')) ? { npm_config_nodedir: headers } : {}
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], {
      cwd: at,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...nodedir },
    })
    writeFileSync(known, wanted)
  }
  if (!existsSync(join(at, 'node_modules', name))) throw new Error(`npm could not build ${name} here`)
}

/** A running contender. */
class Peer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor([command, ...args]: Command) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    // What is wrong with it is told by the reply that does not come.
    this.#child.on('error', () => {})
    this.#child.stdin.on('error', () => {})
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  async ask(request: Args): Promise<Reply> {
    const pairs = Object.entries(request).map(([key, value]) => `${key}=${value}`)
    this.#child.stdin.write(`${pairs.join('\t')}\n`)
    const { value: line, done } = await this.#lines.next()
    if (done) throw new Error('it ended without an answer')
    const reply: Reply | { error: string } = JSON.parse(line)
    if ('error' in reply) throw new Error(reply.error)
    return reply
  }

  /** Ends it, and waits until it has. */
  async end(): Promise<void> {
    const { exitCode, signalCode } = this.#child
    if (this.#child.pid === undefined || exitCode !== null || signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.stdin.end()
    await ended
  }

  kill(): void {
    this.#child.kill()
  }
}

/** All contenders: those that run, and why others cannot. */
export class Peers {
  readonly #quick: boolean
  readonly #running = new Map<string, Peer>()
  /** Names of those that are not to be had, and the reasons. */
  readonly absent = new Map<string, string>()

  constructor(quick: boolean) {
    this.#quick = quick
  }

  /** Builds and installs what the named ones need. */
  prepare(names: Iterable<string>): void {
    for (const name of new Set(names)) {
      try {
        recipes[name]?.prepare?.(this.#quick)
      } catch (error) {
        this.absent.set(name, error instanceof Error ? (error.message.split('\n')[0] as string) : `${error}`)
      }
    }
  }

  async ask(name: string, request: Args): Promise<Reply> {
    let peer = this.#running.get(name)
    if (peer === undefined) {
      peer = new Peer((recipes[name] as Recipe).command(this.#quick))
      this.#running.set(name, peer)
    }
    return peer.ask(request)
  }

  /** Ends those that run; the next question to one starts it again. */
  async end(): Promise<void> {
    const running = [...this.#running.values()]
    this.#running.clear()
    await Promise.all(running.map((peer) => peer.end()))
  }

  /** Ends those that run at once. */
  kill(): void {
    for (const peer of this.#running.values()) peer.kill()
  }
}
