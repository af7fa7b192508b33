/**
 * Reductions beside the numbers that numpy-reductions.spec.ts compares: arguments, results, and work that is followed,
 * stopped, closed under, and kept off the main thread. Work that is to be stopped would take years: it goes over a view
 * that repeats.
 *
 * Past 400 lines: thirteen operations are told, stopped and refused in one way, and tested in one table each.
 */
import { truncateSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createSync, type DType, type MappedView, type MmapArray, NdView, open, openSync } from 'mmap-ndarray'
import { dtypes, isBigInt } from '../src/dtype.js'
import {
  backing,
  collect,
  elementsOf,
  folder,
  isPending,
  mappings,
  privateMemory,
  runScript,
  worker,
} from './helpers.js'

const OPS = [
  ...(['sum', 'prod', 'mean', 'var', 'std', 'min', 'max', 'minmax'] as const),
  ...(['argmin', 'argmax', 'any', 'all', 'countNonzero'] as const),
]
type Op = (typeof OPS)[number]
type Reductions = Record<`${Op}Sync`, (options?: unknown) => unknown> &
  Record<Op, (options?: unknown) => Promise<unknown>>

/** Every reduction of a view, whatever its options. */
const reductionsOf = (view: MappedView) => view as unknown as Reductions

function make(t: ExecutionContext, source: Parameters<typeof createSync>[1]): MmapArray {
  const a = createSync(join(folder(t), 'a.npy'), source)
  t.teardown(() => a.close())
  return a
}

