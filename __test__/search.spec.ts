/** take, topk and dot: what they are told, what they refuse, and how they end. Values: numpy-search.spec.ts. */
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createSync, isMmapError, type MappedView, type MmapArray, NdView, openSync } from '../src/index.js'
import { folder, isPending, listOf, refusal, worker } from './helpers.js'

const floats = (t: ExecutionContext, shape: number[], values: number[], name = 'm.npy') =>
  createSync(join(folder(t), name), { data: Float32Array.from(values), shape })

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
type Any = any

test('take gathers rows and columns, of any kind of indices', async (t) => {
  using a = floats(t, [3, 2], [0, 1, 10, 11, 20, 21])
  const cases: [name: string, indices: Any, axis: number | undefined, shape: number[], values: number[]][] = [
    ['rows', [2, 0, 2], undefined, [3, 2], [20, 21, 0, 1, 20, 21]],
    ['from the end', [-1, -3], 0, [2, 2], [20, 21, 0, 1]],
    ['columns', [1], 1, [3, 1], [1, 11, 21]],
    ['the last axis', [1, 1], -1, [3, 2], [1, 1, 11, 11, 21, 21]],
    ['one index', 1, 0, [2], [10, 11]],
    ['a bigint', -1n, 0, [2], [20, 21]],
    ['bigints', [1n], 0, [1, 2], [10, 11]],
    ['nested', [[0], [1]], 0, [2, 1, 2], [0, 1, 10, 11]],
    ['a typed array', Uint8Array.of(1), 0, [1, 2], [10, 11]],
    ['64 bits', BigInt64Array.of(-2n), 0, [1, 2], [10, 11]],
    ['a strided view', new NdView(Int32Array.of(0, 9, 2, 9), [2], [2]), 0, [2, 2], [0, 1, 20, 21]],
    ['none', [], 0, [0, 2], []],
  ]
  for (const [name, indices, axis, shape, values] of cases) {
    for (const found of [await a.take(indices, { axis }), a.takeSync(indices, { axis })]) {
      t.deepEqual([found.dtype, found.shape, listOf(found.toTypedArray())], ['float32', shape, values], name)
    }
  }
  using indices = createSync(join(folder(t), 'i.npy'), Int16Array.of(1, -1))
  t.deepEqual(listOf((await a.take(indices)).toTypedArray()), [10, 11, 20, 21])
  t.deepEqual(listOf(a.T.takeSync([1]).toTypedArray()), [1, 11, 21])
})

test('topk ranks rows by each metric; ties by index, NaN last', async (t) => {
  using a = floats(t, [5, 2], [3, 4, 0, 1, Number.NaN, 1, 0, 1, 6, 8])
  const query = Float32Array.of(0, 1)
  t.deepEqual(await a.topk(query, 5), { indices: [4, 0, 1, 3, 2], scores: [8, 4, 1, 1, Number.NaN] })
  t.deepEqual(a.topkSync(query, 2, { metric: 'l2' }), { indices: [1, 3], scores: [0, 0] })
  const { indices, scores } = await a.topk([0, 1], 4, { metric: 'cosine' })
  t.deepEqual(
    [indices, scores],
    [
      [1, 3, 0, 4],
      [1, 1, 0.8, 0.8],
    ],
  )
  const nothing = a.topkSync([0, 0], 3, { metric: 'cosine' })
  t.deepEqual(nothing, { indices: [0, 1, 2], scores: [Number.NaN, Number.NaN, Number.NaN] }, 'no direction')
  t.deepEqual(a.topkSync(a.pick(1) as MappedView<'float32'>, 1).indices, [4], 'a query that is mapped')
})

