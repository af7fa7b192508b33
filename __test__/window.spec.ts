/**
 * Arrays that no one buffer can hold: windows on a fixed grid, a bounded number of them, and the same array as ever.
 *
 * Past 400 lines: what an array does is tried once more where its data is in parts.
 */
import { constants } from 'node:buffer'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import {
  attachSync,
  create,
  createSync,
  type DType,
  type MmapArray,
  mapChunks,
  NdView,
  type OpenOptions,
  open,
  openSync,
} from '../src/index.js'
import { MOST_WINDOWS, WindowStore } from '../src/windows.js'
import { child, collect, folder, listOf, mappings, privateMemory, worker } from './helpers.js'

const GIB = 2 ** 30
const VARIABLE = 'MMAP_NDARRAY_WINDOW'
const SIZE = 4096

/** Does something with windows of a size, in bytes. */
function withSize<T>(size: number | string, run: () => T): T {
  const before = process.env[VARIABLE]
  process.env[VARIABLE] = String(size)
  try {
    return run()
  } finally {
    if (before === undefined) delete process.env[VARIABLE]
    else process.env[VARIABLE] = before
  }
}

const windowed = (path: string, options: OpenOptions = {}, size = SIZE) =>
  withSize(size, () => openSync(path, { mode: 'r+', ...options, backing: 'window' }))

/** An array of one row for each window of 4096 bytes, elements numbered from 0. */
function ramp(t: ExecutionContext, rows: number, name = 'a.npy'): { path: string; a: MmapArray<'float64'> } {
  const path = join(folder(t), name)
  const data = Float64Array.from({ length: rows * 512 }, (_, i) => i)
  createSync(path, { data, shape: [rows, 512] }).close()
  return { path, a: windowed(path) as MmapArray<'float64'> }
}

const linux = process.platform === 'linux' ? test : test.skip

for (const size of ['0', '1', '4095', '4097', '-4096', '4096.5', 'NaN', '1e4', ' 4096', '8589934592']) {
  test(`windows of ${size} bytes are refused, and say of what size they are to be`, (t) => {
    const path = join(folder(t), 'a.npy')
    createSync(path, [1, 2, 3]).close()
    const message = /MMAP_NDARRAY_WINDOW.* must be a multiple of 4096 up to 4294967296, in bytes/
    t.throws(() => withSize(size, () => openSync(path, { backing: 'window' })), {
      code: 'ERR_INVALID_ARG_VALUE',
      message,
    })
    t.is(withSize(size, () => openSync(path, { backing: 'external' })).get(1), 2, 'nobody asks')
    if (process.platform === 'linux') return collect().then(() => t.is(mappings(path), 0))
  })
}

test('windows are as large as every runtime takes, and smaller where asked; they hold whole rows and whole chunks', (t) => {
  const path = join(folder(t), 'a.npy')
  const sizeOf = (asked: number | '', shape: number[]) => {
    createSync(path, { shape, dtype: 'float64' }, { overwrite: true, reserve: false }).close()
    const a = withSize(asked, () => openSync(path, { backing: 'window' }))
    const { data } = a
    const size = data instanceof WindowStore ? data.windows.size : undefined
    a.close()
    return size
  }
  t.is(sizeOf('', [512]), undefined, 'one window holds it, and data is a typed array')
  t.is(sizeOf('', [6 * 2 ** 20, 128]), 2 ** 32)
  t.is(sizeOf('', [6 * 2 ** 20, 100]), Math.floor(2 ** 32 / 1_048_000) * 1_048_000, 'chunks of 1310 rows')
  t.is(sizeOf(65536, [1000, 100]), 65_600 - 800, 'rows')
  t.is(sizeOf(65536, [100, 9000]), 65536, 'longer rows')
})