/** A view of one number that no reduction gets through: `any` has to look at all zeros, `all` at everything else. */
function endless(t: ExecutionContext, fill = 0): { a: MmapArray; years: MappedView } {
  const a = make(t, { shape: [2 ** 10, 2 ** 10], dtype: 'float32', fill })
  return { a, years: a.broadcastTo([2 ** 32, 2 ** 10, 2 ** 10]) }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** What a promise was rejected with. */
const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

// Arguments.

const TYPE = 'ERR_INVALID_ARG_TYPE'
const VALUE = 'ERR_INVALID_ARG_VALUE'
const RANGE = 'ERR_OUT_OF_RANGE'
const BAD: [options: unknown, code: string, message: RegExp][] = [
  [null, TYPE, /"options" argument must be of type object. Received null/],
  [1, TYPE, /"options"/],
  ['axis', TYPE, /"options"/],
  [[0], TYPE, /"options"/],
  [{ axes: 0 }, VALUE, /did you mean 'axis'/],
  [{ keepDims: true }, VALUE, /did you mean 'keepdims'/],
  [{ axis: 2 }, RANGE, /"axis" is out of range. It must be >= -2 && <= 1. Received 2/],
  [{ axis: -3 }, RANGE, /"axis"/],
  [{ axis: 0.5 }, RANGE, /"axis" is out of range. It must be an integer. Received 0.5/],
  [{ axis: Number.NaN }, RANGE, /"axis"/],
  [{ axis: 2 ** 53 }, RANGE, /"axis"/],
  [{ axis: '0' }, TYPE, /"axis" argument must be an integer, or an array of them. Received type string/],
  [{ axis: null }, TYPE, /"axis"/],
  [{ axis: 0n }, TYPE, /"axis"/],
  [{ axis: new Int32Array(1) }, TYPE, /"axis"/],
  [{ axis: [0, 2] }, RANGE, /"axis\[1\]" is out of range/],
  [{ axis: [0, 0] }, VALUE, /'axis' must name each axis once. Received \[0, 0\]/],
  [{ axis: [0, -2] }, VALUE, /'axis' must name each axis once/],
  // biome-ignore lint/suspicious/noSparseArray: what is missing is an argument as well
  [{ axis: [, 1] }, TYPE, /"axis\[0\]"/],
  [{ axis: [[0]] }, TYPE, /"axis\[0\]"/],
  [{ keepdims: 1 }, TYPE, /"keepdims" argument must be of type boolean. Received type number \(1\)/],
  [{ skipNaN: 'no' }, TYPE, /"skipNaN"/],
  [{ threads: 0 }, RANGE, /"threads" is out of range. It must be >= 1/],
  [{ threads: -1 }, RANGE, /"threads"/],
  [{ threads: 1.5 }, RANGE, /"threads"/],
  [{ threads: '2' }, TYPE, /"threads"/],
  [{ signal: {} }, TYPE, /"signal" argument must be an AbortSignal/],
  [{ signal: null }, TYPE, /"signal"/],
  [{ onProgress: 1 }, TYPE, /"onProgress" argument must be a function/],
]
/** Of some reductions only. */
const OTHER: [op: Op, options: unknown, code: string, message: RegExp][] = [
  ['sum', { ddof: 1 }, VALUE, /Unknown option 'ddof'/],
  ['mean', { bigint: true }, VALUE, /Unknown option 'bigint'/],
  ['sum', { bigint: 1 }, TYPE, /"bigint" argument must be of type boolean/],
  ['sum', { bigint: true }, VALUE, /'bigint' is for integers; the dtype is float64. Received true/],
  ['prod', { bigint: true }, VALUE, /'bigint'/],
  ['var', { ddof: '1' }, TYPE, /"ddof" argument must be of type number/],
  ['var', { ddof: Number.NaN }, RANGE, /"ddof"/],
  ['std', { ddof: Infinity }, RANGE, /"ddof" is out of range. It must be a finite number/],
]

test('bad arguments, of every reduction and of its twin', async (t) => {
  const a = make(t, [
    [1, 2],
    [3, 4],
  ])
  const all = OPS.flatMap((op) => BAD.map((row) => [op, ...row] as const))
  for (const [op, options, code, message] of [...all, ...OTHER]) {
    const name = `${op} ${JSON.stringify(options, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))}`
    t.throws(() => reductionsOf(a)[`${op}Sync`](options), { code, message }, name)
    const work = reductionsOf(a)[op](options)
    await t.throwsAsync(work, { code, message }, `${name} as a promise`)
  }
  const scalar = make(t, { shape: [], dtype: 'int8' })
  t.throws(() => scalar.sumSync({ axis: 0 }), { code: RANGE, message: /the view has no axes/ })
  t.deepEqual(scalar.sumSync({ axis: [] }).toArray(), 0n)
})

test('undefined is as good as nothing, and any number of threads will do', (t) => {
  const a = make(t, [1, 2, 3])
  const none = { axis: undefined, keepdims: undefined, skipNaN: undefined, threads: undefined }
  t.is(a.sumSync({ ...none, signal: undefined, onProgress: undefined, bigint: undefined }), 6)
  t.is(a.varSync({ ...none, ddof: undefined }), 2 / 3)
  t.is(a.sumSync({ threads: Number.MAX_SAFE_INTEGER }), 6)
})

// Nothing at all.

const NOTHING: Record<Op, unknown> = {
  sum: 0,
  prod: 1,
  mean: Number.NaN,
  var: Number.NaN,
  std: Number.NaN,
  min: VALUE,
  max: VALUE,
  minmax: VALUE,
  argmin: VALUE,
  argmax: VALUE,
  any: false,
  all: true,
  countNonzero: 0,
}

/** The result of an attempt, or the code of its error. */
function outcome(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return (error as { code: string }).code
  }
}

for (const dtype of dtypes) {
  test(`nothing of ${dtype}`, (t) => {
    const a = createSync(join(folder(t), 'a.mmap'), { shape: [2, 0, 3], dtype }, { format: 'raw' })
    t.teardown(() => a.close())
    for (const op of OPS) {
      const reductions = reductionsOf(a)
      const nothing = NOTHING[op]
      const big = (op === 'sum' || op === 'prod') && isBigInt(dtype)
      t.is(
        outcome(() => reductions[`${op}Sync`]()),
        big ? BigInt(nothing as number) : nothing,
        op,
      )
      const six = outcome(() => reductions[`${op}Sync`]({ axis: 1 }))
      if (nothing === VALUE) t.is(six, VALUE, op)
      else
        t.deepEqual(
          Array.from((six as NdView).toTypedArray({ copy: true }) as Iterable<unknown>, Number),
          Array<number>(6).fill(Number(nothing)),
          op,
        )
      // As many results as there are elements: none.
      const none = reductions[`${op}Sync`]({ axis: 0, keepdims: true })
      for (const view of op === 'minmax' ? Object.values(none as object) : [none])
        t.deepEqual((view as NdView).shape, [1, 0, 3], op)
    }
  })
}

