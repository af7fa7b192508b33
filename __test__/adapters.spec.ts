/**
 * Views in other libraries, each the real package: over the same memory, or refused with a reason.
 *
 * Past 400 lines: four libraries with a section each, over one set of arrays.
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import isNdarrayLike from '@stdlib/assert-is-ndarray-like'
import stdlibNdarray from '@stdlib/ndarray-base-ctor'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import test from 'ava'
import { Tensor } from 'onnxruntime-common'
import * as zarr from 'zarrita'
import { toChunk, toScijs, toStdlib, toTensorArgs } from '../src/adapters.js'
import { type DType, MmapArray, NdView, openSync, type TypedArray } from '../src/index.js'
import { allocate, dataViewStore } from '../src/store.js'
import { fixture, folder, listOf } from './helpers.js'

const LONGS = ['int64', 'uint64']
const DTYPES: DType[] = [
  ...(['bool', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64'] as const),
  ...(['float32', 'float64'] as const),
]

/** A view of 0, 1, 2, ... in memory. */
function ramp(dtype: DType, shape: number[]): NdView {
  const size = shape.reduce((a, b) => a * b, 1)
  const view = new NdView(allocate(dtype, size), shape, undefined, undefined, dtype) as NdView
  const values = Array.from({ length: size }, (_, i) => (LONGS.includes(dtype) ? BigInt(i) : i))
  const flat = view.reshape([size])
  for (const [i, value] of values.entries()) flat.set(i, value)
  return view
}

/** Layouts of every kind over one 4 x 5 x 6 array. */
const layouts: [name: string, make: (v: NdView) => NdView][] = [
  ['whole', (v) => v],
  ['a part with an offset', (v) => v.slice('1:3', '2:', ':4')],
  ['a row', (v) => v.pick(2, 3)],
  ['an element', (v) => v.pick(3, 4, 5)],
  ['transposed', (v) => v.T],
  ['neither order', (v) => v.transpose(1, 2, 0)],
  ['every second', (v) => v.step(2, 2, 3)],
  ['reversed', (v) => v.slice('::-1', null, '::-2')],
  ['all reversed', (v) => v.slice('::-1', '::-1', '::-1')],
  ['repeated', (v) => v.pick(1, 2).broadcastTo([3, 6])],
  ['empty', (v) => v.slice('2:2', null, '::-1')],
]

/** The elements in C order. */
const elements = (view: NdView) => listOf(view.copy().toTypedArray() as Iterable<number | bigint>)

const bufferOf = (view: NdView) => (view.data as TypedArray).buffer

/** A file whose elements no typed array shows, opened for writing to memory only. */
function foreign(t: Parameters<typeof folder>[0]): MmapArray<'float32'> {
  const array = openSync<'float32'>(fixture('npy', 'bef4_F.npy'), { mode: 'c' })
  t.teardown(() => array.close())
  return array
}

// stdlib

type Stdlib = {
  iget(at: number): unknown
  get(...index: number[]): unknown
  set(...args: unknown[]): unknown
}
const construct = (x: ReturnType<typeof toStdlib>) =>
  stdlibNdarray(
    x.dtype as 'generic',
    x.data as never,
    x.shape,
    x.strides,
    x.offset,
    x.order,
  ) as unknown as Stdlib & {
    data: unknown
  }

/** The element at a linear index, by the view's own indices: rows first or columns first. */
function linear(view: NdView, at: number, order: 'row-major' | 'column-major'): number | bigint {
  const axes = view.shape.map((_, axis) => axis)
  const index = view.shape.map(() => 0)
  for (const axis of order === 'row-major' ? axes.reverse() : axes) {
    index[axis] = at % (view.shape[axis] as number)
    at = (at - (index[axis] as number)) / (view.shape[axis] as number)
  }
  return view.get(...index)
}

