/** The scijs dialect against scijs itself: the npm package ndarray, over random chains of views. */
import test from 'ava'
import fc from 'fast-check'
import ndarray, { type NdArray } from 'ndarray'
import { axisOrder } from '../src/layout.js'
import { NdView } from '../src/nd-view.js'

const SEED = 19_700_101
const RUNS = 12_000

/**
 * One call, drawn without knowing the view: `draws` become valid arguments for whatever axes there are then.
 */
const call = fc.record({
  method: fc.constantFrom('lo', 'hi', 'step', 'transpose', 'pick'),
  draws: fc.array(fc.nat(1000), { minLength: 6, maxLength: 6 }),
  fewer: fc.nat(2),
})

type Call = { method: 'lo' | 'hi' | 'step' | 'transpose' | 'pick'; draws: number[]; fewer: number }

function argumentsFor({ method, draws, fewer }: Call, shape: number[]): (number | undefined)[] {
  const draw = (axis: number) => draws[axis] as number
  if (method === 'transpose') {
    const axes = shape.map((_, axis) => axis)
    return axes.sort((p, q) => draw(p) - draw(q) || p - q)
  }
  const all = shape.map((extent, axis) => {
    const value = draw(axis)
    if (value % 5 === 0) return method === 'step' ? undefined : value % 2 ? undefined : -1
    if (method === 'step') return ((value % 4) + 1) * (value % 3 ? 1 : -1)
    if (method === 'pick') return extent === 0 || value % 2 ? undefined : value % extent
    return value % (extent + 1)
  })
  return all.slice(0, Math.max(0, all.length - fewer))
}

const plain = (numbers: readonly number[]) => Array.from(numbers, (n) => n + 0)

function describe(view: NdArray | NdView) {
  const { shape, stride, offset, order, size, dimension, dtype } = view
  return {
    shape: plain(shape),
    stride: plain(stride),
    offset: offset + 0,
    order: plain(order),
    size,
    dimension,
    dtype,
  }
}

function* indices(shape: readonly number[]): Generator<number[]> {
  if (shape.includes(0)) return
  const index = shape.map(() => 0)
  for (;;) {
    yield index
    let axis = shape.length - 1
    while (axis >= 0 && (index[axis] as number) + 1 === shape[axis]) index[axis--] = 0
    if (axis < 0) return
    index[axis] = (index[axis] as number) + 1
  }
}

const start = fc.record({
  shape: fc.array(fc.nat(4), { minLength: 1, maxLength: 5 }),
  negative: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
  swap: fc.nat(100),
  calls: fc.array(call, { minLength: 1, maxLength: 6 }),
})

test(`random chains of lo, hi, step, transpose and pick (seed ${SEED}, ${RUNS} chains)`, (t) => {
  const seen: Record<string, number> = { lo: 0, hi: 0, step: 0, transpose: 0, pick: 0 }
  const property = fc.property(start, ({ shape, negative, swap, calls }) => {
    const data = Float64Array.from({ length: 4 ** 5 }, (_, i) => i)
    // Contiguous strides, some of them backwards and two of them exchanged.
    const stride = shape.map(
      (_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1) * (negative[axis] ? -1 : 1),
    )
    if (!shape.includes(0)) {
      const [a, b] = [swap % shape.length, (swap >> 3) % shape.length]
      ;[stride[a], stride[b]] = [stride[b] as number, stride[a] as number]
      ;[shape[a], shape[b]] = [shape[b] as number, shape[a] as number]
    }
    let theirs: NdArray = ndarray(data, shape, stride)
    let ours: NdView = new NdView(data, shape, stride)
    t.deepEqual(describe(ours), describe(theirs))
    for (const next of calls) {
      if (ours.dimension === 0 && next.method === 'pick') continue
      const args = argumentsFor(next, ours.shape)
      theirs = theirs[next.method](...(args as number[]))
      ours = ours[next.method](...args)
      seen[next.method] = (seen[next.method] ?? 0) + 1
      t.deepEqual(describe(ours), describe(theirs), `${next.method}(${args})`)
    }
    for (const index of indices(ours.shape)) {
      t.is(ours.index(...index), theirs.index(...index))
      t.is(ours.get(...index), theirs.get(...index))
    }
  })
  fc.assert(property, { seed: SEED, numRuns: RUNS })
  t.log(`seed ${SEED}`, seen)
  for (const [method, count] of Object.entries(seen)) t.true(count > 500, method)
})

test('order is that of scijs for every arrangement of strides, ties included', (t) => {
  for (let ndim = 1; ndim <= 5; ndim++) {
    for (let code = 0; code < 5 ** ndim; code++) {
      const stride = Array.from({ length: ndim }, (_, axis) => (Math.floor(code / 5 ** axis) % 5) - 2)
      const theirs = ndarray(new Float64Array(1), Array(ndim).fill(1), stride, 0)
      t.deepEqual(axisOrder(stride), theirs.order, `[${stride}]`)
    }
  }
})

