/**
 * Backing 'wasm': a file over the memory of a WebAssembly.Memory, as Electron needs it, in a plain Node.js.
 *
 * The whole suite runs on it as well (`scripts/backings.mjs`); here is what only such arrays do, and what V8 does to
 * them: it gives their memory back whenever it likes.
 */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  attach,
  createSync,
  type Handle,
  type MmapArray,
  type OpenOptions,
  open,
  openSync,
} from '../src/index.js'
import { collect, descriptors, folder, mappings, run, runScript, worker } from './helpers.js'

const posix = process.platform === 'win32' ? test.skip : test
const linux = process.platform === 'linux' ? test : test.skip
const WASM = { backing: 'wasm' } as const

const make = (t: ExecutionContext, length = 24) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { data: Float64Array.from({ length }, (_, i) => i), shape: [length] }).close()
  return path
}
const nothingIsLeft = (t: ExecutionContext, path: string) => {
  if (process.platform !== 'linux') return
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
}

if (process.platform === 'win32') {
  test('Windows maps nothing over memory that is there, and says so', (t) => {
    t.throws(() => openSync(make(t), WASM), { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' })
  })
}

// Bytes of the file before the first element: at, before and after boundaries of pages of 4 and of 64 KiB.
for (const offset of [0, 1, 128, 4095, 4096, 65_528, 65_536, 65_537, 200_000]) {
  for (const mode of ['r', 'r+', 'c'] as const) {
    posix(`'${mode}', data at byte ${offset}: the same array as over the mapping itself`, async (t) => {
      const path = join(folder(t), 'a.raw')
      const length = 30_000
      const bytes = Buffer.alloc(offset + 4 * length + 3, 7)
      for (let i = 0; i < length; i++) bytes.writeInt32LE(i, offset + 4 * i)
      writeFileSync(path, bytes)
      const options: OpenOptions<'int32'> = { mode, format: 'raw', dtype: 'int32', offset, shape: [300, 100] }
      const a = await open(path, { ...options, ...WASM })
      const b = openSync(path, { ...options, backing: 'external' })
      t.is(a.backing, 'wasm')
      t.is(a.nbytes, b.nbytes)
      t.is(a.data.length, b.data.length)
      t.is(a.data, a.slice('3:').data)
      t.deepEqual(a.toArray(), b.toArray())
      t.deepEqual(a.slice('::-7', '5:9').copy().data, b.slice('::-7', '5:9').copy().data)
      t.is(await a.sum(), b.sumSync())
      t.is(a.T.sumSync({ axis: 0 }).get(3), b.T.sumSync({ axis: 0 }).get(3))
      await a.prefetch()
      a.advise('dontneed')
      t.true((await a.residency()) > 0)
      if (mode !== 'r') {
        a.set(2, 3, -1)
        a.slice('-1:').fill(-2)
        a.slice(0).assign(a.slice(1))
        t.is(b.get(2, 3), mode === 'r+' ? -1 : 203)
        await a.slice(2).flush()
      }
      if (mode === 'c') {
        t.is(a.dirty, true)
        t.deepEqual(a.diff().slice(0, 3), [
          [0, 100],
          [203, 204],
          [29_900, 30_000],
        ])
        t.true(a.dirtyRanges().length > 0)
        await a.slice('2:').commit()
        t.deepEqual(a.diff(), [[0, 100]])
        a.discard()
        t.is(a.dirty, false)
        a.fill(5)
        await a.commit({ atomic: true })
        t.is(a.get(0, 0), 5)
      }
      const { data } = a
      a.close()
      t.is(data.length, 0)
      t.is(a.backing, 'wasm')
      t.throws(() => a.get(0, 0), { code: 'ERR_CLOSED' })
      b.close()
      nothingIsLeft(t, path)
      // What is before and after the array is what it was.
      const now = readFileSync(path)
      t.true(now.subarray(0, offset).equals(bytes.subarray(0, offset)))
      t.true(now.subarray(-3).equals(bytes.subarray(-3)))
      t.is(now.readInt32LE(offset + 4 * 203), { r: 203, 'r+': -1, c: 5 }[mode])
    })
  }
}

posix('one buffer, which nobody can move or take', (t) => {
  const a = openSync<'float64'>(make(t), WASM)
  const { buffer } = a.data as Float64Array
  t.is(a.toTypedArray().buffer, buffer)
  t.is(a.slice('2:').toTypedArray().buffer, buffer)
  const { transfer } = ArrayBuffer.prototype as { transfer?(this: ArrayBufferLike): ArrayBuffer }
  if (transfer) {
    t.throws(() => transfer.call(buffer), { instanceOf: TypeError })
    t.throws(() => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }))
  }
  t.is(a.get(5), 5)
  a.close()
})

posix('no elements', (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, { shape: [0, 3], dtype: 'int8' }, WASM)
  t.is(a.backing, 'wasm')
  t.is(a.data.length, 0)
  a.close()
  t.throws(() => a.data, { code: 'ERR_CLOSED' })
})

