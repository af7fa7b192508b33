/**
 * Arrays as answers to requests, with the Request and Response of Node.js: what `protocol.handle` would be given.
 *
 * Past 400 lines: tables of requests, and the answer that each has.
 */
import { readdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { createProtocolHandler, type ProtocolHandler } from '../src/electron.js'
import { createSync, type MappedView, type MmapArray, openSync } from '../src/index.js'
import { isMmapError, NdView, readResponse } from '../src/renderer.js'
import { fixture, folder, root, run, runScript } from './helpers.js'

const SEED = 20260801
const SHAPE = [6, 5, 4]
const SIZE = 120
const VALUES = Float32Array.from({ length: SIZE }, (_, i) => i / 2)
const BYTES = Buffer.from(VALUES.buffer)

function numbers(t: ExecutionContext): MmapArray<'float32'> {
  const a = createSync(join(folder(t), 'a.npy'), { data: VALUES, shape: SHAPE })
  t.teardown(() => a.close())
  return a
}

const ask = (handler: ProtocolHandler, path: string, init?: RequestInit) =>
  handler(new Request(`mmap://array${path}`, init))
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer())
const told = async (response: Response) => (await response.json()) as { code: string; message: string }
const ranged = (range: string) => ({ headers: { Range: range } })

test('facts', async (t) => {
  const a = numbers(t)
  const handler = createProtocolHandler(a)
  const facts = { dtype: 'float32', shape: SHAPE, order: 'C', byteOrder: 'little', itemsize: 4, nbytes: 480 }
  const response = await ask(handler, '/')
  t.is(response.headers.get('Content-Type'), 'application/json')
  t.deepEqual(await response.json(), { ...facts, format: 'npy' })
  const part = { ...facts, shape: [6, 2], nbytes: 48, format: 'npy' }
  t.deepEqual(await (await ask(handler, '/?slice=:,0,1:3')).json(), part)
  t.deepEqual(await (await ask(createProtocolHandler(a.pick(1)), '/')).json(), {
    ...facts,
    shape: [5, 4],
    nbytes: 80,
  })
})

const selections = [
  '',
  '0',
  '-1',
  '1:3',
  '::-1',
  ':,2',
  ':,:,3',
  '1:6:2,::-2,-1',
  '2,3,1',
  '4:2',
  '9:',
  ' 0 , 1 ',
  '%2B1',
]
for (const text of selections) {
  test(`slice=${text}: as the slice of the array`, async (t) => {
    const a = numbers(t)
    const response = await ask(createProtocolHandler(a), `/data?slice=${text}`)
    const plain = decodeURIComponent(text)
    const expected = plain.trim() === '' ? a : a.slice(...plain.split(','))
    t.is(response.status, 200)
    t.is(response.headers.get('Content-Length'), String(expected.nbytes))
    t.is(response.headers.get('Array-Shape'), JSON.stringify(expected.shape))
    const view = await readResponse(response)
    t.deepEqual([view.dtype, view.shape], ['float32', expected.shape])
    t.deepEqual(view.toArray(), expected.toArray())
  })
}

const hostile: [query: string, code: string, message: RegExp][] = [
  ['?slice=6', 'ERR_OUT_OF_RANGE', /selections\[0\].*>= -6 && < 6/],
  ['?slice=0,0,0,0', 'ERR_OUT_OF_RANGE', /at most 3/],
  ['?slice=::0', 'ERR_OUT_OF_RANGE', /other than 0/],
  ['?slice=a', 'ERR_INVALID_ARG_VALUE', /like '3', '1:5'/],
  ['?slice=0;process.exit()', 'ERR_INVALID_ARG_VALUE', /like '3', '1:5'/],
  ['?slice=1.5', 'ERR_INVALID_ARG_VALUE', /like '3', '1:5'/],
  ['?slice=,', 'ERR_INVALID_ARG_VALUE', /like '3', '1:5'/],
  ['?slice=0&slice=1', 'ERR_INVALID_ARG_VALUE', /one slice/],
  ['?slices=0', 'ERR_INVALID_ARG_VALUE', /'slices'/],
  ['?__proto__=0', 'ERR_INVALID_ARG_VALUE', /'__proto__'/],
  [`?slice=${'0'.repeat(1e6)}`, 'ERR_OUT_OF_RANGE', /at most 4096/],
  [`?slice=${','.repeat(4096)}`, 'ERR_OUT_OF_RANGE|ERR_INVALID_ARG_VALUE', /./],
  ['?slice=99999999999999999999', 'ERR_OUT_OF_RANGE', /selections\[0\]/],
  ['?slice=%00', 'ERR_INVALID_ARG_VALUE', /like '3', '1:5'/],
]
for (const [query, code, message] of hostile) {
  test(`400: ${query.slice(0, 40)}`, async (t) => {
    const handler = createProtocolHandler(numbers(t))
    for (const path of ['/', '/data']) {
      const response = await ask(handler, path + query)
      t.is(response.status, 400)
      const error = await told(response.clone())
      t.regex(error.code, new RegExp(`^(${code})$`))
      t.regex(error.message, message)
      await t.throwsAsync(readResponse(response), error)
    }
  })
}

