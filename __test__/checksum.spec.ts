/** checksum and verify: what is bad, in the coordinates of the array; what counts; what is refused. */
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  openSync as openFile,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { create, createSync, type MmapArray, openSync, type Verified } from '../src/index.js'
import { fixture, folder, isPending, mappings, refusal, runScript } from './helpers.js'

/** Changes one byte of a file. */
function flip(path: string, at: number): void {
  const file = openFile(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, at)
  byte.writeUInt8(byte.readUInt8() ^ 1)
  writeSync(file, byte, 0, 1, at)
  closeSync(file)
}

/** Both forms of `verify`, which agree. */
async function verified(t: ExecutionContext, array: MmapArray): Promise<Verified> {
  const found = await array.verify()
  t.deepEqual(array.verifySync({ threads: 1 }), found)
  return found
}

const ramp = (length: number) => Float32Array.from({ length }, (_, i) => i)

test('both forms write the same; a flipped byte is found, and where it is', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, { data: ramp(30_000), shape: [300, 100] })
  const sidecar = `${path}.blocksums`
  t.is(await a.checksum(), undefined)
  t.is(statSync(sidecar).size, 32 + 8 + 8)
  await a.checksum({ block: 4096 })
  const made = readFileSync(sidecar)
  t.is(made.length, 32 + 8 * Math.ceil(120_128 / 4096) + 8)
  a.checksumSync({ block: 4096, threads: 3 })
  t.true(readFileSync(sidecar).equals(made))
  const good = { ok: true, block: 4096, blocks: 30, damaged: 0, bad: [] }
  t.deepEqual(await verified(t, a), good)

  flip(path, 5 * 4096 + 7)
  const found = await verified(t, a)
  const [start, stop] = [(5 * 4096 - 128) / 4, (6 * 4096 - 128) / 4]
  const rows = [Math.floor(start / 100), Math.ceil(stop / 100)]
  t.deepEqual(found, { ...good, ok: false, damaged: 1, bad: [{ index: 5, start, stop, rows } as never] })
  flip(path, 5 * 4096 + 7)
  flip(path, 3)
  t.deepEqual((await verified(t, a)).bad, [{ index: 0, start: 0, stop: (4096 - 128) / 4, rows: [0, 10] }])
  a.close()
})

test('one sidecar for all arrays of a file, each in its own coordinates', async (t) => {
  const path = join(folder(t), 'kinds.npz')
  copyFileSync(fixture('npz', 'kinds.npz'), path)
  const z = openSync(path, { name: 'z' })
  const y = openSync(path, { name: 'r.y' })
  z.checksumSync({ block: 4096 })
  t.true((await verified(t, z)).ok)
  flip(path, 400)
  t.deepEqual((await verified(t, z)).bad, [{ index: 0, start: 0, stop: 8, rows: [0, 2] }])
  t.is((await verified(t, y)).damaged, 1, 'the block is shared')
  for (const array of [z, y]) array.close()
})

test('Fortran order and no axis: elements, and no rows', async (t) => {
  const dir = folder(t)
  const f = createSync(join(dir, 'f.npy'), { shape: [100, 40], dtype: 'float64' }, { order: 'F' })
  f.checksumSync({ block: 4096 })
  flip(f.path, 128 + 8 * 1000)
  t.deepEqual((await verified(t, f)).bad, [{ index: 1, start: 496, stop: 1008 }])
  const one = createSync(join(dir, 'one.npy'), { shape: [], dtype: 'int64' })
  one.checksumSync()
  flip(one.path, 130)
  t.deepEqual((await verified(t, one)).bad, [{ index: 0, start: 0, stop: 1 }])
  const none = createSync(join(dir, 'none.npy'), { shape: [0, 3], dtype: 'int64' })
  none.checksumSync()
  t.true((await verified(t, none)).ok)
  flip(none.path, 100)
  t.is((await verified(t, none)).damaged, 1, 'a header is all there is')
  for (const array of [f, one, none]) array.close()
})

test('what counts is the file: private stores do not, those of r+ do, a commit does', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, ramp(5000)).close()
  const c = openSync(path, { mode: 'c' })
  const r = openSync(path)
  await c.checksum({ block: 4096 })
  c.set(1500, -1)
  ;(r.data as Float32Array)[2500] = -1
  t.true((await verified(t, c)).ok && (await verified(t, r)).ok)
  await c.checksum({ block: 4096 })
  t.true((await verified(t, r)).ok)
  await c.commit()
  t.deepEqual(
    (await verified(t, c)).bad.map(({ index }) => index),
    [1],
  )
  const w = openSync(path, { mode: 'r+' })
  w.checksumSync({ block: 4096 })
  w.set(4000, -1)
  t.deepEqual(
    (await verified(t, w)).bad.map(({ index }) => index),
    [3],
  )
  for (const array of [c, r, w]) array.close()
})

test('a file that has grown: ERR_STALE, until there are new checksums', async (t) => {
  const a = createSync(join(folder(t), 'a.npy'), ramp(5000))
  a.checksumSync()
  await a.append(ramp(100))
  const error = await refusal((sync) => a[`verify${sync}` as 'verify']())
  t.is(error.code, 'ERR_STALE')
  t.regex(error.message as string, /its checksums are of 20128 bytes, and it has 20528\. .*checksum\(\)/)
  await a.checksum()
  t.true((await verified(t, a)).ok)
  a.close()
})

