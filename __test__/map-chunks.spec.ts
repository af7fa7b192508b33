/**
 * mapChunks: a function of one's own over the chunks of an array, in workers that are gone when the promise settles.
 *
 * Past 400 lines: its table of failures, each with a module of its own, is long.
 */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import {
  type ChunkInfo,
  createSync,
  type MapChunksOptions,
  type MappedView,
  type Mode,
  mapChunks,
  NdView,
  open,
  openSync,
} from '../src/index.js'
import { backing, child, descriptors, folder, mappings, runScript } from './helpers.js'

const ROWS = 20

const make = (t: ExecutionContext) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { data: Float64Array.from({ length: 3 * ROWS }, (_, i) => i), shape: [ROWS, 3] }).close()
  return path
}

const modules = mkdtempSync(join(tmpdir(), 'mmap-ndarray-test-'))
test.after.always(() => rmSync(modules, { recursive: true, force: true }))
let made = 0

/** A module of this text. */
const written = (text: string) => {
  const path = join(modules, `${made++}.mjs`)
  writeFileSync(path, text)
  return pathToFileURL(path).href
}

/** A module whose default export is `source`. */
const module = (source: string) => written(`export default ${source}`)
const body = (source: string) => module(`async (chunk, info) => { ${source} }`)

/** No worker has the file any more, which its mapping and its descriptor would show. */
const nothingIsLeft = (t: ExecutionContext, path: string, what?: string) => {
  if (process.platform !== 'linux') return
  t.is(mappings(path), 0, what)
  t.is(descriptors(path), 0, what)
}

/** Runs a module over an array and makes sure that nothing is left, however it ends. */
async function run(
  t: ExecutionContext,
  url: string | URL,
  options: MapChunksOptions = {},
  part: (a: ReturnType<typeof openSync>) => MappedView = (a) => a,
) {
  const path = make(t)
  const a = openSync(path)
  try {
    return await mapChunks(part(a), url, { rows: 4, workers: 2, ...options })
  } finally {
    a.close()
    nothingIsLeft(t, path)
  }
}

test('results come in the order of the chunks, whichever is ready first', async (t) => {
  // Chunks with a low number take the most turns of the loop.
  const url = body(`
    for (let turn = 0; turn < 100 - 20 * info.index; turn++) await new Promise((resolve) => setImmediate(resolve))
    return [info, chunk.shape, chunk.get(0, 0)]`)
  for (const workers of [1, 2, 3, 100]) {
    const expected = [0, 4, 8, 12, 16].map((start, index) => [
      { index, start, stop: start + 4 },
      [4, 3],
      3 * start,
    ])
    t.deepEqual(await run(t, url, { workers }), expected)
  }
})

test('chunks are cut as chunks() cuts them', async (t) => {
  const a = openSync(make(t))
  const url = module('(chunk, { start, stop }) => [start, stop, chunk.toArray()]')
  const views = [a, a.slice('::-1'), a.slice('1::3', '::-2'), a.T, a.pick(null, 1), a.slice('5:5'), a.hi(1)]
  for (const view of views) {
    for (const options of [{}, { rows: 3 }, { rows: 7, overlap: 2 }]) {
      const expected: unknown[] = []
      for await (const chunk of view.chunks(options)) expected.push(chunk.toArray())
      const results = await mapChunks<[start: number, stop: number, elements: unknown[]]>(view, url, options)
      t.deepEqual(
        results.map(([, , elements]) => elements),
        expected,
      )
      for (const [start, stop, elements] of results) t.is(stop - start, elements.length)
    }
  }
  a.close()
})

