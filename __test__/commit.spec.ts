/**
 * Copy-on-write arrays: what they have changed, kept in the file or given up.
 *
 * The core's tests kill and refuse every system call of a commit, and hold every answer against a model
 * (crates/core/tests/suite/commit.rs and dirty.rs); here is what JavaScript sees, and what others read afterwards.
 *
 * Past 400 lines: dirty pages, commits and what may come between them share one way of looking at a file.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'
import test from 'ava'
import { createSync, type MmapArray, open, openSync } from '../src/index.js'
import {
  attachable,
  backing,
  child,
  elementsOf,
  folder,
  isPending,
  listOf,
  mayMount,
  mounting,
  movable,
  privateMemory,
  privatePages,
  root,
  run,
  runScript,
  tool,
  worker,
} from './helpers.js'

/** Windows shortens no file that is mapped, and replaces none. */
const posix = process.platform === 'win32' ? test.skip : test
const ATOMIC = process.platform === 'win32' ? [false] : [false, true]

const SEED = 20_261_124
const linux = process.platform === 'linux' ? test : test.skip

/** Numbers in [0, 1) from a seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    return (state >>> 0) / 2 ** 32
  }
}

/** A file of 0, 1, 2, ..., open copy-on-write. Its header takes 128 bytes, 32 elements of the first page. */
function ramp(path: string, length: number): MmapArray<'float32'> {
  createSync(
    path,
    Float32Array.from({ length }, (_, i) => i),
  ).close()
  return openSync(path, { mode: 'c', dtype: 'float32' })
}

/** All elements of the file, as somebody else reads them. */
function fileOf(path: string): (number | bigint)[] {
  const a = openSync(path)
  const found = listOf(a.toTypedArray({ copy: true }))
  a.close()
  return found
}

linux('pages, elements, and what is left after each step', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = ramp(path, 10_000)
  t.true(['pagemap-scan', 'pagemap'].includes(a.tracking))
  t.deepEqual([a.dirty, a.dirtyRanges(), a.diff()], [false, [], []])
  const data = elementsOf(a)
  let sum = 0
  for (let at = 0; at < data.length; at++) sum += data.get(at) ?? Number.NaN
  t.is(sum, 49_995_000)
  t.is(a.dirty, false, 'reading changes nothing')

  a.set(5, -5)
  data.set(2000, 2000) // the same value: the page is private, the element does not differ
  for (const at of [5000, 5001, 5002]) data.set(at, -1)
  t.is(a.dirty, true)
  t.deepEqual(a.dirtyRanges(), [
    [0, 2016],
    [4064, 5088],
  ])
  t.deepEqual(a.diff(), [
    [5, 6],
    [5000, 5003],
  ])

  // Of a view only its own elements, wherever they lie.
  const odd = a.slice('1::2')
  t.deepEqual(odd.diff(), [
    [5, 6],
    [5001, 5002],
  ])
  t.is(a.slice('2500:4000').dirty, false)
  t.is(a.slice('2500:5000').dirty, true)
  t.deepEqual(a.slice('2500:4070').dirtyRanges(), [[4064, 4070]])
  t.deepEqual(a.slice('4070:4064:-2').dirtyRanges(), [
    [4066, 4067],
    [4068, 4069],
    [4070, 4071],
  ])

  await odd.commit()
  t.is(fileOf(path)[5], -5)
  t.is(fileOf(path)[5001], -1)
  t.is(fileOf(path)[5000], 5000, 'not an element of the view')
  t.deepEqual(a.dirtyRanges(), [[4064, 5088]], 'pages that are the same as the file are let go of')
  t.deepEqual(a.diff(), [
    [5000, 5001],
    [5002, 5003],
  ])

  a.slice('5000:5001').discard()
  t.is(a.get(5000), 5000)
  t.is(data.get(5002), -1)
  a.discard()
  t.is(data.get(5002), 5002)
  t.deepEqual([a.dirty, privatePages(path)], [false, 0])
  a.set(9999, 0.5)
  a.commitSync()
  t.deepEqual([a.dirty, a.diff(), fileOf(path)[9999]], [false, [], 0.5])
  a.close()
  for (const use of [
    () => a.dirty,
    () => a.diff(),
    () => a.dirtyRanges(),
    () => a.discard(),
    () => a.commitSync(),
  ]) {
    t.throws(use, { code: 'ERR_CLOSED' })
  }
  await t.throwsAsync(a.commit(), { code: 'ERR_CLOSED' })
})

