/** The end of an array: at once, for every view of it, and once. */
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { create, createSync, MmapArray, NdView, open, openSync } from '../src/index.js'
import {
  backing,
  collect,
  descriptors,
  fixture,
  folder,
  listOf,
  mappings,
  movable,
  run,
  runScript,
} from './helpers.js'

const make = (t: ExecutionContext, name = 'a.npy') => {
  const path = join(folder(t), name)
  return {
    path,
    a: createSync(path, { data: Float64Array.from({ length: 24 }, (_, i) => i), shape: [2, 3, 4] }),
  }
}

/** Everything that needs the data, by name: the prototype's members, each tried with plausible arguments. */
const calls: Record<string, (v: MmapArray) => unknown> = {
  get: (v) => v.get(0, 0, 0),
  set: (v) => v.set(0, 0, 0, 1),
  data: (v) => v.data,
  toTypedArray: (v) => v.toTypedArray(),
  'toTypedArray copy': (v) => v.toTypedArray({ copy: true }),
  slice: (v) => v.slice('1'),
  lo: (v) => v.lo(1),
  hi: (v) => v.hi(1),
  step: (v) => v.step(-1),
  transpose: (v) => v.transpose(1, 0, 2),
  pick: (v) => v.pick(1),
  T: (v) => v.T,
  reshape: (v) => v.reshape([24]),
  broadcastTo: (v) => v.broadcastTo([2, 2, 3, 4]),
  fill: (v) => v.fill(0),
  assign: (v) => v.assign(0),
  copy: (v) => v.copy(),
  toArray: (v) => v.toArray(),
  iteration: (v) => [...v],
  view: (v) => v.view(),
  viewMut: (v) => v.viewMut(),
  flushSync: (v) => v.flushSync(),
  advise: (v) => v.advise('normal'),
  prefetchSync: (v) => v.prefetchSync(),
  residencySync: (v) => v.residencySync(),
}

test('every method afterwards is ERR_CLOSED, on the array and on views made before', async (t) => {
  const { path, a } = make(t)
  const views = [
    a,
    a.view(),
    a.slice(null),
    a.lo(0),
    a.transpose(0, 1, 2),
    a.reshape([2, 3, 4]),
  ] as MmapArray[]
  a.close()
  for (const view of views) {
    for (const [name, call] of Object.entries(calls)) {
      if (!(view instanceof MmapArray) && name.startsWith('view')) continue
      t.throws(() => call(view), { code: 'ERR_CLOSED', message: /closed; open the file again/ }, name)
    }
    const error = await t.throwsAsync(view.flush(), { code: 'ERR_CLOSED' })
    t.is((error as NodeJS.ErrnoException).path, path)
  }
})

test('what identifies it survives', (t) => {
  const { path, a } = make(t)
  const view = a.slice('1')
  a.close()
  t.true(a.closed)
  t.like(a, {
    path,
    mode: 'r+',
    format: 'npy',
    dtype: 'float64',
    descr: '<f8',
    size: 24,
    nbytes: 192,
    backing,
  })
  t.deepEqual(a.shape, [2, 3, 4])
  t.deepEqual(view.shape, [3, 4])
  const inspect = Symbol.for('nodejs.util.inspect.custom')
  for (const text of [a[inspect as never], view[inspect as never]] as ((depth: number) => string)[])
    t.truthy(text)
  t.regex(String((a as never as Record<symbol, (depth: number) => string>)[inspect]?.(2)), /\(closed\)/)
  t.is(a.toJSON().path, path)
})

test('closing twice, disposing, and closing while closed are nothing', async (t) => {
  const { a } = make(t)
  a.close()
  a.close()
  a[Symbol.dispose]()
  await a[Symbol.asyncDispose]()
  t.true(a.closed)
})

test('typed arrays already handed out have length 0', (t) => {
  const { a } = make(t)
  const data = a.data as Float64Array
  const row = a.pick(1).toTypedArray()
  const bytes = new Uint8Array(data.buffer)
  const view = new DataView(data.buffer)
  a.close()
  t.is(data.length, 0)
  t.is(row.length, 0)
  t.is(bytes.length, 0)
  t.is(data[0], undefined)
  data[0] = 1
  t.throws(() => view.getFloat64(0), { instanceOf: TypeError })
})

const linux = process.platform === 'linux' ? test : test.skip

linux('the file is unmapped and its descriptor closed at once, not by the garbage collector', (t) => {
  for (const mode of ['r', 'r+', 'c'] as const) {
    const { path, a } = make(t)
    a.close()
    const b = openSync(path, { mode })
    t.is(mappings(path), 1)
    t.is(descriptors(path), 1)
    const held = b.data
    b.close()
    t.is(mappings(path), 0)
    t.is(descriptors(path), 0)
    t.is(held.length, 0)
  }
})

linux('also when nobody holds a typed array of it', async (t) => {
  const { path, a } = make(t)
  a.close()
  const b = openSync(path)
  await collect()
  b.close()
  t.is(mappings(path), 0)
})

linux('an array that is forgotten is collected, with its mapping', async (t) => {
  const { path, a } = make(t)
  a.close()
  ;(() => openSync(path).get(0, 0, 0))()
  t.is(mappings(path), 1)
  await collect()
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
})

