/** Operations with a second operand against numpy itself: random ones of random views, hundreds of each in one run. */
import { join } from 'node:path'
import test from 'ava'
import { constructors, type DType, itemsizeOf } from '../src/dtype.js'
import { NdView, openSync, slice } from '../src/index.js'
import { bytesOf, type Data, dataViewStore } from '../src/store.js'
import { folder, listOf, root, run, tool } from './helpers.js'

const SEED = 20_261_124
const CASES = 300

const python = tool('python')
const withNumpy = python === undefined ? test.skip : test
if (python === undefined)
  console.error('skipped: no numpy; npm test sets it up where Python and the registry are')

interface Described {
  readonly file: string
  readonly dtype: DType
  readonly raw: number[] | null
  readonly perm: number[]
  readonly slices: [number | null, number | null, number | null][]
}

/** Elements that are written as hexadecimal bytes. */
function dataOf(dtype: DType, hex: string): Data {
  const { buffer, byteOffset, length } = Uint8Array.from(Buffer.from(hex, 'hex'))
  const count = length / itemsizeOf(dtype)
  const ctor = constructors[dtype]
  return ctor ? new ctor(buffer, byteOffset, count) : dataViewStore(dtype, buffer, byteOffset, count, true)
}

function viewOf(dir: string, { file, dtype, raw, perm, slices }: Described) {
  const path = join(dir, file)
  const whole = raw === null ? openSync(path) : openSync(path, { format: 'raw', dtype, shape: raw })
  const view = whole.transpose(...perm).slice(...slices.map((one) => slice(...one)))
  return { whole, view }
}

const doubles = (hex: string) => listOf(dataOf('float64', hex) as Float64Array)
const bytes = (view: NdView) => Buffer.from(bytesOf(view.data)).toString('hex')
const near = (a: number, b: number) =>
  Object.is(a, b) || a === b || Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b), 1)

/** What both forms of a method give, or the code of the error; it fails where they differ. */
async function both(view: object, op: string, ...args: unknown[]): Promise<unknown> {
  const methods = view as Record<string, (...args: unknown[]) => unknown>
  const settle = async (use: () => unknown) => {
    try {
      return await use()
    } catch (error) {
      return { code: (error as NodeJS.ErrnoException).code }
    }
  }
  const shown = (found: unknown) =>
    found instanceof NdView
      ? [found.dtype, found.shape, bytes(found)].join()
      : JSON.stringify(found, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))
  const promised = await settle(() => methods[op]?.(...args))
  const sync = await settle(() => methods[`${op}Sync`]?.(...args))
  if (shown(promised) !== shown(sync)) throw new Error(`${op}: ${shown(promised)} and ${shown(sync)}`)
  return promised
}

// biome-ignore lint/suspicious/noExplicitAny: cases have what their operation has
type Case = any

/** Indices as one of the things that they may be; lists that are empty have no shape beyond their own. */
function indicesOf({ shape, kind }: { shape: number[]; kind: string }, indices: number[]): unknown {
  if (kind === 'uint64' && indices.every((index) => index >= 0))
    return new NdView(BigUint64Array.from(indices, BigInt), shape)
  if (kind === 'int64') return new NdView(BigInt64Array.from(indices, BigInt), shape)
  const view = new NdView(Int16Array.from(indices), shape)
  return kind === 'plain' && indices.length > 0 ? view.toArray() : view
}

