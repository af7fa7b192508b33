/**
 * Elements as the command line prints them: for people in columns, with what is long cut short, and for programs as JSON, a
 * piece at a time, so that an array of any size goes through little memory.
 */
import type { DType } from './dtype.js'
import { formatScalar } from './inspect.js'
import type { NdView } from './nd-view.js'

/** More elements than this are not all printed. */
const MANY = 1000
/** How many stay at both ends of an axis that is cut short. */
const EDGE = 3
/** The most elements that are printed, however many axes are left whole. */
const MOST = 10_000
/** Elements that are made JSON at a time. */
const BLOCK = 4096

/** The text with every control character as its number: what comes from a file must not speak to the terminal. */
export function plain(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/**
 * The elements in columns of one width, as numpy prints them; of more than 1000 only those at the ends of each axis. The first
 * `whole` axes are shown from end to end.
 */
export function elements<D extends DType>(view: NdView<D>, whole: number): string {
  const { shape, size, ndim, dtype } = view
  if (size === 0) return '[]'
  let left = MOST
  const cut = (axis: number): (number | null)[] => {
    const extent = shape[axis] as number
    if (size <= MANY || axis < whole || extent <= 2 * EDGE)
      return range(0, Math.min(extent, MOST), extent > MOST)
    return [...range(0, EDGE, true), ...range(extent - EDGE, extent, false)]
  }
  type Texts = string | Texts[]
  const texts = (index: number[]): Texts => {
    if (index.length === ndim) {
      left--
      return scalar(dtype, view.get(...index))
    }
    const found: Texts[] = []
    for (const i of cut(index.length)) {
      if (i === null || left <= 0) found.push('...')
      else found.push(texts([...index, i]))
      if (left <= 0) break
    }
    return found
  }
  const all = texts([])
  const width = Math.max(...flat(all).map((one) => (one === '...' ? 0 : one.length)))
  const format = (part: Texts, depth: number): string => {
    if (typeof part === 'string') return part === '...' ? part : part.padStart(width)
    const separator = depth === ndim - 1 ? ' ' : `\n${' '.repeat(depth + 1)}`
    return `[${part.map((one) => format(one, depth + 1)).join(separator)}]`
  }
  return format(all, 0)
}

function range(start: number, stop: number, more: boolean): (number | null)[] {
  const indices: (number | null)[] = Array.from({ length: stop - start }, (_, n) => start + n)
  return more ? [...indices, null] : indices
}

function flat(texts: unknown): string[] {
  return (Array.isArray(texts) ? texts.flat(Number.POSITIVE_INFINITY) : [texts]) as string[]
}

/** One element, as short as it stays the same. */
export function scalar(dtype: DType, value: number | bigint): string {
  return typeof value === 'bigint' ? String(value) : formatScalar(dtype, value)
}

/**
 * A value as JSON. Bigints are numbers with all their digits; NaN and the infinities, which JSON has not, are the strings
 * that Zarr has for them: `"NaN"`, `"Infinity"`, `"-Infinity"`.
 */
export function json(value: unknown): string {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value)
    return `"${value}"`
  }
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${json(field)}`).join(',')}}`
}

/** One element as JSON takes it: a bool as true or false. */
export function element(dtype: DType, value: number | bigint): number | bigint | boolean {
  return dtype === 'bool' ? value !== 0 : value
}

/** The elements as nested arrays of JSON, in pieces that follow each other; bool as true and false. */
export function* jsonElements(view: NdView): Generator<string> {
  const { dtype, ndim } = view
  const length = view.shape[0] as number
  const one = (value: number | bigint) => json(element(dtype, value))
  if (ndim === 0) {
    yield one(view.get())
    return
  }
  yield '['
  for (let i = 0; i < length; i += ndim === 1 ? BLOCK : 1) {
    if (i > 0) yield ','
    if (ndim > 1) yield* jsonElements(view.pick(i))
    else {
      const block = view.slice({ start: i, stop: i + BLOCK }).toTypedArray({ copy: true })
      yield Array.from<number | bigint, string>(block as ArrayLike<number | bigint>, one).join(',')
    }
  }
  yield ']'
}
