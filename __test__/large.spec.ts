/** Size does not matter: a sparse file of 100 GiB opens, and its last element is read and written. */
import { constants } from 'node:buffer'
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { create, isMmapError, open, openSync } from '../src/index.js'
import {
  backing,
  type Code,
  collect,
  descriptors,
  folder,
  listOf,
  mappings,
  privateMemory,
} from './helpers.js'

const GIB = 2 ** 30
const rows = (100 * GIB) / 8 / 1024
const oneBuffer = constants.MAX_LENGTH > 4 * GIB

/** Bytes that this process has read through system calls. */
const bytesRead = () => Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])

const linux = process.platform === 'linux'
// A WebAssembly.Memory has 4 GiB, or 16.
const large = backing === 'wasm' ? test.serial.skip : test.serial
const node20 = oneBuffer ? test.serial.skip : test.serial

for (const extension of ['npy', 'mmap']) {
  for (const mode of ['r', 'r+', 'c'] as const) {
    large(`100 GiB in ${extension}, '${mode}'`, async (t) => {
      const path = join(folder(t), `large.${extension}`)
      const made = await create(path, { shape: [rows, 1024], dtype: 'float64' }, { reserve: false })
      t.is(statSync(path).size, 100 * GIB + (extension === 'npy' ? 128 : 64))
      t.is(made.nbytes, 100 * GIB)
      t.is(made.set(rows - 1, 1023, Math.PI), Math.PI)
      t.is(made.index(rows - 1, 1023), (100 * GIB) / 8 - 1)
      await made.slice(-1, -1).flush()
      made.close()
      const before = linux && privateMemory()
      let a: Awaited<ReturnType<typeof open>>
      try {
        a = await open(path, { mode })
      } catch (error) {
        // Windows counts each page that may become private.
        if (mode !== 'c' || process.platform !== 'win32') throw error
        t.is((error as Code).code, 'ENOMEM')
        return
      }
      t.is(a.get(rows - 1, 1023), Math.PI)
      t.is(a.slice(-1, -1).get(), Math.PI)
      t.is(a.slice('::-1', '::-1').get(0, 0), Math.PI)
      t.is(a.reshape([-1]).get((100 * GIB) / 8 - 1), Math.PI)
      t.deepEqual(listOf(a.slice(-1, '-2:').toTypedArray()), [0, Math.PI])
      if (mode !== 'r') {
        a.slice(-1, '-1:').fill(2)
        t.is(a.get(rows - 1, 1023), 2)
        a.set(rows - 1, 1023, Math.PI)
      }
      if (linux) t.true(privateMemory() - Number(before) < 64 * 2 ** 20)
      a.close()
      t.true(statSync(path).blocks * 512 < 2 ** 20, 'the file is sparse still')
    })
  }
}

node20('above 4 GiB, in one buffer: ERR_TOO_LARGE names the way out, and nothing is left', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'large.npy')
  const make = create(
    path,
    { shape: [rows, 1024], dtype: 'float64' },
    { reserve: false, backing: 'external' },
  )
  const error = await t.throwsAsync(make, {
    code: 'ERR_TOO_LARGE',
    message: /'auto' or 'window'.*Node\.js 22/,
  })
  t.true(isMmapError(error, 'ERR_TOO_LARGE') && error.path === path)
  t.deepEqual(readdirSync(dir), [])
  // A file that somebody else made.
  const text = `{'descr': '<f8', 'fortran_order': False, 'shape': (${rows}, 1024), }`.padEnd(117)
  writeFileSync(path, Buffer.from(`\x93NUMPY\x01\x00v\x00${text}\n`, 'latin1'))
  truncateSync(path, 128 + 100 * GIB)
  for (let round = 0; round < 20; round++) {
    for (const backing of ['external', 'wasm'] as const) {
      t.throws(() => openSync(path, { mode: 'c', backing }), { code: 'ERR_TOO_LARGE', message: /'window'/ })
    }
    await t.throwsAsync(open(path, { backing: 'external' }), { code: 'ERR_TOO_LARGE' })
    await collect()
  }
  t.is(mappings(path), 0)
  t.is(descriptors(path), 0)
  const [source, options] = [
    { shape: [GIB], dtype: 'float32' },
    { reserve: false, overwrite: true },
  ]
  const four = await create(path, source, { ...options, backing: 'external' })
  t.is(four.set(GIB - 1, 1), 1)
  four.close()
})

const proc = linux ? test.serial : test.serial.skip
proc('opening reads a few pages of the file, whatever its size', async (t) => {
  const path = join(folder(t), 'a.npy')
  for (const length of [2 ** 18, backing === 'wasm' ? GIB / 2 : GIB]) {
    ;(await create(path, { shape: [length], dtype: 'float32' }, { reserve: false, overwrite: true })).close()
    const before = bytesRead()
    const a = openSync(path)
    const read = bytesRead() - before
    t.is(a.length, length)
    t.true(read < 64 * 1024, `${read} bytes`)
    a.close()
  }
})
