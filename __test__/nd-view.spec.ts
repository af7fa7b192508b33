/**
 * NdView: construction, elements, views, reshape and broadcast, writing, iteration, and the end of the data.
 *
 * Past 400 lines: one class with forty members is one feature, and its tables are kept together.
 */
import test from 'ava'
import fc from 'fast-check'
import { type DType, dtypes, isBigInt } from '../src/dtype.js'
import { MmapError } from '../src/errors.js'
import { Axes, contiguousStride, sizeOf } from '../src/layout.js'
import { Memory } from '../src/memory.js'
import { NdView, NdViewBase } from '../src/nd-view.js'
import { slice } from '../src/selection.js'
import { allocate, isStore, put } from '../src/store.js'

const SEED = 20_250_314

const count = (n: number) => Float64Array.from({ length: n }, (_, i) => i)
const grid = () => new NdView(count(24), [2, 3, 4])

test('fields of a view', (t) => {
  const data = count(24)
  const view = new NdView(data, [2, 3, 4])
  t.is(view.data, data)
  t.is(view.dtype, 'float64')
  t.deepEqual(view.shape, [2, 3, 4])
  t.deepEqual(view.stride, [12, 4, 1])
  t.is(view.strides, view.stride)
  t.is(view.offset, 0)
  t.deepEqual(view.order, [2, 1, 0])
  t.deepEqual([view.size, view.length, view.dimension, view.ndim], [24, 24, 3, 3])
  t.deepEqual([view.itemsize, view.nbytes, view.isEmpty, view.base], [8, 192, false, null])
  const part = view.pick(1).lo(1)
  t.is(part.data, data)
  t.is(part.base, view)
  t.deepEqual([part.offset, part.size, part.nbytes], [16, 8, 64])
  t.true(view.hi(0).isEmpty)
  t.is(String(view.constructor.name), 'NdView')
})

test('shape and stride are copies of the arguments', (t) => {
  const shape = [2, 3]
  const view = new NdView(count(6), shape)
  shape[0] = 9
  t.deepEqual(view.shape, [2, 3])
})

const detached = Float64Array.of(2)
structuredClone(detached.buffer, { transfer: [detached.buffer] })
const endless = new Proxy([2], { get: (list, key) => (key === 'length' ? {} : Reflect.get(list, key)) })

const badConstructions: [string, () => unknown, string][] = [
  ['an array as data', () => new NdView([1, 2] as never), 'ERR_INVALID_ARG_TYPE'],
  ['no data', () => new NdView(undefined as never), 'ERR_INVALID_ARG_TYPE'],
  [
    'a store without a dtype',
    () => new NdView({ length: 2, get: () => 1, set: () => {} }),
    'ERR_INVALID_ARG_VALUE',
  ],
  ['another dtype', () => new NdView(count(2) as never, [2], [1], 0, 'int8'), 'ERR_INVALID_ARG_VALUE'],
  ['a shape that is a number', () => new NdView(count(2), 2 as never), 'ERR_INVALID_ARG_TYPE'],
  ['a shape without a length', () => new NdView(count(2), endless as never), 'ERR_INVALID_ARG_TYPE'],
  ['a detached shape', () => new NdView(count(2)).reshape(detached as never), 'ERR_INVALID_ARG_VALUE'],
  ['a shape of strings', () => new NdView(count(2), ['2'] as never), 'ERR_INVALID_ARG_TYPE'],
  ['a shape of bigints', () => new NdView(count(2), [2n] as never), 'ERR_INVALID_ARG_TYPE'],
  ['a negative length', () => new NdView(count(2), [-2]), 'ERR_OUT_OF_RANGE'],
  ['a fraction', () => new NdView(count(2), [1.5]), 'ERR_OUT_OF_RANGE'],
  ['more elements than data', () => new NdView(count(5), [2, 3]), 'ERR_OUT_OF_RANGE'],
  ['a stride past the data', () => new NdView(count(6), [2, 3], [4, 1]), 'ERR_OUT_OF_RANGE'],
  ['an offset past the data', () => new NdView(count(6), [2, 3], [3, 1], 1), 'ERR_OUT_OF_RANGE'],
  ['one element past the data', () => new NdView(count(2), [1], [1], 2), 'ERR_OUT_OF_RANGE'],
  ['an element before the data', () => new NdView(count(6), [6], [-1], 4), 'ERR_OUT_OF_RANGE'],
  ['a negative offset', () => new NdView(count(6), [2], [3], -1), 'ERR_OUT_OF_RANGE'],
  ['a fractional stride', () => new NdView(count(6), [2], [0.5]), 'ERR_OUT_OF_RANGE'],
  ['stride and shape of different length', () => new NdView(count(6), [2, 3], [1]), 'ERR_INVALID_ARG_VALUE'],
  ['sixty-five axes', () => new NdView(count(1), Array(65).fill(1)), 'ERR_OUT_OF_RANGE'],
  ['lengths that overflow', () => new NdView(count(0), [0, 2 ** 30, 2 ** 30]), 'ERR_OUT_OF_RANGE'],
  ['strides that overflow', () => new NdView(count(2), [2 ** 50], [2 ** 50]), 'ERR_OUT_OF_RANGE'],
]