for (const [name, make] of layouts) {
  test(`stdlib: ${name}`, (t) => {
    const view = make(ramp('float64', [4, 5, 6]))
    const like = toStdlib(view)
    t.true(isNdarrayLike(like))
    const array = construct(like)
    t.is(array.data as unknown, view.data)
    for (let at = 0; at < view.size; at++) t.is(array.iget(at), linear(view, at, like.order))
    if (view.size === 0) return
    const first = view.shape.map(() => 0)
    t.is(like.get(...first), array.get(...first) as never)
    array.set(...first, 77)
    t.is(view.get(...first), 77)
    if (!view.flags.READONLY) t.is(like.set(...first, 78).get(...first), 78)
  })
}

test('stdlib: order is a string, by the strides', (t) => {
  const view = ramp('int16', [4, 5, 6])
  t.is(toStdlib(view).order, 'row-major')
  t.is(toStdlib(view.T).order, 'column-major')
  t.is(toStdlib(view.pick(0, 0)).order, 'row-major')
  t.is(toStdlib(view.T.pick(0).slice('::-1')).order, 'column-major')
  t.deepEqual(toStdlib(view.pick(0, 0, 0)).strides, [0])
})

test('stdlib: dtypes that it has, and those that it has by another name', (t) => {
  const named = Object.fromEntries(DTYPES.map((dtype) => [dtype, toStdlib(ramp(dtype, [2])).dtype]))
  const same = DTYPES.filter((dtype) => named[dtype] === dtype)
  t.deepEqual(
    DTYPES.filter((dtype) => !same.includes(dtype)),
    ['bool', 'int64', 'uint64'],
  )
  t.deepEqual([named.bool, named.int64, named.uint64], ['uint8', 'generic', 'generic'])
  const longs = construct(toStdlib(ramp('int64', [2, 2])))
  longs.set(1, 1, -5n)
  t.is(longs.get(1, 1), -5n)
})

test('stdlib: a store is an accessor array, value before index', (t) => {
  const view = foreign(t)
  const like = toStdlib(view)
  t.is(like.dtype, 'generic')
  const array = construct(like)
  const { length } = view
  for (let at = 0; at < length; at++) t.is(array.iget(at), linear(view, at, like.order))
  array.set(...view.shape.map(() => 1), 0.5)
  t.is(view.get(...view.shape.map(() => 1)), 0.5)
  t.is((like.data as { length: number }).length, view.data.length)
})

test('stdlib: read-only is said in flags, and by set', (t) => {
  const like = toStdlib(ramp('float32', [3]).broadcastTo([2, 3]))
  t.true(like.flags.READONLY)
  t.throws(() => like.set(0, 0, 1), { code: 'ERR_READ_ONLY' })
})

// zarrita

/** Writes a view to a new zarr array and reads it back. */
async function throughZarr(view: NdView, dtype: string): Promise<(number | bigint)[]> {
  const array = await zarr.create(zarr.root(new Map()), {
    shape: view.shape,
    chunkShape: view.shape.map((extent) => Math.max(1, Math.ceil(extent / 2))),
    dtype: dtype as 'float64',
    fillValue: 0,
  })
  await zarr.set(array, null, toChunk(view as NdView<'float64'>))
  const { data } = await zarr.get(array)
  return Array.from(data as Iterable<number>, (value) => (typeof value === 'boolean' ? Number(value) : value))
}

const negative = ['reversed', 'all reversed']
for (const [name, make] of layouts) {
  const refused = negative.includes(name)
  test(`zarrita: ${name}${refused ? ', refused' : ''}`, async (t) => {
    const view = make(ramp('float64', [4, 5, 6]))
    if (refused) {
      t.throws(() => toChunk(view), { code: 'ERR_NOT_CONTIGUOUS', message: /negative.*copy\(\)/ })
      t.deepEqual(await throughZarr(view.copy(), 'float64'), elements(view))
      return
    }
    const chunk = toChunk(view)
    t.is((chunk.data as TypedArray).buffer, bufferOf(view))
    if (view.size > 0) t.is(chunk.data[0], view.get(...view.shape.map(() => 0)))
    // zarrita itself sets no array without axes, and none without elements.
    if (view.ndim > 0 && view.size > 0) t.deepEqual(await throughZarr(view, 'float64'), elements(view))
  })
}

