/** Every committed file: what the seed and numpy wrote is read with the right values, what is broken is refused. */
import { createHash } from 'node:crypto'
import { copyFileSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { isMmapError, MmapError, type OpenOptions, open, openSync } from '../src/index.js'
import { expected, fixture, folder, listOf, parseValue } from './helpers.js'

const LONG: Record<string, string> = {
  f32: 'float32',
  f64: 'float64',
  i32: 'int32',
  i64: 'int64',
  b1: 'bool',
  i1: 'int8',
  u1: 'uint8',
  i2: 'int16',
  u2: 'uint16',
  i4: 'int32',
  u4: 'uint32',
  i8: 'int64',
  u8: 'uint64',
  f4: 'float32',
  f8: 'float64',
  c8: 'float32',
}

const sha256 = (data: ArrayBufferView) =>
  createHash('sha256')
    .update(data as Uint8Array)
    .digest('hex')

for (const entry of expected('mmap')) {
  test(`mmap: ${entry.file}`, async (t) => {
    for (const mode of ['r', 'r+', 'c'] as const) {
      const path = join(folder(t), entry.file)
      copyFileSync(fixture('mmap', entry.file), path)
      const a = await open(path, { mode, strict: true })
      t.is(a.format, 'mmap')
      t.is(a.dtype, LONG[entry.dtype] as typeof a.dtype)
      t.is(a.descr, entry.dtype)
      t.deepEqual(a.shape, entry.shape)
      t.deepEqual(a.stride, entry.strides)
      t.is(a.length, entry.len)
      const all = a.toTypedArray()
      t.is(sha256(all), entry.sha256)
      if (entry.len > 0) {
        t.is(all.at(0), parseValue(entry.first, entry.dtype))
        t.is(all.at(-1), parseValue(entry.last, entry.dtype))
      }
      a.close()
    }
  })
}

const readable = expected('npy').filter((entry) => entry.ok)
for (const entry of readable) {
  test(`npy: ${entry.file}`, (t) => {
    const a = openSync(fixture('npy', entry.file))
    t.is(a.format, 'npy')
    t.is(a.descr, entry.dtype)
    t.is(a.dtype, LONG[entry.dtype.slice(1)] as typeof a.dtype)
    // A complex array opens as its parts, which are values of their own.
    const complex = entry.dtype.includes('c')
    t.deepEqual(a.shape, complex ? [...entry.shape, 2] : entry.shape)
    const texts = entry.values.flatMap((text) => text.split(','))
    const rows = a.copy().toTypedArray()
    t.deepEqual(
      listOf(rows).slice(0, texts.length),
      texts.map((text) => parseValue(text, a.dtype)),
    )
    t.is(sha256(rows), entry.sha256)
    // Element by element, without native code, the same.
    const index = a.shape.map(() => 0)
    for (const value of rows) {
      t.is(a.get(...index), value)
      for (let axis = index.length - 1; axis >= 0; axis--) {
        index[axis] = (index[axis] as number) + 1
        if ((index[axis] as number) < (a.shape[axis] as number)) break
        index[axis] = 0
      }
    }
    a.close()
  })
}

/** What may be said of a file with this flaw. */
const CODES: Record<string, readonly string[]> = {
  'unsupported-dtype': ['ERR_UNSUPPORTED_DTYPE'],
  'bad-shape': ['ERR_INVALID_HEADER'],
  'bad-header': ['ERR_INVALID_HEADER'],
  'bad-version': ['ERR_UNSUPPORTED_VERSION'],
  'bad-magic': ['ERR_INVALID_MAGIC'],
  'bad-dtype': ['ERR_UNSUPPORTED_DTYPE'],
  'too-short': ['ERR_FILE_TOO_SHORT'],
  'header-too-long': ['ERR_INVALID_HEADER'],
  'total-mismatch': ['ERR_INVALID_HEADER'],
  trailing: ['opens'],
  padding: ['opens'],
}
const STRICT: Record<string, string> = { trailing: 'ERR_TRAILING_DATA', padding: 'ERR_INVALID_HEADER' }

async function outcome(path: string, options?: OpenOptions): Promise<string> {
  try {
    const a = await open(path, options)
    a.close()
    return 'opens'
  } catch (error) {
    if (!isMmapError(error)) throw error
    if (error.path !== path || !error.message.includes(path))
      throw new Error('the error does not name the file')
    return error.code
  }
}

const broken = [
  ...expected('hostile').map((entry) => ({
    ...entry,
    path: fixture('hostile', entry.file),
    why: entry.category,
  })),
  ...expected('npy')
    .filter((entry) => !entry.ok)
    .map((entry) => ({ ...entry, path: fixture('npy', entry.file) })),
]
for (const { file, path, why = '', also = [] } of broken) {
  test(`broken: ${file} is ${why}`, async (t) => {
    const before = readFileSync(path)
    const allowed = [why, ...also].flatMap((flaw) => CODES[flaw] ?? [flaw])
    for (const mode of ['r', 'r+', 'c'] as const) {
      const found = await outcome(path, { mode })
      t.true(allowed.includes(found), `${mode}: ${found}`)
      const strict = t.throws(() => openSync(path, { mode, strict: true }), { instanceOf: MmapError })
      t.is(strict?.code as string, STRICT[why] ?? found)
    }
    t.deepEqual(readFileSync(path), before)
  })
}

test('trailing bytes are left alone', (t) => {
  const path = join(folder(t), 'trailing.mmap')
  copyFileSync(fixture('hostile', 'trailing_4.mmap'), path)
  const size = statSync(path).size
  const a = openSync(path, { mode: 'r+' })
  a.fill(1)
  a.flushSync()
  a.close()
  t.is(statSync(path).size, size)
  t.deepEqual(
    readFileSync(path).subarray(-4),
    readFileSync(fixture('hostile', 'trailing_4.mmap')).subarray(-4),
  )
})
