/** SharedArrayBuffers over a file: one memory for all workers, and the clear refusal of a runtime that has none. */
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { attach, createSync, type Handle, type MmapArray, NdView, open, openSync } from '../src/index.js'
import {
  backing,
  collect,
  descriptors,
  fixture,
  folder,
  listOf,
  mappings,
  run,
  runScript,
  worker,
} from './helpers.js'

/** Whether this Node.js is one of those that the documentation says make such buffers. */
const [major = 0, minor = 0, patch = 0] = process.versions.node.split('.').map(Number)
const from: Record<number, [number, number]> = { 22: [23, 3], 24: [16, 0], 26: [1, 0] }
const [least, last] = from[major] ?? [0, 0]
const able = major > 26 || (major in from && (minor > least || (minor === least && patch >= last)))

const shared = able ? test : test.skip
const refused = able ? test.skip : test

const make = (t: ExecutionContext, length = 64) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [length], dtype: 'int32' }).close()
  return path
}
const nothingIsLeft = (t: ExecutionContext, path: string) => {
  if (process.platform !== 'linux') return
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
}

refused('a runtime without them says so, and which has them; nothing stays open', async (t) => {
  const path = make(t)
  const expected = {
    code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
    message: /Node\.js 22\.23\.3, 24\.16, 26\.1/,
  }
  for (const options of [{ shared: true }, { backing: 'shared' }] as const) {
    t.throws(() => openSync(path, options), expected)
    t.like(await t.throwsAsync(open(path, options), expected), { path, name: 'MmapError' })
  }
  const a = openSync(path)
  t.throws(() => openSync(path, { shared: true, lock: 'exclusive' }), expected)
  openSync(path, { lock: 'exclusive' }).close()
  await t.throwsAsync(attach({ ...a.toHandle(), backing: 'shared' }), expected)
  a.close()
  nothingIsLeft(t, path)
})

test('an ordinary array is not shared', (t) => {
  for (const options of [{}, { shared: false }, { backing: 'external' }, { backing: 'auto' }] as const) {
    const a = openSync(make(t), options)
    // The environment is not asked where an option says something, 'auto' included.
    t.is(a.backing, 'backing' in options ? 'external' : backing)
    t.true((a.data as Int32Array).buffer instanceof ArrayBuffer)
    a.close()
  }
})

for (const mode of ['r', 'r+', 'c'] as const) {
  shared(`'${mode}': data is over a SharedArrayBuffer, the same one each time`, async (t) => {
    const path = make(t)
    for (const options of [
      { shared: true },
      { backing: 'shared' },
      { backing: 'shared', shared: true },
    ] as const) {
      const a = await open<'int32'>(path, { mode, ...options })
      t.is(a.backing, 'shared')
      const data = a.data as Int32Array
      t.true(data.buffer instanceof SharedArrayBuffer)
      t.is(a.toTypedArray().buffer, data.buffer)
      t.is(a.slice('3:').data, data)
      data[5] = 0
      t.is(a.get(5), 0)
      a.close()
    }
    nothingIsLeft(t, path)
  })
}

shared('no elements', (t) => {
  const a = openSync(fixture('npy', 'empty_1d.npy'), { shared: true })
  t.is(a.backing, 'shared')
  t.true((a.data as Float64Array).buffer instanceof SharedArrayBuffer)
  a.close()
  t.throws(() => a.data, { code: 'ERR_CLOSED' })
})

shared('element stores', (t) => {
  const path = fixture('npy', 'bef4_F.npy')
  const a = openSync(path, { shared: true, mode: 'c' })
  const b = openSync(path)
  t.deepEqual(a.toArray(), b.toArray())
  t.deepEqual(a.copy().data, b.copy().data)
  a.slice('0').assign(a.slice('-1'))
  a.set(0, 0, 0, 4)
  t.is(a.get(0, 0, 0), 4)
  const { data } = a
  t.true((data as { buffer: unknown }).buffer instanceof SharedArrayBuffer)
  a.close()
  t.throws(() => a.get(0, 0, 0), { code: 'ERR_CLOSED' })
  b.close()
})

