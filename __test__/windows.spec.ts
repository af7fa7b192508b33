/** What Windows does differently: files that are in use, and what it calls a path. */
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { create, createSync, openSync } from 'mmap-ndarray'
import { collect, folder, listOf, refusal, runScript, worker } from './helpers.js'

const windows = process.platform === 'win32' ? test : test.skip

function ones(t: ExecutionContext): string {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [1e5], dtype: 'float64', fill: 1 }).close()
  return path
}

for (const mode of ['r', 'r+', 'c'] as const) {
  test(`mode '${mode}': close frees the file, whoever still holds what`, (t) => {
    const path = ones(t)
    for (let round = 0; round < 20; round++) {
      const a = openSync(path, { mode })
      const { data } = a
      const row = a.slice('5:10').toTypedArray()
      // Node.js 20 has no `transfer`.
      const moved = round % 2 ? (data.buffer as { transfer?(): ArrayBuffer }).transfer?.() : undefined
      a.close()
      unlinkSync(path)
      t.false(existsSync(path))
      createSync(path, { shape: [1e5], dtype: 'float64', fill: 1 }).close()
      t.is(data.length + row.length, 0)
      if (moved) t.deepEqual(listOf(new Float64Array(moved).subarray(0, 2)), [0, 0])
    }
    rmSync(path)
    rmdirSync(join(path, '..'))
  })
}

windows('a file that is open is not removed', (t) => {
  const path = ones(t)
  const a = openSync(path)
  t.throws(() => unlinkSync(path))
  t.is(a.get(99_999), 1)
  a.close()
  unlinkSync(path)
  t.false(existsSync(path))
})

windows('a file that is open is not made shorter, and can be renamed', (t) => {
  const path = ones(t)
  const a = openSync(path)
  t.throws(() => truncateSync(path, 200))
  t.is(a.get(99_999), 1)
  renameSync(path, `${path}.old`)
  t.is(a.get(99_998), 1)
  a.close()
  t.is(statSync(`${path}.old`).size, 800_128)
})

// Windows maps from multiples of 64 KiB on, others from those of a page.
test('data starts at any byte', (t) => {
  const path = join(folder(t), 'a.bin')
  const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251)
  writeFileSync(path, bytes)
  for (const offset of [1, 4095, 4096, 65_535, 65_536, 65_537, 131_072, 199_999]) {
    for (const mode of ['r', 'r+', 'c'] as const) {
      const a = openSync(path, { format: 'raw', dtype: 'uint8', offset, mode })
      t.deepEqual([a.size, a.get(0), a.get(a.size - 1)], [200_000 - offset, bytes[offset], bytes[199_999]])
      a.close()
    }
  }
})

windows('a file that is open is not replaced, or its array keeps its contents', async (t) => {
  const path = ones(t)
  for (const mode of ['r', 'r+', 'c'] as const) {
    createSync(path, Float64Array.of(1, 2, 3), { overwrite: true }).close()
    const old = openSync(path, { mode })
    const made = await create(path, Int8Array.of(9), { overwrite: true }).catch((error) => error.code)
    t.deepEqual(old.toArray(), [1, 2, 3])
    old.close()
    if (made !== 'EBUSY') made.close()
    const now = openSync(path)
    t.deepEqual(now.toArray(), made === 'EBUSY' ? [1, 2, 3] : [9])
    now.close()
    t.deepEqual(readdirSync(join(path, '..')), ['a.npy'])
  }
})

windows('a view saved over its own file: so too', async (t) => {
  const path = ones(t)
  const a = openSync<'float64'>(path, { mode: 'c' })
  a.set(0, 5)
  const code = await a.saveAs(path, { overwrite: true }).catch((error) => error.code)
  t.true(code === undefined || code === 'EBUSY', code)
  t.is(a.get(0), 5)
  t.is(a.isStale(), code === undefined)
  a.close()
  const now = openSync(path)
  t.deepEqual([now.get(0), now.get(1)], [code === 'EBUSY' ? 1 : 5, 1])
  now.close()
  t.deepEqual(readdirSync(join(path, '..')), ['a.npy'])
})