test.serial('100 GiB, read and written at both ends and in between, in little memory', async (t) => {
  const rows = (100 * GIB) / 8192
  const path = join(folder(t), 'large.npy')
  // Node.js 20 has no buffer of this size, and takes windows by itself.
  const auto = constants.MAX_LENGTH > 4 * GIB ? ({ backing: 'window' } as const) : {}
  const before = privateMemory()
  const made = await withSize('', () =>
    create(path, { shape: [rows, 1024], dtype: 'float64' }, { reserve: false, ...auto }),
  )
  made.set(rows - 1, 1023, Math.PI)
  made.set(0, 0, Math.E)
  made.close()
  const a = await withSize('', () => open(path, { mode: 'r+', ...auto }))
  t.is(a.backing, 'window')
  t.is(a.data.length, (100 * GIB) / 8)
  t.deepEqual([a.get(0, 0), a.get(rows - 1, 1023)], [Math.E, Math.PI])
  t.deepEqual(listOf(a.pick(rows - 1).toTypedArray()).slice(-2), [0, Math.PI])
  for (let row = 0; row < rows; row += 2 ** 17) a.set(row, 7, row)
  for (let row = 0; row < rows; row += 2 ** 17) t.is(a.get(row, 7), row)
  const across = a.slice(`${2 ** 19 - 1}:${2 ** 19 + 1}`)
  t.throws(() => across.toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS' })
  t.is(across.sumSync(), 2 ** 19)
  await a.resize(rows + 1)
  a.set(rows, 0, 3)
  t.is(a.get(rows, 0), 3)
  if (process.platform === 'linux') t.true(privateMemory() - before < 64 * 2 ** 20)
  a.close()
})

const node20 = constants.MAX_LENGTH > 4 * GIB ? test.serial.skip : test.serial

node20(
  'an array that outgrows its one buffer goes on in windows; with backing external it is refused first',
  (t) => {
    const path = join(folder(t), 'a.npy')
    const rows = 4 * GIB - 4096
    createSync(path, { shape: [rows], dtype: 'uint8' }, { reserve: false }).close()
    const fixed = openSync(path, { mode: 'r+', backing: 'external' })
    t.throws(() => fixed.resizeSync(4 * GIB + 4096), { code: 'ERR_TOO_LARGE', message: /'window'/ })
    t.is(fixed.shape[0], rows)
    fixed.close()
    const a = openSync(path, { mode: 'r+' })
    const end = a.slice('-2:').toTypedArray()
    t.is(a.backing, 'external')
    a.resizeSync(4 * GIB + 4096)
    t.is(a.backing, 'window')
    a.set(rows - 1, 1)
    a.set(4 * GIB + 4095, 2)
    t.deepEqual([end[1], a.get(4 * GIB + 4095), a.get(rows)], [1, 2, 0])
    a.close()
    t.is(end.length, 0)
  },
)

test('a typed array of a window that made room has length 0, and its elements are where they were', (t) => {
  const { a } = ramp(t, MOST_WINDOWS + 2)
  const { data } = a
  const first = a.pick(0).toTypedArray()
  const bytes = new Uint8Array(first.buffer)
  const second = a.pick(1).toTypedArray()
  first[3] = -3
  for (let row = 2; row < MOST_WINDOWS; row++) t.is(a.get(row, 0), 512 * row)
  t.is(first[3], -3, 'there is room for all')
  // Used again, so the other one is older now.
  t.is(a.get(0, 3), -3)
  t.is(a.get(MOST_WINDOWS, 0), 512 * MOST_WINDOWS)
  t.deepEqual([first.length, second.length], [512, 0])
  t.is(second[5], undefined)
  second[5] = 1
  t.is(a.get(1, 5), 517)
  // That was window 1, which came for window 2; now all others, so that 0 goes as well.
  for (let row = 2; row < MOST_WINDOWS + 2; row++) a.set(row, 1, row)
  t.deepEqual([first.length, bytes.length, first[3]], [0, 0, undefined])
  t.is(a.get(0, 3), -3)
  t.is(data.length, a.length)
  t.is((data as WindowStore).get(3), -3)
  const again = a.pick(0).toTypedArray()
  t.deepEqual([again.length, again[3]], [512, -3])
  t.is(a.pick(0).toTypedArray().buffer, again.buffer, 'one buffer for each window')
  a.close()
  t.deepEqual([again.length, data.length, (data as WindowStore).get(3)], [0, 0, undefined])
  ;(data as WindowStore).set(3, 1)
  t.throws(() => a.get(0, 0), { code: 'ERR_CLOSED' })
})

test('typed arrays of what lies in one window; otherwise the error says where the line is, and what to do', (t) => {
  const { a } = ramp(t, 8)
  t.is(a.pick(3).toTypedArray().byteOffset, 0)
  t.deepEqual(listOf(a.slice(3, '5:8').toTypedArray()), [1541, 1542, 1543])
  const message =
    /Elements 511 to 513 of the data lie in 2 windows of 512 elements.*begins with element 512; take smaller parts, or toTypedArray\(\{ copy: true \}\)/
  const across = a.reshape([-1]).slice('511:513')
  t.throws(() => across.toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS', message })
  t.deepEqual(listOf(across.toTypedArray({ copy: true })), [511, 512])
  t.throws(() => a.slice(null, 3).toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS', message: /strides/ })
  t.is(a.slice('3:3').toTypedArray().length, 0)
  t.deepEqual(a.slice('1:3', '0:2').toArray(), [
    [512, 513],
    [1024, 1025],
  ])
  t.is([...a.pick(2)].length, 512)
  t.deepEqual(new NdView(a.data, a.shape, a.stride, 0, 'float64').slice(7, 9).get(), 7 * 512 + 9)
  a.close()
})

/** Numbers in [0, 1) from a seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const SEED = 20261124

/** What is in memory in each of these ways: name, how it is opened, and the bytes between two elements. */
const layouts: [name: string, open: (path: string) => MmapArray][] = [
  ['float64', (path) => make(path, 'float64', [300, 160])],
  ['uint8', (path) => make(path, 'uint8', [700, 500])],
  ['int64 in Fortran order', (path) => make(path, 'int64', [120, 300], 'F')],
  ['rows longer than a window', (path) => make(path, 'int32', [40, 3000])],
  ['another byte order', (path) => raw(path, '>i4', [300, 300], [300, 1], 64)],
  ['unaligned', (path) => raw(path, '<f8', [200, 200], [200, 1], 3)],
]
const make = (path: string, dtype: DType, shape: number[], order: 'C' | 'F' = 'C') => {
  createSync(path, { shape, dtype }, { order }).close()
  return windowed(path)
}
const raw = (path: string, dtype: string, shape: number[], strides: number[], offset: number) => {
  writeFileSync(path, new Uint8Array(2 ** 19))
  return windowed(path, { format: 'raw', dtype: dtype as 'float64', shape, strides, offset })
}

for (const [number, [name, openIt]] of layouts.entries()) {
  test(`random work against a model, ${name}; seed ${SEED + number}`, (t) => {
    const next = random(SEED + number)
    const below = (n: number) => Math.floor(next() * n)
    const path = join(folder(t), 'a.npy')
    const a = openIt(path)
    const model = a.copy() as NdView
    const [rows, columns] = a.shape as [number, number]
    const big = a.dtype === 'int64'
    const value = () => (big ? BigInt(below(200)) : below(200)) as never
    const range = (n: number): [number, number] => {
      const start = below(n)
      return [start, start + 1 + below(Math.min(n - start, 8))]
    }
    const held: { array: ArrayLike<number | bigint> & ArrayBufferView; row: number; from: number }[] = []
    let evicted = 0
    const buffers = () =>
      new Set(held.filter(({ array }) => array.length > 0).map(({ array }) => array.buffer))
    for (let step = 0; step < 1500; step++) {
      const [i, j] = [below(rows), below(columns)]
      const [[top, bottom], [left, right]] = [range(rows), range(columns)]
      const part = (v: NdView) => v.slice(`${top}:${bottom}`, `${left}:${right}`)
      const kind = below(8)
      if (kind < 2) t.is(a.get(i, j), model.get(i, j))
      else if (kind < 4) {
        const x = value()
        a.set(i, j, x)
        model.set(i, j, x)
      } else if (kind === 4) {
        const x = value()
        part(a).fill(x)
        part(model).fill(x)
      } else if (kind === 5) {
        const [down, along] = [below(rows - (bottom - top)), below(columns - (right - left))]
        const from = (v: NdView) =>
          v.slice(`${down}:${down + bottom - top}`, `${along}:${along + right - left}`)
        part(a).assign(from(a))
        part(model).assign(from(model))
      } else if (kind === 6) {
        // A store by way of data, as scijs does it.
        const x = value()
        ;(a.data as WindowStore).set(a.index(i, j), x)
        model.set(i, j, x)
        t.is((a.data as WindowStore).get(a.index(i, j)), x)
      } else {
        const row = a.slice(i, `${left}:${right}`)
        try {
          held.push({ array: row.toTypedArray() as never, row: i, from: left })
        } catch (error) {
          t.is((error as NodeJS.ErrnoException).code, 'ERR_NOT_CONTIGUOUS')
        }
      }
      t.true(buffers().size <= MOST_WINDOWS)
      if (step % 50 === 0) {
        for (const { array, row, from } of held) {
          if (array.length === 0) evicted++
          for (let n = 0; n < array.length; n++) t.is(array[n], model.get(row, from + n))
        }
      }
    }
    t.deepEqual(a.toArray(), model.toArray())
    const typed = held.length > 0
    t.is(typed, !['another byte order', 'unaligned'].includes(name))
    t.is(typed, evicted > 0)
    a.flushSync()
    a.close()
    for (const { array } of held) t.is(array.length, 0)
    // Somebody else reads the file.
    if (name === 'uint8') {
      const bytes = readFileSync(path).subarray(-rows * columns)
      t.deepEqual(new Uint8Array(bytes), model.toTypedArray() as never)
    }
  })
}

test('an element that lies across a line of the grid', (t) => {
  // Records of 9 bytes in rows of 9000, longer than a window.
  const path = join(folder(t), 'a.npy')
  const text =
    "{'descr': [('a', '|u1'), ('b', '<f8')], 'fortran_order': False, 'shape': (20, 1000), }".padEnd(117)
  const bytes = new Uint8Array(128 + 180_000)
  bytes.set(Buffer.from(`\x93NUMPY\x01\x00v\x00${text}\n`, 'latin1'))
  const view = new DataView(bytes.buffer, 128)
  for (let n = 0; n < 20_000; n++) view.setFloat64(9 * n + 1, n + 0.25, true)
  writeFileSync(path, bytes)
  const a = windowed(path, { name: 'b' })
  t.deepEqual(a.shape, [20, 1000])
  for (let n = 0; n < 20_000; n++) {
    const [i, j] = [Math.floor(n / 1000), n % 1000]
    if (a.get(i, j) !== n + 0.25) t.fail(`element ${n} is ${a.get(i, j)}`)
    a.set(i, j, n - 0.5)
  }
  a.close()
  const after = new DataView(readFileSync(path).buffer, 128)
  for (let n = 0; n < 20_000; n++) {
    if (after.getFloat64(9 * n + 1, true) !== n - 0.5) t.fail(`element ${n}`)
    if (after.getUint8(9 * n) !== 0) t.fail(`record ${n}`)
  }
  t.pass()
})

test('native work sees the mapping, not the windows: the results of backing external', async (t) => {
  const { path, a } = ramp(t, 50)
  const b = openSync(path, { backing: 'external' })
  a.set(49, 511, 1e6)
  for (const part of [[null], ['3:47:5', '::-3'], [7, '100:400']] as const) {
    const [one, two] = [a.slice(...part), b.slice(...part)]
    t.is(await one.sum(), (await two.sum()) as number)
    t.deepEqual(await one.minmax(), await two.minmax())
    t.is(one.argmaxSync(), two.argmaxSync())
    t.is(one.stdSync(), two.stdSync())
    t.true(await one.equals(two))
    const means = (v: MmapArray) => (v.ndim === 1 ? v.meanSync() : v.meanSync({ axis: 0 }).toArray())
    t.deepEqual(means(one as never), means(two as never))
  }
  await a.flush()
  await a.prefetch()
  t.is(a.residencySync(), 1)
  for (const each of [a, b]) each.close()
})

test('chunks of their own size are typed arrays, those of a size that is asked for where no line is between', async (t) => {
  const path = join(folder(t), 'a.npy')
  const data = Float64Array.from({ length: 16_000 * 100 }, (_, i) => i % 1000)
  createSync(path, { data, shape: [16_000, 100] }).close()
  const a = windowed(path, {}, 4 * 2 ** 20)
  let [sum, count] = [0, 0]
  for await (const chunk of a.chunks()) {
    for (const x of chunk.toTypedArray()) sum += Number(x)
    count++
  }
  t.deepEqual([sum, count], [799_200_000, 13])
  let across = 0
  for await (const chunk of a.chunks({ rows: 1000 })) {
    try {
      chunk.toTypedArray()
    } catch (error) {
      t.is((error as NodeJS.ErrnoException).code, 'ERR_NOT_CONTIGUOUS')
      t.is(chunk.toTypedArray({ copy: true }).length, 100_000)
      across++
    }
  }
  t.is(across, 3)
  a.close()
})

test('copy-on-write: stores through windows are private, survive eviction, and are committed', async (t) => {
  const { path, a } = ramp(t, MOST_WINDOWS * 2)
  a.close()
  const c = windowed(path, { mode: 'c' })
  const rows = MOST_WINDOWS * 2
  for (let row = 0; row < rows; row++) c.set(row, 3, -row)
  for (let row = 0; row < rows; row++) t.is(c.get(row, 3), -row)
  const other = openSync(path)
  t.is(other.get(5, 3), 5 * 512 + 3)
  t.true(c.dirty !== false)
  await c.commit()
  t.is(other.get(5, 3), -5)
  c.set(7, 3, 7)
  c.discard()
  t.is(c.get(7, 3), -7)
  for (const each of [c, other]) each.close()
})

test('growing: typed arrays and views from before stay, in the same mapping and in another', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [1, 512], dtype: 'float64', fill: 1 }).close()
  const a = windowed(path)
  const follower = windowed(path, { mode: 'r' })
  t.true(ArrayBuffer.isView(a.data), 'one window')
  const before = a.pick(0).toTypedArray()
  for (let row = 1; row < 40; row++) a.appendSync(new Float64Array(512).fill(row + 1))
  t.true(a.data instanceof WindowStore)
  const store = a.data
  t.deepEqual([before[9], a.get(39, 511), a.sumSync()], [1, 40, 512 * 820])
  await a.append({ data: new Float64Array(512 * 300).fill(7), shape: [300, 512] })
  t.deepEqual([a.get(339, 0), store.length, (store as WindowStore).get(512)], [7, 40 * 512, 2])
  t.true(follower.refresh())
  t.deepEqual([follower.shape, follower.get(339, 5)], [[340, 512], 7])
  a.set(339, 5, 8)
  t.is(follower.get(339, 5), 8)
  const view = a.slice('100:')
  await a.resize(20)
  t.deepEqual([a.shape, a.get(19, 0)], [[20, 512], 20])
  t.throws(() => view.get(0, 0), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => a.get(20, 0), { code: 'ERR_OUT_OF_RANGE' })
  await a.resize(21)
  t.is(a.get(20, 0), 0)
  for (const each of [a, follower]) each.close()
  t.is(before.length, 0)
})

