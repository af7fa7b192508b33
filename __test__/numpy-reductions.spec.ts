/** Reductions against numpy itself: random ones of random views of files of every kind, thousands in one run. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { type MmapArray, NdView, openSync, slice } from 'mmap-ndarray'
import { dtypes, isBigInt, itemsizeOf } from '../src/dtype.js'
import { folder, listOf, root, run, tool } from './helpers.js'

const SEED = 20_260_611
const CASES = 6000
/** Regions of each file, and elements of each: see `values` in reduce.py. */
const [REGIONS, LENGTH] = [4, 2 ** 14]

const python = tool('python')
const withNumpy = python === undefined ? test.skip : test
if (python === undefined)
  console.error('skipped: no numpy; npm test sets it up where Python and the registry are')

const OPS = [
  ...(['sum', 'prod', 'mean', 'var', 'std', 'min', 'max', 'minmax'] as const),
  ...(['argmin', 'argmax', 'any', 'all', 'countNonzero'] as const),
]
type Op = (typeof OPS)[number]
type Reductions = Record<Op | `${Op}Sync`, (options: object) => unknown>

/** A range as Python's `slice` takes it. */
type Range = [start: number | null, stop: number | null, step: number | null]
type Values = (number | bigint | boolean)[]
type Dtype = (typeof dtypes)[number]

const extent = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 6 }) },
  { weight: 1, arbitrary: fc.constant(0) },
)
const shape = fc.oneof(
  { weight: 3, arbitrary: fc.array(extent, { maxLength: 5 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(1, 2, 3), fc.integer({ min: 20, max: 4000 }), fc.constantFrom(1, 2, 5))
      .chain((lengths) => fc.shuffledSubarray(lengths, { minLength: 2 })),
  },
)
const end = fc.option(fc.integer({ min: -8, max: 8 }), { freq: 2 })
const by = fc.option(fc.constantFrom(-2, -1, 1, 2))
const range: fc.Arbitrary<Range> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Range>([null, null, null]) },
  { weight: 1, arbitrary: fc.tuple(fc.constant(null), fc.constant(null), fc.constantFrom(-3, -1, 2, 3)) },
  { weight: 1, arbitrary: fc.tuple(end, end, by) },
)
const often = (weight: number) =>
  fc.oneof({ weight, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })

const drawnCase = shape.chain((shape) =>
  fc.record({
    dtype: fc.constantFrom(...dtypes),
    storage: fc.constantFrom('plain', 'plain', 'plainBig', 'odd', 'oddBig', 'gap', 'record', 'recordBig'),
    start: fc.nat(REGIONS * LENGTH - 1),
    shape: fc.constant(shape),
    perm: fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
    slices: fc.array(range, { maxLength: shape.length }),
    // An axis before all others, and axes of length 1 made longer: both with stride 0.
    grown: fc.option(fc.constantFrom(0, 1, 3, 7, 50, 200), { freq: 4 }),
    wide: fc.constantFrom(1, 1, 4),
    op: fc.constantFrom(...OPS),
    axes: fc.option(fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 3 }), { freq: 4 }),
    keepdims: often(3),
    skipNaN: often(1),
    bigint: often(3),
    ddof: fc.constantFrom(0, 1, 0.5, 3),
    threads: fc.constantFrom(undefined, 1, 2, 7),
  }),
)

type Drawn = typeof drawnCase extends fc.Arbitrary<infer T> ? T : never

/** A case as reduce.py takes it, and which of our spellings it has. */
function settle(drawn: Drawn) {
  const { dtype, shape, perm, slices, grown, wide, axes, op, ...rest } = drawn
  const size = shape.reduce((a, b) => a * b, 1)
  const start = Math.min(rest.start, REGIONS * LENGTH - size)
  // Orders and records are npy's, which has no bfloat16.
  const storage = dtype === 'bfloat16' ? rest.storage.replace(/Big|record/g, '') || 'gap' : rest.storage
  const part = viewOf(new NdView(new Uint8Array(size), shape), { shape, perm, slices })
  const inner = part.shape.map((n) => (n === 1 ? wide : n))
  const to =
    grown === null || grown * part.size > (axes === null ? 2 ** 21 : 2 ** 15) ? inner : [grown, ...inner]
  const chosen = new Map(axes?.map(([axis, back]) => [axis % to.length, back]))
  const axis =
    axes === null || (axes.length > 0 && to.length === 0)
      ? null
      : [...chosen].map(([axis, back]) => (back ? axis - to.length : axis))
  const integers = !dtype.includes('float') && (op === 'sum' || op === 'prod')
  return {
    ...rest,
    dtype,
    storage,
    shape,
    start,
    perm,
    slices,
    to,
    axis,
    op,
    bigint: rest.bigint && integers,
  }
}

