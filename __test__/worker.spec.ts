/** Workers: each environment has its own arrays and errors; a worker that ends takes only its own with it. */
import { join } from 'node:path'
import test from 'ava'
import { createSync, openSync } from '../src/index.js'
import { fixture, folder, mappings, movable, runScript } from './helpers.js'

/** Runs `source` in a worker of a process of its own; `path` is what `argument` says. */
const inWorker = (source: string, argument: string, afterwards = '') =>
  runScript(
    `
    import { Worker } from 'node:worker_threads'
    const path = process.argv[1]
    const code = ${JSON.stringify(`
      import { parentPort, workerData as path } from 'node:worker_threads'
      import { open, openSync, MmapError } from 'mmap-ndarray'
      ${source}`)}
    const worker = new Worker(code, { eval: true, workerData: path })
    const messages = []
    worker.on('message', (message) => messages.push(message))
    const code_ = await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
    ${afterwards}
    console.log(JSON.stringify(messages))`,
    argument,
  )

test('a worker opens, reads, fails with the class of its own environment, and closes', async (t) => {
  const { stdout, stderr } = await inWorker(
    `const a = openSync(path)
     parentPort.postMessage(a.toArray())
     a.close()
     try { openSync('/missing') } catch (error) { parentPort.postMessage([error instanceof MmapError, error.code]) }
     open('/missing').catch((error) => parentPort.postMessage([error instanceof MmapError, error.code]))`,
    fixture('npy', 'v2.npy'),
  )
  t.is(stderr, '')
  const [values, ...errors] = JSON.parse(stdout)
  t.is(values.length, 5)
  t.deepEqual(errors, [
    [true, 'ENOENT'],
    [true, 'ENOENT'],
  ])
})

test('a worker that ends with arrays open leaves the process and the file alone', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, Float64Array.of(1, 2, 3)).close()
  const { stdout, stderr, code } = await inWorker(
    `globalThis.a = openSync(path, { mode: 'r+' })
     a.set(0, 9)
     parentPort.postMessage(a.get(0))`,
    path,
    `const { openSync } = await import('mmap-ndarray')
     gc()
     messages.push(openSync(path).get(0))`,
  )
  t.is(stderr, '')
  t.is(code, 0)
  t.is(stdout.trim(), '[9,9]')
})

test('a worker that is terminated while native work runs', async (t) => {
  const script = `
    import { Worker } from 'node:worker_threads'
    const code = ${JSON.stringify(`
      import { workerData as prefix, parentPort } from 'node:worker_threads'
      import { create } from 'mmap-ndarray'
      for (let i = 0; ; i++) {
        const a = await create(prefix + i + '.npy', { shape: [1 << 20], dtype: 'float64', fill: 1 })
        parentPort.postMessage(i)
        a.fill(2)
        a.flush().catch(() => {})
      }`)}
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(code, { eval: true, workerData: process.argv[1] + '/' + round + '-' })
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      await worker.terminate()
    }
    console.log('alive')`
  t.like(await runScript(script, folder(t)), { code: 0, signal: null, stderr: '', stdout: 'alive\n' })
})

const transfer = movable ? test : test.skip

transfer('a buffer that a worker moved, posted and left behind reads zeros', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [8000], dtype: 'float64', fill: 2 }).close()
  const { stdout, stderr, code } = await inWorker(
    `const moved = openSync(path).data.buffer.transfer()
     parentPort.postMessage(moved, [moved])`,
    path,
    'const [moved] = messages.splice(0); messages.push(moved.byteLength, new Float64Array(moved)[5000])',
  )
  t.is(stderr, '')
  t.is(code, 0)
  t.is(stdout.trim(), '[64000,0]')
})

test('the data of an array that is posted to a worker is a copy', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, Float64Array.of(1, 2, 3))
  const copy = structuredClone(a.data)
  a.set(0, 5)
  t.is((copy as Float64Array)[0], 1)
  a.close()
  if (process.platform === 'linux') t.is(mappings(path), 0)
  t.is(openSync(path).get(0), 5)
})