test('results do not depend on the number of threads', async (t) => {
  const [rows, columns] = [3000, 700]
  let state = 1
  const values = Array.from({ length: rows * columns }, () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647 - 0.5
  })
  using a = floats(t, [rows, columns], values)
  const query = Float32Array.from(values.slice(0, columns))
  const once = a.topkSync(query, 50, { threads: 1 })
  const product = listOf((a.dotSync(query, { threads: 1 }) as NdView<'float64'>).toTypedArray())
  for (const threads of [2, 3, 8]) {
    t.deepEqual(await a.topk(query, 50, { threads }), once)
    const again = (await a.dot(query, { threads })) as NdView<'float64'>
    t.deepEqual(listOf(again.toTypedArray()), product)
  }
})

test('dot of integers is exact, of any size', async (t) => {
  const dir = folder(t)
  using small = createSync(join(dir, 'i4.npy'), Int32Array.of(2 ** 31 - 1, -(2 ** 31), 7))
  t.is(await small.dot(small), Number((2n ** 31n - 1n) ** 2n + 2n ** 62n + 49n))
  using large = createSync(join(dir, 'i8.npy'), BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, -3n))
  t.is(await large.dot(large), 2n ** 126n + (2n ** 63n - 1n) ** 2n + 9n)
  using unsigned = createSync(join(dir, 'u8.npy'), BigUint64Array.of(2n ** 64n - 1n, 2n ** 64n - 1n))
  t.is(unsigned.dotSync(unsigned), 2n * (2n ** 64n - 1n) ** 2n)
  const rows = unsigned.reshape([1, 2])
  t.is((await refusal((sync) => (rows as Any)[`dot${sync}`](unsigned))).code, 'ERR_OUT_OF_RANGE')
  using flags = createSync(join(dir, 'b.npy'), [true, false, true])
  t.is(await flags.dot([true, true, true]), 2)
})

test('nothing has the results that numpy gives it', async (t) => {
  const dir = folder(t)
  using none = createSync(join(dir, 'none.npy'), { shape: [0, 3], dtype: 'float64' })
  using thin = createSync(join(dir, 'thin.npy'), { shape: [3, 0], dtype: 'float64' })
  t.deepEqual((await none.take([])).shape, [0, 3])
  t.deepEqual((await none.take([1, 2], { axis: 1 })).shape, [0, 2])
  t.deepEqual((await thin.take([1, 2, 0, 0])).shape, [4, 0])
  t.deepEqual(((await none.dot([1, 2, 3])) as NdView).shape, [0])
  t.deepEqual(listOf(((await thin.dot([])) as NdView<'float64'>).toTypedArray()), [0, 0, 0])
  t.is(await thin.pick(0).dot([]), 0)
  t.deepEqual(await thin.topk([], 2), { indices: [0, 1], scores: [0, 0] })
  for (const call of [
    (sync: string) => (none as Any)[`take${sync}`]([0]),
    (sync: string) => (none as Any)[`topk${sync}`]([1, 2, 3], 1),
  ]) {
    t.is((await refusal(call)).code, 'ERR_OUT_OF_RANGE')
  }
})