for (const [name, make, code] of badConstructions) {
  test(`constructor refuses ${name}`, (t) => {
    t.throws(make, { instanceOf: code === 'ERR_OUT_OF_RANGE' ? RangeError : TypeError, code })
  })
}

test('the whole range of layouts that reach only data is accepted', (t) => {
  t.is(new NdView(count(6), [6], [-1], 5).get(5), 0)
  t.is(new NdView(count(1), [1000, 1000], [0, 0]).get(999, 999), 0)
  t.is(new NdView(count(6), [], [], 5).get(), 5)
  t.is(new NdView(count(6), [0, 9], [1, 1], 77).size, 0)
  t.is(new NdView(count(1), Array(64).fill(1)).ndim, 64)
  t.is(new NdView(count(6), Int32Array.of(2, 3) as never).get(1, 2), 5)
})

for (const dtype of dtypes) {
  test(`${dtype}: get and set, one to six axes`, (t) => {
    const value = isBigInt(dtype) ? 1n : 1
    const zero = isBigInt(dtype) ? 0n : 0
    for (let ndim = 0; ndim <= 6; ndim++) {
      const shape = Array<number>(ndim).fill(2)
      const data = allocate(dtype, 2 ** ndim)
      const view = new NdView<DType>(data, shape, undefined, undefined, dtype)
      for (let at = 0; at < data.length; at++) {
        const index = shape.map((_, axis) => (at >> (ndim - 1 - axis)) & 1)
        t.is(view.get(...index), zero)
        t.is(view.set(...index, value), value)
        t.is(view.get(...index), value)
        t.is(isStore(data) ? data.get(at) : data[at], value)
        t.is(view.index(...index), at)
        put(data, at, zero)
      }
    }
  })
}

for (let ndim = 0; ndim <= 6; ndim++) {
  test(`${ndim} axes: every index is checked`, (t) => {
    const shape = Array<number>(ndim).fill(2)
    const view = new NdView(count(2 ** ndim), shape)
    const zeros = shape.map(() => 0)
    for (let axis = 0; axis < ndim; axis++) {
      for (const wrong of [-1, 2, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32, 2 ** 53]) {
        const index = zeros.with(axis, wrong)
        const expected = {
          instanceOf: RangeError,
          code: 'ERR_OUT_OF_RANGE',
          message: new RegExp(`index\\[${axis}\\]`),
        }
        t.throws(() => view.get(...index), expected, `${wrong}`)
        t.throws(() => view.set(...index, 1), expected, `${wrong}`)
      }
      for (const wrong of ['0', 0n, null, undefined, true, {}, [0], Symbol('i')]) {
        const index = (zeros as unknown[]).with(axis, wrong) as number[]
        const expected = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
        t.throws(() => view.get(...index), expected)
        t.throws(() => view.set(...index, 1), expected)
      }
    }
    for (const n of [ndim + 1, ndim + 2, ndim + 7, ...(ndim > 0 ? [ndim - 1] : [])]) {
      const index = Array<number>(n).fill(0)
      const expected = {
        instanceOf: TypeError,
        code: 'ERR_INVALID_ARG_VALUE',
        message: new RegExp(`${ndim} .*not ${n}`),
      }
      t.throws(() => view.get(...index), expected)
      t.throws(() => view.set(...index, 1), expected)
    }
    t.throws(() => (view.set as () => void)(), { code: 'ERR_INVALID_ARG_VALUE' })
    t.is(view.get(...zeros.map(() => -0)), 0)
  })
}

test('set checks the type of the value, and bool stores 0 or 1', (t) => {
  const longs = new NdView(new BigInt64Array(2))
  t.throws(() => longs.set(0, 5 as never), { code: 'ERR_INVALID_ARG_TYPE', message: /write 5n/ })
  t.throws(() => grid().set(0, 0, 0, 5n as never), { code: 'ERR_INVALID_ARG_TYPE', message: /Number\(5n\)/ })
  t.throws(() => grid().set(0, 0, 0, '5' as never), { code: 'ERR_INVALID_ARG_TYPE' })
  const flags = new NdView(new Uint8Array(4), [4], undefined, undefined, 'bool')
  t.is(flags.set(0, true), 1)
  t.is(flags.set(1, 256), 1)
  t.is(flags.set(2, Number.NaN), 1)
  t.is(flags.set(3, false), 0)
  t.deepEqual(flags.toTypedArray(), Uint8Array.of(1, 1, 1, 0))
  t.is(flags.pick(0).dtype, 'bool')
  const bytes = new NdView(new Uint8Array(1))
  t.is(bytes.set(0, 300), 300)
  t.is(bytes.get(0), 44)
})

