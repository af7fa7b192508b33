/** histogram, equals and allClose: what they are told, what they refuse, and how they end. Values: numpy-search.spec.ts. */
import { join } from 'node:path'
import test from 'ava'
import { createSync, isMmapError, type MappedView, NdView } from '../src/index.js'
import { folder, isPending, refusal } from './helpers.js'

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
type Any = any
test('histogram counts what is between its edges, the last one included', async (t) => {
  const dir = folder(t)
  using a = createSync(join(dir, 'a.npy'), Float64Array.of(0, 1, 1.5, 2, 3, 4))
  const cases: [options: Any, counts: number[], edges: number[]][] = [
    [{ bins: 4 }, [1, 2, 1, 2], [0, 1, 2, 3, 4]],
    [{ bins: 2, range: [1, 3] }, [2, 2], [1, 2, 3]],
    [{ bins: 2, range: [5, 7] }, [0, 0], [5, 6, 7]],
    [{ bins: 1, range: [1.5, 1.5] }, [3], [1, 2]],
  ]
  for (const [options, counts, edges] of cases) {
    for (const found of [await a.histogram(options), a.histogramSync(options)]) {
      t.deepEqual(found, { counts, edges }, JSON.stringify(options))
    }
  }
  t.is((await a.histogram()).counts.length, 10)
  using nan = createSync(join(dir, 'nan.npy'), Float32Array.of(1, Number.NaN, 2, Number.POSITIVE_INFINITY))
  t.deepEqual((await nan.histogram({ bins: 2, range: [1, 3] })).counts, [1, 1])
  using same = createSync(join(dir, 'same.npy'), Int8Array.of(7, 7, 7))
  t.deepEqual(await same.histogram({ bins: 2 }), { counts: [0, 3], edges: [6.5, 7, 7.5] })
  using long = createSync(join(dir, 'long.npy'), BigInt64Array.of(-(2n ** 63n), 0n, 2n ** 63n - 1n))
  t.deepEqual((await long.histogram({ bins: 2 })).counts, [1, 2])
  using none = createSync(join(dir, 'none.npy'), new Float32Array(0))
  t.deepEqual(await none.histogram({ bins: 2 }), { counts: [0, 0], edges: [0, 0.5, 1] })
})

test('equals takes anything with elements, and is false for another shape', async (t) => {
  const dir = folder(t)
  const values = [
    [1, 2],
    [3, 4],
  ]
  using a = createSync(join(dir, 'a.npy'), values)
  using b = createSync(join(dir, 'b.npy'), values, { order: 'F' })
  using c = createSync(join(dir, 'c.npy'), { data: Int16Array.of(1, 2, 3, 4), shape: [2, 2] })
  const memory = (data: Any, shape: number[]) => new NdView(data, shape)
  const cases: [name: string, other: Any, equal: boolean][] = [
    ['itself', a, true],
    ['another file and order', b, true],
    ['another dtype', c, true],
    ['nested numbers', values, true],
    ['memory', memory(Float64Array.of(1, 2, 3, 4), [2, 2]), true],
    ['memory, turned', memory(Float64Array.of(1, 3, 2, 4), [2, 2]).T, true],
    ['bigints', memory(BigInt64Array.of(1n, 2n, 3n, 4n), [2, 2]), true],
    ['something like an ndarray', { data: [1, 2, 3, 4], shape: [2, 2] }, true],
    ['one element off', memory(Float64Array.of(1, 2, 3, 5), [2, 2]), false],
    ['nearly', memory(Float64Array.of(1, 2, 3, 4 + 2 ** -50), [2, 2]), false],
    ['turned', a.T, false],
    ['as many elements', Float64Array.of(1, 2, 3, 4), false],
    ['one row', [[1, 2]], false],
    ['a number', 1, false],
  ]
  for (const [name, other, equal] of cases) {
    t.is(await a.equals(other), equal, name)
    t.is(a.equalsSync(other), equal, name)
  }
  using nan = createSync(join(dir, 'nan.npy'), Float32Array.of(Number.NaN, -0))
  t.false(await nan.equals(nan))
  t.true(await nan.equals([Number.NaN, 0], { equalNaN: true }))
  using none = createSync(join(dir, 'none.npy'), { shape: [0, 3], dtype: 'uint8' })
  t.true(await none.equals(none))
  t.false(await none.equals([]))
})