// Results.

test('what is a number, a bigint, a boolean, and what dtype views have', (t) => {
  const sums = (dtype: DType) =>
    dtype.includes('float') ? 'float64' : dtype.startsWith('u') ? 'uint64' : 'int64'
  for (const dtype of dtypes) {
    const a = createSync(join(folder(t), 'a.bin'), { shape: [2, 3], dtype })
    const reductions = reductionsOf(a)
    const element = isBigInt(dtype) ? 'bigint' : 'number'
    const rows: [ops: Op[], scalar: 'number' | 'bigint' | 'boolean', view: DType][] = [
      [['sum', 'prod'], element, sums(dtype)],
      [['mean', 'var', 'std'], 'number', 'float64'],
      [['min', 'max'], element, dtype],
      [['argmin', 'argmax', 'countNonzero'], 'number', 'int64'],
      [['any', 'all'], 'boolean', 'bool'],
    ]
    for (const [ops, scalar, view] of rows) {
      for (const op of ops) {
        t.is(typeof reductions[`${op}Sync`](), scalar, `${op} of ${dtype}`)
        for (const options of [{ axis: 0 }, { axis: [] }, { keepdims: true }, { axis: [0, 1] }]) {
          const result = reductions[`${op}Sync`](options) as NdView
          t.true(result instanceof NdView && !('file' in result))
          t.is(result.dtype, view, `${op} of ${dtype}`)
        }
      }
    }
    if (sums(dtype) !== 'float64') t.is(a.sumSync({ bigint: true }) as unknown, 0n)
    t.is(typeof (reductions.minmaxSync() as { min: unknown }).min, element)
    a.close()
  }
})

test('integers are exact, rounded once, or refused', (t) => {
  const wide = make(t, new BigInt64Array([2n ** 62n, 2n ** 62n, 3n]))
  t.is(wide.sumSync() as unknown, 2n ** 63n + 3n)
  t.throws(() => wide.sumSync({ axis: 0 }), { instanceOf: RangeError, code: RANGE })
  const ints = make(t, new Uint32Array(2 ** 22 + 1).fill(2 ** 32 - 1))
  const exact = (2n ** 32n - 1n) * (2n ** 22n + 1n)
  t.is(ints.sumSync() as unknown, Number(exact))
  t.is(ints.sumSync({ bigint: true }) as unknown, exact)
  t.is(ints.prodSync() as unknown, Infinity)
  const message = /must be less than 2 \*\* 1024; leave out `bigint`, or reduce a part/
  t.throws(() => ints.prodSync({ bigint: true }), { instanceOf: RangeError, code: RANGE, message })
  const large = make(t, new BigUint64Array(100).fill(2n ** 64n - 1n))
  t.is(large.slice(':16').prodSync() as unknown, (2n ** 64n - 1n) ** 16n)
  t.throws(() => large.prodSync(), { code: RANGE, message: /reduce a part of the view/ })
})

test('results outlive the file, and are nobody else’s', (t) => {
  const a = make(t, [
    [1, 2],
    [3, 4],
  ])
  const first = a.sumSync({ axis: 0 }) as NdView<'float64'>
  const second = a.sumSync({ axis: 0 }) as NdView<'float64'>
  first.set(0, 9)
  a.close()
  t.deepEqual(
    [first.toArray(), second.toArray()],
    [
      [9, 6],
      [4, 6],
    ],
  )
})

