/** Opening: what is checked before the file is touched, what may lie at a path, what the caller expects of it. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import {
  createSync,
  isMmapError,
  MmapArray,
  MmapError,
  type OpenOptions,
  open,
  openSync,
} from '../src/index.js'
import { descriptors, fixture, folder, isPending, mappings, run, runScript } from './helpers.js'

const npy = fixture('npy', 'lef4_F.npy')

test('a path is a string, a Buffer or a URL', async (t) => {
  for (const path of [npy, Buffer.from(npy), pathToFileURL(npy)]) {
    const a = await open(path)
    t.true(a instanceof MmapArray)
    t.is(a.path, npy)
    a.close()
  }
})

test('a relative path is tied to the working directory of the moment', async (t) => {
  const script = `
    import { openSync } from 'mmap-ndarray'
    const a = openSync('crates/core/tests/fixtures/npy/v2.npy')
    process.chdir('/')
    console.log(a.path)`
  const { stdout } = await runScript(script)
  t.is(stdout.trim(), fixture('npy', 'v2.npy'))
})

const wrongPaths: [name: string, path: unknown, code: string][] = [
  ['a number', 1, 'ERR_INVALID_ARG_TYPE'],
  ['null', null, 'ERR_INVALID_ARG_TYPE'],
  ['undefined', undefined, 'ERR_INVALID_ARG_TYPE'],
  ['an object', {}, 'ERR_INVALID_ARG_TYPE'],
  ['a NUL byte', 'a\0b', 'ERR_INVALID_ARG_VALUE'],
  ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe]), 'ERR_INVALID_ARG_VALUE'],
  ['a URL that is no file', new URL('data:,x'), 'ERR_INVALID_URL_SCHEME'],
  ['the empty string', '', 'ENOENT'],
]
for (const [name, path, code] of wrongPaths) {
  test(`path: ${name} is ${code}`, async (t) => {
    t.throws(() => openSync(path as string), { code })
    await t.throwsAsync(open(path as string), { code })
  })
}

const wrongOptions: [options: unknown, code: string, message: RegExp][] = [
  [{ mod: 'r' }, 'ERR_INVALID_ARG_VALUE', /'mod'; did you mean 'mode'/],
  [{ Mode: 'r' }, 'ERR_INVALID_ARG_VALUE', /did you mean 'mode'/],
  [{ stict: true }, 'ERR_INVALID_ARG_VALUE', /did you mean 'strict'/],
  [{ dtpye: 'f4' }, 'ERR_INVALID_ARG_VALUE', /did you mean 'dtype'/],
  [{ encoding: 'utf8' }, 'ERR_INVALID_ARG_VALUE', /Unknown option 'encoding'. open takes mode/],
  ['r', 'ERR_INVALID_ARG_TYPE', /"options"/],
  [null, 'ERR_INVALID_ARG_TYPE', /null/],
  [{ mode: 'w' }, 'ERR_INVALID_ARG_VALUE', /'r', 'r\+', 'c'.*Received 'w'/],
  [{ mode: 'toString' }, 'ERR_INVALID_ARG_VALUE', /mode/],
  [{ mode: 7 }, 'ERR_INVALID_ARG_TYPE', /mode/],
  [{ dtype: 'float' }, 'ERR_INVALID_ARG_VALUE', /float64/],
  [{ dtype: 5 }, 'ERR_INVALID_ARG_TYPE', /dtype/],
  [{ dtype: 'complex64' }, 'ERR_DTYPE_MISMATCH', /complex64/],
  [{ shape: 12 }, 'ERR_INVALID_ARG_TYPE', /shape/],
  [{ shape: [1.5] }, 'ERR_OUT_OF_RANGE', /1\.5/],
  [{ shape: [-1] }, 'ERR_OUT_OF_RANGE', /-1/],
  [{ shape: [3n] }, 'ERR_INVALID_ARG_TYPE', /3n/],
  [{ shape: [Number.NaN] }, 'ERR_OUT_OF_RANGE', /NaN/],
  [{ format: 'raw', dtype: 'complex64', shape: 2 }, 'ERR_INVALID_ARG_TYPE', /shape/],
  [{ format: 'raw', dtype: 'complex64', shape: [2], strides: 'x' }, 'ERR_INVALID_ARG_TYPE', /strides/],
  [{ format: 'hdf5' }, 'ERR_INVALID_ARG_VALUE', /'mmap', 'npy'/],
  [{ strict: 1 }, 'ERR_INVALID_ARG_TYPE', /strict/],
  [{ backing: 'disk' }, 'ERR_INVALID_ARG_VALUE', /'auto', 'external', 'shared', 'wasm', 'window'/],
  [{ backing: 1 }, 'ERR_INVALID_ARG_TYPE', /backing/],
  [{ backing: 'external', shared: true }, 'ERR_INVALID_ARG_VALUE', /shared: true/],
  [{ backing: 'shared', shared: false }, 'ERR_INVALID_ARG_VALUE', /shared: false/],
  [{ shared: 'yes' }, 'ERR_INVALID_ARG_TYPE', /shared/],
]
for (const [options, code, message] of wrongOptions) {
  test(`options: ${JSON.stringify(options, (_, v) => (typeof v === 'bigint' ? `${v}n` : v))}`, async (t) => {
    t.throws(() => openSync(npy, options as OpenOptions), { code, message })
    await t.throwsAsync(open(npy, options as OpenOptions), { code, message })
  })
}

test('what the caller expects is compared with the file', async (t) => {
  const a = await open(npy, { dtype: 'float32', shape: [2, 2, 3], format: 'npy' })
  t.is(a.get(0, 0, 0), -60.375)
  a.close()
  for (const dtype of ['<f4', 'f4', 'f32']) openSync(npy, { dtype }).close()
  const dtype = t.throws(() => openSync(npy, { dtype: 'float64' }), { code: 'ERR_DTYPE_MISMATCH' })
  t.like(dtype, { expected: 'float64', actual: 'float32', path: npy })
  const shape = t.throws(() => openSync(npy, { shape: [12] }), { code: 'ERR_SHAPE_MISMATCH' })
  t.like(shape, { expected: [12], actual: [2, 2, 3] })
  t.throws(() => openSync(npy, { format: 'mmap' }), { code: 'ERR_INVALID_MAGIC' })
})

test('errors carry the facts', (t) => {
  const facts = (path: string) => t.throws(() => openSync(path), { instanceOf: MmapError }) as MmapError
  t.like(facts(fixture('hostile', 'version_2.mmap')), { code: 'ERR_UNSUPPORTED_VERSION', version: '2' })
  t.like(facts(fixture('npy', 'bad_version_4_0.npy')), { code: 'ERR_UNSUPPORTED_VERSION', version: '4.0' })
  t.like(facts(fixture('npy', 'bad_object.npy')), { code: 'ERR_UNSUPPORTED_DTYPE', dtype: '|O' })
  const short = fixture('hostile', 'cut_68.mmap')
  t.like(facts(short), { code: 'ERR_FILE_TOO_SHORT', actual: 68 })
  t.true(Number(facts(short).expected) > 68)
  const trailing = t.throws(() => openSync(fixture('hostile', 'trailing_4.mmap'), { strict: true }))
  t.true(isMmapError(trailing, 'ERR_TRAILING_DATA') && trailing.actual === Number(trailing.expected) + 4)
})

test('the format is found from the content, never from the name', (t) => {
  const path = join(folder(t), 'looks-like.npy')
  createSync(path, Float64Array.from([1, 2]), { format: 'mmap' }).close()
  t.is(openSync(path).format, 'mmap')
})

const posix = process.platform === 'win32' ? test.skip : test
const linux = process.platform === 'linux' ? test : test.skip

posix('things at a path that are no file', async (t) => {
  const dir = folder(t)
  const fifo = join(dir, 'fifo')
  t.is((await run('mkfifo', [fifo])).code, 0)
  const socket = join(dir, 'socket')
  const server = createServer().listen(socket)
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  const link = join(dir, 'loop')
  symlinkSync(link, link)
  mkdirSync(join(dir, 'folder.npy'))
  writeFileSync(join(dir, 'empty.npy'), '')
  writeFileSync(join(dir, 'text.npy'), 'a,b,c\n1,2,3\n')
  const cases: [path: string, code: string][] = [
    [join(dir, 'missing.npy'), 'ENOENT'],
    [join(dir, 'folder.npy'), 'EISDIR'],
    [join(dir, 'text.npy', 'below'), 'ENOTDIR'],
    [link, 'ELOOP'],
    [fifo, 'ENODEV'],
    [socket, 'ENODEV'],
    ['/dev/zero', 'ENODEV'],
    [join(dir, 'empty.npy'), 'ERR_FILE_TOO_SHORT'],
    [join(dir, 'text.npy'), 'ERR_INVALID_MAGIC'],
  ]
  for (const [path, code] of cases) {
    for (const mode of ['r', 'r+', 'c'] as const) {
      const error = await t.throwsAsync(open(path, { mode }), { code }, path)
      t.true(isMmapError(error, code as 'ENOENT') && error.path === path)
      t.throws(() => openSync(path, { mode }), { code })
    }
    t.is(descriptors(path), 0)
  }
})

posix("fields of a system error are those of Node's fs", async (t) => {
  const error = await t.throwsAsync(open('/missing/file.npy'))
  t.like(error, { code: 'ENOENT', errno: -2, syscall: 'open', path: '/missing/file.npy' })
  t.is(error?.message, "ENOENT: no such file or directory, open '/missing/file.npy'")
})

posix('no permission', async (t) => {
  const path = join(folder(t), 'secret.npy')
  createSync(path, [1]).close()
  chmodSync(path, 0o000)
  // Root may read anything: the process has to be somebody else.
  const script = `
    import { openSync } from 'mmap-ndarray'
    if (process.getuid() === 0) process.setuid(65534)
    try { openSync(process.argv[1]) } catch (error) { console.log(error.code, error.syscall) }`
  const { stdout, stderr } = await runScript(script, path)
  t.is(stdout.trim() || stderr, 'EACCES open')
})

posix('a file that may only be read opens in r and c', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'read-only.npy')
  createSync(path, [1, 2]).close()
  chmodSync(path, 0o444)
  chmodSync(dir, 0o755)
  const script = `
    import { openSync } from 'mmap-ndarray'
    if (process.getuid() === 0) process.setuid(65534)
    for (const mode of ['r', 'c']) openSync(process.argv[1], { mode }).data[0] = 7
    const c = openSync(process.argv[1], { mode: 'c' })
    try { openSync(process.argv[1], { mode: 'r+' }) } catch (error) { console.log(error.code, c.set(1, 5)) }`
  const { stdout, stderr } = await runScript(script, path)
  t.is(stdout.trim() || stderr, 'EACCES 5')
})

test('the asynchronous form needs the event loop, also to fail', async (t) => {
  const opened = open(npy)
  t.true(await isPending(opened))
  ;(await opened).close()
  const failed = open('/missing.npy')
  t.true(await isPending(failed))
  await t.throwsAsync(failed, { code: 'ENOENT' })
})

linux('a thread opens the file while the main thread is busy', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, [7]).close()
  const opening = open(path)
  // Not one turn of the event loop happens in here.
  const deadline = Date.now() + 30_000
  while (mappings(path) === 0 && Date.now() < deadline);
  t.is(mappings(path), 1)
  ;(await opening).close()
})

test('many at once', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, [7]).close()
  const arrays = await Promise.all(Array.from({ length: 200 }, () => open(path)))
  t.true(arrays.every((a) => a.get(0) === 7))
  for (const a of arrays) a.close()
  t.is(descriptors(path), 0)
})