test('allClose is that of numpy: relative to the other, and repeated to the shape', async (t) => {
  const dir = folder(t)
  using a = createSync(join(dir, 'a.npy'), [
    [1, 100],
    [1, 100],
  ])
  const cases: [name: string, other: Any, options: Any, close: boolean][] = [
    ['the same', a, undefined, true],
    ['within', [1.000005, 100.0005], undefined, true],
    ['beyond', [1.00005, 100], undefined, false],
    ['absolute', [1.4, 100.4], { rtol: 0, atol: 0.5 }, true],
    ['relative to the other', [2, 200], { rtol: 0.5, atol: 0 }, true],
    ['not to this one', [0.6, 60], { rtol: 0.5, atol: 0 }, false],
    ['exact', [1, 100], { rtol: 0, atol: 0 }, true],
    ['one number', 50.5, { atol: 50, rtol: 0 }, true],
    ['integers', Int32Array.of(1, 100), undefined, true],
  ]
  for (const [name, other, options, close] of cases) {
    t.is(await a.allClose(other, options), close, name)
    t.is(a.allCloseSync(other, options), close, name)
  }
  using odd = createSync(join(dir, 'odd.npy'), Float64Array.of(Number.NaN, Number.POSITIVE_INFINITY))
  t.false(await odd.allClose(odd))
  t.true(await odd.allClose(odd, { equalNaN: true }))
  t.false(await odd.allClose([Number.NaN, 1], { equalNaN: true, atol: 1e300 }))
  using integers = createSync(join(dir, 'integers.npy'), Int32Array.of(1, 1))
  t.true(await integers.allClose([0.75, 1.25], { atol: 0.25, rtol: 0 }), 'numbers stay what they are')
})

test('what is in memory is compared in parts, whole or strided, to its last element', async (t) => {
  const shape = [3, 700, 500]
  const data = Float32Array.from({ length: 3 * 700 * 500 }, (_, i) => i % 1000)
  using a = createSync(join(folder(t), 'a.npy'), { data, shape })
  const same = new NdView(data.slice(), shape)
  t.true(await a.equals(same))
  t.true(a.transpose(2, 0, 1).equalsSync(same.transpose(2, 0, 1)))
  t.true(await a.slice(null, '::-1').equals(same.slice(null, '::-1')))
  for (const at of [0, data.length - 1]) {
    const other = new NdView(data.with(at, -1), shape)
    t.false(await a.equals(other), `${at}`)
    t.false(a.allCloseSync(other), `${at}`)
  }
})

