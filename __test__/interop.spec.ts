/** Files of ours in the hands of numpy and of the published seed crate, and theirs in ours. */
import { copyFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  createSync,
  type DType,
  listSync,
  type NdArrayLike,
  NdView,
  type OpenOptions,
  openSync,
} from '../src/index.js'
import { expected, fixture, folder, listOf, parseValue, root, run, tool } from './helpers.js'

const python = tool('python')
const seed = tool('seed')
const withNumpy = python === undefined ? test.skip : test
const withSeed = seed === undefined ? test.skip : test
if (python === undefined)
  console.error('skipped: no numpy; npm test sets it up where Python and the registry are')
if (seed === undefined)
  console.error('skipped: the seed crate is not built; npm test builds it where cargo can fetch it')

async function output(command: string | undefined, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command as string, args)
  if (code !== 0) throw new Error(stderr)
  return stdout
}

const script = (name: string) => join(root, '__test__/interop', name)

interface Kinds {
  file: string
  options: OpenOptions
  dtype: DType
  shape: number[]
  values: string[]
  list?: string[]
}

interface Saved {
  file: string
  dtype: string
  shape: number[]
  order: 'C' | 'F'
}

withNumpy('every file is byte for byte what np.save writes', async (t) => {
  const dir = folder(t)
  await output(python, script('save_npy.py'), dir)
  const index: Saved[] = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8'))
  t.true(index.length >= 280)
  for (const { file, dtype, shape, order } of index) {
    const complex = dtype.startsWith('complex')
    // One more axis than numpy has; 64 are the limit of both.
    if (complex && shape.length === 64) continue
    const theirs = join(dir, file)
    const a = openSync(theirs, { dtype, shape: complex ? [...shape, 2] : shape, strict: true })
    const ours = join(dir, `ours-${file}`)
    const { data, shape: parts, stride, offset } = a
    createSync(ours, { data, shape: parts, stride, offset, dtype } as NdArrayLike, { order }).close()
    t.true(readFileSync(ours).equals(readFileSync(theirs)), file)
    const copy = a.copy()
    createSync(ours, { data: copy.data, shape: parts, dtype } as NdArrayLike, {
      order,
      overwrite: true,
    }).close()
    t.true(readFileSync(ours).equals(readFileSync(theirs)), `${file} from memory`)
    a.close()
  }
})

withNumpy('whatever numpy writes is read: both byte orders, complex, half, records, npz, raw', async (t) => {
  const dir = folder(t)
  const cases: Kinds[] = JSON.parse(await output(python, script('save_kinds.py'), dir))
  t.true(cases.length >= 50)
  for (const { file, options, dtype, shape, values, list: listed } of cases) {
    const path = join(dir, file)
    const a = openSync(path, options)
    const name = `${file} ${JSON.stringify(options)}`
    t.is(a.dtype, dtype, name)
    t.deepEqual(a.shape, shape, name)
    const expected = values.map((text) => parseValue(text, dtype))
    t.deepEqual(listOf(a.toTypedArray({ copy: true })), expected, name)
    // A 0-d array has no axis to be reversed along.
    if (shape.length > 0)
      t.is(String(a.slice('::-1').toArray()), String(a.copy().slice('::-1').toArray()), name)
    const names = listed && listSync(path).map((entry) => entry.name)
    t.deepEqual(names, listed, name)
    a.close()
  }
})

