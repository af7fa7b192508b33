/**
 * Numbers of 16 bits for runtimes without a Float16Array, and bfloat16 for all: no JavaScript has it.
 *
 * Both are read exactly and rounded to the nearest, ties to even, from the double itself: going through float32 would
 * round twice.
 */

/** How a format of 16 bits divides them: a sign, `exponent` bits, `mantissa` bits. */
interface Format16 {
  readonly exponent: number
  readonly mantissa: number
}

/** IEEE 754 binary16. */
export const FLOAT16: Format16 = { exponent: 5, mantissa: 10 }
/** The upper half of a float32. */
export const BFLOAT16: Format16 = { exponent: 8, mantissa: 7 }

/** The number that 16 bits stand for. */
export function decode16(bits: number, { exponent, mantissa }: Format16): number {
  const sign = bits & 0x8000 ? -1 : 1
  const power = (bits & 0x7fff) >> mantissa
  const fraction = bits & ((1 << mantissa) - 1)
  const bias = (1 << (exponent - 1)) - 1
  if (power === (1 << exponent) - 1) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  // Below the smallest normal number the leading bit is not implied.
  if (power === 0) return sign * fraction * 2 ** (1 - bias - mantissa)
  return sign * (fraction + (1 << mantissa)) * 2 ** (power - bias - mantissa)
}

/** The 16 bits nearest to a number. */
export function encode16(value: number, { exponent, mantissa }: Format16): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  const bias = (1 << (exponent - 1)) - 1
  const infinity = ((1 << exponent) - 1) << mantissa
  if (Number.isNaN(value)) return infinity | (1 << (mantissa - 1))
  if (size === 0 || size === Number.POSITIVE_INFINITY) return sign | (size === 0 ? 0 : infinity)
  const power = Math.max(powerOf(size), 1 - bias)
  // In units of the last place, which are exact: a double divided by a power of two. Rounding may carry into the next
  // power, and past the largest number into infinity, as the bits do by themselves.
  const places = roundEven(size / 2 ** (power - mantissa))
  const bits = places + ((power + bias - 1) << mantissa)
  return sign | Math.min(bits, infinity)
}

const double = new DataView(new ArrayBuffer(8))

/** The power of two at or below a positive number, from its own bits; of a subnormal number, one that is too low. */
function powerOf(size: number): number {
  double.setFloat64(0, size)
  return (double.getUint16(0) >> 4) - 1023
}

function roundEven(size: number): number {
  const floor = Math.floor(size)
  const rest = size - floor
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0)
}