for (const atomic of ATOMIC) {
  linux(`elements of every kind, read by others: atomic ${atomic}`, async (t) => {
    const dir = folder(t)
    const path = join(dir, 'a.npy')
    createSync(path, { shape: [64, 96], dtype: 'float64', fill: 1 }).close()
    const a = openSync(path, { mode: 'c' })
    const before = a.pick(0).toTypedArray() as Float64Array
    a.pick(7).fill(2)
    a.slice(null, 3).fill(3)
    const committing = a.commit({ atomic })
    t.true(await isPending(committing))
    t.is(await committing, undefined)
    t.is(a.dirty, false)
    t.is(before[3], 3, 'a typed array from before sees the same')
    t.false(a.isStale())
    const elsewhere = child(t)
    t.deepEqual(
      await elsewhere.call('const a = m.openSync(x); return [a.get(7, 0), a.get(0, 3), a.get(0, 0)]', path),
      [2, 3, 1],
    )
    a.set(1, 1, 9)
    a.commitSync({ atomic })
    t.is(await elsewhere.call('return m.openSync(x).get(1, 1)', path), 9)
    a.close()
    t.deepEqual(readdirSync(dir), ['a.npy'])

    // Other byte orders, places and types; nothing at all.
    const cases: [name: string, bytes: number, options: Parameters<typeof openSync>[1]][] = [
      ['big-endian', 8 * 3000, { format: 'raw', dtype: '>f8', mode: 'c' }],
      ['unaligned', 8 * 3000 + 3, { format: 'raw', dtype: 'int64', offset: 3, mode: 'c' }],
      ['halves', 6000, { format: 'raw', dtype: 'bfloat16', mode: 'c' }],
      ['strided', 12_000, { format: 'raw', dtype: 'uint8', shape: [50, 40], strides: [240, 2], mode: 'c' }],
      ['nothing', 0, { format: 'raw', dtype: 'float32', mode: 'c' }],
    ]
    for (const [name, bytes, options] of cases) {
      const file = join(dir, name)
      writeFileSync(file, new Uint8Array(bytes))
      const b = openSync(file, options)
      const value = (b.dtype === 'int64' ? 2n : 2) as never
      const half = b.slice('1::2')
      half.fill(value)
      t.is(b.dirty, bytes > 0, name)
      t.is(
        b.diff().reduce((n, [start, stop]) => n + stop - start, 0),
        half.size,
        name,
      )
      await half.commit({ atomic })
      t.deepEqual([b.dirty, b.diff()], [false, []], name)
      const c = openSync(file, { ...options, mode: 'r' })
      t.deepEqual(listOf(c.toTypedArray({ copy: true })), listOf(b.toTypedArray({ copy: true })), name)
      b.fill(value)
      b.discard()
      t.deepEqual(listOf(c.toTypedArray({ copy: true })), listOf(b.toTypedArray({ copy: true })), name)
      b.close()
      c.close()
    }
  })
}

linux('numpy and the seed crate read what a commit left', async (t) => {
  const dir = folder(t)
  const [python, seed] = [tool('python'), tool('seed')]
  for (const atomic of ATOMIC) {
    const npy = join(dir, `${atomic}.npy`)
    createSync(npy, { shape: [100, 1000], dtype: 'float32' }, { order: 'F' }).close()
    const a = openSync(npy, { mode: 'c' })
    a.slice('::3', '5::7').fill(1.5)
    await a.commit({ atomic })
    a.close()
    if (python !== undefined) {
      const code = `import numpy, sys
e = numpy.zeros((100, 1000), numpy.float32); e[::3, 5::7] = 1.5
a = numpy.load(sys.argv[1]); assert a.flags.f_contiguous and (a == e).all()`
      const { code: status, stderr } = await run(python, ['-c', code, npy])
      t.is(status, 0, stderr)
    }
    const mmap = join(dir, `${atomic}.mmap`)
    createSync(
      mmap,
      Float64Array.from({ length: 2000 }, (_, i) => i),
    ).close()
    const b = openSync(mmap, { mode: 'c', dtype: 'float64' })
    b.set(1999, -1)
    b.set(0, -2)
    await b.commit({ atomic })
    b.close()
    if (seed !== undefined) {
      const { code: status, stdout, stderr } = await run(seed, ['read', mmap, 'f64'])
      t.is(status, 0, stderr)
      t.regex(stdout, /-2(\.0)?"?, ?"?1(\.0)?\b.*1998(\.0)?"?, ?"?-1\b/s)
    }
    const c = openSync(mmap)
    t.deepEqual([c.get(0), c.get(1), c.get(1999)], [-2, 1, -1])
    c.close()
  }
  t.pass()
})