test('threads and twins: one result, bit for bit', async (t) => {
  const [rows, columns] = [3000, 1001]
  let state = 1
  const random = () => {
    state = (state * 48271) % 2147483647
    return (state / 2147483647 - 0.5) * 10 ** (state % 20)
  }
  const a = make(t, { data: Float64Array.from({ length: rows * columns }, random), shape: [rows, columns] })
  const form = (result: unknown): unknown => {
    if (result instanceof NdView) return result.toTypedArray()
    return typeof result === 'object' && result !== null ? Object.values(result).map(form) : result
  }
  for (const op of OPS) {
    for (const axis of [undefined, 0, 1]) {
      const reductions = reductionsOf(a)
      const one = form(reductions[`${op}Sync`]({ axis, threads: 1 }))
      for (const threads of [undefined, 2, 7]) {
        t.deepEqual(form(reductions[`${op}Sync`]({ axis, threads })), one, `${op} ${axis} ${threads}`)
        t.deepEqual(form(await reductions[op]({ axis, threads })), one, `${op} ${axis} ${threads}`)
      }
    }
  }
})

for (const options of [{ mode: 'r' }, { mode: 'r+' }, { mode: 'c' }] as const) {
  test(`mode '${options.mode}': stores are seen`, async (t) => {
    const { path } = make(t, new Float64Array(2 ** 16))
    const a = openSync(path, { ...options, dtype: 'float64' })
    const data = elementsOf(a)
    data.set(2 ** 15, 3)
    t.is(a.sumSync() as unknown, 3)
    data.set(7, 4)
    t.is((await a.sum()) as unknown, 7)
    t.deepEqual((await a.argmax()) as unknown, 7)
    a.close()
  })
}

test('shared data: stores are seen', async (t) => {
  const { path } = make(t, new Int32Array(8))
  const a = await open(path, { mode: 'r+', shared: true }).catch(() => undefined)
  if (a === undefined) return t.pass('this Node.js has no shared data')
  Atomics.add(a.data as Int32Array, 3, 5)
  t.is((await a.sum()) as unknown, 5)
  a.close()
})

// Stopping.

const REASONS = [new Error('enough'), 'a word', undefined, 0]

test('a signal that says so already: nothing is begun', async (t) => {
  const { years } = endless(t)
  for (const reason of REASONS) {
    const signal = AbortSignal.abort(reason)
    for (const op of OPS) {
      const reductions = reductionsOf(years)
      const expected = { code: 'ABORT_ERR', name: 'AbortError' }
      const sync = t.throws(() => reductions[`${op}Sync`]({ signal }), expected)
      const error = await t.throwsAsync(reductions[op]({ signal }), expected)
      t.is(sync?.cause, signal.reason)
      t.is(error?.cause, signal.reason)
    }
  }
})

test('an abort ends what would take years', async (t) => {
  const [zeros, ones] = [endless(t), endless(t, 1)]
  for (const reason of REASONS) {
    for (const op of OPS) {
      // One zero settles `all`.
      const { years } = op === 'all' ? ones : zeros
      for (const axis of [undefined, 0]) {
        const controller = new AbortController()
        const work = reductionsOf(years)[op]({ signal: controller.signal, axis })
        t.true(await isPending(work), op)
        await turn()
        controller.abort(reason)
        const error = (await failure(work)) as Error
        t.like(error, { code: 'ABORT_ERR', name: 'AbortError', cause: controller.signal.reason }, op)
      }
    }
  }
  // The threads have stopped as well, else this would take years.
  for (const { a } of [zeros, ones]) await a[Symbol.asyncDispose]()
})

test('an abort after the result changes nothing, and no listener stays behind', async (t) => {
  const a = make(t, [1, 2])
  const controller = new AbortController()
  const { signal } = controller
  const calls: string[] = []
  for (const name of ['addEventListener', 'removeEventListener'] as const) {
    const original = signal[name].bind(signal) as (...args: unknown[]) => void
    signal[name] = (...args: unknown[]) => {
      calls.push(name)
      original(...args)
    }
  }
  t.is((await a.sum({ signal })) as unknown, 3)
  t.deepEqual(calls, ['addEventListener', 'removeEventListener'])
  controller.abort()
  t.is((await a.sum()) as unknown, 3)
})