test('index is arithmetic only', (t) => {
  const view = grid().step(1, -1, 2)
  t.is(view.index(1, 2, 1), 12 + 2)
  t.is(view.index(), 8)
  t.is(view.index(-1, 0, 0), -4)
})

test('toTypedArray: exactly these elements, over the same memory, or a clear refusal', (t) => {
  const data = count(24)
  const view = new NdView(data, [2, 3, 4])
  const row = view.pick(1, 2).toTypedArray()
  t.is(row.buffer, data.buffer)
  t.deepEqual(row, Float64Array.of(20, 21, 22, 23))
  t.deepEqual(view.pick(1).lo(1).toTypedArray(), data.subarray(16, 24))
  t.is(view.pick(0, 0, 3).toTypedArray().length, 1)
  t.is(view.hi(0).toTypedArray().length, 0)
  t.is(view.lo(2).toTypedArray().length, 0)
  for (const strided of [
    view.T,
    view.step(1, 1, 2),
    view.pick(null, 0),
    view.step(-1),
    view.broadcastTo([2, 2, 3, 4]),
  ]) {
    t.throws(() => strided.toTypedArray(), {
      name: 'MmapError',
      code: 'ERR_NOT_CONTIGUOUS',
      message: /\{ copy: true \}/,
    })
    const copy = strided.toTypedArray({ copy: true })
    t.not(copy.buffer, data.buffer)
    t.deepEqual([...copy], (strided.toArray() as number[]).flat(9) as number[])
  }
  t.not(view.toTypedArray({ copy: true }).buffer, data.buffer)
  t.throws(() => view.toTypedArray({ Copy: true } as never), { message: /did you mean 'copy'/ })
  const store = new NdView({ length: 2, get: (i: number) => i, set: () => {} }, [2], [1], 0, 'float32')
  t.throws(() => store.toTypedArray(), { code: 'ERR_NOT_CONTIGUOUS', message: /\{ copy: true \}/ })
  t.deepEqual(store.toTypedArray({ copy: true }), Float32Array.of(0, 1))
})

test('flags follow the layout', (t) => {
  const of = (view: NdView) => [view.flags.C_CONTIGUOUS, view.flags.F_CONTIGUOUS]
  const cases: [string, NdView, boolean[]][] = [
    ['C order', grid(), [true, false]],
    ['F order', grid().T, [false, true]],
    ['one axis', new NdView(count(4)), [true, true]],
    ['no axes', grid().pick(0, 0, 0), [true, true]],
    ['strided', grid().step(1, 1, 2), [false, false]],
    ['backwards', new NdView(count(4)).step(-1), [false, false]],
    ['axes of length 1', grid().hi(1, 1), [true, true]],
    ['empty', grid().step(1, 1, 2).hi(0), [true, true]],
    ['repeated', new NdView(count(1)).broadcastTo([3]), [false, false]],
  ]
  for (const [name, view, expected] of cases) t.deepEqual(of(view), expected, name)
  t.deepEqual(grid().T.flags, {
    C_CONTIGUOUS: false,
    F_CONTIGUOUS: true,
    ROW_MAJOR_CONTIGUOUS: false,
    COLUMN_MAJOR_CONTIGUOUS: true,
    WRITEABLE: true,
    READONLY: false,
  })
})

test('T reverses the axes', (t) => {
  const view = grid().T
  t.deepEqual(
    [view.shape, view.stride],
    [
      [4, 3, 2],
      [1, 4, 12],
    ],
  )
  t.is(view.get(3, 2, 1), 23)
})

test('slice: numpy selections give views on the same data', (t) => {
  const view = grid()
  const part = view.slice(-1, '::-1', slice(1, 3))
  t.deepEqual(part.toArray(), [
    [21, 22],
    [17, 18],
    [13, 14],
  ])
  part.set(0, 0, -1)
  t.is(view.get(1, 2, 1), -1)
  t.throws(() => view.slice(2), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => view.slice(0, 0, 0, 0), { code: 'ERR_OUT_OF_RANGE' })
})

const reshapes: [string, NdView, number[], number[] | null][] = [
  ['split', grid(), [2, 3, 2, 2], [12, 4, 2, 1]],
  ['merge', grid(), [6, 4], [4, 1]],
  ['regroup', grid(), [4, 6], [6, 1]],
  ['to one axis', grid(), [24], [1]],
  ['with -1', grid(), [3, -1, 2], [8, 2, 1]],
  ['add axes of length 1', grid(), [1, 2, 3, 1, 4, 1], [24, 12, 4, 4, 1, 1]],
  ['to no axes', grid().pick(0, 0, null).hi(1), [], []],
  ['from no axes', grid().pick(1, 1, 1), [1, 1], [1, 1]],
  ['rows of a slice', grid().slice(null, null, ':2'), [6, 2], [4, 1]],
  ['split a strided axis', grid().step(1, 1, 2), [2, 3, 2, 1], [12, 4, 2, 2]],
  ['merge what still continues', grid().step(1, 1, 2), [12], [2]],
  ['merge across a cut', grid().slice(null, null, ':3'), [18], null],
  ['transposed, merged', grid().T, [24], null],
  ['transposed, split', grid().T, [2, 2, 3, 2], [2, 1, 4, 12]],
  ['backwards', new NdView(count(6)).step(-1), [2, 3], [-3, -1]],
  ['backwards rows', grid().step(-1), [6, 4], null],
  ['repeated', new NdView(count(1)).broadcastTo([6]), [2, 3], [0, 0]],
  ['empty', grid().hi(0), [0, 7], [7, 1]],
]