test('workers have windows of their own over the same mapping', async (t) => {
  const { path, a } = ramp(t, 100)
  const there = withSize(SIZE, () => worker(t))
  await there.call('kept.a = m.attachSync(x)', a.toHandle())
  a.set(99, 5, -1)
  t.deepEqual(await there.call('kept.a.set(3, 3, -2); return [kept.a.backing, kept.a.get(99, 5)]'), [
    'window',
    -1,
  ])
  t.is(a.get(3, 3), -2)
  await there.call('for (let row = 0; row < 100; row++) kept.a.set(row, 1, row)')
  t.is(a.slice(null, 1).sumSync() as number, 4950)
  const row = a.pick(3).toTypedArray()
  await there.kill()
  t.is(row[3], -2)
  const here = withSize(SIZE, () => attachSync(a.toHandle()))
  t.is(here.backing, 'window')
  t.is(here.get(3, 3), -2)
  a.close()
  t.is(here.get(99, 5), -1)
  here.close()
  if (process.platform === 'linux') t.is(mappings(path), 0)
})

test('a chunk that a worker gives back takes no window along', async (t) => {
  const { a } = ramp(t, 64)
  const module = join(folder(t), 'part.mjs')
  writeFileSync(module, 'export default (chunk) => chunk.pick(0).toTypedArray().subarray(0, 2)')
  const found: number[] = []
  for (const part of await mapChunks<Float64Array>(a, pathToFileURL(module), { rows: 16, workers: 1 })) {
    t.is(part.buffer.byteLength, 16)
    found.push(part[1] as number)
  }
  t.deepEqual(found, [1, 8193, 16385, 24577])
  a.close()
})