test('who may not commit, and what is no option', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, new Float32Array(3000)).close()
  const c = openSync(path, { mode: 'c' })
  const cases: [
    name: string,
    view: Pick<MmapArray, 'commit' | 'commitSync'>,
    code: string,
    message: RegExp,
  ][] = [
    ["'r'", openSync(path), 'ERR_READ_ONLY', /'r\+' or 'c'/],
    ["'r+'", openSync(path, { mode: 'r+' }), 'ERR_INVALID_STATE', /flush/],
    ['view()', c.view().slice('2:5'), 'ERR_READ_ONLY', /viewMut/],
  ]
  c.set(1, 1)
  for (const [name, view, code, message] of cases) {
    for (const options of [undefined, { atomic: true }, { force: true }]) {
      await t.throwsAsync(view.commit(options), { code, message }, name)
      t.throws(() => view.commitSync(options), { code, message }, name)
    }
  }
  t.throws(() => openSync(path).discard(), { code: 'ERR_READ_ONLY' })
  t.throws(() => c.view().discard(), { code: 'ERR_READ_ONLY' })
  for (const [options, code] of [
    [{ atomic: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ force: 'yes' }, 'ERR_INVALID_ARG_TYPE'],
    [{ whole: true }, 'ERR_INVALID_ARG_VALUE'],
    ['atomic', 'ERR_INVALID_ARG_TYPE'],
  ] as [never, string][]) {
    await t.throwsAsync(c.commit(options), { code })
    t.throws(() => c.commitSync(options), { code })
  }
  t.is(fileOf(path)[1], 0)
  c.close()
})

posix('stale files', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  const later = () => utimesSync(path, new Date(), new Date(Date.now() + 5000))
  const cases: [name: string, change: () => void, code: string | null, forced: string | null][] = [
    ['nothing', () => {}, null, null],
    ['touched', later, 'ERR_STALE', null],
    ['longer', () => appendFileSync(path, 'x'), 'ERR_STALE', null],
    ['renamed', () => renameSync(path, join(dir, 'b.npy')), 'ERR_STALE', 'ERR_STALE'],
    [
      'replaced',
      () => createSync(path, new Float32Array(3000), { overwrite: true }).close(),
      'ERR_STALE',
      null,
    ],
    [
      'another shape',
      () => createSync(path, new Float32Array(9), { overwrite: true }).close(),
      'ERR_STALE',
      'ERR_STALE',
    ],
    [
      'another dtype',
      () => createSync(path, new Int32Array(3000), { overwrite: true }).close(),
      'ERR_STALE',
      'ERR_STALE',
    ],
  ]
  for (const atomic of ATOMIC) {
    for (const [name, change, code, forced] of cases) {
      rmSync(path, { force: true })
      const a = ramp(path, 3000)
      a.set(4, -4)
      change()
      const context = `${name}, atomic ${atomic}`
      if (code === null) await t.notThrowsAsync(a.commit({ atomic }), context)
      else {
        await t.throwsAsync(a.commit({ atomic }), { code, message: /Open the path again/ }, context)
        t.deepEqual([a.dirty ?? true, a.get(4)], [true, -4], context)
      }
      if (forced === null) {
        a.commitSync({ atomic, force: true })
        t.is(fileOf(path)[4], -4, context)
      } else t.throws(() => a.commitSync({ atomic, force: true }), { code: forced }, context)
      a.close()
    }
  }
})