test('the constructor fills in what scijs fills in', (t) => {
  const data = new Int16Array(24)
  const cases: [number[]?, number[]?, number?][] = [
    [],
    [[24]],
    [[2, 3, 4]],
    [[2, 0, 4]],
    [[]],
    [
      [4, 6],
      [1, 4],
    ],
    [
      [4, 6],
      [-6, 1],
    ],
    [
      [4, 6],
      [-1, -4],
    ],
    [[2, 3], [6, -1], 9],
    [
      [3, 3],
      [0, 1],
    ],
  ]
  for (const [shape, stride, offset] of cases) {
    const theirs = ndarray(data, shape, stride, offset)
    // Without axes scijs leaves the offset to its caller.
    const expected = { ...describe(theirs), dtype: 'int16' }
    t.deepEqual(describe(new NdView(data, shape, stride, offset)), expected as never)
  }
})

test('a reversed axis of stride 0 has stride 0, not the -0 of scijs', (t) => {
  t.is(new NdView(new Float64Array(1), [3], [0]).step(-1).stride[0], 0)
})

test('set returns the value, as scijs does', (t) => {
  const view = new NdView(new Uint8Array(4), [2, 2])
  t.is(view.set(1, 1, 7), ndarray(new Uint8Array(4), [2, 2]).set(1, 1, 7))
})

test('generic data of scijs sees through a view, and a view through it', (t) => {
  const view = new NdView(
    Float64Array.from({ length: 6 }, (_, i) => i),
    [2, 3],
  )
  const flat = view.reshape([6])
  const theirs = ndarray(
    { length: 6, get: (i: number) => flat.get(i), set: (i: number, v: number) => flat.set(i, v) },
    [2, 3],
  )
  theirs.set(1, 1, 40)
  t.is(view.get(1, 1), 40)
  const ours = new NdView(theirs.data as never, [3, 2], undefined, undefined, 'float64')
  t.deepEqual(ours.toArray(), [
    [0, 1],
    [2, 3],
    [40, 5],
  ])
})

type Args = (number | null | undefined)[]

const nonsense: [string, (v: NdView) => unknown][] = [
  ...(['lo', 'hi', 'pick'] as const).flatMap((method): [string, (v: NdView) => unknown][] =>
    ([[3], [0, 4], [1.5], [Number.NaN], [Number.POSITIVE_INFINITY], [null, null, 0]] as Args[])
      // lo and hi may go as far as the end of their axis.
      .map((args) => [`${method}(${args})`, (v) => v[method](...args)]),
  ),
  ['pick(2)', (v) => v.pick(2)],
  ['step(0)', (v) => v.step(0)],
  ['step(1, 1.5)', (v) => v.step(1, 1.5)],
  ['step(NaN)', (v) => v.step(Number.NaN)],
  ['step(2 ** 53)', (v) => v.step(2 ** 53)],
  ['step(1, 1, 1)', (v) => v.step(1, 1, 1)],
  ['transpose(0, 0)', (v) => v.transpose(0, 0)],
  ['transpose(1)', (v) => v.transpose(1)],
  ['transpose(2, 0)', (v) => v.transpose(2, 0)],
  ['transpose(-1, 0)', (v) => v.transpose(-1, 0)],
  ['transpose(0.5, 1)', (v) => v.transpose(0.5, 1)],
  ['transpose(0, 1, 2)', (v) => v.transpose(0, 1, 2)],
]

