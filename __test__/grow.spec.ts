/**
 * Arrays that grow: append, resize, refresh.
 *
 * The core's tests stop and refuse at every system call (crates/core/tests/suite/grow_faults.rs); here are forms of rows,
 * views, buffers, promises, other processes, full disks, kills at any moment, numpy and the seed. Past 400 lines: a
 * third of it is tables, and a kill or a full disk takes a program of its own to show.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, renameSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import {
  attachSync,
  create,
  createSync,
  type MmapArray,
  NdView,
  type OpenOptions,
  open,
  openSync,
  type RowSource,
} from '../src/index.js'
import {
  child,
  collect,
  descriptors,
  elementsOf,
  fixture,
  expected as fixtures,
  folder,
  isPending,
  mappings,
  mayMount,
  mounting,
  root,
  run,
  tool,
  worker,
} from './helpers.js'

const SEED = 20_260_730
const linux = process.platform === 'linux'
/** A file that is mapped is made no shorter there: see windows.spec.ts. */
const windows = process.platform === 'win32'

const ramp = (length: number, first = 0) => Float64Array.from({ length }, (_, i) => first + i)
const path = (t: ExecutionContext, name = 'a.npy') => join(folder(t), name)
/** Data that is a typed array. */
const floats = (a: { data: unknown }) => a.data as Float64Array
const bytes = (file: string) => readFileSync(file).toString('hex')

