/**
 * Pages that vanish under a mapping: each attack runs twice in a process of its own, without the guard, where it kills
 * the process, and with it, where the process goes on and is told.
 */
import { readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createSync, openSync } from 'mmap-ndarray'
import { backing, type Ended, folder, mayMount, mounting, root, run, wholeInOneWindow } from './helpers.js'

wholeInOneWindow()

const posix = process.platform === 'win32' ? test.skip : test

/** Elements of the file that is attacked: enough for a loop over them to be compiled. */
const N = 2 ** 20
const BYTES = 8 * N

/** A file of ones. */
function ones(t: ExecutionContext): string {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [N], dtype: 'float64', fill: 1 }).close()
  return path
}

interface Setting {
  readonly guard?: 'on' | 'off'
  /** KiB of private writable memory that the process may have. */
  readonly data?: number
  /** A folder where the process has a file system of 4 MiB. */
  readonly disk?: string
}

/** Runs an attack; it finds the file in `path`. */
function attack(source: string, path: string, { guard = 'on', data, disk }: Setting = {}): Promise<Ended> {
  const program = `
    import { readFileSync, truncateSync } from 'node:fs'
    import { Worker } from 'node:worker_threads'
    import { openSync, createSync } from 'mmap-ndarray'
    const path = process.argv.at(-1)
    const told = (work) => {
      try { work(); return 'nothing' } catch (error) { return error.code + ' ' + (error.reason ?? error.path) }
    }
    ${source}`
  const args = ['--expose-gc', '--input-type=module', '--eval', program, '--', path]
  const env = { ...process.env, MMAP_NDARRAY_GUARD: guard }
  if (disk !== undefined) {
    return run(...mounting(disk, 'size=4m', [process.execPath, ...args]), { cwd: root, env })
  }
  if (data === undefined) return run(process.execPath, args, { cwd: root, env })
  const limited = ['-c', `ulimit -d ${data}; exec "$@"`, 'sh', process.execPath, ...args]
  return run('/bin/sh', limited, { cwd: root, env })
}

/** The attack kills without the guard; with it the process ends by itself and says `expected`. Each has a file of its own. */
async function survives(t: ExecutionContext, source: string, expected: string, setting: Setting = {}) {
  const path = () => (setting.disk === undefined ? ones(t) : join(setting.disk, 'a.npy'))
  const naive = await attack(source, path(), { ...setting, guard: 'off' })
  t.is(naive.signal, 'SIGBUS', `without the guard: ${naive.stderr}${naive.stdout}`)
  const { code, signal, stdout, stderr } = await attack(source, path(), setting)
  t.deepEqual(
    { code, signal, stderr, stdout: stdout.trim() },
    { code: 0, signal: null, stderr: '', stdout: expected },
  )
}

const LOOP = `
    const sum = (data) => { let s = 0; for (let i = 0; i < data.length; i++) s += data[i]; return s }
    const truncate = "require('node:fs').truncateSync(require('node:worker_threads').workerData, 8192)"`

for (const mode of ['r', 'r+', 'c']) {
  posix(`mode '${mode}': the file is made shorter during a compiled loop over its data`, async (t) => {
    const source = `${LOOP}
      const a = openSync(path, { mode: '${mode}' })
      const { data } = a
      if (sum(data) !== ${N}) throw new Error('the file is not what it should be')
      new Worker(truncate, { eval: true, workerData: path, execArgv: [] })
      let found
      do { found = sum(data) } while (found === ${N})
      // How far the loop was is chance; a second one finds what is left of the file.
      console.log(found < ${N}, sum(data), a.lost, told(() => a.flushSync()), told(() => a.flushSync()), told(() => a.close()), a.lost)`
    // 8192 bytes less the header of 128.
    const expected = 'true 1008 true ERR_MAPPING_LOST truncated ERR_MAPPING_LOST truncated nothing true'
    await survives(t, source, expected)
  })
}

