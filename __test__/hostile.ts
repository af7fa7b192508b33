/**
 * The process that `hostile.spec.ts` starts: random files, options and call orders against the public API.
 *
 * `node --import=@oxc-node/core/register --expose-gc __test__/hostile.ts FOLDER CASES [SEED [PATH]]`. Before a case runs it is
 * written to FOLDER/case.txt, so that a case that ends the process is known. Another failure is made smaller by fast-check,
 * which prints the SEED and the PATH that run it again. What is checked:
 *
 * - whatever is thrown is an Error with a code of the contract, or the very error that a getter of ours threw;
 * - in modes 'r' and 'c' the file keeps its bytes, and in 'r+' its length;
 * - what was set is what is got, and both ways of copying elements agree;
 * - after `close` everything handed out has length 0;
 * - at the end no descriptor, no mapping and no promise is left.
 *
 * It is past 400 lines because half of it are lists: the values, the options and the calls that there are.
 *
 * Past 400 lines: the calls, the options and the model that they are checked against know one another.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { create, createSync, list, listSync, type MmapArray, open, openSync } from '../src/index.js'
import { collect, descriptors, fixture, mappings, movable } from './helpers.js'

const [folder = '', cases = '100', seed = '20261124', path] = process.argv.slice(2)

const CODES = new Set(
  `ENOENT EISDIR EEXIST EACCES EINVAL ENAMETOOLONG ENOTDIR ENOMEM ERR_INVALID_MAGIC ERR_UNSUPPORTED_VERSION
  ERR_INVALID_HEADER ERR_FILE_TOO_SHORT ERR_TRAILING_DATA ERR_UNSUPPORTED_DTYPE ERR_DTYPE_MISMATCH ERR_SHAPE_MISMATCH
  ERR_NOT_CONTIGUOUS ERR_READ_ONLY ERR_CLOSED ERR_TOO_LARGE ERR_INVALID_STATE ERR_INVALID_ARG_TYPE ERR_INVALID_ARG_VALUE
  ERR_OUT_OF_RANGE ERR_INVALID_URL_SCHEME ERR_INVALID_FILE_URL_PATH ERR_INVALID_FILE_URL_HOST`.split(/\s+/),
)

const FIXTURES = ['mmap', 'npy', 'records', 'npz', 'safetensors', 'hostile'].flatMap((name) =>
  readdirSync(fixture(name))
    .filter((file) => file !== 'expected.json')
    .map((file) => readFileSync(fixture(name, file))),
)

/** The error of getters and proxies; it comes out as it is. */
const OURS = new Error('thrown by a getter')

// Values that are no values: by name, so that a case can be printed and run again.

const PLAIN = {
  nan: Number.NaN,
  'minus zero': -0,
  '2^53': 2 ** 53,
  '2^53 - 1': 2 ** 53 - 1,
  '-2^53': -(2 ** 53),
  '2^32': 2 ** 32,
  half: 0.5,
  infinity: Number.POSITIVE_INFINITY,
  minus: -1,
  bigint: 3n,
  'huge bigint': 2n ** 70n,
  text: 'text',
  'no text': '',
  number: '3',
  null: null,
  true: true,
  symbol: Symbol('s'),
  function: () => 1,
  date: new Date(0),
  regexp: /x/,
  'no array': [],
  array: [1, 2],
  'array of nothing': [undefined],
  holes: new Array(3),
  'long array': new Array(70).fill(1),
  nested: [[1], [2, 3]],
  'typed array': Float64Array.of(2, 3),
  'data view': new DataView(new ArrayBuffer(8)),
  buffer: new ArrayBuffer(8),
  shared: new SharedArrayBuffer(8),
  object: {},
  'array-like': { length: 2, 0: 1, 1: 2 },
  ndarray: { data: [1, 2, 3, 4], shape: [2, 2], stride: [2, 1], offset: 0 },
  'ndarray outside': { data: Float32Array.of(1), shape: [2 ** 40], stride: [2 ** 20], offset: -5 },
  'null prototype': Object.create(null),
} as const
const LIVELY = [
  'getters throw',
  'getters close',
  'proxy throws',
  'proxy closes',
  'length changes',
  'detached',
]
const garbage = fc.constantFrom(...Object.keys(PLAIN), ...LIVELY)

