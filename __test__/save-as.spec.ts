/** saveAs: any view as a file of its own, in another format, another order, whole or not at all. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createSync, type MappedView, openSync, type SaveOptions, slice } from '../src/index.js'
import { fixture, folder, isPending, listOf, mappings, run, runScript, tool } from './helpers.js'

const ramp = (length: number) => Float32Array.from({ length }, (_, i) => i)

/** Name, the view of an array of shape [60, 40, 50], and its shape. */
const VIEWS: [name: string, view: (a: MappedView<'float32'>) => MappedView<'float32'>][] = [
  ['the whole', (a) => a],
  ['rows', (a) => a.slice('10:20')],
  ['a column', (a) => a.slice(null, 3, 7)],
  ['transposed', (a) => a.T],
  ['backwards and apart', (a) => a.slice('::-7', '5::3', '::-1')],
  ['one element', (a) => a.pick(59, 39, 49)],
  ['repeated', (a) => a.slice('5:6', '2:4').broadcastTo([9, 2, 50])],
  ['nothing', (a) => a.slice('5:5')],
  ['new axes', (a) => a.slice(3).reshape([5, 8, 1, 50])],
]

for (const [name, view] of VIEWS) {
  test(`${name}: every format and order, both forms`, async (t) => {
    const dir = folder(t)
    createSync(join(dir, 'a.npy'), { shape: [60, 40, 50], dtype: 'float32' }).close()
    const a = openSync(join(dir, 'a.npy'), { mode: 'c', dtype: 'float32' })
    a.reshape([-1]).assign(ramp(a.size))
    const source = view(a)
    for (const [file, options] of [
      ['c.npy', {}],
      ['f.npy', { order: 'F' }],
      ['x.mmap', {}],
      ['y', { format: 'npy', order: 'F' }],
    ] as [string, SaveOptions][]) {
      const path = join(dir, file)
      t.is(await source.saveAs(path, options), undefined)
      const b = openSync(path)
      t.deepEqual([b.dtype, b.shape], ['float32', source.shape], file)
      t.deepEqual(b.toArray(), source.toArray(), file)
      b.close()
      const bytes = readFileSync(path)
      source.saveAsSync(path, { ...options, overwrite: true })
      t.true(readFileSync(path).equals(bytes), file)
      const format = file === 'x.mmap' ? 'mmap' : 'npy'
      createSync(join(dir, 'made'), source, { ...options, format, overwrite: true }).close()
      t.true(readFileSync(join(dir, 'made')).equals(bytes), `${file}: as create writes it`)
    }
    source.saveAsSync(join(dir, 'z.raw'))
    t.deepEqual(
      listOf(new Float32Array(new Uint8Array(readFileSync(join(dir, 'z.raw'))).buffer)),
      listOf(source.toTypedArray({ copy: true })),
    )
    t.is(a.dirty ?? true, true, 'saving is not committing')
    a.close()
  })
}

test('elements that no typed array shows become those of this machine', async (t) => {
  const dir = folder(t)
  const cases: [name: string, dtype: string, offset: number][] = [
    ['big-endian', '>i4', 0],
    ['unaligned', 'float64', 3],
    ['half', 'bfloat16', 2],
    ['half too', '>f2', 1],
    ['bool', 'bool', 0],
    ['large', 'uint64', 5],
  ]
  for (const [name, dtype, offset] of cases) {
    const from = join(dir, 'from.raw')
    // Small integers of 16 bits, whatever they are read as; bfloat16 has no code in numpy.
    const bytes = Uint8Array.from({ length: 4000 + offset }, (_, i) => (i * 37) % 120)
    writeFileSync(from, bytes)
    const a = openSync(from, { format: 'raw', dtype, offset })
    const to = join(dir, 'to.raw')
    await a.slice('::-1').saveAs(to, { overwrite: true })
    const b = openSync(to, { format: 'raw', dtype: a.dtype })
    t.deepEqual(
      listOf(b.toTypedArray({ copy: true })),
      listOf(a.toTypedArray({ copy: true })).reverse(),
      name,
    )
    a.close()
    b.close()
  }
})

