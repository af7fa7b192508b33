/** dtypes: spellings, tables, element values and conversions. */
import test from 'ava'
import {
  checkValue,
  constructors,
  conversion,
  type DType,
  dtypeOf,
  dtypes,
  isBigInt,
  itemsizeOf,
  nativeLittleEndian,
  parseDType,
  parseElementType,
  type TypedArray,
} from '../src/dtype.js'
import { allocate, isStore } from '../src/store.js'

const native = nativeLittleEndian ? '<' : '>'
const foreign = nativeLittleEndian ? '>' : '<'

const spellings: Record<DType, string[]> = {
  bool: ['bool', '?', 'b1', '|b1', '=b1', '<b1', '>b1'],
  int8: ['int8', 'i1', '|i1', '=i1', '<i1', '>i1'],
  uint8: ['uint8', 'u1', '|u1', '=u1', '<u1', '>u1'],
  int16: ['int16', 'i16', 'i2', '=i2', `${native}i2`],
  uint16: ['uint16', 'u16', 'u2', '=u2', `${native}u2`],
  int32: ['int32', 'i32', 'i4', '=i4', `${native}i4`],
  uint32: ['uint32', 'u32', 'u4', '=u4', `${native}u4`],
  int64: ['int64', 'i64', '=i8', '|i8', `${native}i8`],
  uint64: ['uint64', 'u64', '=u8', '|u8', `${native}u8`],
  float16: ['float16', 'f16', 'f2', '=f2', `${native}f2`],
  bfloat16: ['bfloat16', 'bf16'],
  float32: ['float32', 'f32', 'f4', '=f4', `${native}f4`],
  float64: ['float64', 'f64', 'f8', '=f8', `${native}f8`],
}

for (const dtype of dtypes) {
  test(`parseDType: every spelling of ${dtype}`, (t) => {
    for (const text of spellings[dtype]) t.is(parseDType(text), dtype, text)
  })
}

test('parseDType: numpy counts bytes where Rust counts bits, and numpy was first', (t) => {
  t.is(parseDType('u8'), 'uint64')
  t.is(parseDType('i8'), 'int64')
})

test('parseDType: known and not held', (t) => {
  const later = ['complex64', 'complex128', '<c8', '<f16', '<c32', 'O', '|O', '<U10', '|S5']
  for (const dtype of [...later, '|V8', '<M8[ns]', `${foreign}f8`, `${foreign}i2`, `${foreign}u8`]) {
    t.throws(() => parseDType(dtype), { name: 'MmapError', code: 'ERR_UNSUPPORTED_DTYPE' }, dtype)
    t.like(
      t.throws(() => parseDType(dtype)),
      { dtype },
    )
  }
  t.throws(() => parseDType(`${foreign}f8`), { message: /write 'float64'/ })
})

test('parseElementType: complex numbers, and codes of the other byte order where a file may have them', (t) => {
  for (const text of ['complex64', 'c8', `${native}c8`]) {
    t.deepEqual(parseElementType(text), { dtype: 'float32', complex: true })
  }
  t.deepEqual(parseElementType('complex128'), { dtype: 'float64', complex: true })
  t.deepEqual(parseElementType(`${foreign}c16`, true), { dtype: 'float64', complex: true })
  t.deepEqual(parseElementType(`${foreign}i2`, true), { dtype: 'int16', complex: false })
  t.throws(() => parseElementType(`${foreign}i2`), { code: 'ERR_UNSUPPORTED_DTYPE' })
})