shared('fill, assign and copy, from and to memory of every kind', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [4, 6], dtype: 'float64' }).close()
  const a = openSync<'float64'>(path, { shared: true, mode: 'r+' })
  const model = new NdView(new Float64Array(24), [4, 6])
  const sources = [
    7,
    Float32Array.of(1, 2, 3, 4, 5, 6),
    new Float64Array(new SharedArrayBuffer(48)).fill(9),
    [[1], [2], [3], [4]],
    new NdView(
      Int8Array.from({ length: 24 }, (_, i) => i),
      [6, 4],
    ).T,
  ]
  for (const source of sources) {
    for (const view of [a, model]) (view as NdView<'float64'>).slice('::-1').assign(source as never)
    t.deepEqual(a.toArray(), model.toArray())
  }
  // Parts of itself, as views and as typed arrays, which overlap.
  for (const view of [a, model] as NdView<'float64'>[]) {
    view.slice('1:').assign(view.slice(':3') as never)
    view
      .reshape([24])
      .slice('1:')
      .assign((view.data as Float64Array).subarray(0, 23))
    view.slice(null, '::2').fill(-1)
  }
  t.deepEqual(a.toArray(), model.toArray())
  t.deepEqual(listOf(a.copy().data as Float64Array), listOf(model.data as Float64Array))
  const other = openSync<'float64'>(path, { mode: 'c' })
  other.fill(0).assign(a)
  t.deepEqual(other.toArray(), model.toArray())
  model.fill(0).assign(a)
  t.deepEqual(model.toArray(), a.toArray())
  const made = createSync(join(path, '../b.npy'), a.T)
  t.deepEqual(made.toArray(), a.T.toArray())
  a.flushSync()
  for (const each of [a, other, made] as MmapArray[]) each.close()
})

// How the memory gets to the workers.
const ways: [name: string, body: string, argument: (a: MmapArray) => unknown][] = [
  ['attached', 'kept.a = m.attachSync(x); kept.data = kept.a.data', (a) => a.toHandle()],
  ['posted', 'kept.data = x', (a) => a.data],
]
for (const [name, body, argument] of ways) {
  for (const mode of ['r+', 'c'] as const) {
    shared(`'${mode}', ${name}: Atomics.add from four workers counts every one`, async (t) => {
      const path = make(t)
      const a = openSync<'int32'>(path, { shared: true, mode })
      const data = a.data as Int32Array
      const workers = Array.from({ length: 4 }, () => worker(t))
      await Promise.all(workers.map((there) => there.call(body, argument(a))))
      await Promise.all(
        workers.map((there) =>
          there.call('for (let i = 0; i < 50_000; i++) Atomics.add(kept.data, i & 1, 1)'),
        ),
      )
      t.deepEqual([a.get(0), Atomics.load(data, 1)], [100_000, 100_000])
      // Waiting in one, notified by the other.
      const waits = (workers[0] as ReturnType<typeof worker>).call(
        'Atomics.store(kept.data, 2, 1); Atomics.notify(kept.data, 2); return Atomics.wait(kept.data, 3, 0, 60_000)',
      )
      if (Atomics.load(data, 2) === 0) t.not(Atomics.wait(data, 2, 0, 60_000), 'timed-out')
      while (Atomics.notify(data, 3) === 0) await new Promise((resolve) => setImmediate(resolve))
      t.is(await waits, 'ok')
      await a.flush()
      t.is(openSync<'int32'>(path).get(0), mode === 'r+' ? 100_000 : 0)
      a.close()
    })
  }
}