linux('a view keeps the mapping of a forgotten array', async (t) => {
  const { path, a } = make(t)
  a.close()
  const row = openSync(path).pick(1, 2).toTypedArray()
  await collect()
  t.deepEqual(listOf(row), [20, 21, 22, 23])
  t.is(mappings(path), 1)
})

linux('a thousand rounds leave nothing', async (t) => {
  const { path, a } = make(t)
  a.close()
  for (let round = 0; round < 1000; round++) {
    const b = round % 2 ? openSync(path) : await open(path, { mode: 'c' })
    if (b.get(1, 2, 3) !== 23) t.fail()
    b.close()
  }
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
})

const transfer = movable ? test : test.skip

transfer(
  'a buffer moved away by transfer() reads zeros after close, and cannot reach the file',
  async (t) => {
    const { path, a } = make(t)
    const moved = (a.data as Float64Array & { buffer: { transfer(): ArrayBuffer } }).buffer.transfer()
    t.throws(() => a.get(0, 0, 0), { code: 'ERR_INVALID_STATE', message: /transferred/ })
    a.close()
    t.throws(() => a.get(0, 0, 0), { code: 'ERR_CLOSED' })
    await collect()
    // The file is gone from it; the memory is not.
    t.is(mappings(path), 0)
    const left = new Float64Array(moved)
    t.deepEqual(listOf(left.subarray(0, 3)), [0, 0, 0])
    left[0] = 99
    t.is(openSync(path).get(0, 0, 0), 0)
  },
)

const posix = process.platform === 'win32' ? test.skip : test

posix('a read under way while the array is closed ends up nowhere', async (t) => {
  const dir = folder(t)
  t.is((await run('mkfifo', [join(dir, 'fifo')])).code, 0)
  for (const name of ['a', 'b'])
    createSync(join(dir, `${name}.npy`), { shape: [1e6], dtype: 'float64', fill: 2 }).close()
  const script = `
    import { openSync as openFile, read, writeSync } from 'node:fs'
    import { openSync } from 'mmap-ndarray'
    const dir = process.argv[1]
    const fd = openFile(dir + '/fifo', 'r+')
    const a = openSync(dir + '/a.npy', { mode: 'r+' })
    // A thread of libuv waits in here with the address of a's first element.
    const done = new Promise((resolve) => read(fd, a.slice('0:1').toTypedArray(), 0, 8, null, resolve))
    await new Promise((resolve) => setImmediate(resolve))
    a.close()
    // Would be mapped where a was, were the addresses free.
    const others = Array.from({ length: 20 }, () => openSync(dir + '/b.npy', { mode: 'r+' }))
    writeSync(fd, Buffer.from(new Float64Array([12345]).buffer))
    await done
    console.log(others.every((b) => b.get(0) === 2), openSync(dir + '/a.npy').get(0))
    process.exit(0)`
  t.like(await runScript(script, dir), { code: 0, signal: null, stdout: 'true 2\n' })
})

test('the same buffer every time, also after everything else was collected', async (t) => {
  const { a } = make(t)
  const { data } = a
  t.is(a.data, data)
  t.is(a.slice('1').data, data)
  await collect()
  t.is(a.data, data)
  a.close()
})

test('closing while a flush runs: the promise is ERR_CLOSED, what was stored is in the file', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = await create(path, { shape: [2 ** 22], dtype: 'float64', fill: 1 })
  a.fill(2)
  const flushed = a.flush()
  a.close()
  await t.throwsAsync(flushed, { code: 'ERR_CLOSED' })
  t.is(openSync(path).get(2 ** 22 - 1), 2)
})

test('asyncDispose waits for what runs', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = await create(path, { shape: [2 ** 22], dtype: 'float64' })
  a.fill(2)
  const flushed = a.flush()
  await a[Symbol.asyncDispose]()
  await t.notThrowsAsync(flushed)
  t.true(a.closed)
})

test('empty arrays close as well', (t) => {
  const a = openSync(fixture('npy', 'empty_1d.npy'))
  t.is(a.data.length, 0)
  a.close()
  t.throws(() => a.data, { code: 'ERR_CLOSED' })
  t.throws(() => a.fill(1), { code: 'ERR_CLOSED' })
})

test('arrays on element stores close as well', (t) => {
  const a = openSync(fixture('npy', 'bef4_F.npy'))
  const { data } = a
  a.close()
  t.is(data.length, 0)
  t.throws(() => a.get(0, 0, 0), { code: 'ERR_CLOSED' })
})

test('a copy outlives the array', (t) => {
  const { a } = make(t)
  const copy = a.slice('1').copy()
  a.close()
  t.true(copy instanceof NdView)
  t.is(copy.get(0, 0), 12)
})

test('a process that forgets to close ends well', async (t) => {
  const { path, a } = make(t)
  a.close()
  const script = `
    import { open, openSync } from 'mmap-ndarray'
    globalThis.kept = [openSync(process.argv[1]), await open(process.argv[1], { mode: 'r+' })]
    kept[1].set(0, 0, 0, 77)
    open(process.argv[1])
    process.exit(0)`
  t.like(await runScript(script, path), { code: 0, signal: null, stderr: '' })
  t.is(openSync(path).get(0, 0, 0), 77)
})
