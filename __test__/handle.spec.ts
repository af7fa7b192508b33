/**
 * Handles: the same mapping in every worker of the process, the file again in another, and never more than `open` gives.
 *
 * Past 400 lines: half of it is tables, of who closes when, of what becomes of the file, and of what a handle cannot say.
 */
import { copyFileSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import {
  attach,
  attachSync,
  type CreateSource,
  createSync,
  type Handle,
  type MmapArray,
  type Mode,
  type OpenOptions,
  openSync,
} from '../src/index.js'
import {
  attachable,
  backing,
  child,
  collect,
  descriptors,
  fixture,
  folder,
  isPending,
  mappings,
  movable,
  worker,
} from './helpers.js'

const make = (t: ExecutionContext, name = 'a.npy') => {
  const path = join(folder(t), name)
  createSync(path, { data: Float64Array.from({ length: 24 }, (_, i) => i), shape: [2, 3, 4] }).close()
  return path
}

/** A value that the file has not, put where only this mapping has it in modes 'r' and 'c'. */
const mark = (a: MmapArray) => {
  ;(a.data as Float64Array)[5] = -5
}
const SEE = 'kept.a = m.attachSync(x); return kept.a.data[5]'

const linux = process.platform === 'linux'
const nothingIsLeft = (t: ExecutionContext, path: string) => {
  if (!linux) return
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
}

test('a handle is plain data, the same each time and by every way that it travels', (t) => {
  const path = make(t)
  const mode = attachable
  const a = openSync(path, { mode, lock: 'shared' })
  const handle = a.toHandle()
  t.like(handle, { path, mode, format: 'npy', dtype: 'float64', lock: 'shared', backing })
  for (const value of Object.values(handle)) t.regex(typeof value, /^(string|number)$/)
  t.deepEqual(a.toHandle(), handle)
  mark(a)
  const { port1, port2 } = new MessageChannel()
  port1.postMessage(handle)
  const travelled = [
    handle,
    JSON.parse(JSON.stringify(handle)),
    structuredClone(handle),
    receiveMessageOnPort(port2)?.message,
    { ...Object.fromEntries(Object.entries(handle).reverse()), name: undefined },
  ] as Handle[]
  port1.close()
  for (const other of travelled) {
    const b = attachSync<'float64'>(other)
    t.is(b.get(0, 1, 1), -5)
    t.like(b, { path, mode, format: 'npy', dtype: 'float64', descr: '<f8', backing })
    t.deepEqual(b.toHandle(), handle)
    b.close()
  }
  a.close()
  nothingIsLeft(t, path)
  t.throws(() => a.toHandle(), { code: 'ERR_CLOSED' })
})

const complex = { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2], dtype: 'complex64' } as const
// Everything that says where in a file the elements lie.
const arrays: [name: string, file: (dir: string) => string, options?: OpenOptions][] = [
  ['npy', () => fixture('npy', 'v2.npy')],
  ['big-endian and Fortran order', () => fixture('npy', 'bef4_F.npy')],
  ['no elements', () => fixture('npy', 'empty_1d.npy')],
  ['unaligned', () => fixture('npy', 'no_padding_unaligned.npy')],
  ['complex', (dir) => made(join(dir, 'c.npy'), complex)],
  ['mmap', (dir) => made(join(dir, 'a.mmap'), [1, 2])],
  ['a record field', () => fixture('records', 'unaligned.npy'), { name: 'b' }],
  ['a complex record field', () => fixture('records', 'complex.npy'), { name: 'w' }],
  ['a member of npz', () => fixture('npz', 'kinds.npz'), { name: 'f' }],
  ['a tensor', () => fixture('safetensors', 'one_f32.safetensors'), { name: 'weight' }],
  ['raw', (dir) => raw(dir), { format: 'raw', dtype: '>i2', offset: 3, shape: [2, 3], strides: [-1, 2] }],
  ['raw to the end', (dir) => raw(dir), { format: 'raw', dtype: 'uint8', offset: 1 }],
  ['raw complex', (dir) => raw(dir), { format: 'raw', dtype: '>c8', offset: 1, shape: [3, 2], order: 'F' }],
  ['raw bfloat16', (dir) => raw(dir), { format: 'raw', dtype: 'bfloat16', shape: [0, 3] }],
]
function made(path: string, source: CreateSource) {
  createSync(path, source).close()
  return path
}
function raw(dir: string) {
  const path = join(dir, 'a.raw')
  const bytes = Uint8Array.from({ length: 40 }, (_, i) => i)
  writeFileSync(path, bytes)
  return path
}

