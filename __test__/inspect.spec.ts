/** The text of a view: what it says, and how little it reads to say it. */
import { inspect } from 'node:util'
import test from 'ava'
import type { DType } from '../src/dtype.js'
import { formatScalar } from '../src/inspect.js'
import { NdView } from '../src/nd-view.js'

const count = (n: number) => Float32Array.from({ length: n }, (_, i) => i)

const texts: [string, NdView, string][] = [
  ['a short row', new NdView(count(3)), 'NdView<float32> [3] [0, 1, 2]'],
  ['six are all shown', new NdView(count(6)), 'NdView<float32> [6] [0, 1, 2, 3, 4, 5]'],
  ['of seven, the edges', new NdView(count(7)), 'NdView<float32> [7] [0, 1, 2, ..., 4, 5, 6]'],
  ['a small matrix', new NdView(count(6), [2, 3]), 'NdView<float32> [2, 3] [[0, 1, 2], [3, 4, 5]]'],
  ['no axes', new NdView(count(1), []), 'NdView<float32> [] 0'],
  ['no elements', new NdView(count(0), [0, 3]), 'NdView<float32> [0, 3] []'],
  ['an empty inner axis', new NdView(count(0), [1e9, 0]), 'NdView<float32> [1000000000, 0] []'],
  ['negative strides', new NdView(count(3)).step(-1), 'NdView<float32> [3] [2, 1, 0]'],
  ['bigints', new NdView(BigInt64Array.of(1n, -2n)), 'NdView<int64> [2] [1n, -2n]'],
  [
    'bool',
    new NdView(Uint8Array.of(1, 0), [2], undefined, undefined, 'bool'),
    'NdView<bool> [2] [true, false]',
  ],
  [
    'a large matrix, a line for each row',
    new NdView(count(8000), [10, 800]),
    [
      'NdView<float32> [10, 800]',
      '[[0, 1, 2, ..., 797, 798, 799],',
      ' [800, 801, 802, ..., 1597, 1598, 1599],',
      ' [1600, 1601, 1602, ..., 2397, 2398, 2399],',
      ' ...,',
      ' [5600, 5601, 5602, ..., 6397, 6398, 6399],',
      ' [6400, 6401, 6402, ..., 7197, 7198, 7199],',
      ' [7200, 7201, 7202, ..., 7997, 7998, 7999]]',
    ].join('\n'),
  ],
]

for (const [name, view, text] of texts) {
  test(name, (t) => {
    t.is(inspect(view), text)
  })
}

test('however large and however many axes, at most 36 elements are read', (t) => {
  const shapes = [
    [2 ** 50],
    [2 ** 25, 2 ** 25],
    [100, 100, 100],
    [7, 7, 7, 7, 7],
    Array(52).fill(2),
    Array(64).fill(1),
  ]
  for (const shape of shapes) {
    const read = new Set<number>()
    const length = shape.reduce((a, b) => a * b, 1)
    const store = { length, get: (i: number) => read.add(i).size, set: () => {} }
    const text = inspect(new NdView(store, shape, undefined, undefined, 'float64'))
    t.true(read.size >= 1 && read.size <= 36, `${read.size} of [${shape}]`)
    t.true(text.length < 4000)
    t.is(text.split('[').length, text.split(']').length)
  }
})

test('64 axes of 2 through strides of 0: still at most 36 reads', (t) => {
  let reads = 0
  const store = { length: 1, get: () => ++reads, set: () => {} }
  const view = new NdView(store, Array(52).fill(2), Array(52).fill(0), 0, 'int32')
  t.true(inspect(view).includes('...'))
  t.is(reads, 36)
})

test('nested deeper than inspect goes, only the header', (t) => {
  t.is(inspect({ a: { b: { c: new NdView(count(3)) } } }, { depth: 2 }).includes('[0'), false)
})

test('nothing is read once the data is gone', (t) => {
  const view = new NdView(count(4), [2, 2])
  structuredClone(view.data, { transfer: [(view.data as Float32Array).buffer as ArrayBuffer] })
  t.is(inspect(view), 'NdView<float32> [2, 2] (detached)')
})

test('toJSON is a summary without elements', (t) => {
  const view = new NdView(count(24), [2, 3, 4]).pick(1).T
  t.deepEqual(JSON.parse(JSON.stringify(view)), {
    dtype: 'float32',
    shape: [4, 3],
    stride: [1, 4],
    offset: 12,
    order: [0, 1],
    nbytes: 48,
  })
})

test('scalars: as short as they stay themselves', (t) => {
  const table: [DType, number | bigint, string][] = [
    ['float32', Math.fround(0.1), '0.1'],
    ['float32', Math.fround(1 / 3), '0.33333334'],
    ['float32', Math.fround(16777217), '16777216'],
    ['float32', Math.fround(1e38), '1e+38'],
    ['float32', Number.NaN, 'NaN'],
    ['float32', Number.NEGATIVE_INFINITY, '-Infinity'],
    ['float32', -0, '-0'],
    ['float64', 0.1, '0.1'],
    ['float64', Math.fround(0.1), '0.10000000149011612'],
    ['uint64', 2n ** 64n - 1n, '18446744073709551615n'],
    ['bool', 1, 'true'],
  ]
  for (const [dtype, value, text] of table) t.is(formatScalar(dtype, value), text)
})