type Case = ReturnType<typeof settle>

function viewOf<V extends NdView>(
  part: V,
  { shape, perm, slices }: Pick<Drawn, 'shape' | 'perm' | 'slices'>,
): V {
  const turned = part.reshape(shape).transpose(...perm)
  return turned.slice(...slices.map((one) => slice(...one))) as V
}

function optionsOf({ op, axis, keepdims, skipNaN, bigint, ddof, threads }: Case) {
  return {
    ...(axis !== null && { axis: axis.length === 1 && !keepdims ? axis[0] : axis }),
    ...(keepdims && { keepdims }),
    ...(skipNaN && { skipNaN }),
    ...(bigint && { bigint }),
    ...((op === 'var' || op === 'std') && ddof !== 0 && { ddof }),
    ...(threads !== undefined && { threads }),
  }
}

/** How to open what reduce.py has written. */
function openedAs(dtype: Dtype, storage: string) {
  if (storage.startsWith('record')) return { name: 'x' }
  const bytes = itemsizeOf(dtype)
  const code = storage.endsWith('Big') && bytes > 1 ? `>${dtype[0]}${bytes}` : dtype
  return {
    format: 'raw' as const,
    dtype: code as Dtype,
    shape: [REGIONS * LENGTH],
    offset: storage.startsWith('odd') ? 3 : 0,
    ...(storage === 'gap' && { strides: [2] }),
  }
}

interface Numpy {
  readonly shape: number[]
  readonly values: string[][]
  readonly slack: (number | number[])[]
  readonly error?: string
}

type Found = { dtype?: string; shape?: number[]; values: Values } | { error: string | undefined }

/** What a reduction gives, in one form. */
function formOf(result: unknown): Found {
  if (!(result instanceof NdView)) return { values: [result as number] }
  const { dtype, shape } = result
  return { dtype, shape, values: listOf(result.toTypedArray({ copy: true }) as Iterable<number>) }
}

const INFINITE: Record<string, number> = { nan: Number.NaN, inf: Infinity, '-inf': -Infinity }
const LIMITS: Record<string, [bigint, bigint]> = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
}

/** What we promise where numpy says `texts`: the table of results. */
function promised(given: Case, shape: number[], texts: string[]): Found {
  const { dtype, op, axis, keepdims, bigint } = given
  const scalar = axis === null && !keepdims
  const integers = !dtype.includes('float')
  const isSum = op === 'sum' || op === 'prod'
  const floats = (): Values => texts.map((text) => INFINITE[text] ?? Number(text))
  const array = (dtype: string, values: Values): Found => ({ dtype, shape, values })
  if (op === 'any' || op === 'all') {
    const truths = texts.map((text) => text === 'True')
    return scalar ? { values: truths } : array('bool', truths.map(Number))
  }
  if (isSum && integers) {
    const isInfinite = texts.some((text) => text in INFINITE)
    if (scalar && !bigint && !isBigInt(dtype)) return { values: floats() }
    if (isInfinite) return { error: 'ERR_OUT_OF_RANGE' }
    const values = texts.map(BigInt)
    if (scalar) return { values }
    const result = dtype.startsWith('u') ? 'uint64' : 'int64'
    const [least, most] = LIMITS[result] as [bigint, bigint]
    return values.some((one) => one < least || one > most)
      ? { error: 'ERR_OUT_OF_RANGE' }
      : array(result, values)
  }
  if (op === 'argmin' || op === 'argmax' || op === 'countNonzero')
    return scalar ? { values: texts.map(Number) } : array('int64', texts.map(BigInt))
  if (op === 'min' || op === 'max' || op === 'minmax') {
    const values = isBigInt(dtype) ? texts.map(BigInt) : floats()
    return scalar ? { values } : array(dtype, values)
  }
  return scalar ? { values: floats() } : array('float64', floats())
}

