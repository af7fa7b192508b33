/**
 * numpy's basic indexing as arithmetic: selections in, a layout out. The native side re-checks what comes of
 * it and never derives a layout of its own, so that both sides cannot disagree about a corner case.
 */
import { checkInteger, invalidArgType, invalidArgValue, outOfRange } from './errors.js'
import type { Layout } from './layout.js'

/** A range of one axis; null leaves an end, or the step, to its default. Negative ends count from the end. */
export interface Slice {
  readonly start: number | null
  readonly stop: number | null
  readonly step: number | null
}

/**
 * What is taken of one axis: null for all of it, a number for one index (the axis disappears), or a range, as
 * a `Slice`, as a plain object with some of its fields, or as text (`'1:5'`, `'::-1'`; `'3'` is the number
 * 3).
 */
export type Selection = null | number | Slice | Partial<Slice> | string

/**
 * A range for `NdView.slice`: `slice(stop)` or `slice(start, stop, step)`, like Python's own; null leaves an
 * end open.
 *
 * Throws ERR_INVALID_ARG_TYPE for anything but numbers and null, ERR_OUT_OF_RANGE for a fraction or a step of
 * 0.
 */
export function slice(stop: number | null): Slice
export function slice(start: number | null, stop: number | null, step?: number | null): Slice
export function slice(...ends: (number | null | undefined)[]): Slice {
  const [start = null, stop = null, step = null] = ends.length === 1 ? [null, ends[0]] : ends
  return checkSlice('slice', { start, stop, step })
}

/**
 * The layout of what `selections` take of a view, one for each axis from the first on; axes without one are
 * kept whole.
 *
 * As in numpy, the ends of a range are cut to the axis, and an empty range moves nothing. Throws
 * ERR_OUT_OF_RANGE for an index outside its axis, for a step of 0, for fractions and for more selections than
 * axes; ERR_INVALID_ARG_VALUE for text that is no range; ERR_INVALID_ARG_TYPE for any other value, undefined
 * included.
 */
export function select(
  shape: readonly number[],
  stride: readonly number[],
  offset: number,
  selections: readonly Selection[],
): Layout {
  if (selections.length > shape.length) {
    throw outOfRange('selections.length', `at most ${shape.length}, the number of axes`, selections.length)
  }
  const layout = { shape: [] as number[], stride: [] as number[], offset }
  for (let axis = 0; axis < shape.length; axis++) {
    const extent = shape[axis] as number
    const step = stride[axis] as number
    const selection = axis < selections.length ? parse(selections[axis], axis) : null
    if (selection === null) {
      layout.shape.push(extent)
      layout.stride.push(step)
    } else if (typeof selection === 'number') {
      layout.offset += indexOf(selection, extent, axis) * step
    } else {
      const range = resolve(selection, extent)
      layout.shape.push(range.count)
      layout.stride.push(Number.isSafeInteger(step * range.step) ? step * range.step + 0 : step)
      layout.offset += range.start * step
    }
  }
  return layout
}

function indexOf(index: number, extent: number, axis: number): number {
  const at = index < 0 ? index + extent : index
  if (at >= 0 && at < extent) return at
  const range = extent === 0 ? 'a range, the axis is empty' : `>= ${-extent} && < ${extent}`
  throw outOfRange(`selections[${axis}]`, range, index)
}

/** Python's rule for the indices of a range on an axis of `extent`. */
function resolve(range: Slice, extent: number): { start: number; step: number; count: number } {
  const step = range.step ?? 1
  const lowest = step > 0 ? 0 : -1
  const highest = step > 0 ? extent : extent - 1
  const clamp = (end: number) => Math.min(Math.max(end < 0 ? end + extent : end, lowest), highest)
  const start = range.start === null ? (step > 0 ? lowest : highest) : clamp(range.start)
  const stop = range.stop === null ? (step > 0 ? highest : lowest) : clamp(range.stop)
  const distance = step > 0 ? stop - start : start - stop
  if (distance <= 0) return { start: 0, step: 1, count: 0 }
  return { start, step, count: Math.floor((distance - 1) / Math.abs(step)) + 1 }
}

function parse(selection: unknown, axis: number): null | number | Slice {
  const name = `selections[${axis}]`
  if (selection === null) return null
  if (typeof selection === 'number') return checkInteger(name, selection)
  if (typeof selection === 'string') return parseText(selection, name)
  if (typeof selection === 'object' && isSliceLike(selection)) return checkSlice(name, selection)
  throw invalidArgType(name, "null, an integer, slice(start, stop, step) or text like '1:5'", selection)
}

function parseText(text: string, name: string): number | Slice {
  const parts = text.split(':').map((part) => part.trim())
  const isRange = parts.length === 2 || parts.length === 3
  if (!parts.every((part) => (part === '' ? isRange : /^[+-]?\d+$/.test(part))) || parts.length > 3) {
    throw invalidArgValue(name, "must be an index or a range of one axis, like '3', '1:5' or '::-1'", text)
  }
  const [start = null, stop = null, step = null] = parts.map((part) => (part === '' ? null : Number(part)))
  return isRange ? checkSlice(name, { start, stop, step }) : checkInteger(name, start)
}

function isSliceLike(value: object): value is Partial<Slice> {
  const prototype: unknown = Object.getPrototypeOf(value)
  return (
    (prototype === Object.prototype || prototype === null) &&
    Object.keys(value).every((key) => key === 'start' || key === 'stop' || key === 'step')
  )
}

function checkSlice(name: string, range: Partial<Slice>): Slice {
  const end = (key: keyof Slice) => {
    const value = range[key] ?? null
    if (value === null) return null
    if (typeof value !== 'number') throw invalidArgType(`${name}.${key}`, 'an integer or null', value)
    if (!Number.isInteger(value))
      throw outOfRange(`${name}.${key}`, 'an integer (null leaves it open)', value)
    return value
  }
  const checked = { start: end('start'), stop: end('stop'), step: end('step') }
  if (checked.step === 0) throw outOfRange(`${name}.step`, 'an integer other than 0', 0)
  return checked
}