for (const format of ['npy', 'mmap'] as const) {
  windows(`${format}: what becomes shorter has a shorter header at once, and is cut by close`, async (t) => {
    const path = join(folder(t), 'a')
    const start = format === 'npy' ? 128 : 64
    const a = createSync(path, { shape: [1e5], dtype: 'float64', fill: 1 }, { format })
    await a.resize(10)
    const reader = openSync(path, { format })
    t.deepEqual([reader.length, statSync(path).size], [10, start + 800_000])
    reader.close()
    // Over what is left there: zeros, rows, and more than there was.
    await a.resize(20_000)
    t.deepEqual([a.get(9), a.sumSync()], [1, 10])
    a.appendSync(new Float64Array(1e5).fill(2))
    t.deepEqual([a.length, a.sumSync(), statSync(path).size], [120_000, 200_010, start + 960_000])
    a.resizeSync(5)
    a.appendSync([3, 4])
    const { data } = a
    const there = worker(t)
    await there.call('kept.a = m.attachSync(x)', a.toHandle())
    a.close()
    t.deepEqual([data.length, statSync(path).size], [0, start + 960_000])
    await there.call('kept.a.close()')
    t.is(statSync(path).size, start + 56)
    const again = openSync(path, { strict: true, format })
    t.deepEqual(again.toArray(), [1, 1, 1, 1, 1, 3, 4])
    again.close()
  })
}

windows('what becomes shorter is cut when it is forgotten', async (t) => {
  const path = ones(t)
  ;(() => openSync(path, { mode: 'r+' }).resizeSync(10))()
  t.is(statSync(path).size, 800_128)
  await collect()
  t.is(statSync(path).size, 208)
})

/** An array of three rows, and an append to it that fails between the first block and the last one. */
async function failedAppend(t: ExecutionContext, format: 'npy' | 'raw') {
  const path = join(folder(t), 'a')
  const a = createSync(path, { shape: [3, 1000], dtype: 'float64', fill: 1 }, { format })
  const { size } = statSync(path)
  const data = new Float64Array(3_000_000)
  const done = a.append({ data, shape: [3000, 1000] })
  while (statSync(path).size === size) await new Promise((resolve) => setImmediate(resolve))
  structuredClone(data.buffer, { transfer: [data.buffer] })
  await t.throwsAsync(done, { code: 'ERR_INVALID_STATE' })
  return { a, path, size }
}

windows('an append that fails leaves nothing behind once the file is closed', async (t) => {
  for (const format of ['npy', 'raw'] as const) {
    const { a, path, size } = await failedAppend(t, format)
    t.deepEqual([a.refresh(), a.shape, a.sumSync()], [false, [3, 1000], 3000])
    a.close()
    t.is(statSync(path).size, size)
  }
})

windows('an append that failed can be done again', async (t) => {
  for (const format of ['npy', 'raw'] as const) {
    const { a, path, size } = await failedAppend(t, format)
    await a.append({ data: new Float64Array(3_000_000).fill(2), shape: [3000, 1000] })
    t.deepEqual([a.shape, a.sumSync()], [[3003, 1000], 6_003_000])
    a.close()
    t.is(statSync(path).size, size + 24e6)
  }
})

windows('a file that another array has open is not cut: a header says less, raw is EBUSY', async (t) => {
  const path = ones(t)
  const [a, other] = [openSync(path, { mode: 'r+' }), openSync(path)]
  await a.resize(10)
  t.deepEqual(a.shape, [10])
  t.is(other.get(99_999), 1)
  a.close()
  t.is(statSync(path).size, 800_128)
  t.true(other.refresh())
  t.deepEqual(other.shape, [10])
  other.close()
  // Bytes behind the array, as a killed append leaves them: the next one sees to them.
  t.throws(() => openSync(path, { strict: true }), { code: 'ERR_TRAILING_DATA' })
  const next = openSync(path, { mode: 'r+' })
  next.appendSync([2])
  next.close()
  t.is(statSync(path).size, 128 + 88)
  const raw = { format: 'raw', dtype: 'int8' } as const
  const bare = join(path, '..', 'a.raw')
  writeFileSync(bare, new Uint8Array(1000))
  const b = openSync(bare, { ...raw, mode: 'r+' })
  for (const holder of [undefined, openSync(bare, raw)]) {
    t.is((await refusal((sync) => b[`resize${sync}` as 'resize'](10))).code, 'EBUSY')
    t.deepEqual([b.shape, statSync(bare).size], [[1000], 1000])
    holder?.close()
  }
  b.close()
})