test('wrong use is refused by both forms, with its code', async (t) => {
  using a = floats(t, [3, 2], [0, 1, 2, 3, 4, 5])
  using n = createSync(join(folder(t), 'n.npy'), new Int32Array(4))
  const cases: [name: string, view: Any, method: string, args: Any[], code: string, text?: string][] = [
    ['index past the end', a, 'take', [[0, 3]], 'ERR_OUT_OF_RANGE', 'indices[1] is 3'],
    ['index before the start', a, 'take', [Int8Array.of(0, 0, -4)], 'ERR_OUT_OF_RANGE', 'indices[2] is -4'],
    [
      'in the second row',
      a,
      'take',
      [
        [
          [0, 0],
          [0, 9],
        ],
      ],
      'ERR_OUT_OF_RANGE',
      'indices[3] is 9',
    ],
    ['fraction', a, 'take', [[0, 0.5]], 'ERR_OUT_OF_RANGE', 'indices[1]'],
    ['NaN', a, 'take', [[Number.NaN]], 'ERR_OUT_OF_RANGE'],
    ['text', a, 'take', ['0'], 'ERR_INVALID_ARG_TYPE', 'indices'],
    ['nothing', a, 'take', [undefined], 'ERR_INVALID_ARG_TYPE'],
    ['texts', a, 'take', [['0']], 'ERR_INVALID_ARG_TYPE'],
    ['floats', a, 'take', [Float64Array.of(0)], 'ERR_INVALID_ARG_TYPE'],
    ['truth', a, 'take', [[true]], 'ERR_INVALID_ARG_TYPE'],
    ['axis', a, 'take', [[0], { axis: 2 }], 'ERR_OUT_OF_RANGE', 'axis'],
    ['option', a, 'take', [[0], { axes: 1 }], 'ERR_INVALID_ARG_VALUE', 'axes'],
    ['threads', a, 'take', [[0], { threads: 0 }], 'ERR_OUT_OF_RANGE', 'threads'],
    ['signal', a, 'dot', [[1, 2], { signal: 1 }], 'ERR_INVALID_ARG_TYPE', 'signal'],
    ['k over the rows', a, 'topk', [[1, 2], 4], 'ERR_OUT_OF_RANGE', '3, the number of rows'],
    ['k of 0', a, 'topk', [[1, 2], 0], 'ERR_OUT_OF_RANGE'],
    ['k with a fraction', a, 'topk', [[1, 2], 1.5], 'ERR_OUT_OF_RANGE'],
    ['no k', a, 'topk', [[1, 2]], 'ERR_INVALID_ARG_TYPE'],
    ['query of another dtype', a, 'topk', [Float64Array.of(1, 2), 1], 'ERR_DTYPE_MISMATCH', 'float64'],
    ['query of another length', a, 'topk', [[1, 2, 3], 1], 'ERR_INVALID_ARG_VALUE', '2 elements'],
    ['query of two axes', a, 'topk', [[[1, 2]], 1], 'ERR_INVALID_ARG_VALUE'],
    ['query of text', a, 'topk', ['12', 1], 'ERR_INVALID_ARG_TYPE', 'query'],
    ['metric', a, 'topk', [[1, 2], 1, { metric: 'L2' }], 'ERR_INVALID_ARG_VALUE', 'metric'],
    ['a vector as matrix', a.pick(0), 'topk', [[1, 2], 1], 'ERR_INVALID_ARG_VALUE', 'two axes'],
    ['a matrix of integers', n.reshape([2, 2]), 'topk', [[1, 2], 1], 'ERR_UNSUPPORTED_DTYPE', 'int32'],
    ['vector of another dtype', a, 'dot', [Int32Array.of(1, 2)], 'ERR_DTYPE_MISMATCH', 'int32'],
    ['vector of another length', a, 'dot', [[1]], 'ERR_INVALID_ARG_VALUE'],
    ['a number', a, 'dot', [1], 'ERR_INVALID_ARG_TYPE'],
    ['no axis', a.pick(0, 0), 'dot', [[1]], 'ERR_INVALID_ARG_VALUE'],
    ['no axis to take from', a.pick(0, 0), 'take', [[0]], 'ERR_INVALID_ARG_VALUE'],
  ]
  for (const [name, view, method, args, code, text = ''] of cases) {
    const error = await refusal((sync) => view[`${method}${sync}`](...args))
    t.is(error.code, code, name)
    t.true(error.message?.includes(text), `${name}: ${error.message}`)
  }
})