/** What reads or writes the data, which lost all but its first page; all of it is to be gone through without harm. */
const BUILTINS: [name: string, code: string, result: string][] = [
  ['indexOf', 'a.data.indexOf(2)', '-1'],
  ['fill', 'a.data.fill(3)[5]', '3'],
  ['copyWithin', 'a.data.copyWithin(0, 5000)[0]', '0'],
  ['sort', 'a.data.sort()[0]', '0'],
  ['slice', 'a.data.slice().at(-1)', '0'],
  ['set', 'new Float64Array(a.length).fill(1).set(a.data)', 'undefined'],
  [
    'Buffer.compare',
    'Buffer.compare(Buffer.from(a.data.buffer, a.data.byteOffset), Buffer.from(new Float64Array(a.length).fill(1).buffer))',
    '-1',
  ],
  ['DataView', 'new DataView(a.data.buffer).getFloat64(a.nbytes - 8)', '0'],
  ['get', 'a.get(a.length - 1)', '0'],
  ['crypto', "(await import('node:crypto')).createHash('md5').update(a.data).digest().length", '16'],
  ['native fill', 'a.fill(2).get(9)', '2'],
  ['native copy', 'a.copy().get(a.length - 1)', '0'],
  [
    'native assign',
    "createSync(path.replace('a.npy', 'b.npy'), { shape: a.shape, dtype: 'float32' }).assign(a).get(a.length - 1)",
    '0',
  ],
]

for (const [name, code, result] of BUILTINS) {
  posix(`the file is made shorter, then ${name}`, async (t) => {
    const source = `
      const a = openSync(path, { mode: 'c' })
      truncateSync(path, 4096)
      const result = ${code}
      console.log(result, a.lost, told(() => a.close()), told(() => a.close()))`
    await survives(t, source, `${result} true ERR_MAPPING_LOST truncated nothing`)
  })
}

posix('the file is made shorter, then a native reduction', async (t) => {
  const source = `
    const a = openSync(path, { mode: 'c' })
    truncateSync(path, 4096)
    console.log(told(() => a.sumSync()), told(() => a.minSync({ axis: 0 })), a.lost, told(() => a.close()))`
  await survives(t, source, 'ERR_MAPPING_LOST truncated ERR_MAPPING_LOST truncated true nothing')
})

for (const mode of ['r', 'r+', 'c']) {
  posix(`mode '${mode}': the file is made shorter during native reductions on threads`, async (t) => {
    const source = `
      const a = openSync(path, { mode: '${mode}' })
      const sum = () => a.broadcastTo([50, ${N}]).sum().catch((error) => error.code + ' ' + error.reason)
      // Two take turns, so that at any time one of them is at work.
      const until = async () => {
        let found
        do { found = await sum() } while (found === ${50 * N})
        return found
      }
      const first = await sum()
      const both = [until(), until()]
      truncateSync(path, 4096)
      console.log(first, ...await Promise.all(both), a.lost, told(() => a.close()))`
    const lost = 'ERR_MAPPING_LOST truncated'
    await survives(t, source, `${50 * N} ${lost} ${lost} true nothing`)
  })
}

posix('in a worker', async (t) => {
  const source = `
    const worker = new Worker(\`
      const { truncateSync } = require('node:fs')
      const { parentPort, workerData } = require('node:worker_threads')
      import('mmap-ndarray').then(({ openSync }) => {
        const a = openSync(workerData)
        truncateSync(workerData, 0)
        parentPort.postMessage([a.data.reduce((x, y) => x + y), a.lost])
      })\`, { eval: true, workerData: path, execArgv: [] })
    worker.on('message', ([sum, lost]) => console.log(sum, lost))`
  await survives(t, source, '0 true')
})