for (const mode of ['r', 'r+', 'c'] as Mode[]) {
  // Private pages are this environment's alone in a cage.
  const sharing = backing === 'wasm' && mode !== 'r+' ? test.skip : test
  sharing(`'${mode}': workers see and change the memory of the array itself`, async (t) => {
    const path = make(t)
    const a = openSync<'float64'>(path, { mode })
    ;(a.data as Float64Array)[4] = -1 // row 1, column 1
    const url = body(`
      const before = chunk.get(1, 1)
      if (chunk.flags.WRITEABLE) chunk.pick(null, 2).fill(info.index)
      return before`)
    t.deepEqual(await mapChunks(a, url, { rows: 10 }), [-1, 34])
    t.deepEqual(a.slice('::10', 2).toArray(), mode === 'r' ? [2, 32] : [0, 1])
    await mapChunks(a.view(), url, { rows: 5 })
    t.deepEqual(a.slice('::10', 2).toArray(), mode === 'r' ? [2, 32] : [0, 1], 'a read-only view stays one')
    a.close()
    nothingIsLeft(t, path)
    const b = openSync(path)
    t.deepEqual(b.slice('::10', 2).toArray(), mode === 'r+' ? [0, 1] : [2, 32])
    b.close()
  })
}

test('elements that no typed array can show, and arrays by name', async (t) => {
  const path = join(folder(t), 'a.raw')
  writeFileSync(
    path,
    Uint8Array.from({ length: 41 }, (_, i) => i),
  )
  const a = openSync(path, { format: 'raw', dtype: '>u2', offset: 1, shape: [5, 4] })
  const results = await mapChunks<number>(a, module('(chunk) => chunk.sumSync()'), { rows: 2 })
  t.is(
    results.reduce((sum, part) => sum + part),
    a.sumSync() as number,
  )
  t.is(results.length, 3)
  a.close()
})

test('one chunk at a time in each worker, and no more workers than asked for or needed', async (t) => {
  const url = body(`
    const { threadId } = await import('node:worker_threads')
    globalThis.running = (globalThis.running ?? 0) + 1
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    return [threadId, globalThis.running--]`)
  for (const [workers, rows] of [
    [1, 2],
    [2, 2],
    [8, 10],
  ] as const) {
    const results = (await run(t, url, { workers, rows })) as [thread: number, running: number][]
    t.deepEqual([...new Set(results.map(([, running]) => running))], [1])
    t.true(new Set(results.map(([thread]) => thread)).size <= Math.min(workers, ROWS / rows))
  }
})

const results: [name: string, source: string, result: unknown][] = [
  ['nothing', '() => {}', undefined],
  ['a number', '() => 1.5', 1.5],
  ['a bigint', '() => 5n', 5n],
  ['plain data', '() => ({ a: [1, { b: null }] })', { a: [1, { b: null }] }],
  ['a map', '() => new Map([[1, 2]])', new Map([[1, 2]])],
  ['a promise', '() => Promise.resolve(3)', 3],
  ['a buffer', '() => Uint8Array.of(1, 2).buffer', Uint8Array.of(1, 2).buffer],
  ['a copy', '(chunk) => chunk.pick(0).copy().data', Float64Array.of(42, 43, 44)],
  ['elements of the file', '(chunk) => chunk.pick(0).toTypedArray()', Float64Array.of(48, 49, 50)],
  ['an error that is no failure', '() => new RangeError("fine")', new RangeError('fine')],
]

test('what a function may return', async (t) => {
  const url = module(`(chunk, info) => [${results.map(([, source]) => source)}][info.index](chunk)`)
  const found = await run(t, url, { rows: 2 })
  for (const [i, [name, , expected]] of results.entries()) t.deepEqual(found[i], expected, name)
  // Not the whole file, which such a view would take along.
  t.is((found[8] as Float64Array).buffer.byteLength, 24)
})