for (const [name, view, shape, stride] of reshapes) {
  test(`reshape: ${name}`, (t) => {
    if (stride === null) {
      t.throws(() => view.reshape(shape), {
        name: 'MmapError',
        code: 'ERR_NOT_CONTIGUOUS',
        message: /copy\(\)/,
      })
      t.deepEqual(view.copy().reshape(shape).toTypedArray(), view.toTypedArray({ copy: true }))
      return
    }
    const reshaped = view.reshape(shape)
    t.deepEqual(reshaped.stride, stride)
    t.is(reshaped.offset, view.offset)
    t.deepEqual(reshaped.toTypedArray({ copy: true }), view.toTypedArray({ copy: true }))
  })
}

/** The strides that reach `offsets`, listed in C order, in that shape; undefined where there are none. */
function linear(offsets: readonly number[], shape: readonly number[]): number[] | undefined {
  const steps = contiguousStride(shape)
  const start = offsets[0] as number
  const stride = shape.map((extent, axis) =>
    extent === 1 ? 0 : (offsets[steps[axis] as number] as number) - start,
  )
  const reached = offsets.every((offset, position) => {
    const index = shape.map((extent, axis) => Math.floor(position / (steps[axis] as number)) % extent)
    return offset === start + index.reduce((sum, i, axis) => sum + i * (stride[axis] as number), 0)
  })
  return reached ? stride : undefined
}

test(`reshape needs no copy exactly where strides exist (seed ${SEED})`, (t) => {
  const seen = { possible: 0, impossible: 0 }
  const factors = fc.array(fc.constantFrom(1, 2, 2, 3), { minLength: 1, maxLength: 5 })
  const step = fc.array(fc.constantFrom(-1, 1, 1, 1, 2, 0), { minLength: 5, maxLength: 5 })
  const property = fc.property(factors, step, fc.nat(119), fc.nat(119), (shape, steps, turn, cut) => {
    const wide = new NdView(count(2 * sizeOf(shape) * 32), [...shape.map((extent) => extent * 2)])
    const turned = shape.map((_, axis) => (axis + turn) % shape.length)
    const repeated = wide
      .slice(...shape.map((extent) => slice(extent)))
      .step(...steps.slice(0, shape.length).map((s) => s || 1))
    const stride = repeated.stride.map((s, axis) => (steps[axis] === 0 ? 0 : s))
    const view = new NdView(wide.data, repeated.shape, stride, repeated.offset, 'float64').transpose(
      ...turned,
    )
    // Factors of the size, joined at random: a shape of as many elements.
    const target: number[] = []
    for (const [n, factor] of [...view.shape].sort((a, b) => ((a * cut) % 7) - ((b * cut) % 7)).entries()) {
      if ((cut >> n) & 1 && target.length > 0) target.push((target.pop() as number) * factor)
      else target.push(factor)
    }
    const expected = linear(
      Array.from(indicesOf(view), (index) => view.index(...index)),
      target,
    )
    seen[expected ? 'possible' : 'impossible']++
    if (expected === undefined) {
      t.throws(() => view.reshape(target), { code: 'ERR_NOT_CONTIGUOUS' }, `${view.shape} to ${target}`)
      return
    }
    const reshaped = view.reshape(target)
    t.is(reshaped.offset, view.offset)
    for (const [axis, extent] of target.entries()) if (extent > 1) t.is(reshaped.stride[axis], expected[axis])
  })
  fc.assert(property, { seed: SEED, numRuns: 1500 })
  t.log(`seed ${SEED}`, seen)
  t.true(seen.possible > 200 && seen.impossible > 200)
})

function* indicesOf({ shape }: NdView): Generator<number[]> {
  const steps = contiguousStride(shape)
  for (let position = 0; position < sizeOf(shape); position++) {
    yield shape.map((extent, axis) => Math.floor(position / (steps[axis] as number)) % extent)
  }
}