for (const [backing, atomic] of [
  ['external', false],
  ['external', true],
  ['shared', false],
] as const) {
  const tried = ATOMIC.includes(atomic) ? test : test.skip
  tried(`no store is lost while commits run: ${backing}, atomic ${atomic}`, async (t) => {
    const path = join(folder(t), 'a.npy')
    ramp(path, 1).close()
    const length = 200_000
    createSync(path, new Float64Array(length), { overwrite: true }).close()
    let a: MmapArray<'float64'>
    try {
      a = await open(path, { mode: 'c', dtype: 'float64', backing })
    } catch (error) {
      t.is((error as { code: string }).code, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM')
      return
    }
    const next = random(SEED)
    const data = a.toTypedArray()
    const model = new Float64Array(length)
    for (let i = 0; i < 24; i++) {
      const commit = a.slice(`${i % 3}::${1 + (i % 2)}`).commit({ atomic })
      let running = true
      commit.finally(() => {
        running = false
      })
      do {
        for (let n = 0; n < 40; n++) {
          const at = Math.floor(next() * length)
          const value = next()
          data[at] = value
          model[at] = value
        }
        await new Promise(setImmediate)
      } while (running)
      await commit
      if (i % 10 === 0) t.deepEqual(data, model as never, `round ${i}`)
    }
    t.deepEqual(data, model as never)
    await a.commit()
    t.deepEqual(a.diff(), [])
    t.deepEqual(fileOf(path), [...model])
    a.close()
  })
}

posix('commits of one array wait for each other, and no discard comes between', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = ramp(path, 100_000)
  const rows = [0, 1, 2].map((n) => a.slice(`${n * 30_000}:${n * 30_000 + 5}`))
  const commits = rows.map((row, n) => row.fill(-n - 1).commit({ atomic: n === 1 }))
  await null
  await null
  t.throws(() => a.discard(), { code: 'ERR_INVALID_STATE' })
  t.throws(() => a.commitSync(), { code: 'ERR_INVALID_STATE' })
  await Promise.all(commits)
  t.deepEqual(
    rows.map((row) => fileOf(path)[row.offset]),
    [-1, -2, -3],
  )
  // One that fails does not hold up the next.
  a.set(0, 7)
  utimesSync(path, new Date(), new Date(Date.now() + 5000))
  const [stale, forced] = [a.commit(), a.commit({ force: true })]
  await t.throwsAsync(stale, { code: 'ERR_STALE' })
  await forced
  t.is(fileOf(path)[0], 7)
  a.close()
})

test('closed meanwhile: the promise rejects, and the file gets all of it or, atomic, the old one stays', async (t) => {
  for (const atomic of ATOMIC) {
    const path = join(folder(t), 'a.npy')
    const a = ramp(path, 500_000)
    a.fill(-1)
    const commit = a.commit({ atomic })
    await null
    await null
    a.close()
    await t.throwsAsync(commit, { code: 'ERR_CLOSED' })
    t.is(new Set(fileOf(path)).size, 1, 'zeros of the closed mapping must not get there')
  }
})

const linuxAttached = attachable === 'c' ? linux : test.skip

linuxAttached(
  'beside a worker that has the array, pages stay private and the file is not exchanged',
  async (t) => {
    const path = join(folder(t), 'a.npy')
    const a = ramp(path, 5000)
    const other = worker(t)
    t.is(
      await other.call('kept.a = await m.attach(x); kept.a.set(9, -9); return kept.a.dirty', a.toHandle()),
      true,
    )
    t.is(a.get(9), -9)
    await t.throwsAsync(a.commit({ atomic: true }), { code: 'ERR_INVALID_STATE', message: /attach/ })
    await a.commit()
    t.is(fileOf(path)[9], -9)
    t.deepEqual([a.dirty, a.diff()], [true, []])
    a.set(1, -1)
    a.discard()
    t.is(await other.call('return kept.a.get(1)'), 1)
    await other.call('kept.a.close()')
    await a.commit()
    t.is(a.dirty, false)
    await a.pick(3).fill(-3).commit({ atomic: true })
    // After the exchange a handle leads to the same array, as before.
    t.is(
      await other.call('kept.a = await m.attach(x); kept.a.set(8, -8); return kept.a.get(3)', a.toHandle()),
      -3,
    )
    t.is(a.get(8), -8)
    a.close()
  },
)

test('a buffer that was moved away meanwhile', async (t) => {
  // Node.js 20 has no way to move a buffer that is not its own.
  const { transfer } = ArrayBuffer.prototype as { transfer?: (this: ArrayBufferLike) => ArrayBuffer }
  if (transfer === undefined || !movable) return t.pass()
  const path = join(folder(t), 'a.npy')
  for (const atomic of ATOMIC) {
    rmSync(path, { force: true })
    const a = ramp(path, 10_000)
    a.set(3, -3)
    const commit = a.commit({ atomic })
    await null
    await null
    const moved = new Float32Array(transfer.call(a.toTypedArray().buffer))
    moved[4] = -4
    if (atomic) await t.throwsAsync(commit, { code: 'ERR_INVALID_STATE' })
    else await commit
    t.deepEqual([...moved.subarray(2, 6)], [2, -3, -4, 5])
    await t.throwsAsync(a.commit(), { code: 'ERR_INVALID_STATE' })
    t.is(fileOf(path)[3], -3)
    a.close()
  }
})