for (const [name, file, options] of arrays) {
  test(`attach is open: ${name}`, async (t) => {
    const a = openSync(file(folder(t)), { mode: attachable === 'c' ? 'c' : 'r', ...options })
    const handle = JSON.parse(JSON.stringify(a.toHandle()))
    const expected = a.toArray()
    const [b, c] = [await attach(handle), attachSync(handle)]
    const there = child(t)
    const facts = [
      'shape',
      'stride',
      'offset',
      'dtype',
      'descr',
      'format',
      'path',
      'mode',
      'backing',
    ] as const
    const far = await there.call<Record<string, unknown>>(
      `const a = m.attachSync(x)
       const all = { elements: JSON.stringify(a.toArray(), (_, v) => typeof v === 'bigint' ? String(v) : v) }
       for (const fact of ${JSON.stringify(facts)}) all[fact] = a[fact]
       return all`,
      handle,
    )
    for (const fact of facts) {
      t.deepEqual(b[fact], a[fact], fact)
      t.deepEqual(far[fact], a[fact], fact)
    }
    for (const near of [b, c]) t.deepEqual(near.toArray(), expected)
    t.is(
      far.elements,
      JSON.stringify(expected, (_, v) => (typeof v === 'bigint' ? String(v) : v)),
    )
    for (const near of [a, b, c]) near.close()
  })
}

for (const mode of ['r', 'r+', 'c'] as Mode[]) {
  const sharing = backing === 'wasm' && mode !== 'r+' ? test.skip : test
  sharing(`'${mode}': a worker shares the mapping, private pages too`, async (t) => {
    const path = make(t)
    const a = openSync(path, { mode })
    const there = worker(t)
    mark(a)
    t.is(await there.call(SEE, a.toHandle()), -5)
    await there.call('kept.a.data[6] = -6')
    t.is(a.get(0, 1, 2), -6)
    // A cage lets nobody see memory of another environment: both map the file.
    if (linux) t.is(mappings(path), backing === 'wasm' ? 2 : 1)
    if (mode !== 'r') {
      await there.call('kept.a.slice(0, 0).fill(8)')
      t.deepEqual(a.slice(0, 0).toArray(), [8, 8, 8, 8])
      await there.call('await kept.a.flush()')
    }
    t.is(openSync(path).get(0, 1, 2), mode === 'r+' ? -6 : 6)
    a.close()
    t.is(await there.call('return kept.a.data[6]'), -6, 'the other one goes on')
    await there.call('kept.a.close()')
    await collect()
    nothingIsLeft(t, path)
  })

  test(`'${mode}': another process opens the file again`, async (t) => {
    const path = make(t)
    const a = openSync(path, { mode })
    mark(a)
    const there = child(t)
    t.is(await there.call(SEE, a.toHandle()), mode === 'r+' ? -5 : 5)
    t.is(await there.call('return kept.a.mode'), mode)
    await there.call('kept.a.data[6] = -6')
    t.is(a.get(0, 1, 2), mode === 'r+' ? -6 : 6)
    a.close()
    t.is(await there.call('return kept.a.data[6]'), -6)
  })
}

test('attach needs a thread, attachSync does not', async (t) => {
  const a = openSync(make(t))
  const attached = attach(a.toHandle())
  t.true(await isPending(attached))
  ;(await attached).close()
  a.close()
})