linux('what is dropped is collected: windows, arrays that were not closed, and mappings', async (t) => {
  const { path, a } = ramp(t, 80)
  a.close()
  let kept: ArrayLike<number> | undefined
  ;(() => {
    const b = windowed(path)
    for (let row = 0; row < 80; row++) b.set(row, 0, 1)
    kept = b.pick(5).toTypedArray() as Float64Array
  })()
  await collect()
  t.is(mappings(path), 1)
  t.is(kept?.[1], 5 * 512 + 1)
  kept = undefined
  await collect()
  t.is(mappings(path), 0)
})

/** Does something as if the runtime allowed no external buffers. */
function caged<T>(run: () => T): T {
  process.env.MMAP_NDARRAY_CAGE = 'on'
  try {
    return run()
  } finally {
    delete process.env.MMAP_NDARRAY_CAGE
  }
}

test('where no external buffer is allowed: wasm, or elements that are copied', async (t) => {
  const { path, a } = ramp(t, 20)
  const rows = (100 * GIB) / 8192
  // A process of its own: what a runtime allows does not change while it runs.
  const [first, refused, made, elements] = await child(t).call<unknown[]>(
    `process.env.MMAP_NDARRAY_CAGE = 'on'
    const first = m.openSync(x.path, { backing: 'auto' })
    let refused
    try { m.openSync(x.path, { backing: 'external' }) } catch (error) { refused = error }
    const options = { reserve: false, backing: 'auto' }
    const made = m.createSync(x.large, { shape: [x.rows, 1024], dtype: 'float64' }, options)
    made.set(x.rows - 1, 1023, 5)
    const elements = [made.get(x.rows - 1, 1023), made.get(0, 0), made.slice(-1).sumSync()]
    return [first.backing, [refused.code, refused.message], made.backing, elements]`,
    { path, rows, large: join(folder(t), 'large.npy') },
  )
  t.is(first, process.platform === 'win32' ? 'window' : 'wasm')
  t.like(refused, ['ERR_FEATURE_UNAVAILABLE_ON_PLATFORM'])
  t.regex((refused as string[])[1] as string, /'auto'/)
  t.is(made, 'window')
  t.deepEqual(elements, [5, 0, 5])
  a.close()
})

