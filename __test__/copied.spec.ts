/**
 * Files that are not mapped: the same answers as from those that are, and what is stored comes to the file by calls.
 *
 * Past 400 lines: every operation beside its twin on a mapped file, and every way in which a process can end.
 */
import {
  closeSync,
  existsSync,
  openSync as openFile,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { attachSync, type Backing, createSync, type MmapArray, open, openSync } from '../src/index.js'
import {
  child,
  descriptors,
  folder,
  listOf,
  mappings,
  mayMount,
  mounting,
  refusal,
  root,
  run,
  runScript,
  worker,
} from './helpers.js'

const modes = ['r', 'r+', 'c'] as const
const MIB = 2 ** 20

const unmappable = '/sys/kernel/notes'
const refusing = existsSync(unmappable) ? test : test.skip

refusing('a file system that maps no files', async (t) => {
  const expected = [...readFileSync(unmappable)]
  for (const mode of ['r', 'c'] as const) {
    const a = await open(unmappable, { format: 'raw', dtype: 'uint8', mode })
    t.is(a.backing, 'window')
    t.is(a.get(5), expected[5] as number)
    t.deepEqual(listOf(a.toTypedArray({ copy: true })), expected)
    a.close()
  }
  for (const backing of ['external', 'shared', 'wasm'] as Backing[]) {
    const message = /is not mapped .* backing 'auto' or 'window'/
    const options = { format: 'raw', dtype: 'uint8', backing } as const
    t.throws(() => openSync(unmappable, options), { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', message })
  }
  if (process.platform === 'linux') t.is(descriptors(unmappable), 0)
})

/** name, extension, dtype */
const files = [
  ['npy', 'float32'],
  ['mmap', 'float64'],
  ['raw', 'int16'],
  ['npy', 'int64'],
  ['raw', 'bfloat16'],
] as const

for (const [format, dtype] of files) {
  for (const mode of modes) {
    test(`${format} of ${dtype}, mode ${mode}: every operation is as on a mapped file`, async (t) => {
      const dir = folder(t)
      const path = (name: string) => join(dir, `${name}.${format}`)
      const big = dtype === 'int64'
      const number = (n: number) => (big ? BigInt(n) : n) as never
      const of = (name: string, mmap: boolean) => {
        const made = createSync(path(name), { shape: [40, 50], dtype }, { format })
        for (let n = 0; n < 2000; n++) made.set((n / 50) | 0, n % 50, number((n * 7) % 97))
        made.close()
        const raw = format === 'raw' ? ({ format, dtype, shape: [40, 50] } as const) : {}
        return openSync(path(name), { mode, mmap, ...raw })
      }
      const [mapped, copied] = [of('mapped', true), of('copied', false)]
      const both = [mapped, copied]
      t.deepEqual([copied.backing, copied.tracking], ['window', 'marked'])
      const same = async (look: (a: MmapArray) => unknown) => {
        const [expected, found] = [await look(mapped), await look(copied)]
        t.deepEqual(found, expected, String(look))
      }
      if (mode !== 'r') {
        for (const a of both) {
          a.set(3, 4, number(90))
          a.slice('10:20:3', null).fill(number(5))
          a.slice(-1).assign(a.slice(0))
          a.slice(null, '0:10').assign(a.slice(null, '2:12'))
        }
      }
      await same((a) => a.toArray())
      await same((a) => [a.get(3, 4), a.get(39, 49), a.data.length])
      await same((a) => a.slice('::-2', '5:9').T.toArray())
      await same((a) => listOf(a.slice(5).toTypedArray({ copy: true }) as never))
      await same(async (a) => [a.sumSync(), await a.sum(), a.maxSync(), await a.argmin()])
      await same(async (a) => (await a.mean({ axis: 0 })).toArray())
      await same(async (a) => (await a.take([3, 1, 3])).toArray())
      await same((a) => a.slice('0:2').copy().toArray())
      await same(async (a) => {
        const parts = []
        for await (const part of a.chunks({ rows: 7 })) parts.push(part.toArray())
        return parts
      })
      if (dtype.startsWith('float')) {
        const query = Array.from({ length: 50 }, (_, n) => n)
        await same(async (a) => {
          const { indices, scores } = await a.topk(query, 3)
          return [listOf(indices as never), listOf(scores as never)]
        })
      }
      t.true(await copied.equals(mapped))
      t.true(await mapped.equals(copied))
      await same(async (a) => {
        await a.flush()
        a.advise('willneed')
        await a.prefetch()
        return a.lost
      })
      if (mode === 'c') {
        t.deepEqual([copied.dirty, mapped.dirty], [true, mapped.tracking === 'compare' ? undefined : true])
        await same((a) => a.diff().length > 0)
        copied.slice('0:20').discard()
        mapped.slice('0:20').discard()
        await same((a) => a.toArray())
        for (const a of both) await a.commit()
        t.false(copied.dirty)
      }
      for (const a of both) await a.saveAs(path(a === mapped ? 'saved-mapped' : 'saved-copied'))
      t.deepEqual(readFileSync(path('saved-copied')), readFileSync(path('saved-mapped')))
      const message = /copy: true/
      t.throws(() => copied.slice(0).toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS', message })
      const { data } = copied
      for (const a of both) a.close()
      t.is(data.length, 0, 'after close')
      t.deepEqual(readFileSync(path('copied')), readFileSync(path('mapped')))
    })
  }
}

test('what somebody else writes right beside a store stays', async (t) => {
  const path = join(folder(t), 'a.raw')
  writeFileSync(path, new Uint8Array(100).fill(1))
  const a = openSync(path, { mode: 'r+', format: 'raw', dtype: 'uint8', mmap: false })
  a.set(50, 2)
  t.is(readFileSync(path)[50], 1)
  const theirs = openFile(path, 'r+')
  writeSync(theirs, new Uint8Array([3, 3, 3]), 0, 3, 49)
  closeSync(theirs)
  t.is(a.get(51), 1, 'a block that was read shows nothing new')
  await a.flush()
  t.deepEqual([...readFileSync(path).subarray(48, 53)], [1, 3, 2, 3, 1])
  a.set(0, 9)
  a.close()
  t.is(readFileSync(path)[0], 9)
})

test('growing, and what reads the file itself', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [2, 3], dtype: 'float64' }).close()
  const a = openSync<'float64'>(path, { mode: 'r+', mmap: false })
  a.set(1, 1, 5)
  await a.append([[1, 2, 3]])
  t.deepEqual(
    [a.backing, a.toArray()],
    [
      'window',
      [
        [0, 0, 0],
        [0, 5, 0],
        [1, 2, 3],
      ],
    ],
  )
  a.set(2, 2, 7)
  a.appendSync([4, 4, 4])
  a.set(3, 0, 8)
  await a.resize(4)
  await a.checksum()
  t.is((await a.verify()).damaged, 0)
  const b = openSync(path)
  const expected = [
    [0, 0, 0],
    [0, 5, 0],
    [1, 2, 7],
    [8, 4, 4],
  ]
  t.deepEqual(b.toArray(), expected)
  b.close()
  await a.resize(1)
  await a.resize(3)
  t.deepEqual(a.toArray(), [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ])
  const empty = join(folder(t), 'b.npy')
  createSync(empty, { shape: [0, 2], dtype: 'int8' }).close()
  const c = openSync<'int8'>(empty, { mode: 'r+', mmap: false })
  c.appendSync([[1, 2]])
  t.deepEqual([c.backing, c.toArray()], ['window', [[1, 2]]])
  c.close()
  a.close()
})

test('workers share the array, other processes open the file for themselves', async (t) => {
  for (const mode of ['r+', 'c'] as const) {
    const path = join(folder(t), 'a.npy')
    createSync(path, { shape: [10], dtype: 'int32' }).close()
    const a = openSync<'int32'>(path, { mode, mmap: false })
    const handle = a.toHandle()
    t.is(handle.backing, 'window')
    const b = attachSync<'int32'>(handle)
    b.set(0, 5)
    const there = worker(t)
    const body = 'kept.a = m.attachSync(x); const before = kept.a.get(0); kept.a.set(1, 6); return before'
    t.is(await there.call(body, handle), 5)
    t.is(a.get(1), 6)
    const other = child(t)
    t.is(await other.call('const a = m.attachSync(x); return a.get(1)', handle), 0)
    for (const array of [a, b]) array.close()
    await there.kill()
    await other.leave()
    const c = openSync(path)
    t.deepEqual([c.get(0), c.get(1)], mode === 'r+' ? [5, 6] : [0, 0])
    c.close()
  }
})

/** name, how it ends, its code; whether what was not flushed is in the file */
const ends: [name: string, code: string, exit: number | null, kept: boolean][] = [
  ['by itself', '', 0, true],
  ['process.exit', 'process.exit(3)', 3, true],
  ['an exception', "throw new Error('end')", 1, true],
  ['close', 'a.close()', 0, true],
  [
    'a store by a later exit handler',
    "process.on('exit', () => a.set(4, 1)); a.set(4, 0); process.exit(0)",
    0,
    true,
  ],
  ['an exit handler that throws', "process.on('exit', () => { throw new Error('x') })", 1, true],
  [
    'an earlier exit handler that throws',
    "process.prependListener('exit', () => { throw new Error('x') })",
    1,
    true,
  ],
  ['no exit handlers left', "process.removeAllListeners('exit'); process.exit(0)", 0, true],
  ['SIGKILL', "process.kill(process.pid, 'SIGKILL'); for (;;);", null, false],
]
for (const [name, code, exit, kept] of ends) {
  test(`a process that ends: ${name}`, async (t) => {
    const path = join(folder(t), 'a.npy')
    createSync(path, { shape: [10], dtype: 'uint8' }).close()
    const script = `
      import { openSync } from 'mmap-ndarray'
      const a = openSync(process.argv[1], { mode: 'r+', mmap: false })
      a.set(3, 1)
      a.flushSync()
      a.set(4, 1)
      ${code}`
    const ended = await runScript(script, path)
    if (exit !== null) t.is(ended.code, exit, ended.stderr)
    t.deepEqual([...readFileSync(path).subarray(-7, -5)], [1, kept ? 1 : 0])
  })
}

test('a worker that is terminated, or forgets to close', async (t) => {
  for (const end of ['kill', 'leave'] as const) {
    const path = join(folder(t), 'a.npy')
    createSync(path, { shape: [10], dtype: 'uint8' }).close()
    const there = worker(t)
    await there.call("kept.a = m.openSync(x, { mode: 'r+', mmap: false }); kept.a.set(4, 1)", path)
    await there[end]()
    t.is(readFileSync(path).at(-6), 1, end)
  }
})

test('shrunk and grown again over zeros: what comes then is what is there', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [1000], dtype: 'float64' }).close()
  const a = openSync<'float64'>(path, { mode: 'r+', mmap: false })
  t.is(a.sumSync(), 0)
  a.resizeSync(0)
  a.appendSync(new Float64Array(1000).fill(3))
  t.is(a.sumSync(), 3000)
  a.set(0, 4)
  t.is(a.sumSync(), 3001)
  const half = a.slice('500:')
  half.assign(half.copy())
  t.is(a.sumSync(), 3001)
  a.close()
  // The same for somebody who follows, and stores in private.
  const c = openSync<'float64'>(path, { mode: 'c', mmap: false })
  const writer = openSync<'float64'>(path, { mode: 'r+' })
  for (const value of [0, 5, 0, 7]) {
    writer.resizeSync(0)
    t.true(c.refresh())
    writer.appendSync(new Float64Array(1000).fill(value))
    t.true(c.refresh())
    t.is(c.sumSync(), 1000 * value)
  }
  c.set(0, 8)
  t.is(c.sumSync(), 7001)
  c.commitSync({ force: true })
  writer.refresh()
  t.is(writer.sumSync(), 7001)
  for (const array of [c, writer]) array.close()
})