// Who goes first, and how; then the other.
const ways: Record<string, (there: ReturnType<typeof worker>) => Promise<unknown>> = {
  closes: (there) => there.call('kept.a.close()'),
  forgets: (there) =>
    there.call(`delete kept.a
      for (let turn = 0; turn < 10; turn++) {
        gc()
        await new Promise((resolve) => setImmediate(resolve))
      }`),
  ends: (there) => there.leave(),
  'is terminated': (there) => there.kill(),
}
for (const [name, go] of Object.entries(ways)) {
  for (const first of ['worker', 'main'] as const) {
    for (const maker of ['worker', 'main'] as const) {
      test(`made by ${maker}; the worker ${name}, ${first === 'worker' ? 'and then' : 'after'} main closes`, async (t) => {
        const path = make(t)
        const there = worker(t)
        const options = { mode: attachable, lock: 'exclusive' } as const
        let a: MmapArray
        if (maker === 'main') {
          a = openSync(path, options)
          await there.call(SEE, a.toHandle())
        } else {
          const open = 'kept.a = m.openSync(...x); return kept.a.toHandle()'
          a = attachSync(await there.call<Handle>(open, [path, options]))
        }
        mark(a)
        const { data } = a
        if (first === 'worker') {
          await go(there)
          t.is((data as Float64Array)[5], -5, 'not blanked under the one that has it open')
          t.is(a.get(0, 1, 1), -5)
          t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
          a.close()
        } else {
          a.close()
          t.is(data.length, 0)
          t.is(await there.call('return kept.a.get(0, 1, 1)'), -5)
          t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
          await go(there)
        }
        await collect()
        nothingIsLeft(t, path)
        openSync(path, { lock: 'exclusive' }).close()
      })
    }
  }
}

test('many workers, terminated while they work, leave the main thread its array', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, { shape: [1 << 18], dtype: 'float64', fill: 1 })
  const handle = a.toHandle()
  for (let round = 0; round < 8; round++) {
    const there = worker(t)
    await there.call('kept.a = m.attachSync(x)', handle)
    const working = there.call(
      `for (;;) {
         kept.a.slice('1:').fill(2)
         m.attachSync(x).set(1, 2)
         kept.a.flush().catch(() => {})
         if (round++ % 100 === 0) await null
       }`.replace('round++', '(kept.n = (kept.n ?? 0) + 1)'),
      handle,
    )
    while (a.get(1) !== 2) await new Promise((resolve) => setImmediate(resolve))
    await there.kill()
    await t.throwsAsync(working, { message: 'ended' })
    t.is(a.get(0), 1)
    a.slice('1:').fill(1)
  }
  a.close()
  await collect()
  nothingIsLeft(t, path)
})

test('a buffer that a worker moved away and left behind does not keep or blank the array of another', async (t) => {
  if (!movable) return t.pass('no ArrayBuffer.prototype.transfer here, or not of such a buffer')
  const path = make(t)
  const a = openSync(path, { mode: 'c' })
  const there = worker(t)
  await there.call(SEE, a.toHandle())
  await there.call('kept.moved = kept.a.data.buffer.transfer()')
  mark(a)
  await there.leave()
  t.is(a.get(0, 1, 1), -5)
  a.close()
  nothingIsLeft(t, path)
})

test('once the array is closed its file is opened again: private stores are not there', async (t) => {
  const path = make(t)
  const a = openSync(path, { mode: 'c', lock: 'exclusive' })
  mark(a)
  const handle = a.toHandle()
  a.close()
  const b = await attach<'float64'>(handle)
  t.is(b.get(0, 1, 1), 5)
  t.throws(() => openSync(path, { lock: 'shared' }), { code: 'ERR_LOCKED' })
  t.not(b.toHandle().id, handle.id)
  // The old handle names what was closed, not what took its place; this one cannot have its lock.
  t.throws(() => attachSync(handle), { code: 'ERR_LOCKED' })
  b.close()
})

test('locks: an exclusive one keeps another process out, a shared one lets it in', async (t) => {
  const path = make(t)
  const there = child(t)
  const a = openSync(path, { lock: 'exclusive' })
  await t.throwsAsync(there.call(SEE, a.toHandle()), { code: 'ERR_LOCKED' })
  a.close()
  const b = openSync(path, { lock: 'shared' })
  t.is(await there.call(SEE, b.toHandle()), 5)
  b.close()
  t.throws(() => openSync(path, { lock: 'exclusive' }), { code: 'ERR_LOCKED' })
  await there.kill()
  openSync(path, { lock: 'exclusive' }).close()
})