withNumpy('numpy reads what create writes', async (t) => {
  const dir = folder(t)
  const view = new NdView(
    Float32Array.from({ length: 60 }, (_, i) => i * 0.25),
    [3, 4, 5],
  )
  const cases: [
    file: string,
    make: (path: string) => void,
    descr: string,
    shape: number[],
    values: string[],
  ][] = [
    [
      'strided.npy',
      (path) => createSync(path, view.slice('::-1', '1:', '::2')),
      '<f4',
      [3, 3, 3],
      ['11.25', '11.75'],
    ],
    ['fortran.npy', (path) => createSync(path, view, { order: 'F' }), '<f4', [3, 4, 5], ['0.0', '0.25']],
    ['filled.npy', (path) => createSync(path, { shape: [2, 0, 2], dtype: 'int64' }), '<i8', [2, 0, 2], []],
    ['bool.npy', (path) => createSync(path, [[true], [false]]), '|b1', [2, 1], ['True', 'False']],
    ['edited.npy', (path) => createSync(path, new Int16Array(4)).set(1, 7), '<i2', [4], ['0', '7']],
  ]
  const paths = cases.map(([file, make]) => {
    make(join(dir, file))
    return join(dir, file)
  })
  const lines = (await output(python, script('read_npy.py'), ...paths)).trim().split('\n')
  for (const [i, [file, , descr, shape, values]] of cases.entries()) {
    const read = JSON.parse(lines[i] as string)
    t.is(read.descr, descr, file)
    t.deepEqual(read.shape, shape, file)
    t.deepEqual(
      read.values.slice(0, 2).map((v: string) => v.toLowerCase()),
      values.map((v) => v.toLowerCase()),
      file,
    )
  }
})

const withBoth = python === undefined || seed === undefined ? test.skip : test

withBoth('the committed fixtures are what their script makes', async (t) => {
  const env = { ...process.env, CARGO_TARGET_DIR: join(root, '.cache/seed') }
  const { code, stderr } = await run(python as string, [fixture('make.py'), '--check'], { env })
  t.is(code, 0, stderr)
})

withSeed('the seed reads and changes what create writes', async (t) => {
  const dir = folder(t)
  for (const { file, dtype } of expected('mmap')) {
    const a = openSync(fixture('mmap', file))
    const ours = join(dir, file)
    createSync(ours, a).close()
    t.true(readFileSync(ours).equals(readFileSync(fixture('mmap', file))), file)
    const read = JSON.parse(await output(seed, 'read', ours, dtype))
    t.deepEqual(read.shape, a.shape, file)
    t.is(read.len, a.length)
    const values = read.values.map((text: string) => parseValue(text, dtype))
    t.deepEqual(values, Array.from(a.copy().data as Float64Array), file)
    if (a.length > 0) {
      await output(seed, 'edit', ours, dtype, '0', '42')
      t.is(Number(openSync(ours).toTypedArray()[0]), 42)
    }
    a.close()
  }
})

withSeed('what the seed writes is read here, and changes made here are read there', async (t) => {
  const dir = folder(t)
  for (const dtype of ['f32', 'f64', 'i32', 'i64']) {
    for (const shape of ['scalar', '7', '3,4', '2,1,3', '2,2,2,2,2,2', '0,5']) {
      const path = join(dir, `${dtype}-${shape}.mmap`)
      await output(seed, 'write', path, dtype, shape, 'alt')
      const a = openSync(path, { mode: 'r+', strict: true })
      t.deepEqual(a.shape, shape === 'scalar' ? [] : shape.split(',').map(Number))
      const theirs = JSON.parse(await output(seed, 'read', path, dtype))
      t.deepEqual(
        theirs.values.map((text: string) => parseValue(text, dtype)),
        Array.from(a.toTypedArray() as Float64Array),
      )
      t.deepEqual(theirs.strides, a.stride)
      a.fill((dtype === 'i64' ? -5n : -5) as never)
      a.close()
      const changed = JSON.parse(await output(seed, 'read', path, dtype))
      t.true(changed.values.every((text: string) => Number(text) === -5))
    }
  }
})

withSeed('the seed sees copy-on-write as no change', async (t) => {
  const path = join(folder(t), 'a.mmap')
  copyFileSync(fixture('mmap', 'i32_100_ramp.mmap'), path)
  const a = openSync(path, { mode: 'c' })
  a.fill(-1)
  const read = JSON.parse(await output(seed, 'read', path, 'i32'))
  t.is(read.values[99], '99')
  a.close()
  t.deepEqual(readdirSync(join(path, '..')), ['a.mmap'])
})
