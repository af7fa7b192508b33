/**
 * The text of a view. It is made while debugging, over files of any size, so it reads a few elements only: at
 * most three from both ends of an axis, and at most 36 in all however many axes there are.
 */
import type { DType, ScalarOf } from './dtype.js'
import { type Layout, sizeOf } from './layout.js'

const EDGE = 3
const MOST_ELEMENTS = 36
const LINE = 80

/**
 * `header` and a summary of the elements, on one line where they fit, else with a line for each row.
 *
 * `read` gives the element at an index into the data; it is called at most 36 times.
 */
export function formatView<D extends DType>(
  header: string,
  layout: Layout,
  dtype: D,
  read: (at: number) => ScalarOf<D>,
): string {
  const rows = formatElements(layout, (at) => formatScalar(dtype, read(at)))
  const line = `${header} ${rows.replace(/\n */g, ' ')}`
  return line.length <= LINE ? line : `${header}\n${rows}`
}

function formatElements({ shape, stride, offset }: Layout, text: (at: number) => string): string {
  if (sizeOf(shape) === 0) return '[]'
  let left = MOST_ELEMENTS
  const format = (axis: number, at: number): string => {
    if (axis === shape.length) {
      left--
      return text(at)
    }
    const extent = shape[axis] as number
    const items: string[] = []
    for (let i = 0; i < extent; i++) {
      if (i === EDGE && extent > 2 * EDGE) {
        items.push('...')
        i = extent - EDGE
      }
      if (left === 0) {
        if (items.at(-1) !== '...') items.push('...')
        break
      }
      items.push(format(axis + 1, at + i * (stride[axis] as number)))
    }
    const separator = axis === shape.length - 1 ? ', ' : `,\n${' '.repeat(axis + 1)}`
    return `[${items.join(separator)}]`
  }
  return format(0, offset)
}

/**
 * One element as text: a float32 as short as it stays the same float32, a bigint as it is written in code.
 */
export function formatScalar(dtype: DType, value: number | bigint): string {
  if (typeof value === 'bigint') return `${value}n`
  if (dtype === 'bool') return value === 0 ? 'false' : 'true'
  if (Object.is(value, -0)) return '-0'
  if (dtype !== 'float32') return String(value)
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return String(short)
  }
  return String(value)
}