const NUMBERS = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -4, max: 9 }) },
  fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 0.5, Number.NaN, -0, 1e300),
)
const numbers = fc.array(NUMBERS, { maxLength: 4 })
const option = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.option(
    fc.oneof(
      { weight: 8, arbitrary },
      {
        weight: 1,
        arbitrary: garbage.map((no) => ({ no })),
      },
    ),
    { nil: undefined, freq: 1 },
  )
const DTYPES = [
  'bool',
  'int8',
  'uint16',
  'i4',
  '<f8',
  '>f4',
  'float64',
  'int64',
  'bf16',
  'complex64',
  'O',
  'x',
]
const options = fc.record(
  {
    mode: option(fc.constantFrom('r', 'r+', 'c', 'readonly', 'w')),
    dtype: option(fc.constantFrom(...DTYPES)),
    shape: option(numbers),
    format: option(fc.constantFrom('raw', 'raw', 'npy', 'mmap', 'npz', 'safetensors')),
    name: option(fc.constantFrom('a', 'a.b', 'x', '', '__proto__', '../a')),
    offset: option(NUMBERS),
    strides: option(numbers),
    order: option(fc.constantFrom('C', 'F')),
    strict: option(fc.boolean()),
    backing: option(fc.constantFrom('auto', 'external')),
    mod: option(fc.constantFrom('r')),
  },
  { requiredKeys: [] },
)
// Most files are opened as they are meant to be: else little is ever open.
const opening = fc.oneof(
  { weight: 3, arbitrary: fc.record({ mode: fc.constantFrom('r', 'r+', 'c') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      mode: fc.constantFrom('r', 'r+', 'c'),
      format: fc.constant('raw'),
      dtype: fc.constantFrom(...DTYPES),
      offset: fc.nat(9),
      shape: option(fc.array(fc.nat(4), { maxLength: 3 })),
    }),
  },
  { weight: 2, arbitrary: options },
  { weight: 1, arbitrary: garbage.map((no) => ({ no })) },
)

const edit = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(400), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(400), value: fc.constant(0) }),
  fc.record({ kind: fc.constant('more' as const), at: fc.nat(400), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('huge' as const), at: fc.nat(130), value: fc.nat(63) }),
  fc.record({ kind: fc.constant('text' as const), at: fc.nat(130), value: fc.nat(5) }),
)
type Generated<A> = A extends fc.Arbitrary<infer T> ? T : never

const TEXTS = ['9223372036854775807', '18446744073709551616', '-1', '(', "'|O'", '"F32"']

function change(file: Buffer, { kind, at, value }: Generated<typeof edit>): Buffer {
  const place = file.length === 0 ? 0 : at % file.length
  if (kind === 'cut') return file.subarray(0, place)
  if (kind === 'more') return Buffer.concat([file, Buffer.alloc(at, value)])
  const piece =
    kind === 'flip' ? Buffer.of(value) : kind === 'text' ? Buffer.from(TEXTS[value] ?? '') : Buffer.alloc(8)
  if (kind === 'huge') piece.writeBigUInt64LE(2n ** BigInt(value) - 1n)
  return Buffer.concat([file.subarray(0, place), piece, file.subarray(place + piece.length)])
}

