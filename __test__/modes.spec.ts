/** The three modes: where a store goes, and what it costs. */
import { closeSync, openSync as openFile, readFileSync, readSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createSync, type MmapArray, open, openSync } from '../src/index.js'
import { elementsOf, folder, listOf, privateMemory, privatePages } from './helpers.js'

const MIB = 2 ** 20

for (const extension of ['npy', 'mmap']) {
  const make = (t: ExecutionContext) => {
    const path = join(folder(t), `a.${extension}`)
    createSync(path, Float32Array.from([0, 1, 2, 3, 4, 5])).close()
    return path
  }
  const contents = (path: string) => listOf(openSync(path).toTypedArray())

  test(`${extension}: 'r+' stores reach the file`, async (t) => {
    const path = make(t)
    const a = await open(path, { mode: 'r+' })
    t.true(a.writable)
    t.is(a.set(1, 10), 10)
    a.data[2 as never] = 20 as never
    a.slice('3:').fill(7)
    // Before any flush: the page cache is one for all processes.
    t.deepEqual(contents(path), [0, 10, 20, 7, 7, 7])
    await a.flush()
    a.close()
    t.deepEqual(contents(path), [0, 10, 20, 7, 7, 7])
  })

  test(`${extension}: 'c' stores stay in this process`, async (t) => {
    const path = make(t)
    const before = readFileSync(path)
    const a = await open(path, { mode: 'c' })
    t.true(a.writable)
    a.fill(-1)
    await a.flush()
    a.flushSync()
    t.deepEqual(listOf(a.toTypedArray()), [-1, -1, -1, -1, -1, -1])
    a.close()
    t.deepEqual(readFileSync(path), before)
  })

  test(`${extension}: 'r' refuses to write, and a store through data is harmless`, async (t) => {
    const path = make(t)
    const before = readFileSync(path)
    const a = await open(path)
    t.is(a.mode, 'r')
    t.false(a.writable)
    t.true(a.flags.READONLY)
    const views = [a, a.slice('1:'), a.T, a.lo(1), a.view(), a.reshape([2, 3])]
    for (const view of views) {
      t.throws(() => view.set(...view.shape.map(() => 0), 1), { code: 'ERR_READ_ONLY' })
      t.throws(() => view.fill(1), { code: 'ERR_READ_ONLY' })
      t.throws(() => view.assign(1), { code: 'ERR_READ_ONLY' })
    }
    t.throws(() => a.viewMut(), { code: 'ERR_READ_ONLY', message: /'r\+' or 'c'/ })
    const data = a.data as Float32Array
    data[0] = 99
    data.sort()
    new DataView(data.buffer, data.byteOffset).setFloat32(4, 5)
    t.is(a.get(5), 99)
    a.close()
    t.deepEqual(readFileSync(path), before)
  })

  test(`${extension}: view() protects what viewMut() may write`, (t) => {
    const a = openSync(make(t), { mode: 'r+' })
    const view = a.view()
    t.true(view.flags.READONLY)
    t.throws(() => view.slice('1:').set(0, 1), { code: 'ERR_READ_ONLY', message: /viewMut/ })
    a.viewMut().set(0, 42)
    t.is(view.get(0), 42)
    t.is(view.data, a.data)
    a.close()
  })
}

test('long names of the modes', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, [1]).close()
  for (const [mode, name] of [
    ['readonly', 'r'],
    ['readwrite', 'r+'],
    ['copyonwrite', 'c'],
  ] as const) {
    t.is(openSync(path, { mode }).mode, name)
  }
})

test('clean pages of a private mapping follow the file', (t) => {
  const path = join(folder(t), 'a.npy')
  const writer = createSync(path, { shape: [4 * 4096], dtype: 'uint8' })
  const reader = openSync(path, { mode: 'c' })
  reader.set(0, 1)
  writer.set(0, 9)
  writer.set(3 * 4096, 9)
  t.is(reader.get(0), 1)
  t.is(reader.get(3 * 4096), 9)
})

const linux = process.platform === 'linux' ? test.serial : test.serial.skip

linux('the first store to a 1 GiB copy-on-write array costs a page, not a copy', async (t) => {
  const path = join(folder(t), 'large.npy')
  createSync(path, { shape: [256, MIB], dtype: 'float32' }, { reserve: false }).close()
  const a = await open<'float32'>(path, { mode: 'c' })
  const data = elementsOf(a)
  // Read-only pages of a private mapping are the page cache's: reading costs no private memory either.
  let sum = 0
  for (let i = 0; i < data.length; i += 1024) sum += data.get(i) as number
  t.is(sum, 0)
  t.is(privatePages(path), 0)
  const before = privateMemory()
  a.set(255, MIB - 1, 1)
  t.is(privatePages(path), 4096)
  const one = privateMemory() - before
  // RssAnon counts what the engine does meanwhile as well: the bound tells a page from a copy of 1 GiB.
  t.true(one <= 16 * MIB, `the first store added ${one} bytes`)
  // 0.1 % of the pages, each at its start; the data begins 128 bytes into the first page.
  for (let page = 1; page <= 262; page++) data.set(page * 1000 * 1024, 1)
  t.is(privatePages(path), 263 * 4096)
  const grown = privateMemory() - before
  t.true(grown <= 32 * MIB, `262 more added ${grown} bytes`)
  a.close()
})

linux("opening and reading in mode 'r' costs no private memory", async (t) => {
  const path = join(folder(t), 'large.npy')
  createSync(path, { shape: [256 * MIB], dtype: 'uint8' }).close()
  const before = privateMemory()
  const a = await open(path)
  let sum = 0
  for (const row of a.reshape([256, MIB])) sum += (row as MmapArray<'uint8'>).get(12345)
  t.is(sum, 0)
  const grown = privateMemory() - before
  t.true(grown < 32 * MIB, `grown by ${grown} bytes`)
  a.close()
})

test('an array opened while its file grows keeps the length of its header', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, Int16Array.from([1, 2, 3])).close()
  const a = openSync(path)
  truncateSync(path, 4096)
  t.is(a.length, 3)
  t.is(a.get(2), 3)
  a.close()
})

test('fs reads into the data of a copy-on-write array', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, new Uint8Array(16)).close()
  const a = openSync(path, { mode: 'c' })
  const fd = openFile(path, 'r')
  t.is(readSync(fd, a.data as Uint8Array, 0, 6, 0), 6)
  closeSync(fd)
  t.is(
    Buffer.from(a.data as Uint8Array)
      .subarray(0, 6)
      .toString('latin1'),
    '\x93NUMPY',
  )
  a.close()
})
