/** Ends in the middle of things: a process or a worker that exits or is ended inside a loop over the data. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createSync } from 'mmap-ndarray'
import { backing, folder, movable, run, runScript, wholeInOneWindow } from './helpers.js'

wholeInOneWindow()

const N = 2 ** 20

function zeros(t: ExecutionContext): string {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [N], dtype: 'float64' }).close()
  return path
}

/** A loop that stores to all of an array, flushes a first half of it, and then never ends. */
const LOOP = `
    const a = openSync(path, { mode: 'r+' })
    const { data } = a
    const [load, store] = ArrayBuffer.isView(data)
      ? [(i) => data[i], (i, x) => { data[i] = x }]
      : [(i) => data.get(i), (i, x) => data.set(i, x)]
    for (let i = 0; i < data.length / 2; i++) store(i, 7)
    a.flushSync()
    const forever = (each) => {
      for (let round = 0; ; round++) {
        for (let i = data.length / 2; i < data.length; i++) store(i, load(i - 1) + round)
        each(round)
      }
    };`

/** name, code of the main thread, code of the worker where there is one, exit code and signal of the process */
const ENDS: [name: string, main: string, worker: string, code: number | null, signal: string | null][] = [
  ['process.exit', `${LOOP} forever((round) => { if (round === 20) process.exit(3) })`, '', 3, null],
  ['an exception', `${LOOP} forever((round) => { if (round === 20) throw new Error('end') })`, '', 1, null],
  [
    'SIGKILL',
    `${LOOP} forever((round) => { if (round === 20) process.kill(process.pid, 'SIGKILL') })`,
    '',
    null,
    'SIGKILL',
  ],
  [
    'process.exit in a worker',
    "start().on('exit', (code) => console.log('worker', code))",
    `${LOOP} forever((round) => { if (round === 20) process.exit(5) })`,
    0,
    null,
  ],
  [
    'process.exit while a worker loops',
    "start().on('message', () => process.exit(4))",
    `${LOOP} parentPort.postMessage(0); forever(() => {})`,
    4,
    null,
  ],
  [
    'worker.terminate',
    "const worker = start().on('message', () => worker.terminate().then((code) => console.log('worker', code)))",
    `${LOOP} parentPort.postMessage(0); forever(() => {})`,
    0,
    null,
  ],
]

for (const [name, main, worker, code, signal] of ENDS) {
  test(`${name}, inside a loop over the data: no crash, and every flushed byte is in the file`, async (t) => {
    const path = zeros(t)
    const script = `
      import { Worker } from 'node:worker_threads'
      import { openSync } from 'mmap-ndarray'
      const path = process.argv[1]
      const start = () => new Worker(${JSON.stringify(`
        import { parentPort, workerData as path } from 'node:worker_threads'
        import { openSync } from 'mmap-ndarray'
        ${worker}`)}, { eval: true, workerData: path })
      ${main}`
    const ended = await runScript(script, path)
    // Windows has no signals: whoever is killed ends with 1.
    const expected = signal && process.platform === 'win32' ? { code: 1, signal: null } : { code, signal }
    t.like(ended, expected, ended.stderr)
    const bytes = readFileSync(path)
    const found = new Float64Array(bytes.buffer, bytes.byteOffset + 128, N)
    t.true(found.subarray(0, N / 2).every((value) => value === 7))
  })
}

const linux = process.platform === 'linux' ? test : test.skip

linux(
  'rounds of opening and closing, and many arrays at once beside a large heap, leave nothing',
  async (t) => {
    const script = `
    import { readdirSync, readFileSync } from 'node:fs'
    import { open, openSync } from 'mmap-ndarray'
    const path = process.argv[1]
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const settle = async () => { for (let n = 0; n < 10; n++) { gc(); await turn() } }
    const measure = () => ({
      anon: 1024 * /RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1],
      maps: readFileSync('/proc/self/maps', 'utf8').split('\\n').length,
      files: readdirSync('/proc/self/fd').length,
    })
    const rounds = async (count) => {
      for (let n = 0; n < count; n++) {
        const a = n % 8 ? openSync(path, { mode: ['r', 'r+', 'c'][n % 3] }) : await open(path)
        if (a.slice('9:10').toTypedArray()[0] !== 0 || a.get(9) !== 0) throw new Error('the file is not what it should be')
        a.close()
        if (n % 500 === 0) await turn()
      }
      await settle()
    }
    const heap = Array.from({ length: 1e6 }, (_, i) => ({ i }))
    const many = async () => {
      const arrays = Array.from({ length: 200 }, () => openSync(path, { mode: 'c' }))
      for (const a of arrays) a.slice('0:1').toTypedArray()[0] = 1
      const during = measure()
      for (const a of arrays) a.close()
      await settle()
      return during
    }
    // What is made once (threads, code, pools) is there after a first round of everything.
    await rounds(20_000)
    await many()
    const before = measure()
    await rounds(50_000)
    const during = await many()
    const after = measure()
    console.log(JSON.stringify({
      anon: after.anon - before.anon, maps: after.maps - before.maps, files: after.files - before.files,
      seen: during.files - before.files, heap: heap.length,
    }))`
    const { stdout, ...ended } = await runScript(script, zeros(t))
    t.deepEqual(ended, { stderr: '', code: 0, signal: null })
    const found = JSON.parse(stdout)
    t.like(found, { files: 0, seen: 200 })
    // The heap breathes by some MiB; the least that one forgotten array takes would be twice as much.
    t.true(found.anon < 20 * 2 ** 20, `private memory grew by ${found.anon} bytes`)
    // V8 gives memory of WebAssembly back when it has time.
    t.true(found.maps < (backing === 'wasm' ? 400 : 20), `there are ${found.maps} mappings more`)
  },
)

const immutable = movable && Number(process.versions.node.split('.')[0]) >= 26 ? test : test.skip

immutable('a buffer made immutable: close takes the file from it and ends nobody', async (t) => {
  const source = `
    import { openSync } from 'mmap-ndarray'
    const path = process.argv.at(-1)
    const a = openSync(path, { mode: 'r+' })
    a.set(3, 5)
    const moved = a.data.buffer.transferToImmutable()
    const before = new Float64Array(moved)[3]
    a.close()
    console.log(moved.immutable, before, new Float64Array(moved)[3], openSync(path).get(3))`
  const flags = ['--js-immutable-arraybuffer', '--input-type=module', '--eval', source, '--', zeros(t)]
  const { stdout, stderr } = await run(process.execPath, flags, { cwd: process.cwd() })
  t.is(stdout.trim(), 'true 5 0 5', stderr)
})