const CALLS = [
  'openSync',
  'open',
  'list',
  'createSync',
  'create',
  'get',
  'set',
  'slice',
  'lo',
  'hi',
  'step',
  'transpose',
  'pick',
  'reshape',
  'broadcastTo',
  'fill',
  'assign',
  'assign within',
  'toTypedArray',
  'copy',
  'toArray',
  'iterate',
  'inspect',
  'view',
  'viewMut',
  'flush',
  'flushSync',
  'close',
  'dispose',
  'move buffer',
  'clone',
  'worker opens',
  'wait',
] as const
const argument = fc.oneof(
  { weight: 6, arbitrary: NUMBERS },
  { weight: 2, arbitrary: numbers },
  {
    weight: 1,
    arbitrary: fc.constantFrom(null, '1:', '::-1', ':2', '0', 'x', { start: 1 }, { copy: true }, true, 1n),
  },
  {
    weight: 1,
    arbitrary: garbage.map((no) => ({ no })),
  },
)
const step = fc.record({
  call: fc.constantFrom(...CALLS),
  on: fc.nat(7),
  args: fc.array(argument, { maxLength: 4 }),
  options: opening,
})
const scenario = fc.record({
  file: fc.nat(FIXTURES.length - 1),
  edits: fc.oneof(
    { weight: 1, arbitrary: fc.constant<Generated<typeof edit>[]>([]) },
    { weight: 2, arbitrary: fc.array(edit, { maxLength: 3 }) },
  ),
  first: opening,
  steps: fc.array(step, { minLength: 1, maxLength: 14 }),
})

// biome-ignore lint/suspicious/noExplicitAny: everything here is called as it must not be
type Any = any

/** What one case has made: its views, its arrays, and what it waits for. */
class Case {
  readonly arrays: MmapArray[] = []
  readonly views: Any[] = []
  readonly waiting: Promise<unknown>[] = []
  readonly file: string
  mayWrite = false

  constructor(file: string) {
    this.file = file
  }

  /** The value behind the name of one that is no value. */
  real(value: Any): Any {
    if (typeof value !== 'object' || value === null || typeof value.no !== 'string') return value
    const { no } = value
    if (no in PLAIN) return PLAIN[no as keyof typeof PLAIN]
    const act = () => {
      if (no.endsWith('throws') || no === 'getters throw') throw OURS
      for (const array of this.arrays) array.close()
      return 1
    }
    if (no === 'length changes') {
      let length = 1
      return new Proxy([1, 2, 3], { get: (of, key) => (key === 'length' ? length++ : Reflect.get(of, key)) })
    }
    if (no === 'detached') {
      const data = new Float64Array(4)
      structuredClone(data.buffer, { transfer: [data.buffer] })
      return data
    }
    if (no.startsWith('proxy')) {
      return new Proxy([1, 2], {
        get: (of, key) => (key === Symbol.toPrimitive ? act : act() && Reflect.get(of, key)),
      })
    }
    const names = ['mode', 'dtype', 'shape', 'start', 'stop', 'step', 'copy', 'data', 'offset', 'fill']
    return Object.defineProperties(
      {},
      Object.fromEntries(names.map((name) => [name, { get: act, enumerable: true }])),
    )
  }

  options(given: Any): Any {
    if ('no' in given) return this.real(given)
    return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, this.real(value)]))
  }

  opened(array: MmapArray): MmapArray {
    this.arrays.push(array)
    this.views.push(array)
    return array
  }

  later(work: Promise<unknown>): void {
    this.waiting.push(work.then(undefined, (error) => told(error, 'a promise')))
  }
}

function told(error: unknown, call: string): void {
  if (error === OURS) return
  if (error instanceof assert.AssertionError) throw error
  assert(error instanceof Error, `${call} threw ${inspect(error)}`)
  const { code } = error as NodeJS.ErrnoException
  assert(typeof code === 'string' && CODES.has(code), `${call} threw ${inspect(error)}`)
  assert(error.message.length < 10_000, `${call}: a message of ${error.message.length} characters`)
}

/** Few enough elements to walk, or so many that nothing may try. */
const walkable = (view: Any) => view.size <= 10_000
const copyable = (view: Any) => walkable(view) || view.size > 2 ** 45