test('complex numbers stay complex where the view has them whole', (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  createSync(path, {
    data: Float64Array.from({ length: 240 }, (_, i) => i),
    shape: [6, 20, 2],
    dtype: 'complex128',
  }).close()
  const a = openSync(path)
  const cases: [name: string, view: MappedView, descr: string][] = [
    ['the whole', a, '<c16'],
    ['rows', a.slice('2:4'), '<c16'],
    ['backwards', a.slice('::-2', '1::3'), '<c16'],
    ['one number', a.slice(3, 4), '<c16'],
    ['transposed', a.transpose(1, 0, 2), '<c16'],
    ['none', a.slice('3:3'), '<c16'],
    ['real parts', a.slice(null, null, 0), '<f8'],
    ['parts the other way round', a.slice(null, null, '::-1'), '<f8'],
    ['a part beside one of the next number', a.reshape([240]).slice('1:3'), '<f8'],
    ['real parts of two', a.slice(0, '0:2', 0), '<f8'],
    ['not last', a.transpose(2, 0, 1), '<f8'],
  ]
  for (const [name, view, descr] of cases) {
    for (const order of ['C', 'F'] as const) {
      const to = join(dir, 'to.npy')
      view.saveAsSync(to, { overwrite: true, order })
      const b = openSync(to)
      t.deepEqual([b.descr, b.shape, b.toArray()], [descr, view.shape, view.toArray()], `${name} ${order}`)
      b.close()
    }
  }
  a.close()
})

test('numpy reads what was saved', async (t) => {
  const python = tool('python')
  if (python === undefined) return t.pass()
  const dir = folder(t)
  const a = openSync(fixture('npy', 'v2.npy'))
  a.close()
  createSync(join(dir, 'a.npy'), {
    data: Int16Array.from({ length: 6000 }, (_, i) => i),
    shape: [20, 300],
  }).close()
  const b = openSync(join(dir, 'a.npy'))
  await b.slice('::-3', '7::11').saveAs(join(dir, 'c.npy'))
  await b.T.saveAs(join(dir, 'f.npy'), { order: 'F' })
  b.close()
  const code = `import numpy, sys
a, c, f = (numpy.load(sys.argv[1] + '/' + n + '.npy') for n in 'acf')
assert (c == a[::-3, 7::11]).all() and c.flags.c_contiguous and c.dtype == a.dtype
assert (f == a.T).all() and f.flags.f_contiguous`
  const { code: status, stderr } = await run(python, ['-c', code, dir])
  t.is(status, 0, stderr)
})