posix('a worker that loaded the library alone and ended has not taken the handler away', async (t) => {
  const program = (end: string) => `
    const { Worker } = require('node:worker_threads')
    const path = process.argv.at(-1)
    const open = "import('mmap-ndarray').then(({ openSync }) => openSync(require('node:worker_threads').workerData).get(0))"
    new Worker(open, { eval: true, workerData: path, execArgv: [] }).on('exit', async (code) => {
      if (code !== 0) process.exit(9)
      ${end}
    })`
  const start = (end: string) => run(process.execPath, ['--eval', program(end), '--', ones(t)], { cwd: root })
  // A handler whose code is gone would be a SIGSEGV.
  t.is((await start("process.kill(process.pid, 'SIGBUS'); setInterval(() => {}, 1000)")).signal, 'SIGBUS')
  const again = await start(`
      const { openSync } = await import('mmap-ndarray')
      const a = openSync(path)
      require('node:fs').truncateSync(path, 0)
      console.log(a.get(99), a.lost)`)
  t.is(again.stdout.trim(), '0 true', again.stderr)
})

posix('flush finds out that the file is shorter, also when nobody touched what is missing', (t) => {
  const path = ones(t)
  const a = openSync(path, { mode: 'r+' })
  a.flushSync()
  // In the middle of a page: no access to it is a fault.
  truncateSync(path, statSync(path).size - 8)
  t.false(a.lost)
  t.throws(() => a.flushSync(), { code: 'ERR_MAPPING_LOST', message: /made shorter/ })
  t.true(a.lost)
  a.close()
})

posix('what is left of the file goes on working, and so do other arrays', async (t) => {
  const [path, other] = [ones(t), ones(t)]
  const a = openSync(path, { mode: 'r+' })
  const b = openSync(other)
  truncateSync(path, 2 * 4096)
  t.is(a.get(N - 1), 0)
  a.set(0, 7)
  await t.throwsAsync(a.flush(), { code: 'ERR_MAPPING_LOST' })
  t.is(readFileSync(path).readDoubleLE(128), 7)
  t.is(statSync(path).size, 2 * 4096)
  t.true(a.lost)
  t.false(b.lost)
  t.is(b.get(N - 1), 1)
  b.close()
  a.close()
})

posix('a signal that is not ours does what it did before', async (t) => {
  const open = 'const a = openSync(path); a.get(0)'
  const forever = 'setInterval(() => {}, 1000)'
  t.is((await attack(`${open}; process.kill(process.pid, 'SIGBUS'); ${forever}`, ones(t))).signal, 'SIGBUS')
  const handler = `process.on('SIGBUS', () => { console.log('handled'); process.exit(0) })`
  const before = await attack(`${handler}; ${open}; process.kill(process.pid, 'SIGBUS'); ${forever}`, ones(t))
  t.is(before.stdout.trim(), 'handled', 'a handler from before')
})

posix('a handler installed later is put behind ours again by the next open', async (t) => {
  const source = `
    openSync(path)
    process.on('SIGBUS', () => { console.log('handled'); process.exit(0) })
    const a = openSync(path)
    truncateSync(path, 0)
    console.log(a.get(5), a.lost)
    process.kill(process.pid, 'SIGBUS')
    setInterval(() => {}, 1000)`
  const { stdout, stderr } = await attack(source, ones(t))
  t.is(stdout.trim().replace('\n', ' '), '0 true handled', stderr)
})

posix('traps of WebAssembly are still exceptions', async (t) => {
  // (module (memory (export "m") 1) (func (export "load") (param i32) (result i32) local.get 0 i32.load))
  const bytes = 'AGFzbQEAAAABBgFgAX8BfwMCAQAFAwEAAQcMAgFtAgAEbG9hZAAACgkBBwAgACgCAAs='
  const source = `
    const { instance } = await WebAssembly.instantiate(Buffer.from('${bytes}', 'base64'))
    const trap = () => { try { instance.exports.load(2 ** 30) } catch (error) { return error.constructor.name } }
    const a = openSync(path)
    truncateSync(path, 0)
    console.log(trap(), a.get(5), trap())`
  const { stdout, stderr } = await attack(source, ones(t))
  t.is(stdout.trim(), 'RuntimeError 0 RuntimeError', stderr)
})

const shell = process.platform === 'linux' ? test : test.skip

/** A process that may have this much private memory, KiB, cannot map this many bytes of a file privately. */
const STRICT = { data: 2 ** 21, bytes: 3 * 2 ** 30 }