const paths: [path: string, status: number][] = [
  ['', 200],
  ['/', 200],
  ['/data', 200],
  ['//', 404],
  ['/data/', 404],
  ['/data/data', 404],
  ['/a', 404],
  ['/../../etc/passwd', 404],
  ['/%2e%2e/data', 200], // The URL itself says that this is '/data'.
  ['/%', 404],
  ['/Data', 404],
]
for (const [path, status] of paths) {
  test(`${status}: '${path}' of one array`, async (t) => {
    const response = await ask(createProtocolHandler(numbers(t)), path)
    t.is(response.status, status)
    if (status === 404) t.is((await told(response)).code, 'ERR_INVALID_ARG_VALUE')
  })
}

test('several arrays, by names of any kind', async (t) => {
  const a = numbers(t)
  const arrays: Record<string, MappedView> = { a, 'b/ü %': a.pick(0), data: a.pick(1) }
  const handler = createProtocolHandler(arrays)
  t.deepEqual(await (await ask(handler, '/')).json(), { arrays: ['a', 'b/ü %', 'data'] })
  t.like(await (await ask(handler, `/${encodeURIComponent('b/ü %')}`)).json(), { shape: [5, 4] })
  t.deepEqual((await readResponse(await ask(handler, '/data/data?slice=0'))).toArray(), [10, 10.5, 11, 11.5])
  t.like(await (await ask(handler, '/data/')).json(), { shape: [5, 4] })
  for (const path of [
    '/b',
    '/__proto__',
    '/constructor/data',
    '/a/b',
    '/a/data/x',
    '/%',
    '//data',
    '/a//data',
  ]) {
    t.is((await ask(handler, path)).status, 404, path)
  }
  // They are looked up at each request.
  arrays.late = a
  t.is((await ask(handler, '/late/data')).status, 200)
  delete arrays.late
  t.is((await ask(handler, '/late/data')).status, 404)
})

const PART = '/data?slice=1:3' // 160 bytes from byte 80 on
const ranges: [range: string, status: number, contentRange?: string][] = [
  ['bytes=0-0', 206, 'bytes 0-0/160'],
  ['bytes=0-159', 206, 'bytes 0-159/160'],
  ['bytes=0-', 206, 'bytes 0-159/160'],
  ['bytes=5-17', 206, 'bytes 5-17/160'],
  ['bytes=150-1000', 206, 'bytes 150-159/160'],
  ['bytes=-1', 206, 'bytes 159-159/160'],
  ['bytes=-1000', 206, 'bytes 0-159/160'],
  ['Bytes=159-99999999999999999999999', 206, 'bytes 159-159/160'],
  ['bytes= 1-2 ', 206, 'bytes 1-2/160'],
  ['bytes=160-', 416, 'bytes */160'],
  ['bytes=99999999999999999999999-', 416, 'bytes */160'],
  ['bytes=-0', 416, 'bytes */160'],
  // Not ranges, or not of a kind that is served: ignored.
  ['bytes=3-2', 200],
  ['bytes=-', 200],
  ['bytes=', 200],
  ['bytes=0-1,3-4', 200],
  ['bytes=a-b', 200],
  ['bytes=0x1-2', 200],
  ['bytes=1.5-2', 200],
  ['bytes=--1', 200],
  ['items=0-1', 200],
  ['0-1', 200],
]
for (const [range, status, contentRange] of ranges) {
  test(`Range: ${range}`, async (t) => {
    const handler = createProtocolHandler(numbers(t))
    const response = await ask(handler, PART, ranged(range))
    t.is(response.status, status)
    t.is(response.headers.get('Content-Range'), contentRange ?? null)
    if (status === 416) {
      t.is((await told(response)).code, 'ERR_OUT_OF_RANGE')
      return
    }
    const [, from = 0, to = 159] = /(\d+)-(\d+)/.exec(contentRange ?? '')?.map(Number) ?? []
    t.is(response.headers.get('Content-Length'), String(to + 1 - from))
    t.deepEqual(await bytesOf(response), BYTES.subarray(80 + from, 80 + to + 1))
  })
}

