/** The loops over strided memory: gather and fill of any layout, against a loop over indices. */
import test from 'ava'
import fc from 'fast-check'
import { contiguousStride, sizeOf } from '../src/layout.js'
import { NdView } from '../src/nd-view.js'
import { dataViewStore } from '../src/store.js'
import { asTypedArray, fill, gather } from '../src/strided.js'

const SEED = 31_415_926

/** The index at every C-order position of a shape. */
function positions(shape: readonly number[]): number[][] {
  const stride = contiguousStride(shape)
  return Array.from({ length: sizeOf(shape) }, (_, position) =>
    shape.map((extent, axis) => Math.floor(position / (stride[axis] as number)) % extent),
  )
}

const layout = fc.record({
  shape: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 4 }).filter((shape) => sizeOf(shape) <= 2000),
  axes: fc.array(fc.nat(99), { minLength: 4, maxLength: 4 }),
  steps: fc.array(fc.constantFrom(-2, -1, 1, 1, 1, 2), { minLength: 4, maxLength: 4 }),
  inStore: fc.boolean(),
  from: fc.double({ min: 0, max: 1, noNaN: true }),
  to: fc.double({ min: 0, max: 1, noNaN: true }),
})

/** A view of that layout, every element of it its own index in the data. */
function arrange({
  shape,
  axes,
  steps,
  inStore,
}: {
  shape: number[]
  axes: number[]
  steps: number[]
  inStore: boolean
}) {
  const order = shape
    .map((_, axis) => axis)
    .sort((p, q) => (axes[p] as number) - (axes[q] as number) || p - q)
  const wide = order.map((axis) => (shape[axis] as number) * Math.abs(steps[axis] as number))
  const length = sizeOf(wide)
  const data = inStore
    ? dataViewStore('float64', new ArrayBuffer(8 * length + 3), 3, length, false)
    : new Float64Array(length)
  const whole = new NdView<'float64'>(data, wide, undefined, undefined, 'float64')
  const view = whole
    .transpose(...shape.map((_, axis) => order.indexOf(axis)))
    .step(...steps.slice(0, shape.length))
  if (inStore) for (let i = 0; i < length; i++) whole.data instanceof Float64Array || whole.data.set(i, i)
  else for (let i = 0; i < length; i++) (data as Float64Array)[i] = i
  return { data, view, length }
}

test(`any block of any layout (seed ${SEED})`, (t) => {
  const property = fc.property(layout, (drawn) => {
    const { data, view, length } = arrange(drawn)
    t.deepEqual(view.shape, drawn.shape)
    const all = positions(view.shape).map((index) => view.index(...index))
    const [start, stop] = [drawn.from, drawn.to]
      .map((x) => Math.floor(x * all.length))
      .sort((a, b) => a - b) as [number, number]
    t.deepEqual([...asTypedArray('float64', gather(view, start, stop))], all.slice(start, stop))
    t.deepEqual([...asTypedArray('float64', gather(view))], all)

    const expected = Array.from({ length }, (_, i) => i)
    const now = () => Array.from({ length }, (_, i) => (data instanceof Float64Array ? data[i] : data.get(i)))
    fill(view, 0.5)
    for (const at of all) expected[at] = 0.5
    t.deepEqual(now(), expected)
  })
  fc.assert(property, { seed: SEED, numRuns: 600 })
  t.log(`seed ${SEED}`)
})

test('sixty-four axes', (t) => {
  const shape = Array<number>(64).fill(1)
  for (const axis of [0, 20, 40, 63]) shape[axis] = 3
  const view = new NdView(
    Int32Array.from({ length: 81 }, (_, i) => i),
    shape,
  )
  t.deepEqual(
    gather(view, 10, 70),
    Int32Array.from({ length: 60 }, (_, i) => i + 10),
  )
  const reversed = [...asTypedArray('int32', gather(view.T.step(...shape.map(() => -1))))]
  t.is(reversed[0], 80)
  t.deepEqual(
    reversed.toSorted((a, b) => a - b),
    Array.from({ length: 81 }, (_, i) => i),
  )
})

test('positions past 2^32 of a layout larger than memory', (t) => {
  const shape = [2 ** 20, 2 ** 20, 2]
  const store = { length: sizeOf(shape), get: (i: number) => i, set: () => {} }
  const view = new NdView(store, shape, undefined, undefined, 'float64')
  const start = 2 ** 40 + 2 ** 21 - 3
  t.deepEqual(
    [...asTypedArray('float64', gather(view, start, start + 5))],
    [0, 1, 2, 3, 4].map((i) => start + i),
  )
  t.throws(() => gather(view), { code: 'ERR_TOO_LARGE' })
})