function isNear(a: unknown, b: unknown, slack: number): boolean {
  if (a === b || Object.is(a, b)) return true
  return typeof a === 'number' && typeof b === 'number' && Math.abs(a - b) <= slack
}

/** Why `found` is not what was promised, if it is not. */
function difference(found: Found, wanted: Found, slack: number | number[]): string | undefined {
  if ('error' in found || 'error' in wanted) {
    const [one, other] = [found, wanted].map((form) => ('error' in form ? form.error : 'a result'))
    return one === other ? undefined : `got ${one}, expected ${other}`
  }
  const [one, other] = [found, wanted].map(({ dtype, shape }) => JSON.stringify([dtype, shape]))
  if (one !== other) return `got ${one}, expected ${other}`
  if (found.values.length !== wanted.values.length) return `got ${found.values.length} values`
  for (const [i, value] of found.values.entries()) {
    const [right, allowed] = [wanted.values[i], typeof slack === 'number' ? slack : (slack[i] ?? 0)]
    if (typeof value !== typeof right || !isNear(value, right, allowed))
      return `value ${i}: got ${String(value)}, expected ${String(right)}, give or take ${allowed}`
  }
}

async function attempt(work: () => unknown): Promise<{ result: unknown } | { error: string | undefined }> {
  try {
    return { result: await work() }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return { error: code ?? message }
  }
}

withNumpy(`${CASES} random reductions are numpy's (seed ${SEED})`, async (t) => {
  t.timeout(300_000)
  const only = process.env.REDUCTION_CASE
  const drawn = fc.sample(drawnCase, { seed: SEED, numRuns: CASES }).map(settle)
  const cases = only === undefined ? drawn : [drawn[Number(only)] as Case]
  const dir = folder(t)
  writeFileSync(
    join(dir, 'cases.json'),
    JSON.stringify({ seed: SEED, regions: REGIONS, length: LENGTH, cases }),
  )
  const { code, stdout, stderr } = await run(python as string, [
    join(root, '__test__/interop/reduce.py'),
    dir,
  ])
  t.is(code, 0, stderr)
  const lines = stdout.trim().split('\n')
  t.is(lines.length, cases.length)
  const files = new Map<string, MmapArray>()
  t.teardown(() => files.forEach((file) => void file.close()))
  const failures: string[] = []
  const seen: Record<string, number> = {}
  for (const [i, given] of cases.entries()) {
    const numpy: Numpy = JSON.parse(lines[i] as string)
    const { dtype, storage, start, op, to } = given
    const file = `${dtype}-${storage}`
    const whole = files.get(file) ?? openSync(join(dir, file), openedAs(dtype, storage))
    files.set(file, whole)
    const size = given.shape.reduce((a, b) => a * b, 1)
    const view = viewOf(whole.slice([start, start + size].join(':')), given).broadcastTo(to)
    const reductions = view as unknown as Reductions
    const options = optionsOf(given)
    const names = op === 'minmax' ? (['min', 'max'] as const) : ['']
    const ways = {
      sync: await attempt(() => reductions[`${op}Sync`](options)),
      promise: await attempt(() => reductions[op](options)),
    }
    for (const [way, did] of Object.entries(ways)) {
      for (const [n, name] of names.entries()) {
        const found =
          'error' in did
            ? did
            : formOf(name === '' ? did.result : (did.result as Record<string, unknown>)[name])
        const wanted =
          numpy.error === undefined
            ? promised(given, numpy.shape, numpy.values[n] as string[])
            : { error: 'ERR_INVALID_ARG_VALUE' }
        const why = difference(found, wanted, numpy.slack?.[n] ?? 0)
        const outcome = 'error' in wanted ? wanted.error : 'result'
        seen[outcome as string] = (seen[outcome as string] ?? 0) + 1
        if (why === undefined) continue
        const text = `${op} ${name} (${way}) of ${view.shape.join('x')} strides ${view.stride}, ${JSON.stringify(options)}`
        failures.push(`REDUCTION_CASE=${only ?? i}: ${text}: ${why}\n${JSON.stringify(given)}`)
      }
    }
  }
  t.log(`seed ${SEED}`, seen)
  t.is(failures.length, 0, failures.slice(0, 20).join('\n'))
  if (only === undefined)
    for (const outcome of ['result', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE'])
      t.true((seen[outcome] ?? 0) > 100)
})