test('reshape: shapes that do not fit', (t) => {
  for (const shape of [[5], [2, 3], [-1, 7], [-1, -1], [0, -1], [24, 0]]) {
    t.throws(
      () => grid().reshape(shape),
      { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE' },
      `[${shape}]`,
    )
  }
  t.throws(() => grid().hi(0).reshape([0, -1]), { code: 'ERR_INVALID_ARG_VALUE' })
  t.throws(() => grid().reshape([-2, -12]), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => grid().reshape([1.5, 16]), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => grid().reshape(24 as never), { code: 'ERR_INVALID_ARG_TYPE' })
})

test('broadcastTo: strides of 0, read-only, by the rule of numpy', (t) => {
  const row = new NdView(count(3))
  const wide = row.broadcastTo([2, 3])
  t.deepEqual([wide.stride, wide.offset], [[0, 1], 0])
  t.deepEqual(wide.toArray(), [
    [0, 1, 2],
    [0, 1, 2],
  ])
  t.deepEqual(row.reshape([3, 1]).broadcastTo([3, 2]).toArray(), [
    [0, 0],
    [1, 1],
    [2, 2],
  ])
  t.deepEqual(row.pick(1).broadcastTo([2, 0]).size, 0)
  t.true(wide.flags.READONLY)
  t.throws(() => wide.pick(0).set(0, 1), { code: 'ERR_READ_ONLY' })
  for (const shape of [[2], [3, 2], [], [4, 1]]) {
    t.throws(() => row.broadcastTo(shape), { code: 'ERR_INVALID_ARG_VALUE' }, `[${shape}]`)
  }
  t.throws(() => row.broadcastTo([2 ** 40, 2 ** 40, 3]), { code: 'ERR_OUT_OF_RANGE' })
})

test('iteration goes along axis 0', (t) => {
  t.deepEqual([...new NdView(Int8Array.of(3, 4))], [3, 4])
  const rows = [...new NdView(count(6), [2, 3])] as NdView[]
  t.deepEqual(
    rows.map((row) => row.toArray()),
    [
      [0, 1, 2],
      [3, 4, 5],
    ],
  )
  t.deepEqual([...grid().hi(0)], [])
  t.throws(() => grid().pick(0, 0, 0)[Symbol.iterator](), { instanceOf: TypeError, message: /get\(\)/ })
})

test('toArray nests as deep as there are axes', (t) => {
  t.is(new NdView(count(1), []).toArray(), 0)
  t.deepEqual(new NdView(count(0)).toArray(), [])
  t.deepEqual(new NdView(count(0), [2, 0, 3]).toArray(), [[], []])
  t.deepEqual(new NdView(count(0), [0, 2]).toArray(), [])
  t.deepEqual(new NdView(BigUint64Array.of(1n, 2n), [2, 1]).toArray(), [[1n], [2n]])
  t.deepEqual(grid().pick(1).T.toArray(), [
    [12, 16, 20],
    [13, 17, 21],
    [14, 18, 22],
    [15, 19, 23],
  ])
})

test('copy: new memory in C order, no longer part of anything', (t) => {
  const view = grid().T.step(2)
  const copy = view.copy()
  t.deepEqual(copy.toArray(), view.toArray())
  t.deepEqual([copy.stride, copy.offset, copy.base], [[6, 2, 1], 0, null])
  t.true(copy.flags.C_CONTIGUOUS)
  copy.fill(-1)
  t.is(view.get(0, 0, 0), 0)
  t.is(new NdView(new Uint8Array(2), [2], [1], 0, 'bool').copy().dtype, 'bool')
  t.false(new NdView(count(1)).broadcastTo([3]).copy().flags.READONLY)
})

test('fill touches the elements of the view and no others', (t) => {
  const data = count(24)
  const view = new NdView(data, [2, 3, 4])
  t.is(view.pick(null, 1, null).fill(-1).size, 8)
  t.deepEqual(
    [...data.entries()].filter(([, v]) => v === -1).map(([i]) => i),
    [4, 5, 6, 7, 16, 17, 18, 19],
  )
  view.pick(0, 0, 0).fill(-2)
  t.is(data[0], -2)
  view.fill(7)
  t.true(data.every((v) => v === 7))
  t.throws(() => view.fill(1n as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => view.fill('1' as never), { code: 'ERR_INVALID_ARG_TYPE' })
  const flags = new NdView(new Uint8Array(30), [30], [1], 0, 'bool')
  t.true((flags.fill(true).toTypedArray() as Uint8Array).every((v) => v === 1))
})

const sources: [string, unknown, number[][]][] = [
  [
    'a value',
    5,
    [
      [5, 5, 5],
      [5, 5, 5],
    ],
  ],
  [
    'a typed array for each row',
    Float32Array.of(1, 2, 3),
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  ],
  [
    'another kind of typed array',
    Int8Array.of(-1, 0, 1),
    [
      [-1, 0, 1],
      [-1, 0, 1],
    ],
  ],
  [
    'bigints',
    BigInt64Array.of(-1n, 0n, 2n ** 40n),
    [
      [-1, 0, 2 ** 40],
      [-1, 0, 2 ** 40],
    ],
  ],
  [
    'nested arrays',
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
  ],
  [
    'a column',
    [[1], [2]],
    [
      [1, 1, 1],
      [2, 2, 2],
    ],
  ],
  [
    'typed rows',
    [Uint8Array.of(1, 2, 3), Float32Array.of(4, 5, 0.5)],
    [
      [1, 2, 3],
      [4, 5, 0.5],
    ],
  ],
  [
    'leading axes of length 1',
    [[[[1, 2, 3]]]],
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  ],
  [
    'a view',
    new NdView(count(6), [3, 2]).T,
    [
      [0, 2, 4],
      [1, 3, 5],
    ],
  ],
  [
    'a plain object',
    { data: count(9), shape: [2, 3], stride: [3, -1], offset: 4 },
    [
      [4, 3, 2],
      [7, 6, 5],
    ],
  ],
  [
    'an object with strides',
    { data: count(6), shape: [2, 3], strides: [1, 2], offset: 0 },
    [
      [0, 2, 4],
      [1, 3, 5],
    ],
  ],
  [
    'an object over an array',
    { data: [1, 2, 3], shape: [3] },
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  ],
  [
    'a generic ndarray',
    { data: { length: 3, get: (i: number) => i * i, set: () => {} }, shape: [3], dtype: 'generic' },
    [
      [0, 1, 4],
      [0, 1, 4],
    ],
  ],
  [
    'clamped bytes',
    { data: new Uint8ClampedArray([1, 2, 3]), dtype: 'uint8_clamped' },
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  ],
  [
    'scijs names',
    { data: BigInt64Array.of(1n), dtype: 'bigint64' },
    [
      [1, 1, 1],
      [1, 1, 1],
    ],
  ],
]

for (const [name, source, expected] of sources) {
  test(`assign: ${name}`, (t) => {
    const view = new NdView(new Float64Array(12), [3, 4]).lo(1, 1)
    t.is(view.assign(source as never), view)
    t.deepEqual(view.toArray(), expected)
    t.deepEqual(view.base?.pick(0).toArray(), [0, 0, 0, 0])
    t.deepEqual(view.base?.pick(null, 0).toArray(), [0, 0, 0])
  })
}

const badSources: [string, unknown, string][] = [
  ['the wrong length', Float64Array.of(1, 2), 'ERR_INVALID_ARG_VALUE'],
  ['as many elements in another shape', count(6), 'ERR_INVALID_ARG_VALUE'],
  [
    'too many axes',
    Array(2).fill([
      [1, 2, 3],
      [4, 5, 6],
    ]),
    'ERR_INVALID_ARG_VALUE',
  ],
  [
    'rows of different length',
    [
      [1, 2, 3],
      [1, 2],
    ],
    'ERR_INVALID_ARG_VALUE',
  ],
  [
    'a row for an element',
    [
      [1, 2, 3],
      [1, 2, [3]],
    ],
    'ERR_INVALID_ARG_TYPE',
  ],
  ['an element for a row', [[1, 2, 3], 4], 'ERR_INVALID_ARG_VALUE'],
  ['an empty array', [], 'ERR_INVALID_ARG_VALUE'],
  ['a bigint', 5n, 'ERR_INVALID_ARG_TYPE'],
  ['a boolean', true, 'ERR_INVALID_ARG_TYPE'],
  ['text', '5', 'ERR_INVALID_ARG_TYPE'],
  ['null', null, 'ERR_INVALID_ARG_TYPE'],
  ['undefined', undefined, 'ERR_INVALID_ARG_TYPE'],
  ['an object', {}, 'ERR_INVALID_ARG_TYPE'],
  ['a DataView', new DataView(new ArrayBuffer(8)), 'ERR_INVALID_ARG_TYPE'],
  ['bigints in nested arrays', [[1n, 2n, 3n]], 'ERR_INVALID_ARG_TYPE'],
  [
    'an array within itself',
    (() => {
      const a: unknown[] = []
      a[0] = a
      return a
    })(),
    'ERR_OUT_OF_RANGE',
  ],
  ['a layout outside its data', { data: count(2), shape: [2, 3] }, 'ERR_OUT_OF_RANGE'],
]

for (const [name, source, code] of badSources) {
  test(`assign refuses ${name}`, (t) => {
    const view = new NdView(new Float64Array(6), [2, 3])
    t.throws(() => view.assign(source as never), { code })
    t.deepEqual(view.toTypedArray(), new Float64Array(6))
  })
}

test('assign converts between dtypes', (t) => {
  const bools = new NdView(new Uint8Array(3), [3], [1], 0, 'bool')
  t.deepEqual(bools.assign(Float32Array.of(0, 0.5, Number.NaN)).toArray(), [0, 1, 1])
  t.deepEqual(bools.assign([true, false, true]).toArray(), [1, 0, 1])
  const longs = new NdView(new BigInt64Array(3))
  t.deepEqual(longs.assign(Float64Array.of(-1.5, Number.NaN, 2 ** 40)).toArray(), [-1n, 0n, 2n ** 40n])
  t.deepEqual(longs.assign(bools).toArray(), [1n, 0n, 1n])
  t.throws(() => longs.assign([1, 2, 3] as never), { code: 'ERR_INVALID_ARG_TYPE', message: /write 1n/ })
  const ints = new NdView(new Int32Array(3))
  t.deepEqual(ints.assign(BigInt64Array.of(2n ** 62n + 3n, -1n, 0n)).toArray(), [3, -1, 0])
})

test('a source that is detached while it is read is ERR_INVALID_STATE', (t) => {
  const store = { length: 3, get: (i: number) => (i < 2 ? i : (undefined as never)), set: () => {} }
  const source = new NdView(store, [3], [1], 0, 'float64')
  t.throws(() => new NdView(new Float64Array(3)).assign(source), { code: 'ERR_INVALID_STATE' })
})

test(`assign between overlapping views is as if the source had been copied first (seed ${SEED})`, (t) => {
  const cut = fc.record({ start: fc.nat(3), step: fc.constantFrom(-2, -1, 1, 2), rows: fc.boolean() })
  const property = fc.property(cut, cut, fc.boolean(), (to, from, other) => {
    const data = count(64)
    const whole = new NdView(data, [8, 8])
    const part = (view: NdView, c: typeof to) => {
      const turned = c.rows ? view : view.T
      return turned
        .slice({ start: c.start, stop: c.start + 4 }, { start: c.start })
        .slice(null, slice(4))
        .step(c.step > 0 ? 1 : -1)
    }
    const target = part(whole, to)
    // The same memory seen as another dtype overlaps too.
    const source = other ? part(new NdView(new BigInt64Array(data.buffer), [8, 8]), from) : part(whole, from)
    const expected = data.slice()
    const values = source.copy()
    const model = new NdView(expected, target.shape, target.stride, target.offset)
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) model.set(i, j, Number(values.get(i, j)))
    }
    target.assign(source)
    t.deepEqual(data, expected)
  })
  fc.assert(property, { seed: SEED, numRuns: 500 })
  t.log(`seed ${SEED}`)
})

