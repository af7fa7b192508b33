/** What belongs to one format: names in a file, raw layouts, tensors; and how each refuses what is not its own. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  create,
  createSync,
  list,
  listSync,
  MmapError,
  NdView,
  type OpenOptions,
  open,
  openSync,
} from '../src/index.js'
import { fixture, folder, listOf, parseValue } from './helpers.js'

interface Tensor {
  name: string
  dtype: string
  shape: number[]
  offset: number
  values: string[]
}

interface File {
  file: string
  ok: boolean
  why?: string
  tensors?: Tensor[]
}

const LONG: Record<string, string> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U64: 'uint64',
  U32: 'uint32',
  U16: 'uint16',
  U8: 'uint8',
  BOOL: 'bool',
} // a table

const files: File[] = JSON.parse(readFileSync(fixture('safetensors', 'expected.json'), 'utf8')).files
for (const { file, ok, tensors = [] } of files) {
  const path = fixture('safetensors', file)
  if (!ok) {
    test(`safetensors: ${file} is refused`, async (t) => {
      const codes = /^ERR_(INVALID_HEADER|FILE_TOO_SHORT|TRAILING_DATA|UNSUPPORTED_DTYPE|INVALID_MAGIC)$/
      for (const attempt of [() => openSync(path, { name: 'a' }), () => listSync(path)]) {
        t.regex(String((t.throws(attempt) as MmapError | undefined)?.code), codes)
      }
      await t.throwsAsync(list(path), { instanceOf: MmapError })
    })
    continue
  }
  test(`safetensors: ${file}`, async (t) => {
    const entries = await list(path)
    t.deepEqual(entries.map(({ name }) => name).sort(), tensors.map(({ name }) => name).sort())
    for (const { name, dtype, shape, offset, values } of tensors) {
      const entry = entries.find((found) => found.name === name)
      t.is(entry?.dtype, LONG[dtype] ?? dtype)
      t.deepEqual(entry?.shape, shape)
      t.is(entry?.offset, offset)
      if (LONG[dtype] === undefined) continue
      const a = await open(path, { name })
      t.is(a.format, 'safetensors')
      t.is(a.dtype, LONG[dtype] as typeof a.dtype)
      t.deepEqual(a.shape, shape)
      const found = listOf(a.toTypedArray({ copy: true })).slice(0, values.length)
      t.deepEqual(
        found,
        values.map((text) => parseValue(text, a.dtype)),
        name,
      )
      a.close()
    }
    if (tensors.length !== 1) t.throws(() => openSync(path), { code: 'ERR_INVALID_ARG_VALUE' })
    t.throws(() => openSync(path, { name: 'no such tensor' }), { code: 'ERR_INVALID_ARG_VALUE' })
  })
}

test('raw: created, and opened with a dtype', async (t) => {
  const dir = folder(t)
  for (const extension of ['bin', 'raw']) {
    const path = join(dir, `a.${extension}`)
    const a = await create(path, { data: Float64Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] })
    t.is(a.format, 'raw')
    a.close()
    t.is(readFileSync(path).length, 48)
    t.deepEqual(openSync(path, { format: 'raw', dtype: 'float64', shape: [2, 3] }).toArray(), [
      [1, 2, 3],
      [4, 5, 6],
    ])
    t.deepEqual(openSync(path, { format: 'raw', dtype: 'f8' }).toArray(), [1, 2, 3, 4, 5, 6])
  }
  const empty = createSync(join(dir, 'empty.bin'), { shape: [0, 3], dtype: 'int8' })
  t.is(empty.size, 0)
  t.deepEqual(openSync(join(dir, 'empty.bin'), { format: 'raw', dtype: 'int8' }).shape, [0])
})

const raws: [name: string, options: OpenOptions, code: string][] = [
  ['no dtype', {}, 'ERR_INVALID_ARG_TYPE'],
  ['more than the file holds', { dtype: 'float64', shape: [7] }, 'ERR_FILE_TOO_SHORT'],
  ['an offset past the end', { dtype: 'float64', offset: 49 }, 'ERR_FILE_TOO_SHORT'],
  ['a stride past the end', { dtype: 'float64', shape: [2], strides: [6] }, 'ERR_FILE_TOO_SHORT'],
  ['a stride before the start', { dtype: 'float64', shape: [2], strides: [-1] }, 'ERR_OUT_OF_RANGE'],
  [
    'strides of another length',
    { dtype: 'float64', shape: [2], strides: [1, 1] },
    'ERR_OUT_OF_RANGE|ERR_INVALID_ARG_VALUE|ERR_INVALID_HEADER',
  ],
  ['an offset of a fraction', { dtype: 'float64', offset: 0.5 }, 'ERR_OUT_OF_RANGE'],
  ['a negative offset', { dtype: 'float64', offset: -8 }, 'ERR_OUT_OF_RANGE'],
  ['an order of its own', { dtype: 'float64', order: 'A' as never }, 'ERR_INVALID_ARG_VALUE'],
  ['a shape whose product overflows', { dtype: 'float64', shape: [2 ** 40, 2 ** 40] }, 'ERR_OUT_OF_RANGE'],
  ['strings', { dtype: 'S5' }, 'ERR_UNSUPPORTED_DTYPE'],
]
for (const [name, options, codes] of raws) {
  test(`raw: ${name}`, (t) => {
    const path = join(folder(t), 'a.bin')
    createSync(path, new Float64Array(6)).close()
    const error = t.throws(() => openSync(path, { format: 'raw', ...options })) as MmapError | undefined
    t.regex(String(error?.code), new RegExp(`^(${codes})$`), error?.message)
  })
}

test('raw: bytes left over are named', (t) => {
  const path = join(folder(t), 'a.bin')
  writeFileSync(path, Buffer.alloc(27))
  t.throws(() => openSync(path, { format: 'raw', dtype: 'float64' }), { message: /3/ })
  t.is(openSync(path, { format: 'raw', dtype: 'float64', offset: 3 }).length, 3)
})

test('options of raw are refused for a file that says them itself', (t) => {
  const path = fixture('npy', 'v2.npy')
  for (const options of [{ offset: 1 }, { strides: [1] }, { order: 'F' as const }]) {
    t.throws(() => openSync(path, options), { code: 'ERR_INVALID_ARG_VALUE', message: /raw/ })
  }
})

test('complex numbers: written whole, opened as their parts', async (t) => {
  const dir = folder(t)
  const data = Float32Array.of(1, -1, 2, -2, 3, -3, 4, -4)
  for (const order of ['C', 'F'] as const) {
    const path = join(dir, `${order}.npy`)
    const a = await create(path, { data, shape: [2, 2, 2], dtype: 'complex64' }, { order })
    t.is(a.dtype, 'float32')
    t.is(a.descr, '<c8')
    t.deepEqual(a.toArray(), [
      [
        [1, -1],
        [2, -2],
      ],
      [
        [3, -3],
        [4, -4],
      ],
    ])
    a.close()
    const b = openSync(path, { dtype: 'complex64', shape: [2, 2, 2] })
    t.deepEqual(b.pick(null, null, 0).toArray(), [
      [1, 2],
      [3, 4],
    ])
    t.is(openSync(path, { dtype: 'float32' }).get(1, 1, 1), -4)
    t.throws(() => openSync(path, { dtype: 'complex128' }), { code: 'ERR_DTYPE_MISMATCH' })
  }
  const real = join(dir, 'real.npy')
  createSync(real, data).close()
  const error = t.throws(() => openSync(real, { dtype: 'complex64' }), { code: 'ERR_DTYPE_MISMATCH' })
  t.like(error, { expected: 'complex64', actual: 'float32' })
  const filled = createSync(join(dir, 'filled.npy'), { shape: [3, 2], dtype: 'complex128', fill: 2 })
  t.deepEqual(filled.toArray(), [
    [2, 2],
    [2, 2],
    [2, 2],
  ])
  t.throws(() => createSync(join(dir, 'x.npy'), { shape: [3], dtype: 'complex64' }), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /axis of 2/,
  })
})

test('half and brain floats: rounded when stored, natively as here', async (t) => {
  const dir = folder(t)
  const values = [1 / 3, 65504, 1e-7, -2.5, Number.POSITIVE_INFINITY]
  for (const [dtype, format] of [
    ['float16', 'npy'],
    ['bfloat16', 'raw'],
  ] as const) {
    const a = await create(join(dir, `a.${format}`), { data: values, dtype })
    t.is(a.dtype, dtype)
    t.is(a.itemsize, 2)
    const model = new NdView(Float64Array.from(values))
    const stored = listOf(a.toTypedArray({ copy: true }))
    const b = a.copy()
    t.is(b.dtype, dtype)
    b.assign(model)
    t.deepEqual(listOf(b.toTypedArray({ copy: true })), stored)
    a.assign(model)
    t.deepEqual(listOf(a.toTypedArray({ copy: true })), stored)
    a.fill(1 / 3)
    b.set(0, 1 / 3)
    t.is(a.get(2), b.get(0))
    t.true(Math.abs(a.get(0) - 1 / 3) < 2 ** -9)
    a.close()
  }
  t.throws(() => createSync(join(dir, 'b.npy'), { shape: [2], dtype: 'bfloat16' }), {
    code: 'ERR_UNSUPPORTED_DTYPE',
  })
})

test('a record file needs a name, and says which there are', (t) => {
  const path = fixture('npy', 'bad_structured.npy')
  const error = t.throws(() => openSync(path), { code: 'ERR_UNSUPPORTED_DTYPE' })
  for (const { name } of listSync(path)) t.true(error?.message.includes(name))
  const { name = '' } = listSync(path)[0] ?? {}
  const field = openSync(path, { name })
  t.is(field.size, field.copy().size)
  field.close()
})

test('a name for a file that has none', (t) => {
  t.throws(() => openSync(fixture('npy', 'v2.npy'), { name: 'x' }), { code: 'ERR_INVALID_ARG_VALUE' })
  t.throws(() => openSync(fixture('mmap', 'f32_5_ramp.mmap'), { name: 'x' }), {
    code: 'ERR_INVALID_ARG_VALUE',
  })
  t.deepEqual(listSync(fixture('npy', 'v2.npy')), [
    { name: '', dtype: 'float32', shape: [5, 2], offset: 128 },
  ])
})

test('writing into one tensor leaves the others alone', (t) => {
  const path = join(folder(t), 'a.safetensors')
  writeFileSync(path, readFileSync(fixture('safetensors', 'mixed.safetensors')))
  const before = listSync(path)
  const [first, ...others] = before.filter(
    ({ dtype }) => dtype.startsWith('float') || dtype.startsWith('int'),
  )
  const read = (name: string) => listOf(openSync(path, { name }).toTypedArray({ copy: true }))
  const kept = others.map(({ name }) => read(name))
  const a = openSync(path, { name: first?.name, mode: 'r+' })
  a.fill((a.dtype.endsWith('64') && a.dtype !== 'float64' ? 7n : 7) as never)
  a.close()
  t.deepEqual(
    others.map(({ name }) => read(name)),
    kept,
  )
  t.true(read(first?.name ?? '').every((x) => Number(x) === 7))
  t.deepEqual(listSync(path), before)
})

test('a cut file of any kind is too short', (t) => {
  const path = join(folder(t), 'a.safetensors')
  writeFileSync(path, readFileSync(fixture('safetensors', 'one_f32.safetensors')))
  truncateSync(path, readFileSync(path).length - 1)
  t.throws(() => openSync(path), { instanceOf: MmapError, code: 'ERR_FILE_TOO_SHORT' })
})