const FAIL = 'if (info.index === 3) throw'
const failures: [name: string, url: string, error: Record<string, unknown>][] = [
  ['an error', body(`${FAIL} new Error('mine')`), { name: 'Error', message: 'mine' }],
  ['a class of JavaScript', body(`${FAIL} new RangeError('mine')`), { name: 'RangeError', message: 'mine' }],
  [
    'fields of its own',
    body(`${FAIL} Object.assign(new Error('mine'), { code: 'EMINE', list: [1] })`),
    { message: 'mine', code: 'EMINE', list: [1] },
  ],
  [
    'a cause',
    body(`${FAIL} new Error('mine', { cause: new TypeError('its cause') })`),
    { message: 'mine', cause: 'TypeError: its cause' },
  ],
  ['an error of ours', body('chunk.T.reshape([-1])'), { name: 'MmapError', code: 'ERR_NOT_CONTIGUOUS' }],
  ['wrong use of ours', body('chunk.get(0)'), { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }],
  ['ERR_READ_ONLY', body('chunk.fill(1)'), { name: 'MmapError', code: 'ERR_READ_ONLY' }],
  ['an abort of its own', body('AbortSignal.abort().throwIfAborted()'), { name: 'AbortError' }],
  [
    'an error that cannot be copied',
    body(`${FAIL} Object.assign(new Error('mine'), { code: 'EMINE', run: () => {} })`),
    { message: 'mine', code: 'EMINE' },
  ],
  ['thrown at once', module('() => { throw new Error("mine") }'), { message: 'mine' }],
  ['a function thrown', body('throw () => 5'), { message: '[Function (anonymous)]' }],
  [
    'a result that cannot be copied',
    body('return { run() {} }'),
    { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' },
  ],
  ['a view as result', body('return chunk'), { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }],
  [
    'a port as result',
    body('return new MessageChannel().port1'),
    { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' },
  ],
  ['no default export', written('export const a = 1'), { code: 'ERR_INVALID_ARG_VALUE' }],
  ['a default that is no function', module('5'), { code: 'ERR_INVALID_ARG_VALUE' }],
  ['a module that throws', written("throw new Error('mine')"), { message: 'mine' }],
  ['a module with an error in it', written('export default =>'), { name: 'SyntaxError' }],
  [
    'a module that is not there',
    pathToFileURL(join(modules, 'missing.mjs')).href,
    { code: 'ERR_MODULE_NOT_FOUND' },
  ],
  ['an unknown scheme', 'http://localhost/a.mjs', { code: 'ERR_UNSUPPORTED_ESM_URL_SCHEME' }],
  ['the end of the worker', body('process.exit(3)'), { code: 'ERR_INVALID_STATE' }],
  ['the end of the worker, without an error', body('process.exit(0)'), { code: 'ERR_INVALID_STATE' }],
  [
    'an error that nobody catches',
    body("setImmediate(() => { throw new RangeError('mine') }); await new Promise(() => {})"),
    { name: 'RangeError', message: 'mine' },
  ],
  [
    'a rejection that nobody catches',
    body("Promise.reject(new RangeError('mine')); await new Promise(() => {})"),
    { name: 'RangeError', message: 'mine' },
  ],
  [
    'one that fails while another never ends',
    body("if (info.index === 1) throw new Error('mine'); while (true);"),
    { message: 'mine' },
  ],
]

/** Runs modules in a process without loaders, one after the other, and says how each has failed and what is left. */
const elsewhere = (t: ExecutionContext, path: string, urls: string[]) =>
  child(t).call<Record<string, unknown>[]>(
    `const { readFileSync } = process.getBuiltinModule('node:fs')
     const [path, urls] = x
     const errors = []
     for (const url of urls) {
       const a = m.openSync(path)
       const error = await m.mapChunks(a, url, { rows: 4, workers: 2 }).then(() => ({ message: 'none' }), (error) => error)
       a.close()
       const left = process.platform === 'linux' && readFileSync('/proc/self/maps', 'utf8').includes(path)
       const { name, message, code, cause, list } = error ?? {}
       const is = m.isMmapError(error) ? 'ours' : error instanceof Error ? 'an error' : error
       errors.push({ name, message, code, cause: cause && String(cause), list, is, left })
     }
     return errors`,
    [path, urls],
  )

test('it rejects with what went wrong, and nothing is left', async (t) => {
  const errors = await elsewhere(
    t,
    make(t),
    failures.map(([, url]) => url),
  )
  for (const [i, [name, , expected]] of failures.entries()) {
    const isOurs = expected.name === 'MmapError' || expected.code === 'ERR_INVALID_STATE'
    t.like(errors[i], { is: isOurs ? 'ours' : 'an error', left: false, ...expected }, name)
  }
})

test('something else than an error thrown', async (t) => {
  const thrown = ['text', 5, null, { a: 1 }]
  const urls = thrown.map((value) => module(`() => { throw ${JSON.stringify(value)} }`))
  const errors = await elsewhere(t, make(t), urls)
  t.deepEqual(
    errors.map(({ is }) => is),
    thrown,
  )
})

test('the messages say what to do', async (t) => {
  const cases: [url: string, message: RegExp][] = [
    [body('process.exit(3)'), /ended \(exit code 3\) before its chunks were done/],
    [
      body('return { run() {} }'),
      /of chunk \d cannot be copied to the main thread \(.*\); return plain data/,
    ],
    [module('5'), /must name a module whose default export is a function/],
  ]
  for (const [url, message] of cases) await t.throwsAsync(run(t, url), { message })
})

test('an abort, before and in the middle of what never ends', async (t) => {
  const reason = new Error('enough')
  const before = await t.throwsAsync(run(t, body('while (true);'), { signal: AbortSignal.abort(reason) }))
  t.like(before, { code: 'ABORT_ERR', name: 'AbortError' })
  t.is(before?.cause, reason)
  const controller = new AbortController()
  const url = body('if (info.index > 1) while (true);')
  const during = await t.throwsAsync(
    run(t, url, { signal: controller.signal, onProgress: () => controller.abort(reason) }),
  )
  t.like(during, { code: 'ABORT_ERR', name: 'AbortError' })
  t.is(during?.cause, reason)
})

test('close() in the middle: ERR_CLOSED; asyncDispose waits', async (t) => {
  const path = make(t)
  const a = openSync(path)
  const url = body('if (info.index > 1) while (true);')
  await t.throwsAsync(mapChunks(a, url, { rows: 2, onProgress: () => a.close() }), { code: 'ERR_CLOSED' })
  nothingIsLeft(t, path)
  await t.throwsAsync(mapChunks(a, url), { code: 'ERR_CLOSED' })
  const b = await open(path)
  const work = mapChunks(b, body('return info.index'), { rows: 5 })
  await b[Symbol.asyncDispose]()
  t.deepEqual(await work, [0, 1, 2, 3])
})

test('progress: chunks, to the end; what onProgress throws', async (t) => {
  const told: [number, number][] = []
  await run(t, body(''), { rows: 1, onProgress: (...args) => told.push(args) })
  t.deepEqual(told.at(-1), [ROWS, ROWS])
  t.deepEqual(
    [...told].sort(([a], [b]) => a - b),
    told,
  )
  const throwing = () => {
    throw new Error('mine')
  }
  await t.throwsAsync(run(t, body(''), { onProgress: throwing }), { message: 'mine' })
})

// Windows shortens no file that is mapped.
const posix = process.platform === 'win32' ? test.skip : test
posix('pages that vanish: ERR_MAPPING_LOST', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [100, 1024], dtype: 'float64', fill: 1 }).close()
  const a = openSync(path)
  truncateSync(path, 4096)
  await t.throwsAsync(mapChunks(a, module('(chunk) => chunk.get(0, 0)'), { rows: 10 }), {
    code: 'ERR_MAPPING_LOST',
  })
  a.close()
  nothingIsLeft(t, path)
})

