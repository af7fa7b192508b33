/** The seed's own tests, restated for this layer and for both formats; the Rust core restates them for its own. */
import { join } from 'node:path'
import test from 'ava'
import { createSync, MmapArray, NdView, openSync } from '../src/index.js'
import { folder, listOf } from './helpers.js'

const ramp = (shape: number[]) => {
  const length = shape.reduce((product, n) => product * n, 1)
  return { data: Float64Array.from({ length }, (_, i) => i), shape }
}

for (const extension of ['mmap', 'npy']) {
  const path = (t: Parameters<typeof folder>[0]) => join(folder(t), `a.${extension}`)

  for (const shape of [[100], [3, 4], [2, 3, 4, 5, 6, 7]]) {
    test(`${extension}: header round trip of ${shape.length} axes`, (t) => {
      const file = path(t)
      createSync(file, ramp(shape)).close()
      const a = openSync(file, { strict: true })
      t.deepEqual(a.shape, shape)
      t.is(a.get(...shape.map((n) => n - 1)), a.length - 1)
    })
  }

  test(`${extension}: C strides`, (t) => {
    for (const [shape, stride] of [
      [[5], [1]],
      [
        [3, 4],
        [4, 1],
      ],
      [
        [2, 3, 4],
        [12, 4, 1],
      ],
    ] as const) {
      t.deepEqual(createSync(path(t), ramp([...shape])).stride, [...stride])
    }
  })

  test(`${extension}: create and read only, f32 and i32`, (t) => {
    const [one, two] = [path(t), path(t)]
    createSync(one, { data: Float32Array.from({ length: 20 }, (_, i) => i), shape: [4, 5] }).close()
    const a = openSync(one)
    t.deepEqual([a.shape, a.length, a.isEmpty, a.path], [[4, 5], 20, false, one])
    t.deepEqual(
      listOf(a.toTypedArray()),
      Array.from({ length: 20 }, (_, i) => i),
    )
    createSync(two, { data: Int32Array.of(1, -2, 3, -4, 5, -6), shape: [2, 3] }).close()
    t.deepEqual(openSync(two, { dtype: 'int32' }).toArray(), [
      [1, -2, 3],
      [-4, 5, -6],
    ])
  })

  test(`${extension}: mutation in read-write mode reaches the file`, (t) => {
    const file = path(t)
    createSync(file, Float64Array.of(0, 1, 2, 3, 4)).close()
    const a = openSync(file, { mode: 'r+', dtype: 'float64' })
    for (let i = 0; i < 5; i++) a.set(i, a.get(i) * 2)
    a.flushSync()
    a.close()
    t.deepEqual(openSync(file).toArray(), [0, 2, 4, 6, 8])
  })

  test(`${extension}: read-only rejects a writable view`, (t) => {
    const file = path(t)
    createSync(file, Float64Array.of(1)).close()
    t.throws(() => openSync(file).viewMut(), { code: 'ERR_READ_ONLY' })
  })

  test(`${extension}: copy-on-write changes memory, not the file`, (t) => {
    const file = path(t)
    createSync(file, Float32Array.of(0, 1, 2, 3, 4, 5)).close()
    const a = openSync(file, { mode: 'c', dtype: 'float32' })
    a.viewMut().fill(-1)
    a.flushSync()
    t.deepEqual(a.toArray(), [-1, -1, -1, -1, -1, -1])
    t.deepEqual(openSync(file).toArray(), [0, 1, 2, 3, 4, 5])
  })

  test(`${extension}: dtype mismatch, in every mode`, (t) => {
    const file = path(t)
    createSync(file, Float32Array.of(1)).close()
    for (const mode of ['r', 'r+', 'c'] as const) {
      const error = t.throws(() => openSync(file, { mode, dtype: 'float64' }), { code: 'ERR_DTYPE_MISMATCH' })
      t.like(error, { expected: 'float64', actual: 'float32' })
    }
  })

  test(`${extension}: a source that is not contiguous is written in C order`, (t) => {
    const fortran = new NdView(ramp([12]).data, [3, 4], [1, 3], 0)
    const a = createSync(path(t), fortran)
    t.true(a.flags.C_CONTIGUOUS)
    t.deepEqual(a.toArray(), fortran.toArray())
  })

  test(`${extension}: what needs contiguous memory says so on a strided view`, (t) => {
    const a = createSync(path(t), ramp([3, 4]))
    for (const view of [a.T, a.slice(null, '::2'), a.slice('::-1')]) {
      t.throws(() => view.toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS' })
      t.is(view.toTypedArray({ copy: true }).length, view.length)
    }
    t.throws(() => a.T.reshape([12]), { code: 'ERR_NOT_CONTIGUOUS' })
    t.throws(() => a.toTypedArray({ copy: 'no' as never }), { code: 'ERR_INVALID_ARG_TYPE' })
  })

  test(`${extension}: to an owned array`, (t) => {
    const a = createSync(path(t), ramp([2, 3, 4]))
    const owned = a.copy()
    a.close()
    t.true(owned instanceof NdView && !(owned instanceof MmapArray))
    t.is(owned.get(1, 2, 3), 23)
  })

  test(`${extension}: an empty array, reopened`, (t) => {
    const file = path(t)
    createSync(file, new Float64Array(0)).close()
    for (const mode of ['r', 'r+', 'c'] as const) {
      const a = openSync(file, { mode })
      t.deepEqual([a.shape, a.isEmpty, a.toArray()], [[0], true, []])
      a.close()
    }
  })
}
