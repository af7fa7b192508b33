/** Element stores: foreign byte order, unaligned offsets, bounds and detached memory. */
import test from 'ava'
import { type DType, dtypes, isBigInt, itemsizeOf } from '../src/dtype.js'
import { NdView } from '../src/nd-view.js'
import { checkData, dataViewStore, isStore } from '../src/store.js'

const samples = (dtype: DType): (number | bigint)[] => {
  if (dtype === 'bool') return [0, 1, 1]
  if (isBigInt(dtype)) return [1n, 2n ** 40n + 7n, dtype === 'int64' ? -3n : 2n ** 64n - 3n]
  if (dtype.startsWith('float')) return [1.5, -0.25, Number.NEGATIVE_INFINITY]
  return dtype.startsWith('u') ? [1, 2, 200] : [1, -2, 100]
}

for (const dtype of dtypes) {
  for (const littleEndian of [true, false]) {
    test(`${dtype}, ${littleEndian ? 'little' : 'big'} endian, at every alignment`, (t) => {
      const size = itemsizeOf(dtype)
      const values = samples(dtype)
      for (let byteOffset = 0; byteOffset < 8; byteOffset++) {
        const buffer = new ArrayBuffer(byteOffset + 3 * size + 1)
        const store = dataViewStore(dtype, buffer, byteOffset, 3, littleEndian)
        t.is(store.length, 3)
        for (const [i, value] of values.entries()) t.is(store.set(i, value as never), value)
        t.deepEqual(
          [0, 1, 2].map((i) => store.get(i)),
          values as never,
        )
        // The first element is 1 or 1.5: where its lowest byte lies tells the order of bytes.
        const bytes = new Uint8Array(buffer, byteOffset, size)
        if (isBigInt(dtype)) t.is(bytes[littleEndian ? 0 : 7], 1)
        t.is(new Uint8Array(buffer).at(-1), 0, 'nothing after the last element was touched')
      }
    })
  }
}

test('outside the elements: get is undefined, set does nothing, as in a typed array', (t) => {
  const buffer = new ArrayBuffer(4 * 3 + 8)
  const store = dataViewStore('float32', buffer, 2, 3, false)
  for (const index of [-1, 3, 0.5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32, 2 ** 53]) {
    t.is(store.get(index), undefined as never, String(index))
    store.set(index, 1)
  }
  t.deepEqual(new Uint8Array(buffer), new Uint8Array(20))
})

test('after the buffer is detached: length 0, undefined, no raw TypeError', (t) => {
  const buffer = new ArrayBuffer(16)
  const store = dataViewStore('float64', buffer, 0, 2, false)
  store.set(1, 7)
  structuredClone(buffer, { transfer: [buffer] })
  t.is(store.length, 0)
  t.is(store.get(1), undefined as never)
  t.notThrows(() => store.set(1, 7))
})

test('a store that does not fit its buffer is refused', (t) => {
  t.throws(() => dataViewStore('float64', new ArrayBuffer(16), 1, 2, true), { instanceOf: RangeError })
})

test('a view over a store reads and writes through it', (t) => {
  const buffer = new ArrayBuffer(1 + 6 * 2)
  const view = new NdView(dataViewStore('int16', buffer, 1, 6, false), [2, 3], undefined, undefined, 'int16')
  view.set(1, 2, -2)
  t.is(view.get(1, 2), -2)
  t.deepEqual([...new Uint8Array(buffer).subarray(11)], [0xff, 0xfe])
  view.T.slice('::-1').assign([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  t.deepEqual(view.toArray(), [
    [5, 3, 1],
    [6, 4, 2],
  ])
})

test('indices into a store are exact to 2^53', (t) => {
  const length = 2 ** 53 - 1
  const seen: number[] = []
  const store = { length, get: (i: number) => i, set: (i: number) => void seen.push(i) }
  const view = new NdView(store, [length], undefined, undefined, 'float64')
  for (const i of [2 ** 31, 2 ** 32 + 1, 2 ** 53 - 2]) {
    t.is(view.get(i), i)
    t.is(view.pick(i).get(), i)
    t.is(view.lo(i).get(0), i)
    t.is(view.slice(i).offset, i)
    t.is(view.step(-1).get(length - 1 - i), i)
    view.set(i, 0)
  }
  t.deepEqual(seen, [2 ** 31, 2 ** 32 + 1, 2 ** 53 - 2])
  const square = view.hi(2 ** 52).reshape([2 ** 26, 2 ** 26])
  t.is(square.get(2 ** 26 - 1, 2 ** 26 - 3), 2 ** 52 - 3)
})

test('checkData: what a view can lie over, and under which dtype', (t) => {
  const floats = new Float32Array(2)
  t.deepEqual(checkData(floats), { data: floats, dtype: 'float32' })
  t.is(checkData(floats).data, floats)
  t.is(checkData(new Uint8Array(2), 'bool').dtype, 'bool')
  t.is(checkData(floats, '<f4').dtype, 'float32')
  for (const bytes of [Buffer.from([1, 2]), new Uint8ClampedArray([1, 2])]) {
    const { data, dtype } = checkData(bytes)
    t.is(dtype, 'uint8')
    t.is(data.constructor, Uint8Array)
    t.is((data as Uint8Array).buffer, bytes.buffer)
    t.deepEqual([...(data as Uint8Array)], [1, 2])
  }
  const store = { length: 2, get: () => 0, set: () => {} }
  t.true(isStore(checkData(store, 'int8').data))
  t.throws(() => checkData(store), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /must be given for an element store/,
  })
  t.throws(() => checkData(floats, 'float64'), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /must be 'float32'/,
  })
  t.throws(() => checkData(floats, 'bool'), { code: 'ERR_INVALID_ARG_VALUE' })
  for (const data of [undefined, null, 5, [1], {}, new ArrayBuffer(8), new DataView(new ArrayBuffer(8))]) {
    t.throws(() => checkData(data, 'float64'), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  }
  for (const broken of [
    { ...store, length: -1 },
    { ...store, length: 1.5 },
    { ...store, get: 1 },
  ]) {
    t.throws(() => checkData(broken, 'float64'), { code: 'ERR_INVALID_ARG_TYPE' })
  }
})
