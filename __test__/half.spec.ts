/** 16-bit floats, against the runtime's own where it has one, and against their definition everywhere. */
import test from 'ava'
import { BFLOAT16, decode16, encode16, FLOAT16 } from '../src/half.js'

test('every pattern of bits decodes to a number that encodes to the same bits', (t) => {
  for (const format of [FLOAT16, BFLOAT16]) {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = decode16(bits, format)
      if (!Number.isNaN(value) && encode16(value, format) !== bits) t.fail(`${bits} is ${value}`)
    }
  }
  t.true(Number.isNaN(decode16(encode16(Number.NaN, FLOAT16), FLOAT16)))
  t.true(Number.isNaN(decode16(encode16(Number.NaN, BFLOAT16), BFLOAT16)))
})

test('bfloat16 is the upper half of a float32', (t) => {
  const view = new DataView(new ArrayBuffer(4))
  for (let bits = 0; bits < 0x10000; bits++) {
    view.setUint32(0, bits * 0x10000)
    if (!Object.is(decode16(bits, BFLOAT16), view.getFloat32(0))) t.fail(String(bits))
  }
  t.pass()
})

const known: [value: number, half: number, brain: number][] = [
  [0, 0, 0],
  [-0, 0x8000, 0x8000],
  [1, 0x3c00, 0x3f80],
  [-2, 0xc000, 0xc000],
  [65504, 0x7bff, 0x4780],
  [65519.99, 0x7bff, 0x4780],
  [65520, 0x7c00, 0x4780],
  [2 ** -24, 1, 0x3380],
  [2 ** -25, 0, 0x3300],
  [2 ** -25 * 1.0001, 1, 0x3300],
  [1 + 2 ** -11, 0x3c00, 0x3f80],
  [1 + 3 * 2 ** -11, 0x3c02, 0x3f80],
  [1 + 2 ** -8, 0x3c04, 0x3f80],
  [1 + 3 * 2 ** -8, 0x3c0c, 0x3f82],
  // Halfway after rounding to float32, above it before: one rounding goes up, two would go to even.
  [1 + 2 ** -11 + 2 ** -40, 0x3c01, 0x3f80],
  [1 + 2 ** -8 + 2 ** -40, 0x3c04, 0x3f81],
  [3.3895313892515355e38, 0x7c00, 0x7f7f],
  [3.4e38, 0x7c00, 0x7f80],
  [2 ** -133, 0, 1],
  [2 ** -134, 0, 0],
  [Number.MIN_VALUE, 0, 0],
  [Number.MAX_VALUE, 0x7c00, 0x7f80],
  [Number.NEGATIVE_INFINITY, 0xfc00, 0xff80],
]
for (const [value, half, brain] of known) {
  test(`nearest to ${Object.is(value, -0) ? '-0' : value}`, (t) => {
    t.is(encode16(value, FLOAT16), half)
    t.is(encode16(value, BFLOAT16), brain)
  })
}

const Float16 = Reflect.get(globalThis, 'Float16Array')
const own = Float16 === undefined ? test.skip : test

own("float16 is what the runtime's Float16Array makes of a number", (t) => {
  const array = new Float16(1)
  const bits = new Uint16Array(array.buffer)
  let state = 20261124
  for (let i = 0; i < 100_000; i++) {
    state = (state * 1664525 + 1013904223) % 2 ** 32
    const value = (state / 2 ** 31 - 1) * 2 ** (((state >> 8) & 63) - 40)
    array[0] = value
    if (encode16(value, FLOAT16) !== bits[0]) t.fail(String(value))
  }
  t.pass()
})