for (const [name, make] of nonsense) {
  test(`2x3: ${name} is a RangeError, where scijs makes a nonsense shape`, (t) => {
    const view = new NdView(new Float32Array(6), [2, 3])
    t.throws(() => make(view), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' })
  })
}

test('arguments of another type are TypeErrors', (t) => {
  const view = new NdView(new Float32Array(6), [2, 3])
  for (const wrong of ['1', 1n, true, {}, []]) {
    for (const method of ['lo', 'hi', 'step', 'pick', 'transpose'] as const) {
      t.throws(() => view[method](wrong as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
    }
  }
  t.throws(() => view.transpose(null as never, 0), { code: 'ERR_INVALID_ARG_TYPE' })
})

/** The arithmetic of the dialect once more, in bigints, which have no limit. */
type Exact = { shape: bigint[]; stride: bigint[]; offset: bigint }

const exactly: { [M in Call['method']]: (view: Exact, args: (number | undefined)[]) => Exact } = {
  lo: ({ shape, stride, offset }, args) => {
    const cut = shape.map((_, axis) => BigInt(Math.max(0, args[axis] ?? 0)))
    return {
      shape: shape.map((extent, axis) => extent - (cut[axis] as bigint)),
      stride,
      offset: cut.reduce((at, by, axis) => at + by * (stride[axis] as bigint), offset),
    }
  },
  hi: ({ shape, stride, offset }, args) => ({
    shape: shape.map((extent, axis) => ((args[axis] ?? -1) < 0 ? extent : BigInt(args[axis] as number))),
    stride,
    offset,
  }),
  step: ({ shape, stride, offset }, args) => {
    const by = shape.map((_, axis) => BigInt(args[axis] ?? 1))
    const sizes = by.map((step) => (step < 0n ? -step : step))
    return {
      shape: shape.map((extent, axis) => (extent + (sizes[axis] as bigint) - 1n) / (sizes[axis] as bigint)),
      stride: stride.map((step, axis) => step * (by[axis] as bigint)),
      offset: by.reduce((at, step, axis) => {
        return step < 0n ? at + (stride[axis] as bigint) * ((shape[axis] as bigint) - 1n) : at
      }, offset),
    }
  },
  transpose: ({ shape, stride, offset }, args) => ({
    shape: args.map((axis) => shape[axis as number] as bigint),
    stride: args.map((axis) => stride[axis as number] as bigint),
    offset,
  }),
  pick: ({ shape, stride, offset }, args) => {
    const stays = (_: bigint, axis: number) => (args[axis] ?? -1) < 0
    return {
      shape: shape.filter(stays),
      stride: stride.filter(stays),
      offset: args.reduce<bigint>((at, index, axis) => {
        return (index ?? -1) < 0 ? at : at + BigInt(index as number) * (stride[axis] as bigint)
      }, offset),
    }
  },
}

/** Arguments for axes of any length: each draw is a place on its axis, ends included. */
function argumentsForLong({ method, draws, fewer }: Call, shape: number[]): (number | undefined)[] {
  if (method === 'transpose') return argumentsFor({ method, draws, fewer }, shape)
  const all = shape.map((extent, axis) => {
    const draw = draws[axis] as number
    const last = method === 'pick' ? extent - 1 : extent
    const place = Math.min(last, Math.floor(extent * (draw / 1000)))
    if (draw % 5 === 0) return undefined
    if (method === 'step') return Math.max(1, Math.floor(place / 1000)) * (draw % 2 ? 1 : -1)
    if (method === 'pick' && (draw % 3 > 0 || extent === 0)) return undefined
    return place
  })
  return all.slice(0, Math.max(0, all.length - fewer))
}

const long = fc.record({
  // Lengths as powers of two and a little less, 2 ** 52 elements at most.
  powers: fc.array(fc.nat({ max: 52 }), { minLength: 1, maxLength: 5 }),
  less: fc.nat(7),
  calls: fc.array(call, { minLength: 1, maxLength: 5 }),
})

test(`views stay exact up to 2^53, where scijs cuts to 32 bits (seed ${SEED})`, (t) => {
  const store = { length: Number.MAX_SAFE_INTEGER, get: (i: number) => i, set: () => {} }
  let [beyond, count] = [0, 0]
  const property = fc.property(long, ({ powers, less, calls }) => {
    let left = 52
    const shape = powers.map((power) => {
      const bits = Math.min(power, left)
      left -= bits
      return Math.max(1, 2 ** bits - less)
    })
    let ours: NdView = new NdView(store, shape, undefined, undefined, 'float64')
    let exact: Exact = { shape: shape.map(BigInt), stride: ours.stride.map(BigInt), offset: 0n }
    for (const next of calls) {
      if (ours.dimension === 0) continue
      const args = argumentsForLong(next, ours.shape)
      ours = ours[next.method](...args)
      exact = exactly[next.method](exact, args)
      const { shape, stride, offset } = ours
      const name = `${next.method}(${args})`
      t.deepEqual(
        [shape.map(BigInt), stride.map(BigInt), BigInt(offset)],
        [exact.shape, exact.stride, exact.offset],
        name,
      )
    }
    if (ours.size === 0) return
    const last = ours.shape.map((extent) => extent - 1)
    const at = last.reduce((sum, i, axis) => sum + BigInt(i) * (exact.stride[axis] as bigint), exact.offset)
    t.is(BigInt(ours.get(...last) as number), at)
    t.is(BigInt(ours.index(...last)), at)
    count++
    if (at >= 2n ** 31n || exact.offset >= 2n ** 31n) beyond++
  })
  fc.assert(property, { seed: SEED, numRuns: 3000 })
  t.log(`seed ${SEED}: ${beyond} of ${count} chains went past 2^31`)
  t.true(beyond > 500)
})

test('lo, pick and step stay exact where scijs cuts to 32 bits', (t) => {
  const store = { length: 2 ** 40, get: (i: number) => i, set: () => {} }
  const view = new NdView(store, [2 ** 20, 2 ** 20], undefined, undefined, 'float64')
  t.is(view.pick(2 ** 19, 3).offset, 2 ** 39 + 3)
  t.is(view.lo(2 ** 20 - 1).offset, 2 ** 40 - 2 ** 20)
  t.is(view.step(-1).offset, 2 ** 40 - 2 ** 20)
  t.is(
    view
      .lo(2 ** 12)
      .pick(5)
      .get(7),
    (2 ** 12 + 5) * 2 ** 20 + 7,
  )
})
