/** Native fill, assign and copy give what the loops of NdView give, on any layout; and they do not panic. */
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { createSync, type DType, type MappedView, type MmapArray, NdView, openSync } from '../src/index.js'
import { allocate, type Data } from '../src/store.js'
import { fixture, folder, listOf } from './helpers.js'

const seed = 20261124
const dtypes: DType[] = [
  'bool',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'float32',
  'float64',
]

type Step = { lo: number[]; hi: number[]; step: number[]; axes: number[] }

// Cut by up to three on either side of an axis of five: empty parts, with offsets outside the data, are among them.
const steps = fc.record({
  lo: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }),
  hi: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }),
  step: fc.array(fc.constantFrom(-2, -1, 1, 2), { minLength: 3, maxLength: 3 }),
  axes: fc.shuffledSubarray([0, 1, 2], { minLength: 3, maxLength: 3 }),
})

/** The same part of either kind of view. */
function part<V extends NdView>(view: V, { lo, hi, step, axes }: Step): V {
  const start = view.shape.map((n, axis) => Math.min(lo[axis] ?? 0, n))
  const cut = view.lo(...start)
  const stop = cut.shape.map((n, axis) => Math.max(0, n - (hi[axis] ?? 0)))
  return cut
    .hi(...stop)
    .step(...step)
    .transpose(...axes) as V
}

const pattern = (dtype: DType, length: number): NdView => {
  const numbers = Float64Array.from({ length }, (_, i) => ((i * 97 + 13) % 251) - 100)
  const view = new NdView(new Float64Array(length))
  view.assign(numbers)
  const target = new NdView(allocate(dtype, length) as Data, undefined, undefined, undefined, dtype)
  target.assign(view)
  return target
}

for (const dtype of dtypes) {
  test(`${dtype}: random parts`, (t) => {
    const shape = [5, 6, 7]
    const mapped = createSync(join(folder(t), 'a.npy'), pattern(dtype, 210).reshape(shape) as never)
    const model = pattern(dtype, 210).reshape(shape)
    const others = dtypes.map((other) => pattern(other, 210).reshape(shape))
    t.log(`seed ${seed}`)
    fc.assert(
      fc.property(
        steps,
        steps,
        fc.nat(dtypes.length - 1),
        fc.constantFrom('fill', 'self', 'other', 'copy'),
        (one, two, k, what) => {
          const [view, expected] = [part(mapped as MappedView, one), part(model, one)]
          if (what === 'fill') {
            const value = (
              typeof others[dtypes.indexOf(dtype)]?.get(0, 0, 0) === 'bigint' ? 42n : 42
            ) as never
            view.fill(value)
            expected.fill(value)
          } else if (what === 'copy') {
            t.deepEqual(view.copy().data, expected.copy().data)
          } else {
            // Another part of the same memory, or of an array of another dtype, cut to the shape of the target.
            const from = part(what === 'self' ? (mapped as NdView) : (others[k] as NdView), two)
            const same = part(what === 'self' ? model : (others[k] as NdView), two)
            const size = view.shape.map((n, axis) => Math.min(n, from.shape[axis] ?? 0))
            view.hi(...size).assign(from.hi(...size) as never)
            expected.hi(...size).assign(same.hi(...size) as never)
          }
          t.deepEqual(mapped.toTypedArray(), model.toTypedArray() as never)
        },
      ),
      { seed, numRuns: 150 },
    )
    mapped.close()
  })
}

test('elements of foreign byte order and at odd offsets', (t) => {
  for (const name of ['bef4_F.npy', 'bei8_C.npy', 'no_padding_unaligned.npy']) {
    const a = openSync(fixture('npy', name), { mode: 'c' }) as MmapArray
    const model = a.copy()
    t.is(typeof (a.data as { get?: unknown }).get, 'function')
    const [first, last] = [a.slice('0'), a.slice('-1')]
    first.assign(last)
    model.slice('0').assign(model.slice('-1'))
    t.deepEqual(a.copy().data, model.data)
    const value = model.get(...model.shape.map(() => 0))
    last.fill(value as never)
    model.slice('-1').fill(value as never)
    t.deepEqual(a.copy().data, model.data)
    a.set(...a.shape.map(() => 0), value as never)
    t.is(a.get(...a.shape.map(() => 0)), value)
    t.throws(() => a.toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS', message: /copy: true/ })
    a.close()
  }
})

test('parts without elements', (t) => {
  const a = createSync(join(folder(t), 'a.npy'), { shape: [3, 4], dtype: 'float64', fill: 1 })
  for (const empty of [a.hi(0).step(-1), a.slice('3:'), a.slice('::-1', '0:0'), a.lo(3, 4).step(-2, -2)]) {
    t.is(JSON.stringify(empty.toArray()).replaceAll(/[[\],]/g, ''), '')
    t.is(empty.copy().size, 0)
    t.notThrows(() => empty.fill(7).assign(8))
    t.notThrows(() => empty.flushSync())
  }
  t.true(listOf(a.toTypedArray()).every((x) => x === 1))
  a.close()
})

test('sources of every kind', (t) => {
  const a = createSync(join(folder(t), 'a.npy'), { shape: [2, 3], dtype: 'int16' })
  const generic = { data: { length: 6, get: (i: number) => i, set() {} }, shape: [2, 3], dtype: 'int16' }
  const cases: [source: unknown, expected: number[][]][] = [
    [
      7,
      [
        [7, 7, 7],
        [7, 7, 7],
      ],
    ],
    [
      [1, 2, 3],
      [
        [1, 2, 3],
        [1, 2, 3],
      ],
    ],
    [
      [[1], [2]],
      [
        [1, 1, 1],
        [2, 2, 2],
      ],
    ],
    [
      Float64Array.of(1.7, -1.7, 70000),
      [
        [1, -1, 4464],
        [1, -1, 4464],
      ],
    ],
    [
      new NdView(Int8Array.of(1, 2, 3, 4, 5, 6), [3, 2]).T,
      [
        [1, 3, 5],
        [2, 4, 6],
      ],
    ],
    [
      new Int32Array(new SharedArrayBuffer(12)).fill(9),
      [
        [9, 9, 9],
        [9, 9, 9],
      ],
    ],
    [
      generic,
      [
        [0, 1, 2],
        [3, 4, 5],
      ],
    ],
    [
      a.slice('::-1'),
      [
        [3, 4, 5],
        [0, 1, 2],
      ],
    ],
  ]
  for (const [source, expected] of cases) t.deepEqual(a.assign(source as never).toArray(), expected)
  t.throws(() => a.assign([1, 2]), { code: 'ERR_INVALID_ARG_VALUE', message: /\[2, 3\]/ })
  t.throws(() => a.assign('x' as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => a.fill(1n as never), { code: 'ERR_INVALID_ARG_TYPE' })
  const closed = openSync(fixture('npy', 'v2.npy'))
  const view = closed.slice(null)
  closed.close()
  t.throws(() => a.assign(view as never), { code: 'ERR_CLOSED' })
  a.close()
})

test('an array assigned from its own data, moved', (t) => {
  const a = createSync(
    join(folder(t), 'a.npy'),
    Float64Array.from({ length: 1000 }, (_, i) => i),
  )
  a.slice('1:').assign((a.data as Float64Array).subarray(0, 999))
  t.is(a.get(999), 998)
  t.is(a.get(1), 0)
  a.close()
})