const mounts = process.platform === 'linux' && mayMount('a full disk under a file that is not mapped')

;(mounts ? test : test.skip)(
  'a full disk is an error of flush, which can be tried again, and of close',
  async (t) => {
    const dir = folder(t)
    const script = `
    import { rmSync, truncateSync, writeFileSync } from 'node:fs'
    import { openSync } from 'mmap-ndarray'
    const [, dir] = process.argv
    const codes = []
    const note = (work) => { try { work(); codes.push('done') } catch (error) { codes.push(error.code) } }
    writeFileSync(dir + '/a', '')
    truncateSync(dir + '/a', 8 << 20)
    const open = () => openSync(dir + '/a', { mode: 'r+', format: 'raw', dtype: 'uint8', mmap: false })
    const fill = (size) => writeFileSync(dir + '/filler', new Uint8Array(size))
    fill(600_000)
    const a = open()
    a.slice('0:300000').fill(1)
    note(() => a.flushSync())
    note(() => a.flushSync())
    rmSync(dir + '/filler')
    note(() => a.flushSync())
    fill(400_000)
    a.slice('4000000:4900000').fill(2)
    note(() => a.close())
    const b = open()
    console.log(JSON.stringify([codes, a.closed, b.sumSync() >= 300000, b.get(299999)]))`
    const program = [process.execPath, '--input-type=module', '--eval', script, '--', dir]
    const { stdout, stderr } = await run(...mounting(dir, 'size=800k', program), { cwd: root })
    t.deepEqual(JSON.parse(stdout || 'null'), [['ENOSPC', 'ENOSPC', 'done', 'ENOSPC'], true, true, 1], stderr)
  },
)