linux('the private memory of 0.1 % of 4 GiB, and none after the commit', async (t) => {
  const path = join(folder(t), 'a.npy')
  const { status, stdout, stderr } = await (async () => {
    const ended = await runScript(
      `
      import { readFileSync } from 'node:fs'
      import { createSync, openSync } from 'mmap-ndarray'
      const [path] = process.argv.slice(1)
      const rss = () => 1024 * Number(/RssAnon:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
      createSync(path, { shape: [2 ** 30 - 32], dtype: 'float32' }, { reserve: false }).close()
      const a = openSync(path, { mode: 'c' })
      // 0.1 % of the pages.
      const store = () => {
        let pages = 0
        for (let at = 0; at < a.size; at += 1_024_000) { a.set(at + 5, 1); pages++ }
        return pages
      }
      // Several times: what compiling the loop and windows over it take comes at some time, what the pages take each time.
      let after = Infinity
      let before, pages, counted
      for (let round = 0; round < 5; round++) {
        a.discard(); a.diff(); globalThis.gc()
        before = rss()
        pages = store()
        counted = a.dirtyRanges().reduce((n, [start, stop]) => n + stop - start, 0) * 4
        globalThis.gc()
        after = Math.min(after, rss() - before)
      }
      const dirty = pages * 4096
      await a.commit()
      globalThis.gc()
      process.stdout.write(JSON.stringify({ pages, dirty, counted, after, left: rss() - before, isDirty: a.dirty, one: a.get(5) }))`,
      path,
    )
    return { status: ended.code, stdout: ended.stdout, stderr: ended.stderr }
  })()
  t.is(status, 0, stderr)
  const found = JSON.parse(stdout)
  t.log(found)
  t.true(found.pages > 1000)
  t.true(found.counted <= found.dirty && found.counted > 0.99 * found.dirty)
  // Beside the pages a thousand small windows, which are collected some time, or none.
  const most = backing === 'window' ? 4 : 1.2
  t.true(found.after <= most * found.dirty, `${found.after} bytes for ${found.dirty}`)
  t.true(found.left < (most - 0.7) * found.dirty)
  t.deepEqual([found.isDirty, found.one], [false, 1])
})

linux('inspect and dirty read nothing', (t) => {
  const path = join(folder(t), 'a.npy')
  const a = ramp(path, 2 ** 20)
  t.notRegex(inspect(a), /dirty/)
  a.set(0, -1)
  const before = privateMemory()
  t.regex(inspect(a), /'c' .*a\.npy \(dirty\)/)
  t.true(a.dirty)
  t.true(privateMemory() - before < 2 ** 20)
  a.commitSync()
  t.notRegex(inspect(a), /dirty/)
  a.close()
  t.regex(inspect(a), /\(closed\)/)
})

linux('without page maps the data is compared, and dirty says that it does not know', async (t) => {
  if (!mayMount('arrays without page maps')) return t.pass()
  const path = join(folder(t), 'a.npy')
  ramp(path, 10_000).close()
  const script = `
    import { openSync } from 'mmap-ndarray'
    const a = openSync(process.argv[1], { mode: 'c' })
    const seen = [a.tracking, a.dirty ?? 'unknown', a.dirtyRanges()]
    a.set(5, -5)
    a.set(2000, 2000)
    a.slice('6000:6002').fill(-6)
    seen.push(a.dirty ?? 'unknown', a.dirtyRanges(), a.diff())
    a.slice('6000:').discard()
    seen.push(a.diff())
    await a.commit()
    seen.push(a.diff())
    a.set(7, -7)
    await a.commit({ atomic: true })
    seen.push(a.diff(), a.get(7), a.isStale())
    a.set(7, 70)
    a.discard()
    seen.push(a.get(7))
    process.stdout.write(JSON.stringify(seen))`
  const program = [process.execPath, '--input-type=module', '--eval', script, '--', path]
  const ended = await run(...mounting('/proc', 'size=1m', program), { cwd: root })
  t.is(ended.code, 0, ended.stderr)
  t.deepEqual(JSON.parse(ended.stdout), [
    'compare',
    'unknown',
    [],
    'unknown',
    [
      [0, 992],
      [5088, 6112],
    ],
    [
      [5, 6],
      [6000, 6002],
    ],
    [[5, 6]],
    [],
    [],
    -7,
    false,
    -7,
  ])
  t.is(fileOf(path)[7], -7)
})