test('parseDType: no dtype at all', (t) => {
  for (const text of [
    '',
    'float',
    'Float64',
    ' f8',
    'f8 ',
    '<<f8',
    'f3',
    'i0',
    'constructor',
    '__proto__',
    'toString',
  ]) {
    t.throws(() => parseDType(text), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE' }, text)
  }
  for (const value of [5, null, undefined, Float64Array, ['f8']]) {
    t.throws(() => parseDType(value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  }
})

test('itemsize, constructor and dtypeOf agree', (t) => {
  const sizes = { bool: 1, int8: 1, uint8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, int64: 8, uint64: 8 }
  t.deepEqual(Object.fromEntries(dtypes.map((dtype) => [dtype, itemsizeOf(dtype)])), {
    ...sizes,
    float16: 2,
    bfloat16: 2,
    float32: 4,
    float64: 8,
  })
  for (const dtype of dtypes) {
    const array = allocate(dtype, 2)
    t.is(isStore(array), constructors[dtype] === undefined)
    if (isStore(array)) continue
    t.is(dtypeOf(array), dtype === 'bool' ? 'uint8' : dtype)
    t.is(typeof array[0], isBigInt(dtype) ? 'bigint' : 'number')
  }
  t.is(dtypeOf(Buffer.alloc(1)), 'uint8')
  t.is(dtypeOf(new Uint8ClampedArray(1)), 'uint8')
  for (const other of [
    new DataView(new ArrayBuffer(8)),
    new ArrayBuffer(8),
    [1],
    null,
    undefined,
    {},
    'f8',
  ]) {
    t.is(dtypeOf(other), undefined)
  }
})

test('allocate: zeros, or ERR_TOO_LARGE that says what to do', (t) => {
  t.deepEqual(allocate('int16', 3), new Int16Array(3))
  t.throws(() => allocate('float64', 2 ** 52), { code: 'ERR_TOO_LARGE', message: /work on slices/ })
})

test('checkValue: numbers, bigints and booleans are not mixed', (t) => {
  const accepted: [DType, unknown, number | bigint][] = [
    ['float64', -0, -0],
    ['float32', Number.NaN, Number.NaN],
    ['uint8', 300, 300],
    ['int64', -5n, -5n],
    ['uint64', 2n ** 64n - 1n, 2n ** 64n - 1n],
    ['bool', true, 1],
    ['bool', false, 0],
    ['bool', 0, 0],
    ['bool', -0, 0],
    ['bool', 0.5, 1],
    ['bool', Number.NaN, 1],
    ['bool', 256, 1],
  ]
  for (const [dtype, value, stored] of accepted)
    t.is(checkValue(dtype, value), stored, `${dtype} ${String(value)}`)
  const refused: [DType, unknown, RegExp][] = [
    ['int64', 5, /of type bigint for int64: write 5n\. Received type number \(5\)/],
    ['uint64', -7, /write -7n/],
    ['int64', 1.5, /write 5n/],
    ['int64', '5', /bigint/],
    ['float64', 5n, /of type number for float64: write Number\(5n\)/],
    ['float32', '5', /of type number/],
    ['int8', true, /of type number/],
    ['int8', null, /Received null/],
    ['bool', 1n, /boolean or number/],
    ['bool', 'true', /boolean or number/],
    ['float64', undefined, /Received undefined/],
  ]
  for (const [dtype, value, message] of refused) {
    t.throws(() => checkValue(dtype, value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE', message })
  }
})

test('conversion: JavaScript stores numbers so, and here bigints and bools too', (t) => {
  const table: [DType, number | bigint, DType, number | bigint][] = [
    ['float64', 300.7, 'uint8', 44],
    ['float64', -1.5, 'int32', -1],
    ['float64', Number.NaN, 'int16', 0],
    ['uint32', 2 ** 32 - 1, 'int8', -1],
    ['float64', -2.9, 'int64', -2n],
    ['float64', 2 ** 63, 'int64', -(2n ** 63n)],
    ['float64', -1, 'uint64', 2n ** 64n - 1n],
    ['float32', Number.POSITIVE_INFINITY, 'int64', 0n],
    ['float32', Number.NaN, 'uint64', 0n],
    ['bool', 1, 'int64', 1n],
    ['int64', -1n, 'uint64', 2n ** 64n - 1n],
    ['int64', 2n ** 53n + 1n, 'float64', 2 ** 53],
    ['uint64', 2n ** 62n + 3n, 'int32', 3],
    ['int64', -1n, 'uint8', 255],
    ['int64', -1n, 'uint32', 2 ** 32 - 1],
    ['uint64', 2n ** 32n, 'bool', 1],
    ['int64', 0n, 'bool', 0],
    ['float64', 0.25, 'bool', 1],
    ['float64', -0, 'bool', 0],
    ['float64', Number.NaN, 'bool', 1],
    ['uint8', 7, 'bool', 1],
  ]
  for (const [from, value, to, stored] of table) {
    const target = allocate(to, 1) as TypedArray
    target[0] = conversion(from, to)?.(value) ?? value
    t.is(target[0], stored, `${from} ${String(value)} to ${to}`)
  }
})