test('a store that does not say where its memory is counts as overlapping', (t) => {
  const view = new NdView(count(4))
  const store = { length: 4, get: (i: number) => view.get(3 - i), set: () => {} }
  view.assign(new NdView(store, [4], [1], 0, 'float64'))
  t.deepEqual(view.toArray(), [3, 2, 1, 0])
})

test('assign of a row of the target to all of it', (t) => {
  const view = new NdView(count(9), [3, 3])
  t.deepEqual(view.assign(view.pick(1)).toArray(), [
    [3, 4, 5],
    [3, 4, 5],
    [3, 4, 5],
  ])
  const line = new NdView(count(5))
  t.deepEqual(line.lo(1).assign(line.hi(4)).base?.toArray(), [0, 0, 1, 2, 3])
  t.deepEqual(line.assign(line.step(-1)).toArray(), [3, 2, 1, 0, 0])
})

/** What a class for files does: own errors, own views, one memory under all. */
class FileView<D extends DType> extends NdViewBase<D, FileView<D>> {
  closed = 0
  static over(data: Float64Array, readOnly = false): FileView<'float64'> {
    const explain = () => new MmapError('x.npy is closed', { code: 'ERR_CLOSED', path: 'x.npy' })
    const axes = Axes.of({ shape: [2, 3], stride: [3, 1], offset: 0 })
    return new FileView<'float64'>(new Memory(data, 'float64', explain), axes, readOnly, null)
  }