test('promises are settled by a thread, and take a signal and tell of progress', async (t) => {
  using a = floats(t, [3, 2], [0, 1, 2, 3, 4, 5])
  t.true(await isPending(a.take([0])))
  t.true(await isPending(a.topk([1, 2], 1)))
  t.true(await isPending(a.dot([1, 2])))
  const reason = new Error('enough')
  for (const sync of ['', 'Sync']) {
    const call = async () => (a as Any)[`dot${sync}`]([1, 2], { signal: AbortSignal.abort(reason) })
    const error = await t.throwsAsync(call, { name: 'AbortError' })
    t.is(error?.cause, reason)
  }
  const told: [number, number][] = []
  a.takeSync([0, 1], { onProgress: (done, total) => told.push([done, total]) })
  await a.topk([1, 2], 1, { onProgress: (done, total) => told.push([done, total]) })
  t.deepEqual(told, [
    [4, 4],
    [6, 6],
  ])
})

/** A view without end: one element over and over, so that work on it does not finish by itself. */
const endless = (a: MmapArray<'float32'>, rows: number) =>
  a.slice('0:1', '0:1').broadcastTo([rows, 2 ** 20]) as MappedView<'float32'>

test('close ends it with ERR_CLOSED, an abort with ABORT_ERR', async (t) => {
  const a = floats(t, [3, 2], [0, 1, 2, 3, 4, 5])
  using b = floats(t, [3, 2], [0, 1, 2, 3, 4, 5], 'b.npy')
  const signal = AbortSignal.timeout(20)
  const query = new Float32Array(2 ** 20)
  const aborted = await t.throwsAsync(endless(b, 2 ** 24).topk(query, 1, { signal }))
  t.true(isMmapError(aborted, 'ABORT_ERR'))
  // A gibibyte, which nobody fills once it is not wanted any more.
  const rows = new Uint8Array(256)
  const untaken = await t.throwsAsync(endless(b, 2).take(rows, { signal: AbortSignal.timeout(20) }))
  t.true(isMmapError(untaken, 'ABORT_ERR'))
  const take = endless(a, 2).take(rows, { threads: 1 })
  const dot = endless(a, 2 ** 24).dot(query)
  // The mapped operand of work on another array.
  const vector = a.slice('0:1', 0).broadcastTo([2 ** 20]) as MappedView<'float32'>
  const other = endless(b, 2 ** 10).dot(vector, { threads: 1 })
  const outcomes = Promise.allSettled([take, dot, other])
  a.close()
  for (const outcome of await outcomes) {
    t.true(outcome.status === 'rejected' && isMmapError(outcome.reason, 'ERR_CLOSED'))
  }
  for (const [method, args] of [
    ['take', [[0]]],
    ['topk', [[1, 2], 1]],
    ['dot', [[1, 2]]],
  ] as const) {
    t.is((await refusal((sync) => (a as Any)[`${method}${sync}`](...args))).code, 'ERR_CLOSED', method)
  }
  t.is((await refusal((sync) => (b.pick(0) as Any)[`dot${sync}`](a))).code, 'ERR_CLOSED', 'the operand')
})

test('an attached array takes and searches as well', async (t) => {
  using a = floats(t, [3, 2], [0, 1, 2, 3, 4, 5])
  const there = worker(t)
  const found = await there.call(
    `const a = m.attachSync(x)
     const taken = await a.take([2])
     const best = await a.topk([1, 0], 1)
     a.close()
     return [taken.toArray(), best]`,
    a.toHandle(),
  )
  t.deepEqual(found, [[[4, 5]], { indices: [2], scores: [4] }])
})

test('a file of the other byte order is searched in place', async (t) => {
  const path = join(folder(t), 'big.raw')
  createSync(path, { data: new Uint8Array(new Float32Array(2).buffer), shape: [8], dtype: 'uint8' }).close()
  using bytes = openSync(path, { format: 'raw', dtype: 'uint8', mode: 'r+' })
  new DataView(bytes.data.buffer as ArrayBuffer, (bytes.data as Uint8Array).byteOffset).setFloat32(4, 2.5)
  using a = openSync(path, { format: 'raw', dtype: '>f4' as Any, shape: [2, 1] })
  t.deepEqual(await a.topk([2], 1), { indices: [1], scores: [5] })
  t.deepEqual((await a.take([1])).toArray(), [[2.5]])
})