test('work that still waits for its turn is stopped at once, too', async (t) => {
  const { a, years } = endless(t)
  const first = Array.from({ length: 64 }, () => years.sum())
  const controller = new AbortController()
  const last = years.sum({ signal: controller.signal })
  await turn()
  controller.abort()
  t.like(await failure(last), { code: 'ABORT_ERR' })
  for (const work of first) t.true(await isPending(work))
  a.close()
  for (const work of first) t.like(await failure(work), { code: 'ERR_CLOSED' })
})

// Following.

test('progress grows, seldom, up to the end', async (t) => {
  const a = make(t, { shape: [2 ** 20], dtype: 'float32' })
  const view = a.broadcastTo([1500, 2 ** 20])
  const told: number[] = []
  const begun = performance.now()
  await view.sum({
    threads: 1,
    onProgress(done, total) {
      t.is(total, view.size)
      told.push(done)
    },
  })
  const elapsed = performance.now() - begun
  // The end is told whenever it comes.
  t.true(told.length > 1 && told.length - 1 <= elapsed / 50 + 1, `${told.length} calls in ${elapsed} ms`)
  t.true(told.every((done, i) => done > (told[i - 1] ?? 0)))
  t.is(told.at(-1), view.size)
})

test('the end is told of small views and of twins, and where not all elements mattered', async (t) => {
  const a = make(t, [1, 2, 3])
  for (const work of [a.any.bind(a), a.anySync.bind(a)] as const) {
    const told: number[][] = []
    await work({ onProgress: (...args: number[]) => void told.push(args) })
    t.deepEqual(told, [[3, 3]])
  }
})

test('what onProgress throws stops the work, and is what it rejects with', async (t) => {
  const { a, years } = endless(t)
  for (const thrown of [new Error('no'), undefined, 'no']) {
    let calls = 0
    const onProgress = () => {
      calls++
      throw thrown
    }
    const settled = await Promise.allSettled([years.sum({ onProgress })])
    t.deepEqual(settled, [{ status: 'rejected', reason: thrown }])
    t.is(calls, 1)
    // At the end, where there is nothing left to stop.
    t.deepEqual(await Promise.allSettled([a.sum({ onProgress })]), [{ status: 'rejected', reason: thrown }])
  }
  await a[Symbol.asyncDispose]()
})

// Closing.

test('close() ends what runs with ERR_CLOSED, and leaves nothing', async (t) => {
  const { a, years } = endless(t)
  const work = OPS.map((op) => reductionsOf(years)[op]())
  for (const one of work) t.true(await isPending(one))
  a.close()
  for (const one of work) t.like(await failure(one), { code: 'ERR_CLOSED', path: a.path })
  for (const op of OPS) {
    t.throws(() => reductionsOf(a)[`${op}Sync`](), { code: 'ERR_CLOSED' })
    await t.throwsAsync(reductionsOf(years)[op](), { code: 'ERR_CLOSED' })
  }
  if (process.platform === 'linux') while (mappings(a.path) > 0) await collect()
})

test('close() from onProgress', async (t) => {
  const { a, years } = endless(t)
  t.like(await failure(years.sum({ onProgress: () => a.close() })), { code: 'ERR_CLOSED' })
})

test('asyncDispose waits for the result', async (t) => {
  const a = make(t, new Float32Array(2 ** 20).fill(1))
  const work = a.broadcastTo([100, 2 ** 20]).sum()
  await a[Symbol.asyncDispose]()
  t.true(a.closed)
  t.is((await work) as unknown, 100 * 2 ** 20)
})