// What happens to the path: a mapping that is there does not ask, a file that is to be opened again does.
const events: Record<string, (path: string) => void> = {
  'replaced by the same content': (path) => {
    copyFileSync(path, `${path}.2`)
    renameSync(`${path}.2`, path)
  },
  'made again': (path) => {
    const bytes = readFileSync(path)
    rmSync(path)
    writeFileSync(path, bytes)
  },
  'replaced by another array, which is locked': (path) => {
    createSync(`${path}.npy`, [1]).close()
    renameSync(`${path}.npy`, path)
    openSync(path, { lock: 'exclusive' })
  },
  removed: (path) => rmSync(path),
  'a folder': (path) => {
    rmSync(path)
    mkdirSync(path)
  },
  text: (path) => {
    rmSync(path)
    writeFileSync(path, 'text')
  },
}
// Windows does not remove or replace a file that is mapped.
const posix = process.platform === 'win32' ? test.skip : test
for (const [name, event] of Object.entries(events)) {
  posix(`ERR_STALE: ${name}`, async (t) => {
    const path = make(t)
    const a = openSync(path, { mode: attachable, lock: 'shared' })
    const handle = a.toHandle()
    mark(a)
    const [near, far] = [worker(t), child(t)]
    // Not while it is locked: the file that is removed lives on, and its lock with it.
    event(path)
    t.is(await near.call(SEE, handle), -5)
    const stale = { code: 'ERR_STALE', message: /no longer the one that was opened/ }
    await t.throwsAsync(far.call(SEE, handle), stale)
    await near.call('kept.a.close()')
    a.close()
    await t.throwsAsync(near.call(SEE, handle), stale)
    t.like(await t.throwsAsync(attach(handle), stale), { path, name: 'MmapError' })
    t.throws(() => attachSync(handle), stale)
  })
}

const none = Symbol('the field is missing')
const HUGE = 'f'.repeat(400)
// Field, values that it cannot have, and what they are told.
const forged: [field: string, values: unknown[], code: string][] = [
  ['path', [none, 5, null, {}, ['a']], 'ERR_INVALID_ARG_TYPE'],
  ['path', ['', 'a.npy', './a.npy', '/a\0b'], 'ERR_INVALID_ARG_VALUE'],
  // Windows calls it a name that nothing has.
  ['path', [`/${HUGE}/a`], process.platform === 'win32' ? 'ERR_STALE' : 'ENAMETOOLONG'],
  ['path', ['/missing/a.npy', '/', '/dev/null'], 'ERR_STALE'],
  ['path', [fixture('npy', 'v2.npy')], 'ERR_STALE'],
  ['mode', [none, 0, null], 'ERR_INVALID_ARG_TYPE'],
  ['mode', ['w', 'rw', '', '__proto__', HUGE], 'ERR_INVALID_ARG_VALUE'],
  ['format', [none, 1], 'ERR_INVALID_ARG_TYPE'],
  ['format', ['tar', 'constructor'], 'ERR_INVALID_ARG_VALUE'],
  ['format', ['mmap', 'npz'], 'ERR_INVALID_MAGIC'],
  ['format', ['raw'], 'ERR_INVALID_ARG_VALUE'],
  ['dtype', [none, 8], 'ERR_INVALID_ARG_TYPE'],
  ['dtype', ['decimal', HUGE], 'ERR_INVALID_ARG_VALUE'],
  ['dtype', ['int8', 'complex128'], 'ERR_DTYPE_MISMATCH'],
  ['dtype', ['O'], 'ERR_UNSUPPORTED_DTYPE'],
  ['name', [1, null], 'ERR_INVALID_ARG_TYPE'],
  ['name', ['weights', HUGE], 'ERR_INVALID_ARG_VALUE'],
  ['shape', [[24]], 'ERR_INVALID_ARG_VALUE'],
  ['offset', [0], 'ERR_INVALID_ARG_VALUE'],
  ['strides', [[1]], 'ERR_INVALID_ARG_VALUE'],
  ['lock', [true, null], 'ERR_INVALID_ARG_TYPE'],
  ['lock', ['none'], 'ERR_INVALID_ARG_VALUE'],
  ['backing', [none, true], 'ERR_INVALID_ARG_TYPE'],
  ['backing', ['auto', 'disk', ''], 'ERR_INVALID_ARG_VALUE'],
  ['identity', [none, 7, 7n], 'ERR_INVALID_ARG_TYPE'],
  [
    'identity',
    ['', '1-2', '1-2-3-4', '-1-2-3', '1-2-10000000000000000', '1-2-3\n', HUGE],
    'ERR_INVALID_ARG_VALUE',
  ],
  ['identity', ['0-0-0', 'ffffffffffffffff-ffffffffffffffff-ffffffffffffffff'], 'ERR_STALE'],
  ['process', [none, 7], 'ERR_INVALID_ARG_TYPE'],
  ['process', ['', '0', 'z'.repeat(32), HUGE], 'ERR_INVALID_ARG_VALUE'],
  ['id', [none, '0', 0n, null], 'ERR_INVALID_ARG_TYPE'],
  ['id', [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1e300], 'ERR_OUT_OF_RANGE'],
  ['mmap', [1], 'ERR_INVALID_ARG_VALUE'],
  ['__proto__', ['x'], 'ERR_INVALID_ARG_VALUE'],
]
test('forged handles: every field', async (t) => {
  const path = make(t)
  const a = openSync(path, { mode: 'c' })
  mark(a)
  const handle = a.toHandle()
  for (const [field, values, code] of forged) {
    for (const value of values) {
      const other: Record<string, unknown> = { ...handle, [field]: value }
      if (value === none) delete other[field]
      const text = `${field}: ${String(value).slice(0, 60)}`
      t.throws(() => attachSync(other as never), { code }, text)
      await t.throwsAsync(attach(other as never), { code }, text)
    }
  }
  a.close()
})