test('a file made shorter: zeros, and lost', async (t) => {
  const path = join(folder(t), 'a.raw')
  writeFileSync(path, new Uint8Array(3 * MIB).fill(1))
  const a = openSync(path, { mode: 'r+', format: 'raw', dtype: 'uint8', mmap: false })
  t.is(a.get(0), 1)
  truncateSync(path, 2 * MIB)
  t.deepEqual([a.get(2 * MIB), a.get(MIB), a.lost], [0, 1, true])
  const error = await refusal((sync) =>
    (a as never as Record<string, () => unknown>)[`flush${sync}`]?.call(a),
  )
  t.is(error.code, 'ERR_MAPPING_LOST')
  await t.throwsAsync(a.sum(), { code: 'ERR_MAPPING_LOST' })
  a.close()
  t.is(readFileSync(path).length, 2 * MIB)
})

test('work is stopped by a signal, and by close', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [64 * MIB], dtype: 'uint8' }, { reserve: false }).close()
  const a = openSync(path, { mmap: false })
  await t.throwsAsync(a.sum({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  const abort = new AbortController()
  const aborted = a.sum({ signal: abort.signal })
  abort.abort()
  await t.throwsAsync(aborted, { name: 'AbortError' })
  const summing = a.sum()
  a.close()
  await t.throwsAsync(summing, { code: 'ERR_CLOSED' })
})

test('the environment says it for a whole process', async (t) => {
  const script = `
    import { createSync } from 'mmap-ndarray'
    const a = createSync(process.argv[1], { shape: [3], dtype: 'int8', fill: 2 })
    a.set(1, 7)
    console.log(a.backing, a.sumSync())
    a.close()`
  const path = join(folder(t), 'a.npy')
  process.env.MMAP_NDARRAY_MMAP = 'off'
  const ended = runScript(script, path)
  delete process.env.MMAP_NDARRAY_MMAP
  t.deepEqual([(await ended).stdout, (await ended).stderr], ['window 11\n', ''])
  t.deepEqual([...readFileSync(path).subarray(-3)], [2, 7, 2])
})

test('wrong options, and no folder for the temporary file', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, [1, 2]).close()
  t.throws(() => openSync(path, { mmap: 1 as never }), { code: 'ERR_INVALID_ARG_TYPE', message: /mmap/ })
  const script = `
    import { openSync } from 'mmap-ndarray'
    try { openSync(process.argv[1], { mmap: false }) } catch ({ code, message }) { console.log(code, message) }`
  const before = process.env.TMPDIR
  const nowhere = join(folder(t), 'nowhere')
  process.env.TMPDIR = nowhere
  const ended = runScript(script, path)
  if (before === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = before
  if (process.platform !== 'win32') t.regex((await ended).stdout, /^ENOENT .*nowhere.*TMPDIR/)
})

const linux = process.platform === 'linux' ? test : test.skip

linux('a sum of 2 GiB takes no private memory, and the space goes with the array', async (t) => {
  const path = join(folder(t), 'a.npy')
  const made = createSync(path, { shape: [2 ** 28], dtype: 'float64' }, { reserve: false })
  made.set(12345, 1)
  made.set(2 ** 28 - 1, 2)
  made.close()
  const script = `
    import { readFileSync } from 'node:fs'
    import { openSync } from 'mmap-ndarray'
    const anon = () => Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
    const a = openSync(process.argv[1], { mmap: false })
    const before = anon()
    const sum = await a.sum()
    const grown = anon() - before
    a.close()
    console.log(JSON.stringify({ sum, grown }))`
  const { stdout, stderr } = await runScript(script, path)
  const { sum, grown } = JSON.parse(stdout || '{}')
  t.is(sum, 3, stderr)
  t.true(grown < 64, `${grown} MiB`)
  t.is(mappings(path), 0)
})
