/** Selections against numpy itself: random ones on random arrays, thousands in one run. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { isMmapError, NdView, type Selection, slice } from '../src/index.js'
import { folder, listOf, root, run, tool } from './helpers.js'

const SEED = 20_241_123
const CASES = 10_000

const python = tool('python')
const withNumpy = python === undefined ? test.skip : test
if (python === undefined)
  console.error('skipped: no numpy; npm test sets it up where Python and the registry are')

/** A range as Python's `slice` takes it. */
type Range = [start: number | null, stop: number | null, step: number | null]

/** One selection, and which of our spellings it is written in. */
interface Drawn {
  readonly taken: null | number | Range
  readonly spelling: number
}

const end = fc.option(
  fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: -8, max: 8 }) },
    { weight: 1, arbitrary: fc.constantFrom(-(2 ** 53) + 1, -(2 ** 31), 2 ** 31, 2 ** 53 - 1) },
  ),
)
const by = fc.option(
  fc.oneof(
    { weight: 50, arbitrary: fc.constantFrom(-4, -3, -2, -1, 1, 2, 3, 4) },
    { weight: 4, arbitrary: fc.constantFrom(-(2 ** 40), 2 ** 40) },
    { weight: 1, arbitrary: fc.constant(0) },
  ),
)
const drawn: fc.Arbitrary<Drawn> = fc.record({
  taken: fc.oneof(
    { weight: 1, arbitrary: fc.constant(null) },
    { weight: 2, arbitrary: fc.integer({ min: -3, max: 2 }) },
    { weight: 5, arbitrary: fc.tuple(end, end, by) },
  ),
  spelling: fc.nat(3),
})

const extent = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 3, max: 6 }) },
  { weight: 1, arbitrary: fc.nat(2) },
)

const drawnCase = fc.array(extent, { maxLength: 4 }).chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    turned: fc.boolean(),
    // The second now and then has more selections than axes are left.
    steps: fc.tuple(fc.array(drawn, { maxLength: shape.length }), fc.array(drawn, { maxLength: 2 })),
  }),
)

function spell({ taken, spelling }: Drawn): Selection {
  if (taken === null) return spelling % 2 ? ':' : null
  if (typeof taken === 'number') return spelling % 2 ? `${taken}` : taken
  const [start, stop, step] = taken
  if (spelling === 0) return `${start ?? ''}:${stop ?? ''}${step === null ? '' : `:${step}`}`
  if (spelling === 1) return ` ${start ?? ''} : ${stop ?? ''} : ${step ?? ''} `
  if (spelling === 2) return { start, stop, step }
  // Python raises for a step of 0 when it is used, slice() when it is made.
  return step === 0 ? { step } : slice(start, stop, step)
}

interface Taken {
  readonly shape: number[]
  readonly strides: number[]
  readonly values: (number | bigint)[]
}

type Result = Taken | { readonly error: string }

function ours(shape: number[], turned: boolean, steps: Selection[][]): Result {
  const size = shape.reduce((a, b) => a * b, 1)
  const whole = new NdView(
    Float64Array.from({ length: size }, (_, i) => i),
    shape,
  )
  try {
    const view = steps.reduce((from, step) => from.slice(...step), turned ? whole.T : whole)
    return { shape: view.shape, strides: view.stride, values: listOf(view.toTypedArray({ copy: true })) }
  } catch (error) {
    if (isMmapError(error)) throw error
    return { error: (error as { code: string }).code }
  }
}

withNumpy(`${CASES} random selections are numpy's (seed ${SEED})`, async (t) => {
  const cases = fc.sample(drawnCase, { seed: SEED, numRuns: CASES })
  const path = join(folder(t), 'cases.json')
  const plain = cases.map(({ shape, turned, steps }) => {
    return { shape, turned, steps: steps.map((step) => step.map(({ taken }) => taken)) }
  })
  writeFileSync(path, JSON.stringify(plain))
  const { code, stdout, stderr } = await run(python as string, [
    join(root, '__test__/interop/select.py'),
    path,
  ])
  t.is(code, 0, stderr)
  const lines = stdout.trim().split('\n')
  t.is(lines.length, CASES)
  const seen = { values: 0, empty: 0, refused: 0 }
  for (const [i, { shape, turned, steps }] of cases.entries()) {
    const numpy: Result = JSON.parse(lines[i] as string)
    const selections = steps.map((step) => step.map(spell))
    const found = ours(shape, turned, selections)
    const name = `[${shape}]${turned ? '.T' : ''} ${JSON.stringify(selections)}`
    if ('error' in numpy) {
      seen.refused++
      t.deepEqual(found, { error: 'ERR_OUT_OF_RANGE' }, `${name}: ${numpy.error} in numpy`)
      continue
    }
    seen[numpy.values.length > 0 ? 'values' : 'empty']++
    t.false('error' in found, name)
    t.deepEqual((found as Taken).shape, numpy.shape, name)
    t.deepEqual((found as Taken).values, numpy.values, name)
    // Strides of axes that are walked; what the others have is nobody's business.
    if (numpy.values.length > 0) {
      const walked = (strides: number[]) => strides.filter((_, axis) => (numpy.shape[axis] as number) > 1)
      t.deepEqual(walked((found as Taken).strides), walked(numpy.strides), name)
    }
  }
  t.log(`seed ${SEED}`, seen)
  for (const count of Object.values(seen)) t.true(count > 500)
})
