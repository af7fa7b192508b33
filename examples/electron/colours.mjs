// A colour map in which equal steps of a value look like equal steps: lightness grows evenly in OKLab, from a dark violet over blue
// and green to a light yellow, so that it reads the same in grey and for those who see fewer colours.

const DARKEST = 0.16
const LIGHTEST = 0.95
/** Degrees on the circle of hues. */
const FIRST_HUE = 300
const LAST_HUE = 105
const CHROMA = 0.17

/**
 * Red, green and blue of OKLab lightness, chroma and hue, as linear light; outside [0, 1] where no screen shows it.
 * @param {number} lightness
 * @param {number} chroma
 * @param {number} hue in degrees
 */
function linear(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180)
  const b = chroma * Math.sin((hue * Math.PI) / 180)
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ]
}

/** @param {number} light */
const byteOf = (light) =>
  Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055))

/**
 * The colour of a share from 0 to 1, as red, green and blue bytes; as much chroma as the screen has at that lightness.
 * @param {number} share
 */
export function colour(share) {
  const lightness = DARKEST + (LIGHTEST - DARKEST) * share
  const hue = FIRST_HUE + (LAST_HUE - FIRST_HUE) * share
  let chroma = CHROMA
  let light = linear(lightness, chroma, hue)
  while (light.some((one) => one < 0 || one > 1)) {
    chroma -= 0.002
    light = linear(lightness, chroma, hue)
  }
  return light.map(byteOf)
}

/** The colours of 256 shares, four bytes each: red, green, blue, opaque. */
export const COLOURS = Uint8ClampedArray.from({ length: 256 }, (_, n) => n).reduce((all, n) => {
  all.set([...colour(n / 255), 255], 4 * n)
  return all
}, new Uint8ClampedArray(1024))

/**
 * The pixels of values between `min` and `max`, four bytes each. What is no finite number is left transparent.
 * @param {ArrayLike<number>} values
 * @param {number} min
 * @param {number} max
 * @param {Uint8ClampedArray<ArrayBuffer>} pixels
 */
export function paint(values, min, max, pixels) {
  const scale = max > min ? 255 / (max - min) : 0
  for (let i = 0; i < values.length; i++) {
    const value = /** @type {number} */ (values[i])
    if (!Number.isFinite(value)) continue
    const at = 4 * Math.round((value - min) * scale)
    pixels.set(COLOURS.subarray(at, at + 4), 4 * i)
  }
  return pixels
}