posix('the file is made shorter: zeros, `lost`, ERR_MAPPING_LOST once', (t) => {
  const path = make(t, 100_000)
  const a = openSync(path, WASM)
  truncateSync(path, 8192)
  t.is(a.get(99_999), 0)
  t.true(a.lost)
  t.throws(() => a.sumSync(), { code: 'ERR_MAPPING_LOST' })
  a.close()
  nothingIsLeft(t, path)
})

posix(
  'attach: each environment has its own mapping of the one file, and the lock is held by all of them',
  async (t) => {
    const path = make(t)
    const a = openSync(path, { mode: 'r+', lock: 'exclusive', ...WASM })
    const there = worker(t)
    t.is(await there.call('kept.a = m.attachSync(x); return kept.a.backing', a.toHandle()), 'wasm')
    await there.call('kept.a.set(3, -3)')
    t.is(a.get(3), -3)
    a.set(4, -4)
    t.is(await there.call('return kept.a.get(4)'), -4)
    const b = await attach(a.toHandle(), { backing: 'external' })
    t.is(b.get(4), -4)
    a.close()
    b.close()
    t.is(await there.call('return kept.a.sumSync()'), 276 - 14)
    t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
    // The handle of the one that was closed leads to those that are open.
    const handle = await there.call<Handle>('return kept.a.toHandle()')
    for (const each of [handle, a.toHandle]) {
      if (typeof each === 'object') (await attach(each)).close()
    }
    await there.call('kept.a.close()')
    openSync(path, { lock: 'exclusive' }).close()
    nothingIsLeft(t, path)
  },
)

posix("attach: what mode 'c' has stored is one environment's", async (t) => {
  const path = make(t)
  const refused = { code: 'ERR_INVALID_STATE', message: /mode 'c'.*'wasm'/ }
  const a = openSync(path, { mode: 'c', ...WASM })
  a.set(1, -1)
  await t.throwsAsync(attach(a.toHandle()), refused)
  await t.throwsAsync(attach(a.toHandle(), { backing: 'external' }), refused)
  const b = openSync(path, { mode: 'c', backing: 'external' })
  await t.throwsAsync(attach(b.toHandle(), WASM), refused)
  t.is(a.get(1), -1)
  const handle = a.toHandle()
  for (const each of [a, b]) each.close()
  const c = await attach(handle)
  t.is(c.get(1), 1)
  c.close()
  nothingIsLeft(t, path)
})

posix('closing while work runs, on this array and on one that it works with', async (t) => {
  const path = make(t, 4_000_000)
  const second = make(t, 4_000_000)
  for (let round = 0; round < 5; round++) {
    const [a, b] = [path, second].map((each) => openSync<'float64'>(each, WASM)) as [MmapArray, MmapArray]
    const work = [a.std(), a.dot(b as never), b.flush(), a.saveAs(`${path}-${round}.npy`)]
    const settled = Promise.allSettled(work)
    b.close()
    a.close()
    await collect()
    for (const { status } of await settled) t.is(status, 'rejected')
  }
  nothingIsLeft(t, path)
})

linux(
  'forgotten arrays are collected; typed arrays of them keep the file; new memory in their place is not the file',
  async (t) => {
    const path = make(t, 1000)
    const before = readFileSync(path)
    // Of its own, so that nothing of it is left on the stack.
    const use = async () => {
      const open = () =>
        openSync(path, { mode: 'r+', ...WASM })
          .slice('10:20')
          .toTypedArray() as Float64Array
      const rows = Array.from({ length: 20 }, open)
      await collect()
      t.is(mappings(path), 20)
      t.true(rows.every((row) => row.length === 10 && row[3] === 13))
    }
    await use()
    for (let turn = 0; turn < 10 && mappings(path) > 0; turn++) await collect()
    nothingIsLeft(t, path)
    const { Memory } = (
      globalThis as unknown as { WebAssembly: { Memory: new (size: object) => { buffer: ArrayBuffer } } }
    ).WebAssembly
    for (let n = 0; n < 50; n++) new Uint8Array(new Memory({ initial: 4, maximum: 4 }).buffer).fill(255)
    t.true(readFileSync(path).equals(before))
  },
)