test('a range is no array, and is no use beside If-Range or in a HEAD', async (t) => {
  const handler = createProtocolHandler(numbers(t))
  const code = 'ERR_INVALID_ARG_VALUE'
  await t.throwsAsync(readResponse(await ask(handler, '/data', ranged('bytes=0-3'))), { code })
  const both = { headers: { Range: 'bytes=0-3', 'If-Range': '"x"' } }
  t.is((await ask(handler, '/data', both)).status, 200)
  t.is((await ask(handler, '/data', { method: 'HEAD', ...ranged('bytes=999-') })).status, 200)
})

test('ranges of any view are those of its bytes', async (t) => {
  const a = numbers(t)
  const range = fc.tuple(fc.option(fc.nat(600)), fc.option(fc.nat(600)))
  const ends = fc.array(fc.tuple(fc.integer({ min: -7, max: 7 }), fc.integer({ min: 1, max: 3 })), {
    maxLength: 3,
  })
  await fc.assert(
    fc.asyncProperty(range, ends, fc.boolean(), async ([first, last], steps, mirrored) => {
      const text = steps
        .map(([start, step]) => (mirrored ? `${start}::-${step}` : `${start}::${step}`))
        .join()
      const view = text === '' ? a : a.slice(...text.split(','))
      const all = Buffer.from(Float32Array.from(view.toTypedArray({ copy: true })).buffer)
      const response = await ask(
        createProtocolHandler(a),
        `/data?slice=${text}`,
        ranged(`bytes=${first ?? ''}-${last ?? ''}`),
      )
      const n = all.length
      const [from, to] =
        first === null ? [Math.max(0, n - (last ?? 0)), n] : [first, last === null ? n : last + 1]
      const isNone = first === null ? last === null : last !== null && first > last
      if (isNone) {
        t.is(response.status, 200)
        t.deepEqual(await bytesOf(response), all)
      } else if (from >= n || from >= to) {
        t.is(response.status, 416)
      } else {
        t.is(response.status, 206)
        t.deepEqual(await bytesOf(response), all.subarray(from, to))
      }
    }),
    { seed: SEED, numRuns: 300 },
  )
})

test('HEAD: the same headers, and nothing else', async (t) => {
  const handler = createProtocolHandler(numbers(t))
  for (const path of ['/', '/data', '/data?slice=0', '/data?slice=9', '/nothing']) {
    const [head, get] = await Promise.all([ask(handler, path, { method: 'HEAD' }), ask(handler, path)])
    t.is(head.status, get.status)
    t.is(head.body, null)
    t.deepEqual([...head.headers], [...get.headers])
    t.is(Number(get.headers.get('Content-Length')), (await bytesOf(get)).length)
  }
})

for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
  test(`405: ${method}`, async (t) => {
    const response = await ask(createProtocolHandler(numbers(t)), '/data', { method })
    t.is(response.status, 405)
    t.is(response.headers.get('Allow'), 'GET, HEAD')
    t.is((await told(response)).code, 'ERR_INVALID_ARG_VALUE')
  })
}

test('allowOrigin: on every answer, and to the question before', async (t) => {
  const allowOrigin = 'app://viewer'
  const handler = createProtocolHandler(numbers(t), { allowOrigin })
  for (const path of ['/', '/data', '/x', '/data?slice=9']) {
    const { headers } = await ask(handler, path)
    t.is(headers.get('Access-Control-Allow-Origin'), allowOrigin)
    t.regex(headers.get('Access-Control-Expose-Headers') ?? '', /Array-Dtype, Array-Shape/)
  }
  const { status, headers } = await ask(handler, '/data', { method: 'OPTIONS' })
  t.is(status, 204)
  t.is(headers.get('Access-Control-Allow-Headers'), 'Range')
  const without = await ask(createProtocolHandler(numbers(t)), '/data')
  t.false(without.headers.has('Access-Control-Allow-Origin'))
})

