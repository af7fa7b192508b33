/**
 * Creating in a process that is killed at any moment: the old file or the new one, and nothing that stays.
 *
 * The core's tests stop at every system call (crates/core/tests/suite/create_faults.rs); here a whole Node.js process
 * dies wherever it happens to be when the line it printed last has been read.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { type ExecutionContext } from 'ava'
import { createSync, openSync } from '../src/index.js'
import { folder, root } from './helpers.js'

const LENGTH = 2 ** 18
const KILLS = 6
const SEED = 20_260_729

/** Numbers in [0, 1) from a seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    return (state >>> 0) / 2 ** 32
  }
}

/** Writes the files 1, 2, 3, ... over each other or side by side, and prints before and after each. */
const script = (create: string, name: string) => `
  import { writeSync } from 'node:fs'
  import { create, createSync } from 'mmap-ndarray'
  const data = new Float32Array(${LENGTH})
  for (let i = 1; ; i++) {
    data.fill(i)
    writeSync(1, 'begin ' + i + '\\n')
    const a = await ${create}(process.argv[1] + '/' + ${name}, data, { overwrite: ${name === "'a'"}, format: process.argv[2] })
    a.close()
    writeSync(1, 'done ' + i + '\\n')
  }`

/** Kills the process when it has printed so many lines; the last that came says how many files it had begun and done. */
async function killAt(lines: number, source: string, args: string[]) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source, '--', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  let [printed, last] = [0, '']
  for await (const line of createInterface(child.stdout)) {
    last = line
    if (++printed === lines) child.kill('SIGKILL')
  }
  const [, signal] = await ended
  const [word, count] = last.split(' ')
  return { signal, begun: Number(count), done: Number(count) - (word === 'done' ? 0 : 1) }
}

/** The number that every element of the file has. */
function numberOf(t: ExecutionContext, path: string, format: 'npy' | 'mmap' | 'raw'): number {
  const options = format === 'raw' ? ({ format, dtype: 'float32' } as const) : {}
  const a = openSync(path, { ...options, shape: [LENGTH] })
  const data = a.toTypedArray({ copy: true }) as Float32Array
  const first = data[0] as number
  t.true(
    data.every((value) => value === first),
    `${path} is a mixture`,
  )
  a.close()
  return first
}

const ways = [
  ['create', 'npy'],
  ['create', 'mmap'],
  ['createSync', 'npy'],
  ['createSync', 'raw'],
] as const

for (const [index, [create, format]] of ways.entries()) {
  test(`${create}, ${format}: a process killed ${KILLS} times while it overwrites`, async (t) => {
    const [dir, next] = [folder(t), random(SEED + index)]
    t.log(`seed ${SEED + index}`)
    const path = join(dir, 'a')
    for (let kill = 0; kill < KILLS; kill++) {
      createSync(path, new Float32Array(LENGTH), { format, overwrite: true }).close()
      // Whoever creates the file next removes what the killed process left.
      if (process.platform !== 'win32') t.deepEqual(readdirSync(dir), ['a'])
      const lines = 1 + Math.floor(next() * 30)
      const { signal, begun, done } = await killAt(lines, script(create, "'a'"), [dir, format])
      t.is(signal, 'SIGKILL')
      const found = numberOf(t, path, format)
      t.true(found === done || found === begun, `${found} after ${done} of ${begun}`)
      t.true(readdirSync(dir).length <= 2)
    }
  })

  test(`${create}, ${format}: a process killed ${KILLS} times while it makes new files`, async (t) => {
    const next = random(SEED - 1 - index)
    t.log(`seed ${SEED - 1 - index}`)
    for (let kill = 0; kill < KILLS; kill++) {
      const dir = folder(t)
      const lines = 1 + Math.floor(next() * 30)
      const { signal, begun, done } = await killAt(lines, script(create, 'i'), [dir, format])
      t.is(signal, 'SIGKILL')
      const names = readdirSync(dir)
      const files = names.filter((name) => /^\d+$/.test(name))
      t.true(files.length === done || files.length === begun, `${files.length} after ${done} of ${begun}`)
      for (const name of files) t.is(numberOf(t, join(dir, name), format), Number(name))
      // On Linux a new file has no other name on its way.
      const others = process.platform === 'linux' ? 0 : 1
      t.true(names.length - files.length <= others, names.join(' '))
    }
  })
}