posix(
  'workers that end in every way, with work under way, leave the file and the process alone',
  async (t) => {
    const path = join(folder(t), 'a.npy')
    createSync(path, { shape: [1 << 23], dtype: 'float64', fill: 1 }).close()
    const script = `
    import { Worker } from 'node:worker_threads'
    import { openSync } from 'mmap-ndarray'
    const code = ${JSON.stringify(`
      import { workerData, parentPort } from 'node:worker_threads'
      import { openSync } from 'mmap-ndarray'
      const [path, n] = workerData
      const a = openSync(path, { mode: ['r', 'r+', 'c'][n % 3], backing: 'wasm' })
      globalThis.kept = [openSync(path, { backing: 'wasm' }), a]
      openSync(path, { backing: 'wasm' }).close()
      if (n % 3) a.data.fill(1, 0, 5000)
      a.std().catch(() => {})
      a.var({ axis: 0 }).catch(() => {})
      a.flush().catch(() => {})
      if (n % 3 === 2) a.commit().catch(() => {})
      if (n % 5 === 4) a.close()
      parentPort.postMessage(1)
      if (n % 4 === 1) process.exit(0)
      if (n % 4 > 1) setInterval(() => a.closed || a.data[5], 1)`)}
    const path = process.argv[1]
    for (let n = 0; n < 40; n += 4) {
      await Promise.all(Array.from({ length: 4 }, (_, i) => new Promise((resolve, reject) => {
        const worker = new Worker(code, { eval: true, workerData: [path, n + i] })
        worker.on('message', () => (n + i) % 4 > 1 && worker.terminate()).on('error', reject).on('exit', resolve)
      })))
    }
    const { readFileSync } = await import('node:fs')
    const a = openSync(path, { backing: 'wasm' })
    console.log(a.sumSync() === a.length, readFileSync('/proc/self/maps', 'utf8').split(path).length - 1)
    globalThis.a = a`
    const ended = await runScript(script, path)
    t.like(ended, { stdout: 'true 1\n', stderr: '', code: 0, signal: null })
  },
)

for (const [how, code] of [
  ['process.exit()', 'process.exit(0)'],
  ['the end of the program', ''],
]) {
  posix(`a process that ends by ${how} with arrays open and work under way`, async (t) => {
    const path = make(t, 1_000_000)
    const script = `
      import { openSync } from 'mmap-ndarray'
      globalThis.kept = Array.from({ length: 20 }, () => openSync(process.argv[1], { mode: 'r+', backing: 'wasm' }))
      kept[0].set(7, -7)
      kept[1].std().then(() => console.log('done'))
      kept[2].flush()
      ${code}`
    t.like(await runScript(script, path), { stdout: code ? '' : 'done\n', stderr: '', code: 0, signal: null })
    t.is(openSync(path).get(7), -7)
  })
}

const shell = process.platform === 'linux' ? test : test.skip

shell('no room for another memory: ERR_TOO_LARGE with the way out, and what is open works on', async (t) => {
  const path = make(t)
  // As in a cage, here by the address space that the process may have: room for a few memories.
  const script = `
    import { openSync } from 'mmap-ndarray'
    const path = process.argv.at(-1)
    const kept = []
    const fill = () => {
      try { for (;;) kept.push(openSync(path, { mode: 'r+', backing: 'wasm' })) } catch (error) { return error }
    }
    const error = fill()
    const many = kept.length
    console.log(error.code, error.path === path, /Close other arrays.*backing 'window'/.test(error.message))
    console.log(many > 1, kept.every((a) => a.get(5) === 5), openSync(path, { backing: 'external' }).backing)
    // Closing makes room, and so does forgetting.
    kept.pop().close()
    fill()
    console.log(kept.length === many)
    kept.length = 0
    fill()
    console.log(kept.length >= many - 1)
    kept.length = 0
    for (let n = 0; n < 200; n++) openSync(path, { backing: 'wasm' }).close()
    console.log('alive')`
  const limited = 'ulimit -v 67108864 && exec "$@"'
  const ended = await run('sh', [
    ...['-c', limited, 'sh', process.execPath, '--input-type=module', '--eval', script, '--', path],
  ])
  const expected = ['ERR_TOO_LARGE true true', 'true true external', 'true', 'true', 'alive', '']
  t.is(ended.stdout + ended.stderr, expected.join('\n'))
})

// The size of one memory: 4 GiB with 32-bit addresses, 16 GiB with 64-bit ones, which Node.js 24 and later have.
const GIB = 2 ** 30
const wide = Number(process.versions.node.split('.')[0]) >= 24
for (const [size, fits] of [
  [4 * GIB - 65_536, true],
  [5 * GIB, wide],
  [17 * GIB, false],
] as const) {
  linux(
    `${size} bytes: ${fits ? 'read and written at both ends' : 'ERR_TOO_LARGE, and auto goes on'}`,
    (t) => {
      const path = join(folder(t), 'a.raw')
      writeFileSync(path, '')
      truncateSync(path, size)
      const options: OpenOptions<'uint8'> = { format: 'raw', dtype: 'uint8', mode: 'r+' }
      if (!fits) {
        const error = { code: 'ERR_TOO_LARGE', message: /4 GiB, 16 GiB.*backing 'window'/ }
        t.throws(() => openSync(path, { ...options, ...WASM }), error)
        nothingIsLeft(t, path)
        return
      }
      const a = openSync(path, { ...options, ...WASM })
      a.set(0, 1)
      a.set(size - 1, 2)
      t.is((a.data as Uint8Array)[size - 1], 2)
      t.is(a.slice('-4096:').sumSync(), 2)
      const b = openSync(path, { ...options, backing: 'external' })
      t.is(b.get(size - 1), 2)
      b.close()
      a.close()
      t.throws(() => a.get(0), { code: 'ERR_CLOSED' })
      nothingIsLeft(t, path)
    },
  )
}
