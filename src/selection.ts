/**
 * numpy's basic indexing as arithmetic: selections in, a layout out. The native side re-checks what comes of
 * it and never derives a layout of its own, so that both sides cannot disagree about a corner case.
 */
import { checkInteger, invalidArgType, invalidArgValue, outOfRange } from './errors.js'
import { Axes, copyOf, cut, isInside, type Layout, NO_AXIS } from './layout.js'

/** A range of one axis; null leaves an end, or the step, to its default. Negative ends count from the end. */
export interface Slice {
  /** The first index; null is the end where the step begins. */
  readonly start: number | null
  /** The index that ends it, left out; null goes to the end. */
  readonly stop: number | null
  /** From one index to the next, not 0; null is 1. */
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
export function slice(start: unknown, stop?: unknown, step?: unknown): Slice {
  if (step === undefined && isIndex(start) && isIndex(stop)) return { start, stop, step: null }
  // biome-ignore lint/complexity/noArguments: a rest parameter costs as much as the range itself.
  return otherSlice(arguments.length, start, stop, step)
}

function otherSlice(count: number, start: unknown, stop: unknown = null, step: unknown = null): Slice {
  return checkSlice(
    'slice',
    (count === 1 ? { start: null, stop: start, step } : { start, stop, step }) as Slice,
  )
}

/** True for an integer from 0 on that has 32 bits. */
function isIndex(value: unknown): value is number {
  return typeof value === 'number' && value >>> 0 === value
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
  const extents = copyOf(shape)
  const steps = copyOf(stride)
  let start = offset
  let kept = 0
  for (let axis = 0; axis < shape.length; axis++) {
    const extent = shape[axis] as number
    const step = stride[axis] as number
    const selection = axis < selections.length ? parse(selections[axis], axis) : null
    if (selection === null) {
      extents[kept] = extent
      steps[kept++] = step
    } else if (typeof selection === 'number') {
      start += indexOf(selection, extent, axis) * step
    } else {
      const by = selection.step ?? 1
      const first = firstOf(selection.start, by, extent)
      const count = countOf(first, selection.stop, by, extent)
      extents[kept] = count
      // As in numpy, an empty range moves nothing.
      steps[kept++] = by !== 1 && count > 0 && Number.isSafeInteger(step * by) ? step * by + 0 : step
      if (count > 0) start += first * step
    }
  }
  return { shape: cut(extents, kept), stride: cut(steps, kept), offset: start }
}

/** A range that is not empty, inside its axis, without steps. */
export type Range = { readonly start: number; readonly stop: number }

/** True for such a range; others are for code that may be slow. Short, because of the limit that `Axes` speaks of. */
export function isRange(value: unknown, extent: number): value is Range {
  if (typeof value !== 'object' || value === null) return false
  const { start, stop, step } = value as Slice
  return step === null && isInside(stop, extent) && isInside(start, stop - 1)
}

/** As `select`, for two ranges that are checked. */
export function slice2({ ndim, offset, s0, s1, rest }: Axes, a: Range, b: Range): Axes {
  const at = offset + a.start * s0 + b.start * s1
  return new Axes(ndim, at, a.stop - a.start, s0, b.stop - b.start, s1, rest)
}

/**
 * As `select`, for one selection or two that are null, an index that is not negative, or a range with a start
 * and a stop inside the axis; null where that is not so, or where an index leaves more than two axes to close
 * up. Makes no array, as `Axes` explains.
 */
export function selectNear(axes: Axes, count: number, a: unknown, b: unknown): Axes | null {
  const { ndim, n0, s0, n1, s1, rest } = axes
  if (count === 1) b = null
  const i = startOf(a) as number
  const iStop = stopOf(a, n0) as number
  const j = startOf(b) as number
  const jStop = stopOf(b, n1) as number
  if (count > ndim || count > 2 || !isPart(i, iStop, n0) || !(count === 1 || isPart(j, jStop, n1)))
    return null
  const offset = axes.offset + i * s0 + j * s1
  if (typeof a !== 'number') {
    if (typeof b !== 'number') return new Axes(ndim, offset, iStop - i, s0, jStop - j, s1, rest)
    return rest === null ? new Axes(1, offset, iStop - i, s0, NO_AXIS, 0, null) : null
  }
  if (rest !== null) return null
  if (typeof b === 'number') return new Axes(0, offset, NO_AXIS, 0, NO_AXIS, 0, null)
  return new Axes(ndim - 1, offset, jStop - j, s1, NO_AXIS, 0, null)
}

/**
 * The selections with ranges in the place of text: the same list where there is no text. Throws what `select`
 * does for text that is no range.
 */
export function parseTexts(selections: readonly Selection[]): readonly Selection[] {
  let parsed: Selection[] | undefined
  for (let axis = 0; axis < selections.length; axis++) {
    const selection = selections[axis]
    if (typeof selection !== 'string') continue
    parsed ??= selections.slice()
    parsed[axis] = parseText(selection, `selections[${axis}]`)
  }
  return parsed ?? selections
}

/** Where a selection begins, not yet checked. */
function startOf(selection: unknown): unknown {
  if (selection === null) return 0
  return typeof selection === 'object' ? (selection as Partial<Slice>).start : selection
}

/** Where a selection ends, not yet checked; undefined where it takes steps. */
function stopOf(selection: unknown, extent: number): unknown {
  if (selection === null) return extent
  if (typeof selection === 'number') return selection + 1
  if (typeof selection !== 'object') return undefined
  const { step, stop } = selection as Partial<Slice>
  return step === null ? stop : undefined
}

/** True for integers, `start` below `stop`, inside the axis. What is longer than 32 bits can say may be slow. */
function isPart(start: unknown, stop: unknown, extent: number): boolean {
  if (typeof start !== 'number' || typeof stop !== 'number') return false
  return start >>> 0 === start && stop >>> 0 === stop && start < stop && stop <= extent
}

function indexOf(index: number, extent: number, axis: number): number {
  const at = index < 0 ? index + extent : index
  if (at >= 0 && at < extent) return at
  const range = extent === 0 ? 'a range, the axis is empty' : `>= ${-extent} && < ${extent}`
  throw outOfRange(`selections[${axis}]`, range, index)
}

/** Python's rule for where a range begins. */
function firstOf(start: number | null, step: number, extent: number): number {
  if (start === null) return step > 0 ? 0 : extent - 1
  return clamp(start, step, extent)
}

/** Python's rule for how many indices a range has. */
function countOf(first: number, stop: number | null, step: number, extent: number): number {
  const end = stop === null ? (step > 0 ? extent : -1) : clamp(stop, step, extent)
  const distance = step > 0 ? end - first : first - end
  if (distance <= 0) return 0
  return step === 1 ? distance : Math.floor((distance - 1) / Math.abs(step)) + 1
}

function clamp(end: number, step: number, extent: number): number {
  const at = end < 0 ? end + extent : end
  if (step > 0) return at < 0 ? 0 : at > extent ? extent : at
  return at < -1 ? -1 : at >= extent ? extent - 1 : at
}

function parse(selection: unknown, axis: number): null | number | Slice {
  if (selection === null) return null
  if (typeof selection === 'number' && Number.isSafeInteger(selection)) return selection
  if (typeof selection === 'object' && isChecked(selection)) return selection
  const name = `selections[${axis}]`
  if (typeof selection === 'number') return checkInteger(name, selection)
  if (typeof selection === 'string') return parseText(selection, name)
  if (typeof selection === 'object' && isSliceLike(selection)) return checkSlice(name, selection)
  throw invalidArgType(name, "null, an integer, slice(start, stop, step) or text like '1:5'", selection)
}

/** Index, or start, colon, stop and step: spaces anywhere but in a number. */
const TEXT = /^\s*(?:([+-]?\d+)\s*)?(?:(:)\s*(?:([+-]?\d+)\s*)?(?::\s*(?:([+-]?\d+)\s*)?)?)?$/

/** What texts mean: a loop has few, and taking one apart costs as much as four views. */
const known = new Map<string, number | Slice>()

function parseText(text: string, name: string): number | Slice {
  const before = known.get(text)
  if (before !== undefined) return before
  if (known.size >= 256) known.clear()
  const parsed = parseNewText(text, name)
  known.set(text, parsed)
  return parsed
}

function parseNewText(text: string, name: string): number | Slice {
  const found = TEXT.exec(text)
  if (found === null || (found[1] === undefined && found[2] === undefined)) {
    throw invalidArgValue(name, "must be an index or a range of one axis, like '3', '1:5' or '::-1'", text)
  }
  if (found[2] === undefined) return checkInteger(name, Number(found[1]))
  return checkSlice(name, { start: endOf(found[1]), stop: endOf(found[3]), step: endOf(found[4]) })
}

function endOf(text: string | undefined): number | null {
  return text === undefined ? null : Number(text)
}

/**
 * True for what `slice` makes, and anything like it. What has all three fields is not searched for unknown ones,
 * which costs more than a view: they can be no misspelling of one of the three.
 */
function isChecked(value: object): value is Slice {
  const { start, stop, step } = value as Partial<Slice>
  return isEnd(start) && isEnd(stop) && isEnd(step) && step !== 0
}

function isEnd(value: unknown): boolean {
  return value === null || Number.isInteger(value)
}

function isSliceLike(value: object): value is Partial<Slice> {
  for (const key in value) {
    if (key !== 'start' && key !== 'stop' && key !== 'step') return false
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function checkSlice(name: string, range: Partial<Slice>): Slice {
  const start = checkEnd(name, 'start', range.start)
  const stop = checkEnd(name, 'stop', range.stop)
  const step = checkEnd(name, 'step', range.step)
  if (step === 0) throw outOfRange(`${name}.step`, 'an integer other than 0', 0)
  return { start, stop, step }
}

function checkEnd(name: string, key: keyof Slice, value: unknown): number | null {
  if (value === null || value === undefined) return null
  if (typeof value !== 'number') throw invalidArgType(`${name}.${key}`, 'an integer or null', value)
  if (Number.isInteger(value)) return value
  throw outOfRange(`${name}.${key}`, 'an integer (null leaves it open)', value)
}
