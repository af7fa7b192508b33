/** Flush: what was stored is on the disk; nothing to do where nothing can be. */
import { join } from 'node:path'
import test from 'ava'
import { create, createSync, openSync } from '../src/index.js'
import { folder, isPending } from './helpers.js'

test('on the array and on any view, in every mode', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [64, 1024], dtype: 'float32' }).close()
  for (const mode of ['r', 'r+', 'c'] as const) {
    const a = openSync(path, { mode })
    for (const view of [a, a.slice('3'), a.slice('::-7', '5:9'), a.T, a.slice('0:0'), a.pick(63, 1023)]) {
      t.is(await view.flush(), undefined)
      t.is(view.flushSync(), undefined)
    }
    a.close()
  }
})

test('the asynchronous form needs the event loop', async (t) => {
  const a = await create(join(folder(t), 'a.npy'), { shape: [2 ** 16], dtype: 'float64' })
  a.fill(3)
  const flushed = a.flush()
  t.true(await isPending(flushed))
  await flushed
  a.close()
})

test('an empty array', async (t) => {
  const a = createSync(join(folder(t), 'a.npy'), { shape: [0, 3], dtype: 'float64' })
  await a.flush()
  a.flushSync()
  t.is(a.nbytes, 0)
  a.close()
})