test('no chunks, no workers: the module is not even looked for', async (t) => {
  t.deepEqual(await run(t, 'file:///missing.mjs', {}, (a) => a.slice('3:3')), [])
})

test('wrong arguments', async (t) => {
  const a = openSync(make(t))
  const url = body('')
  const cases: [args: unknown[], code: string][] = [
    [[{}, url], 'ERR_INVALID_ARG_TYPE'],
    [[new NdView(new Float64Array(4)), url], 'ERR_INVALID_ARG_TYPE'],
    [[a.toHandle(), url], 'ERR_INVALID_ARG_TYPE'],
    [[a.pick(1, 1), url], 'ERR_INVALID_ARG_TYPE'],
    [[a], 'ERR_INVALID_ARG_TYPE'],
    [[a, 5], 'ERR_INVALID_ARG_TYPE'],
    [[a, () => 5], 'ERR_INVALID_ARG_TYPE'],
    [[a, './work.js'], 'ERR_INVALID_ARG_VALUE'],
    [[a, 'package'], 'ERR_INVALID_ARG_VALUE'],
    [[a, ''], 'ERR_INVALID_ARG_VALUE'],
    [[a, url, 5], 'ERR_INVALID_ARG_TYPE'],
    [[a, url, { workers: 0 }], 'ERR_OUT_OF_RANGE'],
    [[a, url, { workers: 1.5 }], 'ERR_OUT_OF_RANGE'],
    [[a, url, { workers: 1025 }], 'ERR_OUT_OF_RANGE'],
    [[a, url, { workers: '2' }], 'ERR_INVALID_ARG_TYPE'],
    [[a, url, { rows: 0 }], 'ERR_OUT_OF_RANGE'],
    [[a, url, { rows: 3, overlap: 3 }], 'ERR_OUT_OF_RANGE'],
    [[a, url, { signal: 5 }], 'ERR_INVALID_ARG_TYPE'],
    [[a, url, { onProgress: 5 }], 'ERR_INVALID_ARG_TYPE'],
    [[a, url, { worker: 5 }], 'ERR_INVALID_ARG_VALUE'],
  ]
  for (const [args, code] of cases) {
    await t.throwsAsync(
      (mapChunks as (...args: unknown[]) => Promise<unknown>)(...args),
      { code },
      String(args),
    )
  }
  a.close()
})

