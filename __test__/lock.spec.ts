/** Locks of files, which end with the array, with the process, and with a crash; and paths that name another file. */
import { spawn } from 'node:child_process'
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import {
  create,
  createSync,
  isMmapError,
  type Lock,
  type MmapArray,
  type Mode,
  open,
  openSync,
} from '../src/index.js'
import { collect, folder, root } from './helpers.js'

const make = (t: ExecutionContext) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, Int32Array.of(1, 2, 3)).close()
  return path
}

const free = (path: string) => {
  const a = openSync(path, { lock: 'exclusive' })
  a.close()
  return a.closed
}

/** Opens `path` in a process of its own; resolves when it has done so, and gives what ends the process. */
function holder(t: ExecutionContext, path: string, lock: Lock, then = '') {
  const source = `
    import { openSync } from 'mmap-ndarray'
    globalThis.a = openSync(process.argv[1], { lock: '${lock}' })
    process.stdin.on('data', () => { ${then} })
    console.log('open')`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source, '--', path], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.on('data', () => resolve())
    child.on('exit', () => reject(new Error('the process ended')))
  })
  return { child, ready, ended }
}

const LOCKS = [undefined, 'shared', 'exclusive'] as const

for (const first of LOCKS) {
  for (const second of LOCKS) {
    const together = !(first && second && (first === 'exclusive' || second === 'exclusive'))
    test(`${first} and then ${second}: ${together ? 'both open' : 'ERR_LOCKED'}`, async (t) => {
      const path = make(t)
      const one = openSync(path, { lock: first, mode: 'r+' })
      if (together) {
        openSync(path, { lock: second }).close()
        ;(await open(path, { lock: second })).close()
      } else {
        const refused = { code: 'ERR_LOCKED', message: /is locked.*Close that array/ }
        t.is(t.throws(() => openSync(path, { lock: second }), refused)?.name, 'MmapError')
        const error = await t.throwsAsync(open(path, { lock: second }), refused)
        t.true(isMmapError(error, 'ERR_LOCKED') && error.path === path)
      }
      one.close()
      t.true(free(path))
    })
  }
}