test('wrong arguments', (t) => {
  const a = numbers(t)
  const type = { code: 'ERR_INVALID_ARG_TYPE' }
  for (const wrong of [
    undefined,
    null,
    5,
    'a.npy',
    [a],
    new NdView(new Float32Array(2)),
    { a: {} },
    { a: undefined },
  ]) {
    t.throws(() => createProtocolHandler(wrong as never), wrong && 'data' in Object(wrong) ? type : type)
  }
  t.throws(() => createProtocolHandler(a, { allowOrigin: 5 as never }), type)
  t.throws(() => createProtocolHandler(a, { allowOrigin: 'a\nb' }), { instanceOf: TypeError })
  t.throws(() => createProtocolHandler(a, { origin: '*' } as never), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('every dtype, order and alignment of the fixtures', async (t) => {
  const folders = ['npy', 'mmap']
  let count = 0
  for (const name of folders) {
    for (const file of readdirSync(fixture(name)).filter((file) => /\.(npy|mmap)$/.test(file))) {
      const a = tryOpen(fixture(name, file))
      if (a === undefined) continue
      const read = await readResponse(await ask(createProtocolHandler(a), '/data'))
      t.deepEqual([read.dtype, read.shape], [a.dtype, a.shape], file)
      t.deepEqual(read.toArray(), a.toArray(), file)
      t.true(read.flags.C_CONTIGUOUS, file)
      count++
      a.close()
    }
  }
  t.true(count > 40, `${count}`)
})

function tryOpen(path: string): MmapArray | undefined {
  try {
    return openSync(path)
  } catch {
    return undefined // What a file must not be like has its own specs.
  }
}

test('bfloat16, and elements at any byte', async (t) => {
  const path = join(folder(t), 'a.bin')
  createSync(path, { data: Float32Array.of(1, -2, 0.5), dtype: 'bfloat16' } as never).close()
  const b = openSync(path, { format: 'raw', dtype: 'bfloat16' })
  const read = await readResponse(await ask(createProtocolHandler(b), '/data?slice=::-1'))
  t.deepEqual(read.toArray(), [0.5, -2, 1] as never)
  t.deepEqual(read.toTypedArray({ copy: true }), Float32Array.of(0.5, -2, 1))
  b.close()
  const odd = openSync(path, { format: 'raw', dtype: 'uint16', offset: 1, shape: [2] })
  t.deepEqual(
    await bytesOf(await ask(createProtocolHandler(odd), '/data')),
    readFileSync(path).subarray(1, 5),
  )
  odd.close()
})

test('empty arrays and arrays without axes', async (t) => {
  const dir = folder(t)
  const empty = createSync(join(dir, 'empty.npy'), { shape: [3, 0, 2], dtype: 'int64' })
  const handler = createProtocolHandler({
    empty,
    one: createSync(join(dir, 'one.npy'), { shape: [], dtype: 'int64', fill: 7n }),
  })
  const none = await ask(handler, '/empty/data')
  t.is(none.headers.get('Content-Length'), '0')
  t.deepEqual((await readResponse(none)).shape, [3, 0, 2])
  for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-5']) {
    t.is((await ask(handler, '/empty/data', ranged(range))).status, 416, range)
  }
  const one = await readResponse(await ask(handler, '/one/data'))
  t.deepEqual([one.shape, one.get()], [[], 7n])
  t.deepEqual(await bytesOf(await ask(handler, '/one/data', ranged('bytes=0-1'))), Buffer.from([7, 0]))
  t.is((await ask(handler, '/one/data?slice=0')).status, 400)
})

test('closed: 410, before anything is read and in the middle', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, { shape: [2 ** 20], dtype: 'float64' })
  const handler = createProtocolHandler(a)
  const reader = ((await ask(handler, '/data')).body as ReadableStream<Uint8Array>).getReader()
  t.false((await reader.read()).done)
  a.close()
  const rest = async () => {
    while (!(await reader.read()).done);
  }
  await t.throwsAsync(rest, { code: 'ERR_CLOSED' })
  for (const target of ['/', '/data', '/data?slice=0', '/data?slice=nonsense']) {
    const response = await ask(handler, target)
    t.is(response.status, 410, target)
    const { code, message } = await told(response.clone())
    t.is(code, 'ERR_CLOSED')
    t.false(message.includes(path), message)
    const error = await t.throwsAsync(readResponse(response))
    t.true(isMmapError(error, 'ERR_CLOSED'))
  }
  t.is((await ask(handler, '/data', { method: 'HEAD' })).status, 410)
})