test('a module in a file, by URL and by text, with imports of its own', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'more.mjs'), 'export const twice = (x) => 2 * x')
  const file = join(dir, 'work.mjs')
  writeFileSync(file, "import { twice } from './more.mjs'\nexport default (chunk, info) => twice(info.index)")
  const url = pathToFileURL(file)
  t.deepEqual(await run(t, url), [0, 2, 4, 6, 8])
  t.deepEqual(await run(t, url.href), [0, 2, 4, 6, 8])
  const commonjs = join(dir, 'work.cjs')
  writeFileSync(commonjs, 'module.exports = (chunk, info) => info.stop')
  t.deepEqual(await run(t, pathToFileURL(commonjs)), [4, 8, 12, 16, 20])
})

test('a process ends by itself when it is done, whatever a module leaves running; what it prints is printed', async (t) => {
  const path = make(t)
  const source = "(_, { index }) => { setInterval(() => {}, 1e6); console.log('chunk', index); return index }"
  const url = `data:text/javascript,${encodeURIComponent(`export default ${source}`)}`
  const { code, stdout, stderr } = await runScript(
    `import { mapChunks, openSync } from 'mmap-ndarray'
     const a = openSync(process.argv[1])
     console.log('results', ...await mapChunks(a, process.argv[2], { rows: 10 }))
     a.close()`,
    path,
    url,
  )
  t.is(stderr, '')
  t.is(code, 0)
  t.deepEqual(stdout.trim().split('\n').sort(), ['chunk 0', 'chunk 1', 'results 0 1'])
})

test('types', async (t) => {
  const a = openSync<'float64'>(make(t))
  const results: ChunkInfo[] = await mapChunks<ChunkInfo>(a, module('(_, info) => info'), { rows: ROWS })
  t.deepEqual(results, [{ index: 0, start: 0, stop: ROWS }])
  const unknown: unknown[] = await mapChunks(a, module('() => 1'))
  t.deepEqual(unknown, [1])
  a.close()
})