test('zarrita: every dtype', async (t) => {
  for (const dtype of DTYPES) {
    const view = ramp(dtype, [3, 4]).slice(null, '1:')
    t.deepEqual(await throughZarr(view, dtype), elements(view), dtype)
  }
})

test('zarrita: an axis of length 1 may be reversed', async (t) => {
  const view = ramp('int32', [1, 4]).slice('::-1', '1:')
  t.deepEqual(await throughZarr(view, 'int32'), [1, 2, 3])
})

test('zarrita: stores and bfloat16 are refused', async (t) => {
  const view = foreign(t)
  t.throws(() => toChunk(view), { code: 'ERR_NOT_CONTIGUOUS', message: /copy\(\)/ })
  t.deepEqual(await throughZarr(view.copy(), 'float32'), elements(view))
  t.throws(() => toChunk(ramp('bfloat16', [2])), { code: 'ERR_UNSUPPORTED_DTYPE' })
})

// ONNX Runtime

test('ONNX Runtime: every dtype, without a copy', (t) => {
  for (const dtype of DTYPES) {
    const view = ramp(dtype, [2, 3, 4]).pick(1)
    const [type, data, dims] = toTensorArgs(view as NdView<'float32'>)
    const tensor = new Tensor(type, data, dims)
    t.is(tensor.type as DType, dtype)
    t.is(tensor.data as unknown, data)
    t.is(tensor.data.buffer as unknown, bufferOf(view))
    t.deepEqual(listOf(tensor.data as Iterable<number>), elements(view))
    t.deepEqual(tensor.dims, view.shape)
    t.not(tensor.dims as unknown, view.shape)
  }
})

test('ONNX Runtime: without axes, and without elements', (t) => {
  const view = ramp('float32', [2, 3]) as NdView<'float32'>
  t.deepEqual([...new Tensor(...toTensorArgs(view.pick(1, 2))).data], [5])
  t.is(new Tensor(...toTensorArgs(view.slice('1:1'))).size, 0)
})

test('ONNX Runtime: float16, as the runtime has it', (t) => {
  const view = ramp('float16', [3, 4]).slice('1:') as NdView<'float16'>
  const [type, data, dims] = toTensorArgs(view)
  const tensor = new Tensor(type, data as never, dims)
  t.is(tensor.data as unknown, data)
  t.is(data.buffer, (view.data as { buffer: ArrayBufferLike }).buffer)
  const bits = new Uint16Array(data.buffer, data.byteOffset, data.length)
  t.deepEqual([...bits.subarray(0, 2)], [0x4400, 0x4500])
  t.throws(() => toTensorArgs(view.T), { code: 'ERR_NOT_CONTIGUOUS' })
})

test('ONNX Runtime: what is not contiguous, or no typed array, is refused', (t) => {
  t.throws(() => toTensorArgs(ramp('float32', [2, 3]).T), { code: 'ERR_NOT_CONTIGUOUS', message: /copy/ })
  const view = foreign(t)
  t.throws(() => toTensorArgs(view), { code: 'ERR_NOT_CONTIGUOUS', message: /copy/ })
  t.deepEqual(listOf(new Tensor(...toTensorArgs(view.copy())).data), elements(view))
  t.throws(() => toTensorArgs(ramp('bfloat16', [2])), { code: 'ERR_UNSUPPORTED_DTYPE' })
})

// TensorFlow.js

/** The very array that the CPU backend computes on; `dataSync` copies a bool. */
function held({ dataId }: tf.Tensor): unknown {
  return (tf.backend() as unknown as { data: { get(id: object): { values: unknown } } }).data.get(dataId)
    .values
}