test('refusals', async (t) => {
  const dir = folder(t)
  const a = createSync(join(dir, 'a.npy'), ramp(5000))
  const sidecar = `${a.path}.blocksums`
  const check = async (name: string, options: unknown, code: string) => {
    t.is((await refusal((sync) => a[`checksum${sync}` as 'checksum'](options as object))).code, code, name)
  }
  const missing = await refusal((sync) => a[`verify${sync}` as 'verify']())
  t.like(missing, { code: 'ENOENT', path: sidecar, syscall: 'open' })
  for (const block of [0, -1, 4095, 4096.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 30 + 1, 2 ** 53]) {
    await check(`block ${block}`, { block }, 'ERR_OUT_OF_RANGE')
  }
  await check('a bigint', { block: 4096n }, 'ERR_INVALID_ARG_TYPE')
  await check('no threads', { threads: 0 }, 'ERR_OUT_OF_RANGE')
  await check('misspelt', { blocks: 4096 }, 'ERR_INVALID_ARG_VALUE')
  await check('a signal', { signal: {} }, 'ERR_INVALID_ARG_TYPE')
  await check('progress', { onProgress: 1 }, 'ERR_INVALID_ARG_TYPE')
  await check('aborted', { signal: AbortSignal.abort() }, 'ABORT_ERR')
  t.is(
    (await refusal((sync) => a[`verify${sync}` as 'verify']({ block: 4096 } as object))).code,
    'ERR_INVALID_ARG_VALUE',
  )
  t.deepEqual(readdirSync(dir), ['a.npy'])

  writeFileSync(sidecar, 'my notes')
  await check('somebody else’s', {}, 'EEXIST')
  t.is((await refusal((sync) => a[`verify${sync}` as 'verify']())).code, 'ERR_INVALID_HEADER')
  t.is(readFileSync(sidecar, 'utf8'), 'my notes')
  renameSync(sidecar, join(dir, 'notes'))

  a.checksumSync()
  flip(sidecar, 40)
  const damaged = await refusal((sync) => a[`verify${sync}` as 'verify']())
  t.like(damaged, { code: 'ERR_INVALID_HEADER', path: sidecar })
  a.checksumSync()
  if (process.platform !== 'win32') {
    renameSync(a.path, join(dir, 'moved'))
    for (const method of ['checksum', 'verify'] as const) {
      t.is((await refusal((sync) => a[`${method}${sync}` as 'verify']())).code, 'ERR_STALE')
    }
    renameSync(join(dir, 'moved'), a.path)
    appendFileSync(a.path, 'more')
    truncateSync(a.path, 100)
    for (const method of ['checksum', 'verify'] as const) {
      t.is((await refusal((sync) => a[`${method}${sync}` as 'verify']())).code, 'ERR_MAPPING_LOST')
    }
  }
  a.close()
  for (const method of ['checksum', 'verify'] as const) {
    t.is((await refusal((sync) => a[`${method}${sync}` as 'verify']())).code, 'ERR_CLOSED')
  }
  t.deepEqual(readdirSync(dir).sort(), ['a.npy', 'a.npy.blocksums', 'notes'])
})

test('large: off the main thread, told of, and stopped', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  const rows = 2 ** 16
  // Holes: no space, and as long to hash as anything else.
  const a = await create(path, { shape: [rows, 2 ** 11], dtype: 'float32' }, { reserve: false })
  const total = statSync(path).size
  for (const method of ['checksum', 'verify'] as const) {
    const seen: number[] = []
    const working = a[method]({
      onProgress: (done, all) => {
        t.is(all, total)
        seen.push(done)
      },
    })
    t.true(await isPending(working))
    await working
    t.is(seen.at(-1), total)
    t.deepEqual(
      seen,
      [...new Set(seen)].sort((x, y) => x - y),
    )
  }
  const before = readFileSync(`${path}.blocksums`)
  for (const method of ['checksum', 'verify'] as const) {
    const controller = new AbortController()
    const options = method === 'checksum' ? { block: 2 ** 30 } : {}
    const aborted = a[method]({ ...options, signal: controller.signal })
    controller.abort('enough')
    const error = await t.throwsAsync(aborted, { code: 'ABORT_ERR', name: 'AbortError' })
    t.is((error as Error).cause, 'enough')
    const failing = a[method]({
      onProgress: () => {
        throw new RangeError('from the caller')
      },
    })
    await t.throwsAsync(failing, { instanceOf: RangeError, message: 'from the caller' })
  }
  t.true(readFileSync(`${path}.blocksums`).equals(before))
  const closed = [a.checksum({ block: 2 ** 29 }), a.verify()]
  a.close()
  // Together: one that nobody awaits yet must not reject.
  await Promise.all(closed.map((work) => t.throwsAsync(work, { code: 'ERR_CLOSED' })))
  t.true(readFileSync(`${path}.blocksums`).equals(before))
  t.deepEqual(readdirSync(dir).sort(), ['a.npy', 'a.npy.blocksums'])
  if (process.platform === 'linux') t.is(mappings(path), 0)
})

test('no more than a few hundred KiB are in memory, whatever the size', async (t) => {
  if (process.platform !== 'linux') return t.pass()
  const ended = await runScript(
    `
    import { readFileSync } from 'node:fs'
    import { createSync } from 'mmap-ndarray'
    const dir = process.argv[1]
    const rss = () => 1024 * Number(/RssAnon:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
    const a = createSync(dir + '/a.npy', { shape: [2 ** 15, 2 ** 11], dtype: 'float32' }, { reserve: false })
    a.checksumSync({ threads: 2 })
    const before = rss()
    let most = 0
    const onProgress = () => { most = Math.max(most, rss() - before) }
    await a.checksum({ block: 4096, onProgress })
    await a.verify({ onProgress })
    process.stdout.write(String(most))`,
    folder(t),
  )
  t.is(ended.code, 0, ended.stderr)
  t.log(ended.stdout)
  t.true(Number(ended.stdout) < 8 * 2 ** 20, ended.stdout)
})