  protected override derive(axes: Axes, readOnly = this.readOnly): FileView<D> {
    return new FileView<D>(this.memory, axes, readOnly, this.root)
  }

  protected override readOnlyError(): MmapError {
    return new MmapError("x.npy is open with mode 'r'", { code: 'ERR_READ_ONLY' })
  }

  view(): NdView<D> {
    return this.derive(this.axes, true)
  }

  close(): void {
    this.memory.release()
  }
}

const makers: [string, (v: NdView<'float64'>) => NdView<'float64'>][] = [
  ['lo', (v) => v.lo(1)],
  ['hi', (v) => v.hi(1)],
  ['step', (v) => v.step(-1)],
  ['transpose', (v) => v.transpose(1, 0)],
  ['T', (v) => v.T],
  ['pick', (v) => v.pick(1)],
  ['slice', (v) => v.slice('::-1')],
  ['reshape', (v) => v.reshape([3, 2])],
  ['broadcastTo', (v) => v.broadcastTo([2, 2, 3])],
  ['iteration', (v) => [...v][0] as NdView<'float64'>],
]

test('every method that makes a view goes through derive', (t) => {
  const root = FileView.over(count(6))
  for (const [name, make] of makers) {
    const view = make(root)
    t.is(view.constructor, FileView, name)
    t.is(view.base, root, name)
    t.is(make(root.lo(0)).base, root, `${name}: the base is the root, not the view between`)
  }
  t.is(root.copy().constructor, NdView as never)
})