test('TensorFlow.js: float32, int32 and bool, without a copy', (t) => {
  for (const dtype of ['float32', 'int32', 'bool'] as const) {
    const view = ramp(dtype, [2, 3, 4]).pick(1) as NdView<typeof dtype>
    const [data, shape, type] = toTensorArgs(view, 'tfjs')
    const tensor = tf.tensor(data, shape, type)
    t.is(tensor.dtype, dtype)
    t.deepEqual(tensor.shape, view.shape)
    t.is(held(tensor), data)
    t.is(data.buffer, bufferOf(view))
    t.deepEqual(listOf(tensor.dataSync()), elements(view))
    tensor.dispose()
  }
})

test('TensorFlow.js computes on the memory of the view', (t) => {
  const view = ramp('float32', [2, 3]) as NdView<'float32'>
  const tensor = tf.tensor(...toTensorArgs(view, 'tfjs'))
  view.set(1, 2, 100)
  t.deepEqual(listOf(tf.add(tensor, 1).dataSync()), [1, 2, 3, 4, 5, 101])
})

test('TensorFlow.js: all other dtypes are refused', (t) => {
  const refused = [...DTYPES, 'float16', 'bfloat16'] as DType[]
  for (const dtype of refused.filter((name) => !['float32', 'int32', 'bool'].includes(name))) {
    t.throws(() => toTensorArgs(ramp(dtype, [2]), 'tfjs'), {
      code: 'ERR_UNSUPPORTED_DTYPE',
      message: new RegExp(`no ${dtype};`),
    })
  }
  t.throws(() => toTensorArgs(ramp('int32', [2, 3]).T, 'tfjs'), { code: 'ERR_NOT_CONTIGUOUS' })
})

// scijs: what its libraries make of these is in ecosystem.spec.ts

for (const [name, make] of layouts) {
  test(`scijs: ${name}`, (t) => {
    const view = make(ramp('float64', [4, 5, 6]))
    const theirs = toScijs(view)
    t.is(theirs.data as unknown, view.data)
    t.is(theirs.dtype, 'float64')
    const { shape, stride, order, size, dimension } = view
    t.deepEqual(
      [theirs.shape, theirs.stride, theirs.order, theirs.size, theirs.dimension],
      [shape, stride, order, size, dimension],
    )
    if (size === 0) return
    const first = shape.map(() => 0)
    t.is(theirs.get(...first), view.get(...first))
    t.is(theirs.index(...first), view.index(...first))
    if (!view.flags.READONLY) t.is(theirs.set(...first, 5), 5)
    t.is(view.T.get(...first), theirs.T.get(...first))
  })
}

test('scijs: the names it has for dtypes', (t) => {
  const named = Object.fromEntries(DTYPES.map((dtype) => [dtype, toScijs(ramp(dtype, [2])).dtype]))
  const renamed = Object.entries(named).filter(([dtype, name]) => dtype !== name)
  t.deepEqual(renamed, [
    ['bool', 'uint8'],
    ['int64', 'bigint64'],
    ['uint64', 'biguint64'],
  ])
  t.is(toScijs(foreign(t)).dtype, 'generic')
})

test('scijs: views made from one are of its kind', (t) => {
  const view = foreign(t)
  const theirs = toScijs(view)
  for (const [ours, made] of [
    [view.lo(1), theirs.lo(1)],
    [view.hi(1), theirs.hi(1)],
    [view.step(-1), theirs.step(-1)],
    [view.transpose(1, 0), theirs.transpose(1, 0)],
    [view.pick(1), theirs.pick(1)],
  ] as const) {
    t.is(made.dtype, 'generic')
    t.deepEqual([made.shape, made.stride, made.offset], [ours.shape, ours.stride, ours.offset])
  }
})

test('scijs: read-only views stay so', (t) => {
  const array = openSync(fixture('npy', 'lef8_C.npy'))
  t.teardown(() => array.close())
  t.throws(() => toScijs(array).set(...array.shape.map(() => 0), 1), { code: 'ERR_READ_ONLY' })
})

const FAR = 2 ** 31