test('refusals leave what was there', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  createSync(path, { data: ramp(3000), shape: [30, 100] }).close()
  const a = openSync(path)
  const locked = join(dir, 'locked.npy')
  createSync(locked, ramp(3)).close()
  const holder = openSync(locked, { lock: 'shared' })
  const signal = AbortSignal.abort('enough')
  const to = join(dir, 'b.npy')
  const cases: [name: string, path: unknown, options: unknown, code: string][] = [
    ['there already', path, {}, 'EEXIST'],
    ['locked', locked, { overwrite: true }, 'ERR_LOCKED'],
    ['no folder', join(dir, 'no', 'b.npy'), {}, 'ENOENT'],
    ['a folder', dir, { format: 'npy', overwrite: true }, 'EISDIR'],
    ['no extension', join(dir, 'b'), {}, 'ERR_INVALID_ARG_VALUE'],
    ['format', to, { format: 'npz' }, 'ERR_INVALID_ARG_VALUE'],
    ['order', to, { order: 'A' }, 'ERR_INVALID_ARG_VALUE'],
    ['order of mmap', join(dir, 'b.mmap'), { order: 'F' }, 'ERR_INVALID_ARG_VALUE'],
    ['unknown option', to, { reserve: false }, 'ERR_INVALID_ARG_VALUE'],
    ['overwrite', to, { overwrite: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['signal', to, { signal: {} }, 'ERR_INVALID_ARG_TYPE'],
    ['progress', to, { onProgress: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['path', 5, {}, 'ERR_INVALID_ARG_TYPE'],
    ['aborted', to, { signal }, 'ABORT_ERR'],
  ]
  const before = readFileSync(path)
  for (const [name, where, options, code] of cases) {
    await t.throwsAsync(a.saveAs(where as string, options as SaveOptions), { code }, name)
    t.throws(() => a.saveAsSync(where as string, options as SaveOptions), { code }, name)
  }
  const halves = openSync(path, { format: 'raw', dtype: 'bfloat16', offset: 128 })
  t.throws(() => halves.saveAsSync(join(dir, 'b.mmap')), { code: 'ERR_UNSUPPORTED_DTYPE' })
  const deep = a.slice('0:1', '0:1').reshape([1, 1, 1, 1, 1, 1, 1])
  t.throws(() => deep.saveAsSync(join(dir, 'b.mmap')), { code: 'ERR_TOO_LARGE' })
  for (const array of [halves, holder, a]) array.close()
  await t.throwsAsync(a.saveAs(to), { code: 'ERR_CLOSED' })
  t.throws(() => a.saveAsSync(to), { code: 'ERR_CLOSED' })
  t.deepEqual(readdirSync(dir).sort(), ['a.npy', 'locked.npy'])
  t.deepEqual(readFileSync(path), before)
})

// windows.spec.ts has what Windows makes of it.
const posix = process.platform === 'win32' ? test.skip : test
posix('over its own file: the array keeps the old one', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { data: ramp(600), shape: [20, 30] }).close()
  const a = openSync(path, { mode: 'c', dtype: 'float32' })
  a.set(0, 0, -1)
  await a.T.saveAs(path, { overwrite: true })
  t.deepEqual([a.shape, a.get(0, 0), a.get(0, 1), a.isStale()], [[20, 30], -1, 1, true])
  await t.throwsAsync(a.commit(), { code: 'ERR_STALE' })
  const b = openSync(path)
  t.deepEqual([b.shape, b.get(0, 0), b.get(1, 0)], [[30, 20], -1, 1])
  a.close()
  b.close()
})

test('no more than a few blocks are in memory, whatever the size and the order', async (t) => {
  if (process.platform !== 'linux') return t.pass()
  const dir = folder(t)
  const ended = await runScript(
    `
    import { readFileSync } from 'node:fs'
    import { createSync, openSync } from 'mmap-ndarray'
    const dir = process.argv[1]
    const rss = () => 1024 * Number(/RssAnon:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
    createSync(dir + '/a.npy', { shape: [2 ** 13, 2 ** 12], dtype: 'float32' }, { reserve: false }).close()
    const a = openSync(dir + '/a.npy')
    a.slice('0:1').saveAsSync(dir + '/b.npy')
    const before = rss()
    let most = 0
    const onProgress = () => { most = Math.max(most, rss() - before) }
    for (const order of ['C', 'F']) await a.saveAs(dir + '/b.npy', { order, overwrite: true, onProgress })
    process.stdout.write(String(most))`,
    dir,
  )
  t.is(ended.code, 0, ended.stderr)
  t.log(ended.stdout)
  t.true(Number(ended.stdout) > 0 && Number(ended.stdout) < 32 * 2 ** 20, ended.stdout)
})

test('large: off the main thread, told of, and stopped', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  const [rows, columns] = [2 ** 14, 2 ** 12]
  createSync(path, { shape: [rows, columns], dtype: 'float32' }, { reserve: false }).close()
  const a = openSync(path)
  const total = rows * columns
  const view = a.slice(slice(null, null, -1))
  const seen: number[] = []
  const saving = view.saveAs(join(dir, 'b.npy'), {
    onProgress: (done, all) => {
      t.is(all, total)
      seen.push(done)
    },
  })
  t.true(await isPending(saving))
  await saving
  t.is(seen.at(-1), total)
  t.deepEqual(
    seen,
    [...new Set(seen)].sort((x, y) => x - y),
  )
  t.is(statSync(join(dir, 'b.npy')).size, 128 + 4 * total)

  const controller = new AbortController()
  const stopped = view.saveAs(join(dir, 'c.npy'), { signal: controller.signal })
  controller.abort('enough')
  const error = await t.throwsAsync(stopped, { code: 'ABORT_ERR', name: 'AbortError' })
  t.is((error as Error).cause, 'enough')
  const failing = view.saveAs(join(dir, 'c.npy'), {
    onProgress: () => {
      throw new RangeError('from the caller')
    },
  })
  await t.throwsAsync(failing, { instanceOf: RangeError, message: 'from the caller' })
  // It may be the last word that it throws at, when the file is there.
  rmSync(join(dir, 'c.npy'), { force: true })
  const closed = view.saveAs(join(dir, 'c.npy'))
  a.close()
  await t.throwsAsync(closed, { code: 'ERR_CLOSED' })
  t.deepEqual(readdirSync(dir).sort(), ['a.npy', 'b.npy'])
  if (process.platform === 'linux') t.is(mappings(path), 0)
})