const guarded = process.platform === 'win32' ? test.skip : test
guarded('lost: 500, before anything is read and in the middle', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, { shape: [2 ** 20], dtype: 'float64', fill: 1 })
  const handler = createProtocolHandler(a)
  const reader = ((await ask(handler, '/data')).body as ReadableStream<Uint8Array>).getReader()
  t.false((await reader.read()).done)
  truncateSync(path, 4096)
  const rest = async () => {
    while (!(await reader.read()).done);
  }
  await t.throwsAsync(rest, { code: 'ERR_MAPPING_LOST' })
  const response = await ask(handler, '/data?slice=1000000:')
  t.is(response.status, 500)
  t.is((await told(response)).code, 'ERR_MAPPING_LOST')
  t.notThrows(() => a.close(), 'it was said')
})

test('aborted: no answer before, an error in the middle, and nothing is read any more', async (t) => {
  const a = createSync(join(folder(t), 'a.npy'), { shape: [2 ** 20], dtype: 'float64' })
  const handler = createProtocolHandler(a)
  t.is((await ask(handler, '/data', { signal: AbortSignal.abort() })).type, 'error')
  const stop = new AbortController()
  const response = await ask(handler, '/data', { signal: stop.signal })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  await reader.read()
  stop.abort(new Error('enough'))
  const rest = async () => {
    while (!(await reader.read()).done);
  }
  await t.throwsAsync(rest, { code: 'ABORT_ERR' })
  const cancelled = await ask(handler, '/data')
  await (cancelled.body as ReadableStream).cancel()
  t.is((await (await ask(handler, '/data?slice=:5')).arrayBuffer()).byteLength, 40)
  a.close()
})

test('blocks of any layout are the elements in order, and short', async (t) => {
  const shapes = [[70_001, 3], [3, 70_001], [2, 3, 40_000], [50, 1, 50, 50], [260_000]]
  for (const shape of shapes) {
    const size = shape.reduce((a, b) => a * b)
    const data = Int32Array.from({ length: size }, (_, i) => i)
    for (const order of ['C', 'F'] as const) {
      const a = createSync(join(folder(t), 'a.npy'), { data, shape }, { order })
      const from = 4 * (size >> 1) - 7
      const response = await ask(createProtocolHandler(a), '/data', ranged(`bytes=${from}-`))
      const parts: Buffer[] = []
      for await (const part of response.body as ReadableStream<Uint8Array>) {
        t.true(part.length <= 2 ** 18 && part.length > 0)
        parts.push(Buffer.from(part))
      }
      t.true(Buffer.concat(parts).equals(Buffer.from(data.buffer).subarray(from)), `${shape} ${order}`)
      a.close()
    }
  }
})

const linux = process.platform === 'linux' ? test : test.skip
linux('almost 4 GiB go through a few MiB, as slowly as they are taken', async (t) => {
  const script = `
    import { readFileSync } from 'node:fs'
    import { createSync } from 'mmap-ndarray'
    import { createProtocolHandler } from 'mmap-ndarray/electron'
    const a = createSync(process.argv.at(-1), { shape: [2 ** 19 - 32, 2048], dtype: 'float32' }, { reserve: false })
    const handler = createProtocolHandler(a)
    const own = () => 1024 * /RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]
    const tick = () => new Promise((resolve) => setImmediate(resolve))
    const ask = (path) => handler(new Request('mmap://array' + path))
    await (await ask('/data?slice=0:100')).arrayBuffer()
    gc()
    const before = own()
    const responses = await Promise.all(Array.from({ length: 8 }, () => ask('/data')))
    for (let n = 0; n < 50; n++) await tick()
    const unread = own() - before
    // Nobody reads the others; one is read for 256 MiB and given up.
    let read = 0
    let highest = 0
    for await (const part of responses[0].body) {
      read += part.length
      if (read % 2 ** 24 === 0) gc()
      highest = Math.max(highest, own() - before)
      if (read >= 2 ** 28) break
    }
    a.close()
    console.log(JSON.stringify([responses[0].headers.get('Content-Length'), unread, highest, read]))`
  const { code, stdout, stderr } = await runScript(script, join(folder(t), 'a.npy'))
  t.is(code, 0, stderr)
  const [length, unread, highest, read] = JSON.parse(stdout)
  t.deepEqual([length, read], [String(2 ** 32 - 2 ** 18), 2 ** 28])
  t.true(unread < 16 * 2 ** 20, `unread ${unread}`)
  t.true(highest < 64 * 2 ** 20, `highest ${highest}`)
})