const uses: [string, (v: NdView<'float64'>) => unknown][] = [
  ...makers,
  ['data', (v) => v.data],
  ['get', (v) => v.get(0, 0)],
  ['get outside', (v) => v.get(9, 9)],
  ['get with too few', (v) => v.get()],
  ['set', (v) => v.set(0, 0, 1)],
  ['set outside', (v) => v.set(9, 9, 1)],
  ['fill', (v) => v.fill(1)],
  ['assign', (v) => v.assign(1)],
  ['copy', (v) => v.copy()],
  ['toArray', (v) => v.toArray()],
  ['toTypedArray', (v) => v.toTypedArray()],
  ['toTypedArray copy', (v) => v.toTypedArray({ copy: true })],
  ['being a source', (v) => new NdView(new Float64Array(6), [2, 3]).assign(v)],
]

test('after release every use of every view throws what the memory says, and the layout stays', (t) => {
  const root = FileView.over(count(6))
  const readOnly = FileView.over(count(6), true)
  const views = [root, root.view(), root.slice('::-1'), readOnly, readOnly.lo(0)]
  root.close()
  readOnly.close()
  for (const view of views) {
    for (const [name, use] of uses)
      t.throws(() => use(view), { code: 'ERR_CLOSED', message: 'x.npy is closed' }, name)
    t.deepEqual(view.shape, [2, 3])
    t.deepEqual([view.dtype, view.size, view.nbytes, view.ndim, view.isEmpty], ['float64', 6, 48, 2, false])
    t.true(view.is('float64'))
    t.is(view.index(0, 0), view.offset)
    t.is(typeof view.flags.C_CONTIGUOUS, 'boolean')
    t.is(view.toJSON().nbytes, 48)
  }
})

test('an empty view knows too that its data is released', (t) => {
  const empty = FileView.over(count(6)).hi(0) as FileView<'float64'>
  empty.close()
  t.throws(() => empty.data, { code: 'ERR_CLOSED' })
  t.throws(() => empty.toTypedArray(), { code: 'ERR_CLOSED' })
  t.throws(() => empty.fill(1), { code: 'ERR_CLOSED' })
  t.throws(() => [...empty], { code: 'ERR_CLOSED' })
})

test('so does a view of data without elements', (t) => {
  const memory = new Memory(new Float64Array(0), 'float64')
  const view = new NdViewBase<'float64', NdView<'float64'>>(
    memory,
    Axes.of({ shape: [0], stride: [1], offset: 0 }),
    false,
    null,
  )
  t.is(view.toTypedArray().length, 0)
  memory.release()
  t.throws(() => view.toTypedArray(), { code: 'ERR_INVALID_STATE' })
})

test('a read-only view: no writing method works, on it or on its slices, and its data is not protected', (t) => {
  const root = FileView.over(count(6))
  for (const view of [root.view(), root.view().pick(1), root.view().T, root.view().slice('1:')]) {
    t.true(view.flags.READONLY)
    t.false(view.flags.WRITEABLE)
    const index = view.shape.map(() => 0)
    const expected = { name: 'MmapError', code: 'ERR_READ_ONLY', message: "x.npy is open with mode 'r'" }
    t.throws(() => view.set(...index, 1), expected)
    t.throws(() => view.fill(1), expected)
    t.throws(() => view.assign(1), expected)
  }
  const plain = new NdView(count(3)).broadcastTo([2, 3])
  t.throws(() => plain.fill(1), { code: 'ERR_READ_ONLY', message: /copy\(\)/ })
  ;(root.view().data as Float64Array)[0] = 9
  t.is(root.get(0, 0), 9)
  t.is(root.set(0, 0, 8), 8)
})

for (const dtype of dtypes) {
  test(`${dtype}: a buffer detached by somebody else is ERR_INVALID_STATE, never undefined`, (t) => {
    const data = allocate(dtype, 4)
    const view = new NdView<DType>(data, [2, 2], undefined, undefined, dtype)
    const row = view.pick(0)
    structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] })
    const value = isBigInt(dtype) ? 1n : 1
    t.throws(() => view.get(0, 0), { name: 'MmapError', code: 'ERR_INVALID_STATE' })
    t.throws(() => row.get(1), { code: 'ERR_INVALID_STATE' })
    t.throws(() => row.set(1, value), { code: 'ERR_INVALID_STATE' })
    t.throws(() => view.fill(value), { code: 'ERR_INVALID_STATE' })
    t.throws(() => view.lo(1), { code: 'ERR_INVALID_STATE' })
    t.throws(() => view.toTypedArray(), { code: 'ERR_INVALID_STATE' })
  })
}

test('is', (t) => {
  const view: NdView = grid()
  t.true(view.is('float64'))
  t.false(view.is('float32'))
})