windows('rows that somebody else has appended meanwhile are not cut off', async (t) => {
  const path = ones(t)
  const [a, b] = [openSync(path, { mode: 'r+' }), openSync(path, { mode: 'r+', mmap: false })]
  a.resizeSync(10)
  t.true(b.refresh())
  b.appendSync(Float64Array.of(7, 8))
  b.close()
  a.close()
  const now = openSync(path)
  t.deepEqual([now.length, now.get(9), now.get(11)], [12, 1, 8])
  now.close()
})

windows(
  'flush: the whole, and parts that start anywhere, are in the file when their process is ended',
  async (t) => {
    const path = ones(t)
    const script = `
    import { openSync } from 'mmap-ndarray'
    const a = openSync(process.argv[1], { mode: 'r+' })
    a.fill(2)
    await a.flush()
    for (const part of [a.slice('8190:8200'), a.slice('::-4096'), a.pick(99_999)]) {
      part.fill(3)
      part.flushSync()
    }
    process.kill(process.pid, 'SIGKILL')`
    t.not((await runScript(script, path)).code, 0)
    const expected = new Float64Array(1e5).fill(2).fill(3, 8190, 8200)
    for (let i = 99_999; i >= 0; i -= 4096) expected[i] = 3
    t.true(Buffer.from(expected.buffer).equals(readFileSync(path).subarray(128)))
  },
)

windows('a path in every spelling', (t) => {
  const path = ones(t)
  const spellings = [
    path,
    path.replaceAll('\\', '/'),
    path.toLowerCase(),
    `\\\\?\\${path}`,
    pathToFileURL(path),
    Buffer.from(path),
  ]
  for (const spelling of spellings) {
    const a = openSync(spelling)
    t.is(a.get(0), 1)
    t.is(a.path, spelling instanceof URL || Buffer.isBuffer(spelling) ? path : a.path)
    a.close()
  }
})

windows('paths that depend on the working folder are tied to it', async (t) => {
  const path = ones(t)
  const script = `
    import { openSync } from 'mmap-ndarray'
    const [, path] = process.argv
    process.chdir(path + '/..')
    const drive = path.slice(0, 2)
    const arrays = ['a.npy', './a.npy', drive + 'a.npy', path.slice(2), path.slice(2).replaceAll('\\\\', '/')]
      .map((spelling) => openSync(spelling))
    process.chdir('/')
    console.log(arrays.every((a) => a.path === path && a.get(0) === 1))`
  t.like(await runScript(script, path), { code: 0, stdout: 'true\n' })
})

windows('a pipe is refused, and nobody waits for it', async (t) => {
  const name = `\\\\.\\pipe\\mmap-ndarray-${process.pid}`
  const server = createServer((socket) => socket.destroy()).listen(name)
  t.teardown(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  t.throws(() => openSync(name), { code: 'ENODEV' })
})

windows('a read under way while the array is closed ends up nowhere', async (t) => {
  const path = ones(t)
  const other = join(path, '..', 'b.npy')
  createSync(other, { shape: [1e5], dtype: 'float64', fill: 2 }).close()
  const script = `
    import { openSync as openFile, read } from 'node:fs'
    import { createServer } from 'node:net'
    import { openSync } from 'mmap-ndarray'
    const [, path, other] = process.argv
    const name = '\\\\\\\\.\\\\pipe\\\\mmap-ndarray-read-' + process.pid
    let socket
    const server = createServer((connected) => { socket = connected }).listen(name)
    await new Promise((resolve) => server.once('listening', resolve))
    const fd = openFile(name, 'r+')
    while (!socket) await new Promise((resolve) => setImmediate(resolve))
    const a = openSync(path, { mode: 'r+' })
    // A thread of libuv waits in here with the address of a's first element.
    const done = new Promise((resolve) => read(fd, a.data, 0, 8, null, resolve))
    await new Promise((resolve) => setImmediate(resolve))
    a.close()
    const others = Array.from({ length: 20 }, () => openSync(other, { mode: 'r+' }))
    socket.write(Buffer.from(new Float64Array([12345]).buffer))
    await done
    console.log(others.every((b) => b.get(0) === 2), openSync(path).get(0))
    process.exit(0)`
  t.like(await runScript(script, path, other), { code: 0, signal: null, stdout: 'true 1\n' })
})