test('wrong use is refused by both forms, with its code', async (t) => {
  const dir = folder(t)
  using a = createSync(join(dir, 'a.npy'), [1, 2, 3])
  using odd = createSync(join(dir, 'odd.npy'), [1, Number.NaN])
  using wide = createSync(join(dir, 'wide.npy'), [1, Number.POSITIVE_INFINITY])
  const cases: [name: string, view: Any, method: string, args: Any[], code: string, text?: string][] = [
    ['no bins', a, 'histogram', [{ bins: 0 }], 'ERR_OUT_OF_RANGE', 'bins'],
    ['half a bin', a, 'histogram', [{ bins: 1.5 }], 'ERR_OUT_OF_RANGE'],
    ['bins of text', a, 'histogram', [{ bins: 'auto' }], 'ERR_INVALID_ARG_TYPE'],
    ['edges', a, 'histogram', [{ bins: [0, 1] }], 'ERR_INVALID_ARG_TYPE'],
    ['more bins than memory', a, 'histogram', [{ bins: 2 ** 31 }], 'ERR_TOO_LARGE'],
    ['more than that', a, 'histogram', [{ bins: 2 ** 31 + 1 }], 'ERR_OUT_OF_RANGE'],
    ['range that goes down', a, 'histogram', [{ range: [1, 0] }], 'ERR_INVALID_ARG_VALUE', 'lesser'],
    ['range of one', a, 'histogram', [{ range: [1] }], 'ERR_INVALID_ARG_TYPE'],
    ['range of NaN', a, 'histogram', [{ range: [0, Number.NaN] }], 'ERR_OUT_OF_RANGE', 'finite'],
    ['NaN without a range', odd, 'histogram', [], 'ERR_INVALID_ARG_VALUE', 'give the range'],
    ['infinity without a range', wide, 'histogram', [], 'ERR_INVALID_ARG_VALUE', 'give the range'],
    [
      'more bins than floats',
      a,
      'histogram',
      [{ bins: 99, range: [1, 1 + 2 ** -50] }],
      'ERR_INVALID_ARG_VALUE',
    ],
    ['option', a, 'histogram', [{ bin: 3 }], 'ERR_INVALID_ARG_VALUE', 'bins'],
    ['nothing to compare', a, 'equals', [], 'ERR_INVALID_ARG_TYPE'],
    ['text', a, 'equals', ['1, 2, 3'], 'ERR_INVALID_ARG_TYPE'],
    ['equalNaN', a, 'equals', [a, { equalNaN: 1 }], 'ERR_INVALID_ARG_TYPE', 'equalNaN'],
    ['misspelt', a, 'equals', [a, { equalNan: true }], 'ERR_INVALID_ARG_VALUE', 'equalNaN'],
    ['another shape', a, 'allClose', [[1, 2]], 'ERR_INVALID_ARG_VALUE', 'shape'],
    ['rtol below 0', a, 'allClose', [a, { rtol: -1 }], 'ERR_OUT_OF_RANGE', 'rtol'],
    ['atol of NaN', a, 'allClose', [a, { atol: Number.NaN }], 'ERR_OUT_OF_RANGE', 'atol'],
    ['atol of text', a, 'allClose', [a, { atol: '1' }], 'ERR_INVALID_ARG_TYPE', 'atol'],
  ]
  for (const [name, view, method, args, code, text = ''] of cases) {
    const error = await refusal((sync) => view[`${method}${sync}`](...args))
    t.is(error.code, code, name)
    t.true(error.message?.includes(text), `${name}: ${error.message}`)
  }
})

test('promises are settled by a thread; close and abort end them', async (t) => {
  const dir = folder(t)
  const a = createSync(join(dir, 'a.npy'), [1, 2, 3])
  using b = createSync(join(dir, 'b.npy'), [1, 2, 3])
  t.true(await isPending(a.histogram()))
  t.true(await isPending(a.equals(b)))
  t.true(await isPending(a.allClose(b)))
  const endless = (view: MappedView<'float64'>) =>
    view.slice('0:1').broadcastTo([2 ** 44]) as MappedView<'float64'>
  const signal = AbortSignal.timeout(20)
  const aborted = await t.throwsAsync(endless(b).equals(endless(b), { signal }))
  t.true(isMmapError(aborted, 'ABORT_ERR'))
  const running = Promise.allSettled([endless(a).histogram({ range: [0, 1] }), endless(a).equals(endless(b))])
  a.close()
  for (const outcome of await running) {
    t.true(outcome.status === 'rejected' && isMmapError(outcome.reason, 'ERR_CLOSED'))
  }
  t.is((await refusal((sync) => (a as Any)[`histogram${sync}`]())).code, 'ERR_CLOSED')
  t.is((await refusal((sync) => (b as Any)[`equals${sync}`](a))).code, 'ERR_CLOSED')
  t.is((await refusal((sync) => (b as Any)[`allClose${sync}`](a))).code, 'ERR_CLOSED')
})