test('a worker that ends takes its work along', async (t) => {
  const { a } = endless(t)
  const { path } = a
  a.close()
  const other = worker(t)
  await other.call(
    `kept.a = m.openSync(x)
    kept.work = kept.a.broadcastTo([2 ** 32, 2 ** 10, 2 ** 10]).sum()`,
    path,
  )
  if (process.platform === 'linux') t.is(mappings(path), 1)
  await other.kill()
  // While the work goes on the file stays mapped.
  if (process.platform === 'linux') while (mappings(path) > 0) await collect()
  t.pass()
})

test('a process that ends in the middle of reductions ends well', async (t) => {
  const { path } = make(t, { shape: [2 ** 20], dtype: 'float64' })
  for (const [end, code] of [
    ['process.exit(3)', 3],
    ['throw new Error()', 1],
  ] as const) {
    const script = `
      import { openSync } from 'mmap-ndarray'
      const years = openSync(process.argv[1]).broadcastTo([2 ** 30, 2 ** 20])
      for (let i = 0; i < 8; i++) years.sum()
      setImmediate(() => { ${end} })`
    t.like(await runScript(script, path), { code, signal: null, stdout: '' })
  }
})

test('an array that nobody else holds is kept until the result is there', async (t) => {
  const { path } = make(t, new Float32Array(2 ** 20).fill(1))
  const work = openSync(path)
    .broadcastTo([200, 2 ** 20])
    .sum()
  while (await isPending(work)) await collect()
  t.is((await work) as unknown, 200 * 2 ** 20)
})

const posix = process.platform === 'win32' ? test.skip : test

posix('a lost mapping is ERR_MAPPING_LOST, every time, until close', async (t) => {
  const a = make(t, new Float64Array(2 ** 16).fill(1))
  truncateSync(a.path, 4096)
  const expected = { code: 'ERR_MAPPING_LOST', reason: 'truncated', path: a.path }
  for (const op of OPS) {
    t.like(
      t.throws(() => reductionsOf(a)[`${op}Sync`]()),
      expected,
    )
    t.like(await t.throwsAsync(reductionsOf(a)[op]({ axis: 0 })), expected)
  }
  t.true(a.lost)
  t.notThrows(() => a.close())
})

// The main thread.

test('beside eight sums that never end: the event loop, fs, open and flush go on', async (t) => {
  const { a, years } = endless(t)
  const sums = Array.from({ length: 8 }, () => years.sum())
  for (let i = 0; i < 100; i++) {
    await Promise.all(Array.from({ length: 8 }, () => stat(a.path)))
    await turn()
    const b = await open(a.path, { mode: 'r+' })
    b.set(0, 0, 0)
    await b.flush()
    b.close()
  }
  for (const sum of sums) t.true(await isPending(sum))
  a.close()
  t.is((await Promise.allSettled(sums)).filter(({ status }) => status === 'rejected').length, 8)
})

const linux = process.platform === 'linux' ? test.serial : test.serial.skip

linux('private memory stays small beside 4 GiB', async (t) => {
  t.timeout(300_000)
  const [rows, columns] = [backing === 'wasm' ? 2 ** 19 : 2 ** 20, 2 ** 10]
  const path = join(folder(t), 'large.npy')
  const a = createSync(path, { shape: [rows, columns], dtype: 'float32' }, { reserve: false })
  const before = privateMemory()
  let most = 0
  let looks = 0
  const look = setInterval(() => {
    looks++
    most = Math.max(most, privateMemory() - before)
  }, 5)
  for (const [i, op] of OPS.entries()) {
    // All elements, a result for each column, and one for each row: each in turn, all for the sum.
    for (const axis of op === 'sum' ? [undefined, 0, 1] : [[undefined, 0, 1][i % 3]]) {
      const result = await reductionsOf(a)[op]({ axis })
      if (axis !== undefined)
        t.is(result instanceof NdView ? result.size : columns, axis === 0 ? columns : rows)
    }
    await collect()
  }
  clearInterval(look)
  t.true(looks > 100, `${looks} looks`)
  t.true(most < 64 * 2 ** 20, `${most} bytes`)
  a.close()
})