for (const dtype of ['float64', 'int64', 'bool', 'float16', 'bfloat16', 'uint8'] as const) {
  test.serial(`elements that are copied, ${dtype}: the same array, typed arrays as copies`, async (t) => {
    const path = join(folder(t), 'a.mmap'.replace('mmap', dtype === 'bfloat16' ? 'raw' : 'npy'))
    const raw = dtype === 'bfloat16' ? { format: 'raw' as const, dtype, shape: [3, 4] } : {}
    createSync(path, { shape: [3, 4], dtype, fill: (dtype === 'int64' ? 1n : 1) as never }).close()
    const [one, other] = [
      caged(() => openSync(path, { ...raw, mode: 'r+', backing: 'window' })),
      openSync(path, raw),
    ]
    const two = (dtype === 'int64' ? 2n : dtype === 'bool' ? 0 : 2) as never
    one.set(1, 2, two)
    t.deepEqual([one.get(1, 2), other.get(1, 2), one.get(0, 0)], [two, two, other.get(0, 0)])
    const data = one.data as { length: number; get(at: number): unknown; set(at: number, x: unknown): void }
    data.set(3, two)
    t.deepEqual([data.length, data.get(3), data.get(12), data.get(-1), data.get(0.5)], [12, two, ...Array(3)])
    one.pick(2).fill(two)
    t.deepEqual(one.toArray(), other.toArray())
    t.deepEqual(one.copy().toArray(), other.copy().toArray())
    t.throws(() => one.toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS', message: /copy: true/ })
    t.deepEqual(one.toTypedArray({ copy: true }), other.toTypedArray({ copy: true }))
    one.slice(null, 0).assign(one.slice(null, 2))
    await one.flush()
    one.appendSync(other.pick(1).copy())
    t.deepEqual(one.get(3, 2), two)
    const reader = caged(() => openSync(path, { ...raw, backing: 'window' }))
    ;(reader.data as unknown as typeof data).set(0, two)
    t.deepEqual(reader.get(2, 0), other.get(2, 0))
    for (const each of [one, other, reader]) each.close()
    t.deepEqual([data.length, data.get(0)], [0, undefined])
    data.set(0, two)
    t.throws(() => one.get(0, 0), { code: 'ERR_CLOSED' })
  })
}

const transfer = 'transfer' in ArrayBuffer.prototype ? test : test.skip

transfer('a window that somebody moves away: the array says so, and its file is safe', (t) => {
  const { path, a } = ramp(t, 80)
  const row = a.pick(3).toTypedArray()
  const moved = (row.buffer as ArrayBuffer & { transfer(): ArrayBuffer }).transfer()
  new Float64Array(moved)[0] = 5
  t.throws(() => a.get(3, 0), { code: 'ERR_INVALID_STATE' })
  t.throws(() => a.get(0, 0), { code: 'ERR_INVALID_STATE' })
  a.close()
  new Float64Array(moved).fill(-1)
  const again = openSync(path)
  t.deepEqual([again.get(3, 0), again.get(3, 1)], [5, 1537])
  again.close()
})