const checks: Record<string, (dir: string, view: NdView, found: Case) => Promise<string | undefined>> = {
  async take(_, view, { indices, axis, found, ...given }) {
    const taken = (await both(view, 'take', indicesOf(given, indices), { axis, threads: 3 })) as NdView
    return taken.dtype === view.dtype && `${taken.shape}` === `${found.shape}` && bytes(taken) === found.bytes
      ? undefined
      : `[${taken.shape}] ${bytes(taken).slice(0, 99)}`
  },
  async topk(_, view, { query, k, metric, wild, found }) {
    const { dtype, shape } = view
    const vector = new NdView(dataOf(dtype, query), [shape[1] as number], undefined, undefined, dtype)
    const { indices, scores } = (await both(view, 'topk', vector, k, { metric, threads: 2 })) as Case
    const wanted = doubles(found.scores) as number[]
    const all = doubles(found.all) as number[]
    const right = scores.every((score: number, i: number) => near(score, wanted[i] as number))
    // Sums that round differently may change the order of rows of nearly one score.
    const same = wild
      ? indices.every((row: number, i: number) => near(all[row] as number, scores[i]))
      : `${indices}` === `${found.indices}`
    return right && same ? undefined : JSON.stringify({ indices, scores })
  },
  async dot(dir, view, { mapped, other, found }) {
    const { dtype, shape } = view
    const extent = shape.at(-1) as number
    const vector = new NdView(dataOf(dtype, other), [extent], undefined, undefined, dtype)
    const opened = mapped && viewOf(dir, mapped)
    const product = await both(view, 'dot', opened?.view ?? vector, { threads: 2 })
    opened?.whole.close()
    const bits = dtype.startsWith('uint') ? [0n, 2n ** 64n] : [-(2n ** 63n), 2n ** 63n]
    const fits = (text: string) =>
      dtype.includes('float') || (BigInt(text) >= (bits[0] as bigint) && BigInt(text) < (bits[1] as bigint))
    if (shape.length > 1 && !found.values.every(fits)) {
      return (product as Case).code === 'ERR_OUT_OF_RANGE' ? undefined : 'no ERR_OUT_OF_RANGE'
    }
    const values = product instanceof NdView ? listOf(product.toTypedArray()) : [product as number]
    if (product instanceof NdView && `${product.shape}` !== `${found.shape}`) return `[${product.shape}]`
    const wanted = found.values.map((text: string) =>
      typeof values[0] === 'bigint' ? BigInt(text) : Number(text),
    )
    return values.every((value, i) => value === wanted[i]) && values.length === wanted.length
      ? undefined
      : `${values.slice(0, 9)}`
  },
  async histogram(_, view, { bins, range, found }) {
    const result = (await both(view, 'histogram', { bins, ...(range && { range }), threads: 2 })) as Case
    if (found.error !== undefined)
      return result.code === 'ERR_INVALID_ARG_VALUE' ? undefined : JSON.stringify(result)
    const same = `${result.counts}` === `${found.counts}` && `${result.edges}` === `${doubles(found.edges)}`
    return same ? undefined : JSON.stringify([result, doubles(found.edges)])
  },
  equals: compare('equals'),
  allClose: compare('allClose'),
}

function compare(op: string) {
  return async (dir: string, view: NdView, { mapped, other, dtype, shape, found, ...options }: Case) => {
    const { equalNaN, rtol, atol } = options
    const opened = mapped && viewOf(dir, mapped)
    const given = opened?.view ?? new NdView(dataOf(dtype, other), shape, undefined, undefined, dtype)
    const taken = op === 'equals' ? { equalNaN } : { equalNaN, rtol, atol }
    const result = await both(view, op, given, taken)
    opened?.whole.close()
    return result === found ? undefined : JSON.stringify(result)
  }
}

withNumpy(`random operations agree with numpy (seed ${SEED})`, async (t) => {
  const dir = folder(t)
  const { stdout, stderr, code } = await run(python as string, [
    join(root, '__test__/interop/search.py'),
    dir,
    `${SEED}`,
    `${CASES}`,
  ])
  t.is(code, 0, stderr)
  const wrong: string[] = []
  const done: Record<string, number> = {}
  for (const line of stdout.trim().split('\n')) {
    const { op, view: described, ...rest } = JSON.parse(line)
    const { whole, view } = viewOf(dir, described)
    const failure = await checks[op]?.(dir, view, rest)
    whole.close()
    done[op] = (done[op] ?? 0) + 1
    if (failure !== undefined) wrong.push(`${line.slice(0, 900)}\n  gives ${failure.slice(0, 300)}`)
  }
  t.is(wrong.length, 0, `seed ${SEED}\n${wrong.slice(0, 5).join('\n')}`)
  for (const [op, cases] of Object.entries(done)) t.true(cases > CASES / 2, op)
  t.is(Object.keys(done).length, Object.keys(checks).length)
})
