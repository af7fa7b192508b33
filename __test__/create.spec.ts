/**
 * Creating: every kind of source, whole or not at all, byte for byte what the format's own writers make.
 *
 * Past 400 lines: its tables of sources and refusals are long and belong together.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import scijs from 'ndarray'
import {
  type CreateOptions,
  type CreateSource,
  create,
  createSync,
  NdView,
  open,
  openSync,
} from '../src/index.js'
import { descriptors, fixture, folder, mappings, run, runScript } from './helpers.js'

const row = Float32Array.from({ length: 24 }, (_, i) => i)

type Made = [name: string, source: () => unknown, dtype: string, shape: number[], values: unknown]
const sources: Made[] = [
  [
    'by shape',
    () => ({ shape: [2, 3], dtype: 'int16' }),
    'int16',
    [2, 3],
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
  ],
  [
    'by shape, filled',
    () => ({ shape: [2, 2], dtype: 'f8', fill: -0.5 }),
    'float64',
    [2, 2],
    [
      [-0.5, -0.5],
      [-0.5, -0.5],
    ],
  ],
  [
    'by shape, bigint',
    () => ({ shape: [2], dtype: 'uint64', fill: 2n ** 64n - 1n }),
    'uint64',
    [2],
    [2n ** 64n - 1n, 2n ** 64n - 1n],
  ],
  ['by shape, bool', () => ({ shape: [2], dtype: 'bool', fill: true }), 'bool', [2], [1, 1]],
  ['by shape, no axes', () => ({ shape: [], dtype: 'int32', fill: 5 }), 'int32', [], 5],
  ['by shape, empty', () => ({ shape: [3, 0], dtype: 'int32' }), 'int32', [3, 0], [[], [], []]],
  ['a typed array', () => Uint16Array.from([1, 2]), 'uint16', [2], [1, 2]],
  ['a Buffer', () => Buffer.from([1, 2]), 'uint8', [2], [1, 2]],
  ['a clamped array', () => Uint8ClampedArray.from([1, 300]), 'uint8', [2], [1, 255]],
  ['an empty typed array', () => new Float64Array(0), 'float64', [0], []],
  [
    'nested numbers',
    () => [
      [1, 2],
      [3, 4],
    ],
    'float64',
    [2, 2],
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ['nested bigints', () => [1n, -1n], 'int64', [2], [1n, -1n]],
  ['nested booleans', () => [true, false], 'bool', [2], [1, 0]],
  [
    'typed rows',
    () => [Int8Array.of(1, 2), Int8Array.of(3, 4)],
    'int8',
    [2, 2],
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ['no numbers', () => [], 'float64', [0], []],
  [
    'data and shape',
    () => ({ data: row.subarray(0, 6), shape: [2, 3] }),
    'float32',
    [2, 3],
    [
      [0, 1, 2],
      [3, 4, 5],
    ],
  ],
  [
    'data, stride and offset',
    () => ({ data: row, shape: [2, 2], stride: [-8, 2], offset: 20 }),
    'float32',
    [2, 2],
    [
      [20, 22],
      [12, 14],
    ],
  ],
  [
    'data broadcast by stride 0',
    () => ({ data: row, shape: [2, 2], stride: [0, 1] }),
    'float32',
    [2, 2],
    [
      [0, 1],
      [0, 1],
    ],
  ],
  [
    'data and another dtype',
    () => ({ data: Float64Array.of(1.9, -1.9, 300), dtype: 'uint8' }),
    'uint8',
    [3],
    [1, 255, 44],
  ],
  [
    'nested data and dtype',
    () => ({
      data: [
        [1, 2],
        [3, 4],
      ],
      dtype: 'int32',
    }),
    'int32',
    [2, 2],
    [
      [1, 2],
      [3, 4],
    ],
  ],
  [
    'plain data and shape',
    () => ({ data: [1, 2, 3, 4], shape: [2, 2], dtype: 'int16' }),
    'int16',
    [2, 2],
    [
      [1, 2],
      [3, 4],
    ],
  ],
  [
    'an NdView',
    () => new NdView(row, [4, 6]).slice('::-2', '1::2').T,
    'float32',
    [3, 2],
    [
      [19, 7],
      [21, 9],
      [23, 11],
    ],
  ],
  [
    'a scijs ndarray',
    () => scijs(row, [4, 6]).step(2, -3),
    'float32',
    [2, 2],
    [
      [5, 2],
      [17, 14],
    ],
  ],
  ['a scijs bigint array', () => scijs(BigInt64Array.of(1n, 2n), [2, 1]), 'int64', [2, 1], [[1n], [2n]]],
  [
    'a generic store',
    () => ({ data: { length: 3, get: (i: number) => i * 2, set() {} }, dtype: 'int8' }),
    'int8',
    [3],
    [0, 2, 4],
  ],
  ['an open array', () => openSync(fixture('npy', 'fortran.npy')).slice('1', null), 'float64', [4], null],
  [
    'an open big-endian array',
    () => openSync(fixture('npy', 'bei8_C.npy')).slice('0', null),
    'int64',
    [3],
    [-79n, 9223372036854775807n, -9223372036854775808n],
  ],
]

for (const [name, source, dtype, shape, values] of sources) {
  test(`from ${name}`, async (t) => {
    const dir = folder(t)
    const a = await create(join(dir, 'async.npy'), source() as CreateSource)
    t.is(a.mode, 'r+')
    t.is(a.dtype, dtype as typeof a.dtype)
    t.deepEqual(a.shape, shape)
    if (values !== null) t.deepEqual(a.toArray(), values as never)
    t.deepEqual(readdirSync(dir), ['async.npy'])
    const b = createSync(join(dir, 'sync.npy'), source() as CreateSource)
    t.deepEqual(b.toArray(), a.toArray())
    b.close()
    a.close()
    t.deepEqual(readFileSync(join(dir, 'sync.npy')), readFileSync(join(dir, 'async.npy')))
    const f = await create(join(dir, 'fortran.npy'), source() as CreateSource, { order: 'F' })
    t.deepEqual(f.toArray(), (await open(join(dir, 'sync.npy'))).toArray())
    t.true(f.flags.F_CONTIGUOUS)
    f.close()
  })
}

const wrong: [name: string, source: unknown, options: unknown, code: string, message: RegExp][] = [
  ['nothing', undefined, {}, 'ERR_INVALID_ARG_TYPE', /source/],
  ['null', null, {}, 'ERR_INVALID_ARG_TYPE', /source/],
  ['a number', 5, {}, 'ERR_INVALID_ARG_TYPE', /source/],
  ['text', 'abc', {}, 'ERR_INVALID_ARG_TYPE', /source/],
  ['a DataView', new DataView(new ArrayBuffer(8)), {}, 'ERR_INVALID_ARG_TYPE', /data/],
  ['a shape without dtype', { shape: [2] }, {}, 'ERR_INVALID_ARG_TYPE', /dtype/],
  ['a misspelt shape', { shpe: [2], dtype: 'int8' }, {}, 'ERR_INVALID_ARG_VALUE', /did you mean 'shape'/],
  [
    'a misspelt shape beside data',
    { data: row, shap: [2, 12] },
    {},
    'ERR_INVALID_ARG_VALUE',
    /did you mean 'shape'/,
  ],
  [
    'a misspelt field',
    { shape: [2], dtype: 'int8', fil: 1 },
    {},
    'ERR_INVALID_ARG_VALUE',
    /did you mean 'fill'/,
  ],
  ['a negative length', { shape: [-2], dtype: 'int8' }, {}, 'ERR_OUT_OF_RANGE', /-2/],
  ['a fraction', { shape: [1.5], dtype: 'int8' }, {}, 'ERR_OUT_OF_RANGE', /1\.5/],
  ['a product over 2^53', { shape: [2 ** 30, 2 ** 30], dtype: 'int8' }, {}, 'ERR_OUT_OF_RANGE', /2\^53/],
  [
    'more bytes than files have',
    { shape: [2 ** 53 - 1], dtype: 'float64' },
    {},
    'EFBIG|ENOSPC|ERR_TOO_LARGE',
    /./,
  ],
  ['65 axes', { shape: new Array(65).fill(1), dtype: 'int8' }, {}, 'ERR_OUT_OF_RANGE', /64/],
  ['an unknown dtype', { shape: [2], dtype: 'quad' }, {}, 'ERR_INVALID_ARG_VALUE', /quad/],
  ['a fill of another type', { shape: [2], dtype: 'int64', fill: 1 }, {}, 'ERR_INVALID_ARG_TYPE', /1n/],
  ['uneven rows', [[1, 2], [3]], {}, 'ERR_INVALID_ARG_VALUE', /equal length/],
  ['rows of mixed kinds', [1, 2n], {}, 'ERR_INVALID_ARG_TYPE', /value/],
  ['text in an array', ['a'], {}, 'ERR_INVALID_ARG_TYPE', /numbers/],
  ['a stride that leaves the data', { data: row, shape: [2], stride: [24] }, {}, 'ERR_OUT_OF_RANGE', /24/],
  ['a misspelt option', [1], { overwite: true }, 'ERR_INVALID_ARG_VALUE', /did you mean 'overwrite'/],
  ['overwrite: "yes"', [1], { overwrite: 'yes' }, 'ERR_INVALID_ARG_TYPE', /overwrite/],
  ['order: "A"', [1], { order: 'A' }, 'ERR_INVALID_ARG_VALUE', /'C' or 'F'/],
  ['reserve: 0', [1], { reserve: 0 }, 'ERR_INVALID_ARG_TYPE', /reserve/],
  ['format: "csv"', [1], { format: 'csv' }, 'ERR_INVALID_ARG_VALUE', /'mmap', 'npy', 'raw'/],
  ['bytes in mmap', new Uint8Array(1), { format: 'mmap' }, 'ERR_UNSUPPORTED_DTYPE', /uint8/],
  [
    'seven axes in mmap',
    { shape: [1, 1, 1, 1, 1, 1, 1], dtype: 'f4' },
    { format: 'mmap' },
    'ERR_TOO_LARGE',
    /npy/,
  ],
  [
    'Fortran order in mmap',
    [
      [1, 2],
      [3, 4],
    ],
    { format: 'mmap', order: 'F' },
    'ERR_INVALID_ARG_VALUE',
    /npy/,
  ],
]

for (const [name, source, options, codes, message] of wrong) {
  test(`refused: ${name}`, async (t) => {
    const dir = folder(t)
    const path = join(dir, 'a.npy')
    const error = await t.throwsAsync(create(path, source as CreateSource, options as CreateOptions), {
      message,
    })
    t.regex((error as NodeJS.ErrnoException).code ?? '', new RegExp(`^(${codes})$`))
    t.throws(() => createSync(path, source as CreateSource, options as CreateOptions), { message })
    t.deepEqual(readdirSync(dir), [])
  })
}

test('the extension names the format', async (t) => {
  const dir = folder(t)
  t.is((await create(join(dir, 'a.mmap'), [1])).format, 'mmap')
  t.is((await create(join(dir, 'a.NPY'), [1])).format, 'npy')
  await t.throwsAsync(create(join(dir, 'a.dat'), [1]), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /\.mmap, \.npy/,
  })
  t.is((await create(join(dir, 'a.dat'), [1], { format: 'npy' })).format, 'npy')
})

test('an existing file is EEXIST, and kept', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  writeFileSync(path, 'precious')
  const error = await t.throwsAsync(create(path, [1]), { code: 'EEXIST' })
  t.like(error, { errno: process.platform === 'win32' ? -4075 : -17, syscall: 'open', path })
  t.throws(() => createSync(path, [1]), { code: 'EEXIST' })
  t.is(readFileSync(path, 'utf8'), 'precious')
  t.deepEqual(readdirSync(dir), ['a.npy'])
})

const posix = process.platform === 'win32' ? test.skip : test

posix('overwriting a mapped file: the old array keeps its contents', async (t) => {
  const path = join(folder(t), 'a.npy')
  for (const mode of ['r', 'r+', 'c'] as const) {
    createSync(path, Float64Array.of(1, 2, 3), { overwrite: true }).close()
    const old = openSync(path, { mode })
    const replaced = await create(path, Int8Array.of(9), { overwrite: true })
    t.deepEqual(old.toArray(), [1, 2, 3])
    if (mode !== 'r') old.set(0, 5)
    old.flushSync()
    t.deepEqual(replaced.toArray(), [9])
    t.deepEqual(openSync(path).toArray(), [9])
    old.close()
    replaced.close()
  }
})

test('a folder that is missing, or no folder', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'file'), '')
  await t.throwsAsync(create(join(dir, 'missing', 'a.npy'), [1]), { code: 'ENOENT' })
  const code = process.platform === 'win32' ? 'ENOENT' : 'ENOTDIR'
  await t.throwsAsync(create(join(dir, 'file', 'a.npy'), [1]), { code })
  await t.throwsAsync(create(dir, [1], { format: 'npy', overwrite: true }), { code: 'EISDIR' })
  await t.throwsAsync(create(dir, [1], { format: 'npy' }), { code: 'EEXIST' })
})

test('sources of many blocks, in both orders and another dtype', async (t) => {
  const dir = folder(t)
  const shape = [700, 3, 1000]
  const data = Float32Array.from({ length: 700 * 3 * 1000 }, (_, i) => i % 1_000_003)
  const view = new NdView(data, shape).slice('::-1', null, '::2')
  for (const order of ['C', 'F'] as const) {
    const a = await create(join(dir, `${order}.npy`), view, { order })
    t.is(a.get(0, 2, 499), view.get(0, 2, 499))
    t.deepEqual(a.copy().toTypedArray(), view.copy().toTypedArray())
    a.close()
  }
  const wide = await create(join(dir, 'wide.npy'), { data, shape, dtype: 'float64' })
  t.deepEqual(wide.toTypedArray({ copy: true }), Float64Array.from(data) as never)
  wide.close()
})

test('writing leaves the event loop turning', async (t) => {
  const path = join(folder(t), 'a.npy')
  let turns = 0
  let done = false
  const count = () => {
    turns += 1
    if (!done) setImmediate(count)
  }
  setImmediate(count)
  const a = await create(path, new Float64Array(4 * 2 ** 20))
  done = true
  a.close()
  // Eight blocks of 4 MiB, each written by a thread while the loop turns at least once.
  t.true(turns >= 8, `${turns} turns`)
})

test('a source detached meanwhile is ERR_INVALID_STATE, and nothing is left', async (t) => {
  const dir = folder(t)
  const data = new Float64Array(4 * 2 ** 20)
  const creating = create(join(dir, 'a.npy'), data)
  structuredClone(data, { transfer: [data.buffer] })
  await t.throwsAsync(creating, { code: 'ERR_INVALID_STATE' })
  t.deepEqual(readdirSync(dir), [])
})

test('an open source closed meanwhile is an error, and nothing is left', async (t) => {
  const dir = folder(t)
  const from = createSync(join(dir, 'from.npy'), { shape: [4 * 2 ** 20], dtype: 'float64' })
  const creating = create(join(dir, 'a.npy'), from.slice('::-1'))
  from.close()
  await t.throwsAsync(creating, { code: 'ERR_INVALID_STATE' })
  t.deepEqual(readdirSync(dir), ['from.npy'])
})

posix('only files are replaced', async (t) => {
  const dir = folder(t)
  const fifo = join(dir, 'fifo.npy')
  t.is((await run('mkfifo', [fifo])).code, 0)
  await t.throwsAsync(create(fifo, [1], { overwrite: true }), { code: 'ENODEV' })
  t.true(statSync(fifo).isFIFO())
  t.deepEqual(readdirSync(dir), ['fifo.npy'])
})

const limited = spawnSync('prlimit', ['--version']).status === 0 ? test : test.skip

limited('a file that cannot be mapped replaces nothing', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  createSync(path, [1, 2, 3]).close()
  // The process gives itself 1 GiB of address space more than it has, and asks for 2 GiB.
  const script = `
    import { execFileSync } from 'node:child_process'
    import { readFileSync } from 'node:fs'
    import { createSync } from 'mmap-ndarray'
    const [, size] = /VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))
    execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + (size * 1024 + 2 ** 30)])
    try {
      createSync(process.argv[1], { shape: [2 ** 31], dtype: 'uint8' }, { overwrite: true, reserve: false })
    } catch (error) {
      console.log(error.code, error.syscall)
      process.exit(0)
    }`
  const { stdout, stderr } = await runScript(script, path)
  t.is(stdout.trim() || stderr, 'ENOMEM mmap')
  t.deepEqual(openSync(path).toArray(), [1, 2, 3])
  t.deepEqual(readdirSync(dir), ['a.npy'])
})

const linux = process.platform === 'linux' ? test : test.skip

linux('a process that ends, or is killed, while it creates leaves nothing', async (t) => {
  const dir = folder(t)
  const script = (end: string) => `
    import { create } from 'mmap-ndarray'
    create(process.argv[1] + '/a.npy', new Float64Array(2 ** 22))
    setImmediate(() => ${end})`
  for (const end of [
    'process.exit(0)',
    "process.kill(process.pid, 'SIGKILL')",
    "{ throw new Error('end') }",
  ]) {
    await runScript(script(end), dir)
    t.deepEqual(readdirSync(dir), [], end)
  }
})

test('a source that was detached before is ERR_INVALID_STATE, and replaces nothing', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, [1]).close()
  const data = Float64Array.of(1, 2, 3)
  structuredClone(data.buffer, { transfer: [data.buffer] })
  t.throws(() => createSync(path, data, { overwrite: true }), { code: 'ERR_INVALID_STATE' })
  t.deepEqual(openSync(path).toArray(), [1])
})

test('truth is written as 0 and 1, and read so whatever the file has', (t) => {
  const dir = folder(t)
  const source = Uint8Array.of(0, 1, 5, 255)
  const a = createSync(join(dir, 'a.npy'), { data: source, dtype: 'bool' })
  t.deepEqual(Array.from(a.data as Uint8Array), [0, 1, 1, 1])
  ;(a.data as Uint8Array)[1] = 7
  t.is(a.get(1), 1)
  t.deepEqual(a.toArray(), [0, 1, 1, 1])
  const bytes = createSync(join(dir, 'b.npy'), { shape: [4], dtype: 'uint8' })
  t.deepEqual(bytes.assign(a).toArray(), [0, 1, 1, 1])
  t.deepEqual(new NdView(new Uint8Array(4)).assign(a).toArray(), [0, 1, 1, 1])
  t.deepEqual(a.assign({ data: source, dtype: 'bool' }).toArray(), [0, 1, 1, 1])
})

test('two at once: one is made, the other is EEXIST', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  const results = await Promise.allSettled([1, 2, 3, 4].map((value) => create(path, [value])))
  const made = results.filter((result) => result.status === 'fulfilled')
  t.is(made.length, 1)
  for (const result of results) if (result.status === 'rejected') t.is(result.reason.code, 'EEXIST')
  t.deepEqual(readdirSync(dir), ['a.npy'])
  made[0]?.value.close()
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
})