shared(
  'closed by one of two: it goes on for the other, then reads zeros everywhere, and the file is let go',
  async (t) => {
    const path = make(t)
    const a = openSync<'int32'>(path, { shared: true, mode: 'r+', lock: 'exclusive' })
    const there = worker(t)
    await there.call('kept.a = m.attachSync(x); kept.data = kept.a.data', a.toHandle())
    const data = a.data as Int32Array
    data[7] = 7
    a.close()
    t.throws(() => a.data, { code: 'ERR_CLOSED' })
    t.throws(() => a.get(7), { code: 'ERR_CLOSED' })
    t.throws(() => a.fill(1), { code: 'ERR_CLOSED' })
    // A SharedArrayBuffer cannot be taken back; while the worker has the array, it is the array's.
    t.is(data[7], 7)
    t.is(await there.call('return kept.a.get(7)'), 7)
    t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
    await there.call('kept.a.close()')
    t.deepEqual([data.length, data[7]], [64, 0])
    data[7] = 9
    nothingIsLeft(t, path)
    t.is(openSync<'int32'>(path, { lock: 'exclusive' }).get(7), 7)
    t.is(await there.call('return kept.data[7]'), 9, 'the zero pages are one memory as well')
  },
)

shared('a buffer that was posted outlives the worker, and the array that it was made from', async (t) => {
  const path = make(t)
  // Of its own, so that nothing of it is left on the stack.
  const use = async () => {
    const there = worker(t)
    const open =
      "kept.a = m.openSync(x, { shared: true, mode: 'r+' }); kept.a.data[3] = 3; return kept.a.data"
    const data = await there.call<Int32Array>(open, path)
    t.is(data[3], 3)
    await there.leave()
    await collect()
    t.is(data[3], 3)
    data[3] = 4
    const a = openSync<'int32'>(path)
    t.is(a.get(3), 4)
    a.close()
  }
  await use()
  // Its finalizer runs on a thread of V8's.
  for (let turn = 0; turn < 50 && process.platform === 'linux' && mappings(path) > 0; turn++) await collect()
  nothingIsLeft(t, path)
})

shared('workers that are terminated while they write', async (t) => {
  const path = make(t)
  const a = openSync<'int32'>(path, { shared: true, mode: 'r+' })
  for (let round = 0; round < 8; round++) {
    const there = worker(t)
    const body =
      'kept.a = m.attachSync(x); const { data } = kept.a; for (;;) { Atomics.add(data, 0, 1); Atomics.store(data, 1, 1) }'
    const working = there.call(body, a.toHandle())
    while (a.get(1) === 0) await new Promise((resolve) => setImmediate(resolve))
    await there.kill()
    await t.throwsAsync(working, { message: 'ended' })
    t.true(a.get(0) > 0)
    a.fill(0)
  }
  a.close()
  nothingIsLeft(t, path)
})

shared('another process opens a shared array again', async (t) => {
  const path = make(t)
  const a = openSync<'int32'>(path, { shared: true, mode: 'r+' })
  a.set(1, 5)
  const handle: Handle = JSON.parse(JSON.stringify(a.toHandle()))
  const script = `
    import { attachSync } from 'mmap-ndarray'
    const a = attachSync(JSON.parse(process.argv[1]))
    Atomics.add(a.data, 1, 1)
    console.log(a.backing, a.get(1))`
  t.like(await runScript(script, JSON.stringify(handle)), { stdout: 'shared 6\n', stderr: '', code: 0 })
  t.is(a.get(1), 6)
  a.close()
})

shared('a process with shared arrays open, closed and forgotten in workers ends well', async (t) => {
  const path = make(t)
  const script = `
    const { Worker } = require('node:worker_threads')
    const code = \`
      const { workerData, parentPort } = require('node:worker_threads')
      const { openSync } = require('mmap-ndarray')
      openSync(workerData, { shared: true }).close()
      globalThis.a = openSync(workerData, { shared: true, mode: 'c' })
      parentPort.postMessage(openSync(workerData, { shared: true }).data)\`
    // Only workers load the addon here: it must not be unloaded under the buffers that they leave.
    let left = 3
    const kept = []
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(code, { eval: true, workerData: process.argv[1] })
      worker.on('message', (data) => kept.push(data))
      worker.on('exit', () => {
        if (--left > 0) return
        console.log(kept.map((data) => data[0]).join())
        kept.length = 0
        gc()
        setTimeout(() => console.log('alive'), 100)
      })
    }`
  const ended = await run(process.execPath, [
    '--expose-gc',
    '--input-type=commonjs',
    '--eval',
    script,
    '--',
    path,
  ])
  t.like(ended, { stdout: '0,0,0\nalive\n', stderr: '', code: 0, signal: null })
})