test('what a lock can be', (t) => {
  const path = make(t)
  for (const [lock, code] of [
    ['none', 'ERR_INVALID_ARG_VALUE'],
    ['Shared', 'ERR_INVALID_ARG_VALUE'],
    [true, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
  ]) {
    t.throws(() => openSync(path, { lock: lock as Lock }), { code: code as string }, String(lock))
  }
})

test('close gives it back at once: with the data in use, in every mode, without data, with a flush under way', async (t) => {
  const path = make(t)
  for (const mode of ['r', 'r+', 'c'] as Mode[]) {
    const a = openSync(path, { mode, lock: 'exclusive' })
    const { data } = a
    const held = new Uint8Array((data as Int32Array).buffer)
    a.close()
    t.true(free(path), mode)
    t.is(held.length, 0)
  }
  const empty = join(dirname(path), 'empty.npy')
  createSync(empty, { shape: [0], dtype: 'int8' }).close()
  const none = openSync(empty, { lock: 'exclusive' })
  t.throws(() => openSync(empty, { lock: 'shared' }), { code: 'ERR_LOCKED' })
  none.close()
  t.true(free(empty))

  const large = join(dirname(path), 'large.npy')
  ;(await create(large, { shape: [2 ** 22], dtype: 'float64' })).close()
  const a = openSync(large, { mode: 'r+', lock: 'exclusive' })
  a.fill(1)
  const flushed = a.flush()
  a.close()
  t.true(free(large))
  await t.throwsAsync(flushed, { code: 'ERR_CLOSED' })
})

test('a failed open keeps no lock', (t) => {
  const path = make(t)
  t.throws(() => openSync(path, { lock: 'exclusive', dtype: 'float64' }), { code: 'ERR_DTYPE_MISMATCH' })
  t.true(free(path))
})

test('a forgotten array gives it back when it is collected, and not before its data is', async (t) => {
  const path = make(t)
  let data = (() => openSync(path, { lock: 'exclusive' }).data)() as Int32Array | undefined
  await collect()
  t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
  t.is(data?.[2], 3)
  data = undefined
  await collect()
  t.true(free(path))
})

test('overwriting a locked file is ERR_LOCKED, and leaves it and its folder alone', async (t) => {
  const path = make(t)
  const before = readFileSync(path)
  for (const lock of ['shared', 'exclusive'] as Lock[]) {
    const a = openSync(path, { lock })
    t.throws(() => createSync(path, [1], { overwrite: true }), { code: 'ERR_LOCKED' })
    await t.throwsAsync(create(path, [1], { overwrite: true }), { code: 'ERR_LOCKED' })
    // Without `overwrite` nothing is to be locked.
    t.throws(() => createSync(path, [1]), { code: 'EEXIST' })
    t.deepEqual(readFileSync(path), before)
    a.close()
  }
  t.deepEqual(readdirSync(dirname(path)), ['a.npy'])
  createSync(path, [1], { overwrite: true }).close()
  t.true(free(path))
})

test('a failed overwrite gives the lock of the old file back', async (t) => {
  const path = make(t)
  const get = () => {
    throw new Error('no element')
  }
  const source = { data: { length: 3, get, set() {} }, shape: [3], dtype: 'int8' } as const
  t.throws(() => createSync(path, source, { overwrite: true }), { message: 'no element' })
  t.true(free(path))
  await t.throwsAsync(create(path, source, { overwrite: true }), { message: 'no element' })
  t.true(free(path))
})

const ends: [name: string, then: string, signal?: NodeJS.Signals][] = [
  ['close', 'a.close()'],
  ['process.exit', 'process.exit(0)'],
  ['the natural end', 'process.stdin.destroy()'],
  ['SIGKILL', '', 'SIGKILL'],
  ['SIGTERM', '', 'SIGTERM'],
]
for (const [name, then, signal] of ends) {
  for (const lock of ['shared', 'exclusive'] as Lock[]) {
    test(`${lock} in another process, ended by ${name}`, async (t) => {
      const path = make(t)
      const { child, ready, ended } = holder(t, path, lock, `${then}; console.log('done')`)
      await ready
      if (lock === 'shared') openSync(path, { lock }).close()
      t.throws(() => openSync(path, { lock: 'exclusive' }), { code: 'ERR_LOCKED' })
      t.throws(() => createSync(path, [1], { overwrite: true }), { code: 'ERR_LOCKED' })
      openSync(path).close()
      if (signal) child.kill(signal)
      else child.stdin.write('now')
      if (name === 'close') {
        await new Promise((resolve) => child.stdout.once('data', resolve))
        t.is(child.exitCode, null)
      } else {
        await ended
      }
      t.true(free(path))
    })
  }
}

test('a worker that ends, or is terminated, gives its locks back', async (t) => {
  const path = make(t)
  for (const end of ['', 'setInterval(() => {}, 1000)']) {
    const code = `
      const { openSync } = require('mmap-ndarray')
      const { workerData, parentPort } = require('node:worker_threads')
      globalThis.a = openSync(workerData, { lock: 'exclusive' })
      parentPort.postMessage('open')
      ${end}`
    const worker = new Worker(code, { eval: true, workerData: path, execArgv: [] })
    const ended = new Promise((resolve) => worker.on('exit', resolve))
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    if (end !== '') {
      t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
      await worker.terminate()
    }
    await ended
    t.true(free(path))
  }
})

// What happens to the path, and whether the array is stale then.
const replace = (path: string, write: (path: string) => void) => {
  write(`${path}.npy`)
  renameSync(`${path}.npy`, path)
}
const events: [name: string, event: (path: string) => void, stale: boolean][] = [
  ['nothing', () => {}, false],
  ['written in place', (path) => writeFileSync(path, readFileSync(path)), false],
  ['a second name', (path) => linkSync(path, `${path}.link`), false],
  ['renamed over', (path) => replace(path, (to) => createSync(to, [1]).close()), true],
  ['replaced by the same content', (path) => replace(path, (to) => copyFileSync(path, to)), true],
  ['overwritten', (path) => createSync(path, Int32Array.of(1, 2, 3), { overwrite: true }).close(), true],
  ['removed', (path) => rmSync(path), true],
  [
    'a folder now',
    (path) => {
      rmSync(path)
      mkdirSync(path)
    },
    true,
  ],
  ['its folder is gone', (path) => rmSync(dirname(path), { recursive: true }), true],
]
// Windows does not remove, replace or write over a file that is mapped; it does rename it.
const onWindows = /^nothing|second name|renamed away/
for (const [name, event, stale] of events) {
  const tried = process.platform !== 'win32' || onWindows.test(name) ? test : test.skip
  tried(`isStale, ${name}: ${stale}`, async (t) => {
    const path = join(folder(t), 'inner', 'a.npy')
    mkdirSync(dirname(path))
    const made = createSync(path, Int32Array.of(1, 2, 3))
    const opened = openSync(path, { mode: 'r+' })
    const view = opened.slice('1:')
    event(path)
    for (const a of [made, opened] as MmapArray[]) {
      t.is(a.isStale(), stale)
      // The file that was opened is there for as long as the array is.
      a.set(0, 7)
      t.is(a.get(0), 7)
      await a.flush()
      a.flushSync()
    }
    view.flushSync()
    made.close()
    opened.close()
    t.throws(() => opened.isStale(), { code: 'ERR_CLOSED' })
  })
}