/** Every way of JavaScript to store into the bytes of an array; `at` is where. */
const STORES: [name: string, code: string][] = [
  ['index', 'data[at] = 9'],
  ['fill', 'data.fill(9, at, at + 9)'],
  ['set', 'data.set([9, 9], at)'],
  ['copyWithin', 'data.copyWithin(at, 0, 9)'],
  ['sort', 'data.subarray(at, at + 2).sort()'],
  ['reverse', 'data.subarray(at, at + 2).reverse()'],
  ['DataView', 'new DataView(data.buffer).setUint8(at, 9)'],
  ['Atomics', 'Atomics.store(data, at, 9)'],
  ['Buffer', "Buffer.from(data.buffer).write('9', at)"],
  ['TextEncoder', "new TextEncoder().encodeInto('9', data.subarray(at))"],
  ['getRandomValues', 'globalThis.crypto.getRandomValues(data.subarray(at, at + 9))'],
  ['readSync', 'fs.readSync(fs.openSync(path), data, at, 9, 0)'],
]
const STORING = `
    const fs = await import('node:fs')
    const a = openSync(path)
    const { data } = a
    const at = data.length - 100
    let refused = []
    ${STORES.map(([name, code]) => `try { ${code} } catch (error) { refused.push('${name} ' + error.code) }`).join('\n')}
    let sum = 0
    for (let i = 0; i < 2 ** 20; i++) { data[i] = 7; sum += data[i] }
    const again = openSync(path)
    console.log(refused.join(), sum, again.data[at], again.data[0], a.lost, told(() => a.close()))
    again.close()`

posix("mode 'r': a store of any kind stays in this process, and kills nobody", async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [2 ** 21], dtype: 'uint8' }).close()
  const before = readFileSync(path)
  const { stdout, stderr } = await attack(STORING, path)
  t.is(stdout.trim(), '7340032 0 0 false nothing', stderr)
  t.true(before.equals(readFileSync(path)))
})

// Where memory is short there is no WebAssembly.Memory of this size either.
const shortOfMemory = backing === 'wasm' ? test.skip : shell

shortOfMemory(
  "mode 'r' where a private mapping is refused: mapped read-only, and stored to all the same",
  async (t) => {
    const path = join(folder(t), 'a.npy')
    const { data, bytes } = STRICT
    createSync(path, { shape: [bytes], dtype: 'uint8' }, { reserve: false }).close()
    const blocks = statSync(path).blocks
    const { stdout, stderr } = await attack(STORING, path, { data })
    // The system refuses to read into the page before it is private: an error, no fault.
    const expected = ['readSync EFAULT 7340032 0 0 false nothing', '7340032 0 0 false nothing']
    t.true(expected.includes(stdout.trim()), stdout + stderr)
    t.is(statSync(path).blocks, blocks)
    const naive = await attack('console.log(told(() => openSync(path)))', path, { data, guard: 'off' })
    t.is(naive.stdout.trim(), `ENOMEM ${path}`, naive.stderr)
    const copy = await attack("console.log(told(() => openSync(path, { mode: 'c' })))", path, { data })
    t.is(copy.stdout.trim(), `ENOMEM ${path}`, copy.stderr)
  },
)

const mounted = mayMount('a full disk under a hole of a file') ? test : test.skip

for (const [name, store] of [
  ['a loop', 'for (let i = 0; i < a.data.length; i++) a.data[i] = 1'],
  ['native code', 'a.fill(1)'],
] as const) {
  mounted(`a full disk under a hole of the file that ${name} writes to`, async (t) => {
    const source = `
      createSync(path, { shape: [${BYTES}], dtype: 'uint8' }, { reserve: false }).close()
      const a = openSync(path, { mode: 'r+' })
      ${store}
      console.log(a.lost, a.get(${BYTES - 1}), told(() => a.flushSync()), told(() => a.close()))
      // What had room is in the file.
      console.log(readFileSync(path).subarray(128).indexOf(0) > 2 ** 20)`
    await survives(t, source, 'true 1 ERR_MAPPING_LOST no-space nothing\ntrue', { disk: folder(t) })
  })
}