posix('killed at any moment, an atomic commit leaves one commit whole', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  const length = 2 ** 17
  createSync(path, new Float64Array(length)).close()
  const script = `
    import { writeSync } from 'node:fs'
    import { openSync } from 'mmap-ndarray'
    const a = openSync(process.argv[1], { mode: 'c' })
    for (let i = a.get(0) + 1; ; i++) {
      a.fill(i)
      writeSync(1, i + '\\n')
      await a.commit({ atomic: true })
    }`
  const next = random(SEED)
  for (let kill = 0; kill < 6; kill++) {
    const victim = spawn(process.execPath, ['--input-type=module', '--eval', script, '--', path], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(victim, 'close')
    const lines = 2 + Math.floor(next() * 6)
    let [printed, last] = [0, 0]
    for await (const line of createInterface(victim.stdout)) {
      last = Number(line)
      if (++printed === lines) victim.kill('SIGKILL')
    }
    t.is((await ended)[1], 'SIGKILL')
    const values = [...new Set(fileOf(path))]
    t.is(values.length, 1)
    t.true(values[0] === last || values[0] === last - 1, `${values[0]} beside ${last}`)
  }
  const a = openSync(path, { mode: 'c' })
  a.fill(-1)
  await a.commit({ atomic: true })
  a.close()
  t.deepEqual(readdirSync(dir), ['a.npy'], 'what was left is removed by the next commit')
  t.is(readFileSync(path).length, 128 + 8 * length)
})

linux('a full disk is ENOSPC, the file is as it was, and the array can be tried again', async (t) => {
  // Stores to a private mapping of tmpfs fill holes of the file, so in place nothing is left to reserve here: the core's
  // tests refuse that call instead.
  if (!mayMount('a commit to a full disk')) return t.pass()
  const dir = folder(t)
  const script = `
    import { createSync, openSync } from 'mmap-ndarray'
    import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
    const [dir] = process.argv.slice(1)
    const path = dir + '/a.npy'
    createSync(path, { shape: [2 ** 20], dtype: 'float64' }).close()
    const a = openSync(path, { mode: 'c' })
    a.fill(1)
    writeFileSync(dir + '/ballast', new Uint8Array(10 * 2 ** 20))
    const code = await a.commit({ atomic: true }).then(() => 'done', (error) => error.code)
    const clean = readFileSync(path).subarray(128).every((byte) => byte === 0)
    const seen = [code, clean, a.dirty, a.get(77), readdirSync(dir)]
    rmSync(dir + '/ballast')
    await a.commit({ atomic: true })
    seen.push(a.dirty, openSync(path).get(77))
    process.stdout.write(JSON.stringify(seen))`
  const program = [process.execPath, '--input-type=module', '--eval', script, '--', dir]
  const ended = await run(...mounting(dir, 'size=20m', program), { cwd: root })
  t.is(ended.code, 0, ended.stderr)
  t.deepEqual(JSON.parse(ended.stdout), ['ENOSPC', true, true, 1, ['a.npy', 'ballast'], false, 1])
})

// What is not mapped cannot be seen in WebAssembly memory.
for (const mmap of backing === 'wasm' ? [true] : [true, false]) {
  test(`an array with room behind it, or that became shorter: no page ends behind the file; mmap ${mmap}`, async (t) => {
    const path = join(folder(t), 'a.npy')
    createSync(path, { shape: [1000], dtype: 'float64', fill: 1 }).close()
    for (const atomic of ATOMIC) {
      const a = openSync<'float64'>(path, { mode: 'c', capacity: 2 ** 20, mmap })
      a.set(999, atomic ? 6 : 5)
      await a.commit({ atomic })
      t.false(a.lost)
      t.is(a.sumSync(), atomic ? 1005 : 1004)
      a.set(998, 9)
      a.slice('900:').discard()
      a.set(998, 9)
      a.discard()
      t.is(a.get(998), 1)
      t.false(a.isStale())
      a.close()
    }
    const c = openSync<'float64'>(path, { mode: 'c', mmap })
    const writer = openSync(path, { mode: 'r+' })
    writer.resizeSync(600)
    t.true(c.refresh())
    c.set(599, 9)
    await c.commit({ force: true })
    t.is(c.sumSync(), 608)
    for (const array of [c, writer]) array.close()
  })
}