test('what is no handle', async (t) => {
  for (const value of [undefined, null, 5, 'handle', Symbol('s'), [], () => {}]) {
    t.throws(() => attachSync(value as never), { code: 'ERR_INVALID_ARG_TYPE', message: /toHandle\(\)/ })
    await t.throwsAsync(attach(value as never), { code: 'ERR_INVALID_ARG_TYPE' })
  }
  t.throws(() => attachSync({} as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => attachSync(openSync(make(t)) as never), { code: 'ERR_INVALID_ARG_VALUE' })
})

const apart = attachable === 'c' ? test : test.skip

apart('a handle that was changed is no way to the memory of the one that it was made from', (t) => {
  const path = make(t)
  const a = openSync(path, { mode: 'c' })
  mark(a)
  const handle = a.toHandle()
  const other = openSync(path, { mode: 'c' })
  linkSync(path, `${path}.link`)
  t.is(attachSync<'float64'>(handle).get(0, 1, 1), -5)
  const changes: Partial<Handle>[] = [
    { mode: 'r' },
    { mode: 'r+' },
    { lock: 'shared' },
    { name: '' },
    { id: other.toHandle().id },
    { id: Number.MAX_SAFE_INTEGER },
    { process: '0'.repeat(32) },
    { path: `${path}.link` },
  ]
  for (const change of changes) {
    t.is(attachSync<'float64'>({ ...handle, ...change }).get(0, 1, 1), 5, JSON.stringify(change))
  }
})

test('forged raw handles: bounds are those of the file', (t) => {
  const path = raw(folder(t))
  const a = openSync(path, { format: 'raw', dtype: 'int16', offset: 2, shape: [3, 2] })
  const handle = a.toHandle()
  t.like(handle, { dtype: '<i2', offset: 2, shape: [3, 2], strides: [2, 1] })
  const cases: [change: Record<string, unknown>, code: string][] = [
    [{ offset: 2 ** 53 - 1 }, 'ERR_FILE_TOO_SHORT'],
    [{ offset: 2 ** 53 }, 'ERR_OUT_OF_RANGE'],
    [{ offset: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ offset: undefined }, 'ERR_INVALID_ARG_VALUE'],
    [{ shape: [2 ** 52, 2] }, 'ERR_OUT_OF_RANGE'],
    [{ shape: [2 ** 40, 2] }, 'ERR_FILE_TOO_SHORT'],
    [{ shape: [3] }, 'ERR_OUT_OF_RANGE'],
    [{ shape: 'ab' }, 'ERR_INVALID_ARG_TYPE'],
    [{ shape: [1.5, 2] }, 'ERR_OUT_OF_RANGE'],
    [{ strides: [-2, 1] }, 'ERR_OUT_OF_RANGE'],
    [{ strides: [2 ** 52, 2 ** 52] }, 'ERR_FILE_TOO_SHORT'],
    [{ strides: [-(2 ** 52), 2 ** 52] }, 'ERR_OUT_OF_RANGE'],
    [{ strides: [1, 2, 3] }, 'ERR_OUT_OF_RANGE'],
    [{ shape: undefined }, 'ERR_INVALID_ARG_VALUE'],
    [{ format: 'npy' }, 'ERR_INVALID_ARG_VALUE'],
  ]
  for (const [change, code] of cases) {
    t.throws(() => attachSync({ ...handle, ...change } as never), { code }, JSON.stringify(change))
  }
  attachSync(handle).close()
  a.close()
})