/** The number that the view's dtype makes of a number; undefined where that takes more than a typed array. */
function stored(view: Any, value: unknown): unknown {
  const data = view.data
  if (view.dtype === 'bool' || !ArrayBuffer.isView(data)) return undefined
  const one = new (data.constructor as Any)(1)
  one[0] = value
  return one[0]
}

let worker: Worker | undefined
const inWorker = `
  const { parentPort } = require('node:worker_threads')
  const loading = import('mmap-ndarray')
  parentPort.on('message', async ({ path, close }) => {
    const { openSync } = await loading
    let said
    try {
      const array = openSync(path, { mode: 'c' })
      said = [array.shape, array.size > 0 && array.size < 1e4 && String(array.toArray()).length]
      if (close) array.close()
    } catch (error) {
      said = [error instanceof Error, error.code]
    }
    parentPort.postMessage(said)
  })`

/** Opens the file in a worker, which does not always close it, and does not always live on. */
async function workerOpens(path: string, close: boolean, terminate: boolean): Promise<void> {
  worker ??= new Worker(inWorker, { eval: true, execArgv: [] })
  const current = worker
  const reply = once(current, 'message')
  current.postMessage({ path, close })
  if (terminate) {
    worker = undefined
    reply.catch(() => {}) // It will not come any more.
    await current.terminate()
    return
  }
  const [said] = await reply
  if (said[0] !== true) return
  assert(CODES.has(said[1]), `a worker said ${inspect(said)}`)
}

async function run(
  at: Case,
  call: (typeof CALLS)[number],
  view: Any,
  args: Any[],
  given: Any,
): Promise<void> {
  const [first] = args
  switch (call) {
    case 'openSync':
      at.opened(openSync(at.file, given))
      break
    case 'open':
      at.later(open(at.file, given).then((array) => at.opened(array)))
      break
    case 'list':
      at.later(list(at.file))
      listSync(at.file)
      break
    case 'createSync':
    case 'create': {
      const target = `${at.file}-${at.views.length}.npy`
      const [source, settings] = args
      // A shape of a garbage length is one thing, a disk full of zeros another.
      const size = Array.isArray(source?.shape) ? source.shape.reduce((a: Any, b: Any) => a * b, 8) : 0
      if (size > 2 ** 20) break
      if (call === 'createSync') at.opened(createSync(target, source, settings))
      else at.later(create(target, source, settings).then((array) => at.opened(array)))
      break
    }
    case 'worker opens':
      await workerOpens(at.file, args.length % 2 === 0, args.length === 3)
      break
    case 'wait':
      await Promise.all(at.waiting)
      break
    default:
      if (view !== undefined) await runOn(at, call, view, args, first)
  }
}