/** The code of what `work` throws or rejects with. */
async function code(work: () => unknown): Promise<string> {
  try {
    await work()
    return 'nothing'
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Forms of rows for an array of shape [n, 2], and what they add. */
const FORMS: [name: string, rows: RowSource<'float64'>, added: number[][]][] = [
  ['a typed array: one row', Float64Array.of(1, 2), [[1, 2]]],
  ['another typed array: one row', Int8Array.of(1, -2), [[1, -2]]],
  ['a nested row', [1, 2], [[1, 2]]],
  [
    'nested rows',
    [
      [1, 2],
      [3, 4],
    ],
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ['no rows', [], []],
  [
    'an object like an ndarray',
    { data: ramp(4), shape: [2, 2], stride: [1, 2] },
    [
      [0, 2],
      [1, 3],
    ],
  ],
  [
    'a view that is strided',
    new NdView(ramp(12), [3, 4]).slice('::-1', '::2'),
    [
      [8, 10],
      [4, 6],
      [0, 2],
    ],
  ],
  ['a view of one axis', new NdView(ramp(6), [3, 2]).pick(2), [[4, 5]]],
]

for (const [name, rows, added] of FORMS) {
  test(`append takes ${name}`, async (t) => {
    for (const order of ['C', 'F'] as const) {
      for (const sync of [true, false]) {
        const file = path(t)
        const start = { data: ramp(6, 10), shape: [3, 2] }
        const f = createSync(file, start, { order })
        // In Fortran order the last axis grows, so that rows are columns.
        const own = order === 'C' ? f : openTransposed(t, file)
        if (sync) own.appendSync(order === 'C' ? rows : transposed(rows))
        else t.is(await own.append(order === 'C' ? rows : transposed(rows)), undefined)
        const all = [[10, 11], [12, 13], [14, 15], ...added]
        t.deepEqual(order === 'C' ? own.toArray() : own.T.toArray(), all)
        t.deepEqual(own.copy().toArray(), own.toArray())
        const again = openSync(own.path, { strict: true })
        t.deepEqual(again.toArray(), own.toArray())
        for (const array of [f, own, again]) array.close()
      }
    }
  })
}

/** A new file in Fortran order with the transpose of what is at `file`. */
function openTransposed(t: ExecutionContext, file: string): MmapArray<'float64'> {
  const a = openSync<'float64'>(file)
  const made = createSync(path(t, 'f.npy'), a.T as NdView<'float64'>, { order: 'F' })
  a.close()
  return made as MmapArray<'float64'>
}

/** Rows of [n, 2] as columns of [2, n]. */
function transposed(rows: RowSource<'float64'>): RowSource<'float64'> {
  if (ArrayBuffer.isView(rows)) return rows
  if (rows instanceof NdView) return rows.ndim === 2 ? rows.T : rows
  if (Array.isArray(rows) && Array.isArray(rows[0])) {
    return (rows[0] as number[]).map((_, n) => rows.map((row) => (row as number[])[n] as number))
  }
  if (typeof rows === 'object' && 'data' in rows && 'shape' in rows) {
    return { ...rows, shape: [2, 2], stride: [2, 1] } as RowSource<'float64'>
  }
  return rows
}

test('one axis takes elements, every dtype takes its own, and complex numbers grow whole', (t) => {
  const dir = folder(t)
  const dtypes = ['bool', 'int8', 'uint16', 'int32', 'float16', 'float32', 'float64', 'int64', 'uint64']
  for (const dtype of dtypes) {
    const a = createSync(join(dir, `${dtype}.npy`), { shape: [1], dtype: dtype as 'float64' })
    const one = (dtype.endsWith('int64') ? 1n : 1) as number
    a.appendSync(one)
    a.appendSync([one, one])
    a.appendSync(a)
    const zero = dtype.endsWith('int64') ? 0n : 0
    t.deepEqual(a.toArray() as unknown, [zero, one, one, one, zero, one, one, one], dtype)
    a.close()
  }
  const c = createSync(join(dir, 'c.npy'), { shape: [1, 2, 2], dtype: 'complex64' })
  c.appendSync([
    [1, 2],
    [3, 4],
  ])
  t.deepEqual([c.shape, c.descr, c.pick(1).toArray()], [
    [2, 2, 2],
    '<c8',
    [
      [1, 2],
      [3, 4],
    ],
  ] as never)
  c.close()
  const big = createSync(join(dir, 'bf.raw'), { shape: [0, 2], dtype: 'bfloat16' })
  big.appendSync(Float32Array.of(1.5, -2))
  t.deepEqual(big.toArray(), [[1.5, -2]])
  big.close()
})

test('every writable fixture of numpy grows, and keeps what it had', async (t) => {
  let grown = 0
  for (const { file, shape } of fixtures('npy')) {
    const copy = path(t)
    try {
      openSync(fixture('npy', file)).close()
      copyFileSync(fixture('npy', file), copy)
    } catch {
      continue
    }
    const a = openSync(copy, { mode: 'r+' })
    const before = JSON.stringify(a.toArray(), (_, x) => (typeof x === 'bigint' ? `${x}` : x))
    if (a.ndim === 0 || shape.length === 0) {
      t.throws(() => a.resizeSync(5), { code: 'ERR_INVALID_ARG_VALUE' })
    } else {
      const order = a.stride[0] === 1 && a.ndim > 1 && a.shape[0] !== 1 ? a.ndim - 1 : 0
      const n = a.shape[order] as number
      // A header made by hand may have no room.
      if ((await code(() => a.resizeSync(n + 3))) === 'nothing') grown++
      a.resizeSync(n)
    }
    t.is(
      JSON.stringify(a.toArray(), (_, x) => (typeof x === 'bigint' ? `${x}` : x)),
      before,
      file,
    )
    a.close()
  }
  t.true(grown > 10, `${grown}`)
})

test('views and typed arrays stay as they were, the array itself is longer at once', async (t) => {
  for (const capacity of [0, 2 ** 20]) {
    const file = path(t)
    const a = createSync(file, { data: ramp(6), shape: [3, 2] }, { capacity })
    const [data, shape] = [floats(a), a.shape]
    const [row, whole, typed] = [a.pick(2), a.view(), a.toTypedArray()]
    a.appendSync([6, 7])
    t.deepEqual([shape, whole.shape, a.shape, a.size, a.nbytes], [[3, 2], [3, 2], [4, 2], 8, 64])
    t.deepEqual([data.length, typed.length, a.data.length], [6, 6, 8])
    // With addresses kept ahead it is one buffer.
    if (linux) t.is(a.data.buffer === data.buffer, capacity > 0)
    const { buffer } = floats(a)
    for (let n = 0; n < 100; n++) await a.append(Float64Array.of(n, n))
    if (linux) t.is(a.data.buffer, buffer)
    a.set(0, 0, -1)
    data[5] = -2
    t.deepEqual([data[0], typed[0], whole.get(0, 0), row.get(1), a.get(2, 1)], [-1, -1, -1, -2, -2] as never)
    t.is(a.get(103, 1), 99)
    t.throws(() => whole.get(3, 0), { code: 'ERR_OUT_OF_RANGE' })
    t.is(a.sumSync(), -1 + 1 + 2 + 3 + 4 - 2 + 6 + 7 + 2 * 4950)
    a.flushSync()
    a.close()
    t.deepEqual([data.length, typed.length, buffer.byteLength], [0, 0, 0])
    t.throws(() => row.get(0), { code: 'ERR_CLOSED' })
    if (linux) t.deepEqual([mappings(file), descriptors(file)], [0, 0])
  }
})

test('mappings that were outgrown go when nobody holds their buffers', async (t) => {
  const file = path(t)
  const a = createSync(file, { shape: [0, 1024], dtype: 'float64' })
  const block = { data: new Float64Array(2 ** 21), shape: [2 ** 11, 1024] }
  for (let n = 0; n < 16; n++) a.appendSync(block)
  await collect()
  a.appendSync(block)
  a.resizeSync(2 ** 16)
  await collect()
  if (linux) t.true(mappings(file) <= 2, `${mappings(file)}`)
  t.is(a.nbytes, 2 ** 29)
  a.close()
  if (linux) t.is(mappings(file), 0)
})

test('resize: zeros, then shorter; views of what is gone say so, and nothing is lost', async (t) => {
  for (const format of ['npy', 'mmap', 'raw'] as const) {
    const a = createSync(path(t), { data: ramp(9000), shape: [3000, 3] }, { format })
    await a.resize(4000)
    t.deepEqual([a.shape, a.get(2999, 2), a.get(3000, 0), a.get(3999, 2)], [[4000, 3], 8999, 0, 0])
    const [old, tail, data] = [a.viewMut(), a.slice('3000:'), elementsOf(a as MmapArray<'float64'>)]
    for (let at = 0; at < data.length; at++) data.set(at, 7)
    const size = (rows: number) => 24 * rows + { npy: 128, mmap: 64, raw: 0 }[format]
    if (windows && format === 'raw') {
      t.is(await code(() => a.resizeSync(10)), 'EBUSY')
      t.deepEqual([a.shape, old.get(3999, 2), statSync(a.path).size], [[4000, 3], 7, size(4000)])
      a.close()
      continue
    }
    a.resizeSync(10)
    t.deepEqual([a.shape, a.data.length], [[10, 3], 30])
    if (!windows) t.is(statSync(a.path).size, size(10))
    for (const work of [
      () => tail.get(0, 0),
      () => old.set(3000, 0, 1),
      () => old.toTypedArray(),
      () => tail.fill(1),
      () => tail.sumSync(),
      () => old.copy(),
    ]) {
      t.throws(work, { code: 'ERR_OUT_OF_RANGE' })
    }
    t.is(old.get(9, 2), 7)
    t.regex((tail as unknown as { [key: symbol]: () => string })[INSPECT]?.() as string, /MappedView/)
    if (linux) t.deepEqual([data.get(8000), data.get(11_999)], [0, 0])
    data.set(8000, 1)
    t.false(a.lost)
    a.resizeSync(3000)
    t.deepEqual([a.get(9, 2), a.get(10, 0), a.get(2666, 2), tail.shape], [7, 0, 0, [1000, 3]])
    await a.resize(0)
    t.deepEqual([a.isEmpty, a.data.length, a.toArray() as unknown], [true, 0, []])
    a.appendSync([1, 2, 3])
    t.deepEqual(a.toArray(), [[1, 2, 3]])
    t.false(a.lost)
    a.close()
    t.is(statSync(a.path).size, size(1))
  }
})
const INSPECT = Symbol.for('nodejs.util.inspect.custom')

const REFUSED: [name: string, code: string, work: (a: MmapArray<'float64'>) => unknown][] = [
  ['a narrower row', 'ERR_INVALID_ARG_VALUE', (a) => a.appendSync([1])],
  ['a wider row', 'ERR_INVALID_ARG_VALUE', (a) => a.append(new Float64Array(4))],
  ['rows of another width', 'ERR_INVALID_ARG_VALUE', (a) => a.append([[1, 2]])],
  ['too many axes', 'ERR_INVALID_ARG_VALUE', (a) => a.appendSync([[[1, 2, 3]]])],
  ['one number', 'ERR_INVALID_ARG_VALUE', (a) => a.appendSync(1)],
  ['unequal rows', 'ERR_INVALID_ARG_VALUE', (a) => a.append([[1, 2, 3], [1]])],
  ['bigints', 'ERR_INVALID_ARG_TYPE', (a) => a.appendSync([1n, 2n, 3n] as never)],
  ['text', 'ERR_INVALID_ARG_TYPE', (a) => a.append('123' as never)],
  ['nothing', 'ERR_INVALID_ARG_TYPE', (a) => a.append(undefined as never)],
  ['a misspelt option', 'ERR_INVALID_ARG_VALUE', (a) => a.append([1, 2, 3], { durabel: true } as never)],
  ['an option of another type', 'ERR_INVALID_ARG_TYPE', (a) => a.append([1, 2, 3], { durable: 1 as never })],
  ['rows less than none', 'ERR_OUT_OF_RANGE', (a) => a.resize(-1)],
  ['half a row', 'ERR_OUT_OF_RANGE', (a) => a.resizeSync(1.5)],
  ['rows as text', 'ERR_INVALID_ARG_TYPE', (a) => a.resize('5' as never)],
  ['more rows than numbers are exact for', 'ERR_OUT_OF_RANGE', (a) => a.resizeSync(2 ** 53)],
  ['more rows than memory has addresses', 'ERR_TOO_LARGE', (a) => a.resizeSync(2 ** 52)],
]

for (const [name, expected, work] of REFUSED) {
  test(`refused, and the file as it was: ${name}`, async (t) => {
    const a = createSync(path(t), { data: ramp(6), shape: [2, 3] })
    const before = bytes(a.path)
    t.is(await code(() => work(a)), expected)
    t.deepEqual([a.shape, bytes(a.path)], [[2, 3], before])
    a.appendSync([6, 7, 8])
    t.deepEqual(a.toArray()[2 as never], [6, 7, 8] as never)
    a.close()
  })
}

const OPENED: [name: string, options: OpenOptions, code: string][] = [
  ["mode 'r'", {}, 'ERR_READ_ONLY'],
  ["mode 'c'", { mode: 'c' }, 'ERR_INVALID_ARG_VALUE'],
  ['capacity of less than nothing', { capacity: -1 }, 'ERR_OUT_OF_RANGE'],
  ['capacity of another type', { capacity: '1' as never }, 'ERR_INVALID_ARG_TYPE'],
]

for (const [name, options, expected] of OPENED) {
  test(`refused: ${name}`, async (t) => {
    const file = path(t)
    createSync(file, [1, 2]).close()
    const before = bytes(file)
    for (const work of [
      (a: MmapArray) => a.append([1]),
      (a: MmapArray) => a.appendSync([1]),
      (a: MmapArray) => a.resize(1),
    ]) {
      t.is(await code(() => work(openSync(file, options))), expected)
    }
    t.is(bytes(file), before)
  })
}

test('refused: parts of files, strided data, arrays without an axis, and after close', async (t) => {
  const dir = folder(t)
  const file = join(dir, 'a')
  const parts: [string, OpenOptions][] = [
    [fixture('safetensors', 'multi.safetensors'), {}],
    [fixture('npz', 'stored.npz'), {}],
  ]
  for (const [from, options] of parts) {
    try {
      copyFileSync(from, file)
    } catch {
      continue
    }
    const { list } = await import('../src/index.js')
    const name = (await list(file)).map((entry) => entry.name)[0] as string
    const before = bytes(file)
    const a = openSync(file, { ...options, mode: 'r+', name })
    t.is(await code(() => a.resize(1)), 'ERR_INVALID_ARG_VALUE')
    t.false(a.refresh())
    t.is(bytes(file), before)
    a.close()
  }
  createSync(file, ramp(12), { format: 'raw', overwrite: true }).close()
  const strided = openSync(file, { format: 'raw', dtype: 'float64', shape: [3], strides: [2], mode: 'r+' })
  t.is(await code(() => strided.append(1)), 'ERR_INVALID_ARG_VALUE')
  strided.close()
  const part = openSync(file, { format: 'raw', dtype: 'float64', shape: [3], mode: 'r+' })
  t.is(await code(() => part.append(1)), 'ERR_STALE')
  t.false(part.refresh())
  part.close()
  const scalar = createSync(path(t, 's.npy'), { shape: [], dtype: 'int32' })
  t.is(await code(() => scalar.resizeSync(1)), 'ERR_INVALID_ARG_VALUE')
  scalar.close()
  for (const work of [() => scalar.append(1), () => scalar.resizeSync(1), () => scalar.refresh()]) {
    t.is(await code(work), 'ERR_CLOSED')
  }
})

test('somebody else: another file at the path, another length, a file that was cut', async (t) => {
  const file = path(t)
  const a = createSync(file, ramp(3))
  const b = openSync(file, { mode: 'r+', dtype: 'float64' })
  a.appendSync(3)
  const error = t.throws(() => b.appendSync(4), { code: 'ERR_STALE', message: /refresh\(\)/ })
  t.is((error as { path?: string }).path, file)
  t.true(b.refresh())
  b.appendSync(4)
  t.is(await code(() => a.append(5)), 'ERR_STALE')
  t.true(a.refresh())
  t.deepEqual(a.toArray(), [0, 1, 2, 3, 4])
  const cut = () => truncateSync(file, statSync(file).size - 1)
  if (windows) t.throws(cut)
  else {
    cut()
    t.is(await code(() => a.append(5)), 'ERR_MAPPING_LOST')
  }
  t.notThrows(() => a.close(), 'it was told before')
  b.close()
  const c = createSync(file, ramp(3), { overwrite: true })
  renameSync(file, `${file}.moved`)
  t.is(await code(() => c.append(3)), 'ERR_STALE')
  createSync(file, ramp(3)).close()
  t.is(await code(() => c.resize(1)), 'ERR_STALE')
  t.is(openSync(file).length, 3)
  c.close()
})

test('promises: off the main thread, one after the other, and refused to what is synchronous', async (t) => {
  const a = createSync(path(t), { shape: [0, 1000], dtype: 'float32' })
  const rows = { data: new Float32Array(3_000_000).fill(1), shape: [3000, 1000] }
  const first = a.append(rows)
  t.is(await code(() => a.appendSync(new Float32Array(1000))), 'ERR_INVALID_STATE')
  t.is(await code(() => a.resizeSync(1)), 'ERR_INVALID_STATE')
  t.is(await code(() => a.refresh()), 'ERR_INVALID_STATE')
  t.true(await isPending(first))
  t.is(a.shape[0], 0)
  const more = [1, 2, 3].map((value) =>
    a.append(new Float32Array(1000).fill(value), { durable: value === 2 }),
  )
  await Promise.all([first, ...more])
  t.deepEqual([a.shape[0], a.get(2999, 999), a.get(3000, 0), a.get(3002, 0)], [3003, 1, 1, 3])
  // A source that goes away meanwhile: the file is as it was.
  const size = statSync(a.path).size
  const leaving = a.append(rows)
  structuredClone(rows.data.buffer, { transfer: [rows.data.buffer] })
  t.is(await code(() => leaving), 'ERR_INVALID_STATE')
  t.deepEqual([a.shape[0], statSync(a.path).size], [3003, size])
  const late = a.append({ data: new Float32Array(3_000_000), shape: [3000, 1000] })
  const path_ = a.path
  a.close()
  t.is(await code(() => late), 'ERR_CLOSED')
  await collect()
  t.deepEqual([openSync(path_, { strict: true }).shape[0], statSync(path_).size], [3003, size])
})

test('an array over a SharedArrayBuffer grows as well', async (t) => {
  const file = path(t)
  createSync(file, ramp(3)).close()
  let a: MmapArray
  try {
    a = openSync(file, { mode: 'r+', shared: true, capacity: 2 ** 20 })
  } catch (error) {
    t.is((error as { code: string }).code, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM')
    return
  }
  const data = floats(a)
  a.appendSync(3)
  t.true(a.data.buffer instanceof SharedArrayBuffer)
  if (linux) t.is(a.data.buffer, data.buffer)
  t.deepEqual([data.length, a.toArray() as unknown], [3, [0, 1, 2, 3]])
  a.close()
})

test('a worker that attached sees the growth with refresh()', async (t) => {
  const a = createSync(path(t), ramp(3))
  const there = worker(t)
  t.is(await there.call('kept.a = m.attachSync(x); return kept.a.length', a.toHandle()), 3)
  await a.append([3, 4])
  t.is(await there.call('return kept.a.length'), 3)
  t.deepEqual(await there.call('return [kept.a.refresh(), kept.a.refresh(), kept.a.length, kept.a.get(4)]'), [
    true,
    false,
    5,
    4,
  ])
  await there.call('kept.a.appendSync(5)')
  t.is(await code(() => a.append(6)), 'ERR_STALE')
  t.true(a.refresh())
  t.is(a.get(5), 5)
  const again = attachSync(a.toHandle())
  t.is(again.length, 6)
  again.close()
  a.close()
  t.is(await there.call('return kept.a.get(5)'), 5)
  await there.call('kept.a.close()')
  if (linux) t.is(mappings(a.path), 0)
})

for (const format of ['npy', 'mmap', 'raw'] as const) {
  test(`${format}: a reader in another process follows a writer`, async (t) => {
    const file = path(t)
    createSync(file, { shape: [0, 3], dtype: 'float64' }, { format }).close()
    const raw = format === 'raw' && ({ dtype: 'float64', shape: [0, 3] } as const)
    const a = openSync(file, { ...(raw || {}), format, mode: 'r' })
    const writer = child(t)
    await writer.call("kept.a = m.openSync(x[0], { mode: 'r+', format: x[1], ...x[2] }); kept.n = 0", [
      file,
      format,
      raw || {},
    ])
    const more = `kept.done = (async () => {
      for (let i = 0; i < 2000; i++, kept.n++) kept.a.appendSync(Float64Array.of(kept.n, kept.n, 0 - kept.n)) })()`
    let seen = 0
    for (let turn = 0; turn < 10; turn++) {
      const work = writer.call(more)
      // Whatever is there while it is written, the rows that are seen are whole.
      for (let look = 0; look < 50; look++) {
        a.refresh()
        t.true((a.shape[0] as number) >= seen)
        seen = a.shape[0] as number
        if (seen > 0 && format !== 'raw')
          t.deepEqual(a.pick(seen - 1).toArray(), [seen - 1, seen - 1, 1 - seen])
        await null
      }
      await work
    }
    a.refresh()
    t.deepEqual([a.shape[0], a.lost], [20_000, false])
    t.deepEqual(a.pick(19_999).toArray(), [19_999, 19_999, -19_999])
    const fewer = await code(() => writer.call('kept.a.resizeSync(5)'))
    const isCut = !(windows && format === 'raw')
    t.is(fewer, isCut ? 'nothing' : 'EBUSY')
    t.is(a.refresh(), isCut)
    t.deepEqual([a.shape, a.get(4, 2)], [[isCut ? 5 : 20_000, 3], -4])
    a.close()
  })
}

test(`random lengths, rows and readers, against a model; seed ${SEED}`, async (t) => {
  const step = fc.oneof(
    fc.record({ append: fc.nat(40), sync: fc.boolean(), durable: fc.boolean() }),
    fc.record({ append: fc.nat(3000), sync: fc.boolean(), durable: fc.constant(false) }),
    fc.record({ resize: fc.nat(2000), sync: fc.boolean() }),
    fc.record({ store: fc.nat(), value: fc.integer({ min: -99, max: 99 }) }),
    fc.record({ refresh: fc.boolean() }),
  )
  const setting = fc.record({
    format: fc.constantFrom('npy' as const, 'mmap' as const, 'raw' as const),
    fortran: fc.boolean(),
    width: fc.integer({ min: 2, max: 5 }),
    rows: fc.integer({ min: 2, max: 9 }),
    capacity: fc.constantFrom(0, 5000, 2 ** 20),
    steps: fc.array(step, { maxLength: 20 }),
  })
  await fc.assert(
    fc.asyncProperty(setting, async ({ format, fortran, width, rows, capacity, steps }) => {
      const order = fortran && format !== 'mmap' ? 'F' : 'C'
      const file = path(t)
      let n = 0
      const row = () => Array.from({ length: width }, () => n++ % 1000)
      let model = Array.from({ length: rows }, row)
      // In Fortran order a row of the model is a column of the file.
      const shape = (count: number) => (order === 'C' ? [count, width] : [width, count])
      const source = (list: number[][]) => ({
        data: Int32Array.from(list.flat()),
        shape: shape(list.length),
        stride: order === 'C' ? [width, 1] : [1, width],
      })
      const a = createSync(file, source(model), { format, order, capacity })
      const own = () => (order === 'C' ? a : a.T).toArray() as number[][]
      const raw: OpenOptions = format === 'raw' ? { dtype: 'int32', shape: shape(rows), order } : {}
      const b = openSync(file, { ...raw, format, capacity })
      const held = floats(a)
      for (const one of steps) {
        if ('append' in one) {
          const added = Array.from({ length: one.append }, row)
          if (one.sync) a.appendSync(source(added), { durable: one.durable })
          else await a.append(source(added), { durable: one.durable })
          model = [...model, ...added]
        } else if ('resize' in one) {
          const rows = Math.max(one.resize, windows && format === 'raw' ? model.length : 0)
          if (one.sync) a.resizeSync(rows)
          else await a.resize(rows)
          const zeros = Array.from({ length: Math.max(0, rows - model.length) }, () => Array(width).fill(0))
          model = [...model.slice(0, rows), ...zeros]
        } else if ('store' in one) {
          // Through a typed array that was there from the start, where it still is of the file.
          const at = one.store % held.length
          const there = model[Math.floor(at / width)]
          if (there !== undefined) {
            held[at] = one.value
            there[at % width] = one.value
          }
        } else {
          b.refresh()
          const theirs = (order === 'C' ? b : b.T).toArray()
          t.deepEqual(theirs, (model.length === 0 && order === 'F' ? theirs : model) as never)
        }
        t.deepEqual(a.shape, shape(model.length))
        t.is(a.data.length, model.length * width)
      }
      if (model.length > 0) t.deepEqual(own(), model)
      t.false(a.lost)
      b.close()
      a.close()
      const again = openSync(file, {
        ...raw,
        ...(format === 'raw' && { shape: shape(model.length) }),
        format,
        strict: true,
      })
      if (model.length > 0) t.deepEqual((order === 'C' ? again : again.T).toArray() as never, model)
      again.close()
    }),
    { numRuns: 60, seed: SEED },
  )
})

const python = tool('python')
const seed = tool('seed')

test('numpy reads what append left, and finds the file that it would have written', async (t) => {
  if (python === undefined) return t.log('skipped: no numpy')
  const dir = folder(t)
  for (const order of ['C', 'F'] as const) {
    const file = join(dir, `${order}.npy`)
    const a = createSync(file, { data: ramp(6), shape: [2, 3] }, { order })
    a.appendSync(order === 'C' ? ramp(6, 6) && { data: ramp(6, 6), shape: [2, 3] } : [7, 8])
    await a.resize(order === 'C' ? 12 : 1000)
    await a.resize(order === 'C' ? 4 : 4)
    a.close()
    const program = `
import numpy as np, sys
a = np.load(sys.argv[1])
print(a.shape, a.flags.f_contiguous, a.tolist())
np.save(sys.argv[2], a)`
    const { stdout, stderr } = await run(python, ['-c', program, file, join(dir, 'again.npy')])
    const expected =
      order === 'C'
        ? '(4, 3) False [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0], [9.0, 10.0, 11.0]]'
        : '(2, 4) True [[0.0, 1.0, 2.0, 7.0], [3.0, 4.0, 5.0, 8.0]]'
    t.is(stdout.trim(), expected, stderr)
    t.is(bytes(file), bytes(join(dir, 'again.npy')))
  }
})

test('the seed reads what append left', async (t) => {
  if (seed === undefined) return t.log('skipped: no seed')
  const file = path(t, 'a.mmap')
  const a = createSync(file, { data: ramp(4), shape: [2, 2] })
  await a.append([
    [4, 5],
    [6, 7],
  ])
  a.close()
  const { stdout, stderr } = await run(seed, ['read', file, 'f64'])
  const found = JSON.parse(stdout || '{}')
  t.deepEqual(
    [found.shape, found.values?.map(Number)],
    [
      [4, 2],
      [0, 1, 2, 3, 4, 5, 6, 7],
    ],
    stderr,
  )
})

/** Appends rows 1, 2, 3, ... of equal numbers, and prints each before and after. */
const APPEND = `
  import { writeSync } from 'node:fs'
  import { openSync } from 'mmap-ndarray'
  const [, path, format] = process.argv
  const a = openSync(path, { mode: 'r+', format, ...(format === 'raw' && { dtype: 'float64', shape: [0, 3000] }) })
  for (let i = 1; ; i++) {
    writeSync(1, 'begin ' + i + '\\n')
    if (i % 2) a.appendSync(new Float64Array(3000).fill(i))
    else await a.append(new Float64Array(3000).fill(i))
    writeSync(1, 'done ' + i + '\\n')
  }`

for (const [index, format] of (['npy', 'mmap', 'raw'] as const).entries()) {
  test(`${format}: a process killed while it appends leaves whole rows; seed ${SEED + index}`, async (t) => {
    let state = SEED + index
    const next = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
      return (state >>> 0) / 2 ** 32
    }
    for (let kill = 0; kill < 6; kill++) {
      const file = path(t)
      createSync(file, { shape: [0, 3000], dtype: 'float64' }, { format }).close()
      const victim = spawn(process.execPath, ['--input-type=module', '--eval', APPEND, '--', file, format], {
        cwd: root,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(victim, 'close')
      const until = 1 + Math.floor(next() * 60)
      let [printed, last] = [0, '']
      for await (const line of createInterface(victim.stdout)) {
        last = line
        if (++printed === until) victim.kill('SIGKILL')
      }
      t.is((await ended)[1], 'SIGKILL')
      const [word, count] = last.split(' ')
      const begun = Number(count)
      const rows = statSync(file).size / 24_000
      const raw = { dtype: 'float64', shape: [rows, 3000] } as const
      const a = openSync(file, { mode: 'r+', format, ...(format === 'raw' && raw) })
      const n = a.shape[0] as number
      t.true(n === begun || n === begun - 1 || (word === 'done' && n === begun + 1), `${n} after ${last}`)
      for (let i = 0; i < n; i++) {
        const row = a.pick(i).toTypedArray()
        const whole = row.every((value) => value === i + 1)
        // A raw file is longer before its last row is there.
        t.true(whole || (format === 'raw' && i === n - 1), `row ${i} of ${n} after ${last}`)
      }
      a.appendSync(new Float64Array(3000).fill(-1))
      t.is(a.get(n, 2999), -1)
      a.close()
      if (format !== 'raw') openSync(file, { strict: true }).close()
      if (format === 'npy' && python !== undefined) {
        const { stdout } = await run(python, [
          '-c',
          'import numpy, sys; print(numpy.load(sys.argv[1]).shape[0])',
          file,
        ])
        t.is(Number(stdout), n + 1)
      }
      if (format === 'mmap' && seed !== undefined) {
        const { stdout } = await run(seed, ['read', file, 'f64'])
        t.is(JSON.parse(stdout).shape[0], n + 1)
      }
    }
  })
}

const mounted = mayMount('a full disk during append') ? test : test.skip

mounted('a full disk is ENOSPC, and file and array are as they were', async (t) => {
  const dir = folder(t)
  const script = `
    import { createSync, openSync } from 'mmap-ndarray'
    import { createHash } from 'node:crypto'
    import { readFileSync, statfsSync } from 'node:fs'
    const dir = process.argv[1]
    const digest = (path) => createHash('sha256').update(readFileSync(path)).digest('hex')
    for (const format of ['npy', 'mmap', 'raw']) {
      const path = dir + '/' + format
      const a = createSync(path, { shape: [100, 1000], dtype: 'float64', fill: 1 }, { format })
      const row = new Float64Array(1000)
      const many = { data: new Float64Array(1_000_000), shape: [1000, 1000] }
      const before = digest(path)
      const free = () => statfsSync(dir).bfree
      const left = free()
      for (const work of [
        () => a.appendSync(many), () => a.append(many), () => a.resizeSync(2000), () => a.resize(2000),
        () => a.append({ ...many, shape: [1_000_000 / 1000, 1000], dtype: 'float64' }),
      ]) {
        try { await work(); console.log('done') } catch (error) {
          console.log(error.code, a.shape[0], digest(path) === before, a.lost, free() === left)
        }
      }
      let n = 0
      try { for (;; n++) a.appendSync(row) } catch (error) {
        console.log(error.code, a.shape[0] === 100 + n, a.get(99 + n, 999), a.lost)
      }
      a.resizeSync(10)
      a.appendSync(row)
      console.log(a.shape[0], openSync(path, { format, ...(format === 'raw' && { dtype: 'float64', shape: [11, 1000] }), strict: true }).shape[0])
      a.resizeSync(0)
      a.close()
    }`
  const node = [process.execPath, '--input-type=module', '--eval', script, '--', dir]
  const { stdout, stderr } = await run(...mounting(dir, 'size=4m', node), { cwd: root })
  const expected = [...Array(5).fill('ENOSPC 100 true false true'), 'ENOSPC true 0 false', '11 11']
  t.deepEqual(stdout.trim().split('\n'), [...expected, ...expected, ...expected], stderr)
})

test('create and open take a capacity, and a handle does not carry it', async (t) => {
  const file = path(t)
  const a = await create(file, ramp(2), { capacity: 4096 })
  if (linux && a.backing === 'external') t.is(floats(a).buffer.byteLength, 16 + 4096)
  t.false('capacity' in a.toHandle())
  a.close()
  const b = await open(file, { mode: 'c', capacity: Number.MAX_SAFE_INTEGER })
  t.is(b.get(1), 1)
  b.close()
})
