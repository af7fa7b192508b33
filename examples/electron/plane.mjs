// What the page asks for, of an array of any shape: a plane of its last two axes, thinned out to what a picture shows, and the
// first elements. The handler makes views of these texts; only what they select is read.

/** @typedef {{ slice: string, rows: number, columns: number }} Plane */

/**
 * The plane at `index` of all axes but the last two, in at most `most` rows and columns. A single axis is wrapped into lines.
 * @param {readonly number[]} shape
 * @param {readonly number[]} index of each axis before the last two
 * @param {number} most
 * @returns {Plane}
 */
export function plane(shape, index, most) {
  if (shape.length === 0) return { slice: '', rows: 1, columns: 1 }
  if (shape.length === 1) {
    const [length = 0] = shape
    const step = Math.max(1, Math.ceil(length / most ** 2))
    const count = Math.ceil(length / step)
    const columns = Math.ceil(Math.sqrt(count))
    return { slice: `::${step}`, rows: columns === 0 ? 0 : Math.ceil(count / columns), columns }
  }
  const [height = 0, width = 0] = shape.slice(-2)
  const [down, along] = [height, width].map((extent) => Math.max(1, Math.ceil(extent / most)))
  const before = shape.slice(0, -2).map((extent, axis) => Math.min(index[axis] ?? 0, extent - 1))
  return {
    slice: [...before, `::${down}`, `::${along}`].join(),
    rows: Math.ceil(height / Number(down)),
    columns: Math.ceil(width / Number(along)),
  }
}

/**
 * The first rows and columns, of the first plane.
 * @param {readonly number[]} shape
 * @param {number} rows
 * @param {number} columns
 */
export function head(shape, rows, columns) {
  if (shape.length === 0) return ''
  if (shape.length === 1) return `:${columns}`
  return [...shape.slice(2).map(() => 0), `:${rows}`, `:${columns}`].join()
}

/**
 * The least and the greatest of the finite values; 0 and 0 where there is none.
 * @param {ArrayLike<number>} values
 */
export function extremes(values) {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < values.length; i++) {
    const value = /** @type {number} */ (values[i])
    if (!Number.isFinite(value)) continue
    if (value < min) min = value
    if (value > max) max = value
  }
  return min <= max ? { min, max } : { min: 0, max: 0 }
}

/**
 * Bytes as people read them.
 * @param {number} bytes
 */
export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let n = bytes
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024
  return `${unit === 0 ? n : n.toFixed(n < 10 ? 2 : 1)} ${units[unit]}`
}