test('as many axes as there can be, none of them contiguous', async (t) => {
  const shape = [...Array(61).fill(1), 2, 3, 4]
  const data = Int16Array.from({ length: 24 }, (_, i) => i)
  const a = createSync(join(folder(t), 'a.npy'), { data, shape }, { order: 'F' })
  const expected = Buffer.from(data.buffer)
  t.deepEqual(await bytesOf(await ask(createProtocolHandler(a), '/data')), expected)
  a.close()
})

test('what a page loads needs no Node.js: modules of ours alone, none of them native', async (t) => {
  const seen = new Set<string>()
  const visit = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    const source = readFileSync(join(root, 'dist', file), 'utf8')
    for (const [, next = ''] of source.matchAll(/(?:from|import) '([^']+)'/g)) {
      t.regex(next, /^\.\/[\w-]+\.js$/, file)
      visit(next.slice(2))
    }
  }
  visit('renderer.js')
  t.false(seen.has('native.js') || seen.has('mapped-view.js'))
  t.true(seen.has('nd-view.js'))
  const script = `
    const { log } = console
    for (const name of ['process', 'Buffer', 'global', 'setImmediate', 'require']) delete globalThis[name]
    const { readResponse } = await import('mmap-ndarray/renderer')
    for (const [dtype, size] of Object.entries({ float32: 4, int64: 8, bfloat16: 2, float16: 2, bool: 1 })) {
      // The Response of Node.js itself could not be read any more.
      const headers = new Map([['Array-Dtype', dtype], ['Array-Shape', '[3]']])
      const response = { ok: true, status: 200, headers, arrayBuffer: async () => new ArrayBuffer(3 * size) }
      const view = await readResponse(response)
      log(view.dtype, view.slice('::-1').get(0), view.toTypedArray({ copy: true }).length)
    }`
  const { stdout, stderr } = await runScript(script)
  t.is(stdout, 'float32 0 3\nint64 0n 3\nbfloat16 0 3\nfloat16 0 3\nbool 0 3\n', stderr)
})

test('answers of others are errors', async (t) => {
  const code = 'ERR_INVALID_ARG_VALUE'
  const headers = { 'Array-Dtype': 'float32', 'Array-Shape': '[2]' }
  const wrong: [body: string | Uint8Array, init: ResponseInit, code?: string][] = [
    [new Uint8Array(8), {}],
    [new Uint8Array(8), { headers: { ...headers, 'Array-Dtype': 'object' } }],
    [new Uint8Array(8), { headers: { ...headers, 'Array-Dtype': '__proto__' } }],
    [new Uint8Array(7), { headers }],
    [new Uint8Array(8), { headers: { ...headers, 'Array-Shape': '[3]' } }],
    [new Uint8Array(8), { headers: { ...headers, 'Array-Shape': '[-2]' } }, 'ERR_OUT_OF_RANGE'],
    [new Uint8Array(8), { headers: { ...headers, 'Array-Shape': '"2"' } }, 'ERR_INVALID_ARG_TYPE'],
    ['<h1>no</h1>', { status: 502 }],
    ['{"code":5}', { status: 500 }],
    ['null', { status: 500 }],
  ]
  for (const [body, init, other] of wrong) {
    await t.throwsAsync(readResponse(new Response(body, init)), { code: other ?? code }, JSON.stringify(init))
  }
})

test('require gives it as well', async (t) => {
  const script = `
    const { createProtocolHandler } = require('mmap-ndarray/electron')
    const { readResponse, isMmapError } = require('mmap-ndarray/renderer')
    console.log(typeof createProtocolHandler, typeof readResponse, isMmapError === require('mmap-ndarray').isMmapError)`
  const { stdout } = await run(process.execPath, ['--input-type=commonjs', '--eval', script], { cwd: root })
  t.is(stdout, 'function function true\n')
})