test('scijs: an offset past 2^31 becomes a part of the data', (t) => {
  // Never touched but for two pages.
  const data = new Uint8Array(FAR + 100)
  const view = new NdView(data, [FAR / 4 + 25, 4]).slice('-3:', '::-1')
  view.set(2, 3, 9)
  const theirs = toScijs(view)
  t.is((theirs.data as Uint8Array).buffer, data.buffer)
  t.true(theirs.offset < 100)
  t.deepEqual(theirs.stride, view.stride)
  t.is((theirs.data as Uint8Array)[theirs.index(2, 3)], 9)
  t.is(theirs.pick(2).get(3), 9)
})

test('scijs: stores past 2^31 too; what 32 bits cannot count is refused', (t) => {
  const written = new Map<number, number>()
  const store = {
    length: 2 ** 50,
    get: (i: number) => written.get(i) ?? i,
    set: (i: number, value: number) => void written.set(i, value),
  }
  const whole = new NdView(store, [2 ** 25, 2 ** 25], undefined, undefined, 'float64')
  const theirs = toScijs(whole.slice('-2:', '-3:'))
  t.true(theirs.offset < FAR)
  const { data } = theirs as { data: typeof store }
  t.is(data.length, 2 ** 25 + 3)
  t.is(data.get(theirs.index(1, 2)), 2 ** 50 - 1)
  data.set(theirs.index(1, 2), 5)
  t.deepEqual([...written], [[2 ** 50 - 1, 5]])
  t.is(toScijs(whole).pick(2 ** 24, 7).offset, 0)
  const refused: [string, NdView][] = [
    ['a long axis', whole.reshape([2 ** 50])],
    ['a long axis backwards', whole.slice('::-1')],
  ]
  for (const [name, view] of refused) {
    t.throws(() => toScijs(view), { code: 'ERR_TOO_LARGE', message: /32 bits/ }, name)
  }
})

// All of them

test('mapped arrays go to every library without a copy', async (t) => {
  const path = join(folder(t), 'a.npy')
  copyFileSync(fixture('npy', 'lef4_F.npy'), path)
  const array = openSync<'float32'>(path, { mode: 'r+' })
  const { buffer } = array.data as Float32Array
  const flat = array.T
  t.true(array instanceof MmapArray)
  t.is((toScijs(array).data as Float32Array).buffer, buffer)
  t.is((toStdlib(array).data as Float32Array).buffer, buffer)
  t.is((toChunk(array).data as Float32Array).buffer, buffer)
  t.is(toTensorArgs(flat)[1].buffer, buffer)
  t.is(toTensorArgs(flat, 'tfjs')[0].buffer, buffer)
  t.deepEqual(await throughZarr(array, 'float32'), elements(array))
  array.close()
  for (const adapt of [toScijs, toStdlib, toChunk, toTensorArgs]) {
    t.throws(() => adapt(array), { code: 'ERR_CLOSED' })
  }
})

test('anything but a view is refused', (t) => {
  for (const wrong of [undefined, null, new Float32Array(4), { data: new Float32Array(4), shape: [4] }]) {
    for (const adapt of [toScijs, toStdlib, toChunk, toTensorArgs]) {
      t.throws(() => adapt(wrong as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
    }
  }
  t.throws(() => toTensorArgs(ramp('float32', [2]), 'torch' as never), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('an unaligned store is a store like any other', (t) => {
  const store = dataViewStore('float64', new ArrayBuffer(33), 1, 4, true)
  const view = new NdView(store, [2, 2], undefined, undefined, 'float64')
  view.set(1, 0, 2.5)
  t.is((toScijs(view).data as typeof store).get(2), 2.5)
  t.is(construct(toStdlib(view)).get(1, 0), 2.5)
  t.throws(() => toChunk(view), { code: 'ERR_NOT_CONTIGUOUS' })
  t.throws(() => toTensorArgs(view), { code: 'ERR_NOT_CONTIGUOUS' })
})