async function runOn(at: Case, call: string, view: Any, args: Any[], first: Any): Promise<void> {
  switch (call) {
    case 'get':
      view.get(...args)
      break
    case 'set': {
      const indices = view.shape.map((extent: number) => (typeof first === 'number' ? first % extent : 0))
      const value = args.at(-1)
      view.set(...(args.length > 2 ? args : [...indices, value]))
      if (args.length > 2) break
      const expected = stored(view, value)
      if (expected !== undefined) assert.deepEqual(view.get(...indices), expected)
      break
    }
    case 'slice':
    case 'lo':
    case 'hi':
    case 'step':
    case 'transpose':
    case 'pick':
      at.views.push(view[call](...args))
      break
    case 'reshape':
    case 'broadcastTo':
      at.views.push(view[call](first))
      break
    case 'fill':
    case 'assign': {
      if (!walkable(view)) break
      view[call](first)
      const expected = call === 'fill' ? stored(view, first) : undefined
      if (expected === undefined) break
      for (const value of view.toTypedArray({ copy: true })) assert.deepEqual(value, expected)
      break
    }
    case 'assign within': {
      const other = at.views[args.length % at.views.length]
      if (walkable(view) && walkable(other)) view.assign(other)
      break
    }
    case 'toTypedArray':
      if (!copyable(view)) break
      view.toTypedArray(first)
      break
    case 'copy':
      if (copyable(view)) at.views.push(view.copy())
      break
    case 'toArray': {
      if (!walkable(view)) break
      const nested = [view.toArray()].flat(Number.POSITIVE_INFINITY)
      if (view.dtype !== 'bool') assert.deepEqual(nested, Array.from(view.toTypedArray({ copy: true })))
      break
    }
    case 'iterate': {
      let rows = 0
      for (const row of view) {
        assert(row !== undefined)
        if (++rows > 100) break
      }
      break
    }
    case 'inspect':
      assert(inspect(view).length < 10_000)
      JSON.stringify(view)
      break
    case 'view':
    case 'viewMut':
      if (view[call]) at.views.push(view[call]())
      break
    case 'flush':
      if (view.flush) at.later(view.flush())
      break
    case 'flushSync':
      view.flushSync?.()
      break
    case 'close':
      view.close?.()
      break
    case 'dispose':
      if (view[Symbol.asyncDispose]) await view[Symbol.asyncDispose]()
      break
    case 'move buffer': {
      const { buffer } = view.data
      if (!(buffer?.byteLength > 0)) break
      // Newer versions of Node.js refuse to post such a buffer, and to move that of a WebAssembly.Memory; older ones have no
      // other way to move it.
      if ('transfer' in buffer) {
        if (movable) buffer.transfer()
      } else structuredClone(buffer, { transfer: [buffer] })
      break
    }
    case 'clone':
      if (ArrayBuffer.isView(view.data)) structuredClone(view.data)
      break
  }
}

let count = 0

async function play({ file, edits, first, steps }: Generated<typeof scenario>): Promise<void> {
  const path = join(folder, `${count++}`)
  const bytes = edits.reduce(change, FIXTURES[file] as Buffer)
  writeFileSync(path, bytes)
  const at = new Case(path)
  try {
    for (const { call, on, args, options } of [
      { call: 'openSync' as const, on: 0, args: [], options: first },
      ...steps,
    ]) {
      const view = at.views[on % Math.max(1, at.views.length)]
      const given = at.options(options)
      if (call.startsWith('open')) at.mayWrite ||= /^(r\+|readwrite)$/.test(String((options as Any).mode))
      try {
        await run(
          at,
          call,
          view,
          (args as Any[]).map((value) => at.real(value)),
          given,
        )
      } catch (error) {
        told(error, call)
      }
    }
    await Promise.all(at.waiting)
    for (const array of at.arrays) {
      let data: Any = []
      if (!array.closed) {
        try {
          data = array.data
        } catch (error) {
          told(error, 'data')
        }
      }
      array.close()
      assert(array.closed)
      assert.equal(data.length, 0)
      assert.throws(() => array.data, { code: 'ERR_CLOSED' })
    }
    if (at.mayWrite) assert.equal(statSync(path).size, bytes.length)
    else assert(readFileSync(path).equals(bytes), 'a file that nobody wrote to has other bytes')
  } finally {
    await Promise.allSettled(at.waiting)
    for (const array of at.arrays) array.close()
    for (const name of readdirSync(folder)) if (name !== 'case.txt') rmSync(join(folder, name))
  }
}

process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error)
  process.exit(1)
})

const property = fc.asyncProperty(scenario, async (values) => {
  writeFileSync(join(folder, 'case.txt'), fc.stringify(values))
  await play(values)
})
await fc.assert(property, { numRuns: Number(cases), seed: Number(seed), ...(path !== undefined && { path }) })
await worker?.terminate()
await collect()
if (process.platform === 'linux') {
  assert.equal(descriptors(folder), 0, 'descriptors are left')
  assert.equal(mappings(folder), 0, 'mappings are left')
}
console.log(`alive after ${count} cases`)
