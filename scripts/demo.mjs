// The main job, shown: an array file is created, opened in three modes, sliced, changed and closed.
//
// Memory is RssAnon of /proc/self/status, the private memory of this process. Plain RSS counts the page cache, which
// the kernel takes back when somebody needs it, and so proves nothing.
import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { create, open, slice } from 'mmap-ndarray'

const ROWS = 262144
const COLUMNS = 1024
const GIB = 2 ** 30

const bold = (text) => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text)
const dim = (text) => (process.stdout.isTTY ? `\x1b[2m${text}\x1b[0m` : text)
const say = (what, result = '', note = '') =>
  console.log(`  ${what.padEnd(46)} ${result.padStart(12)}  ${dim(note)}`)
const title = (text) => console.log(`\n${bold(text)}`)

function privateMemory() {
  if (!existsSync('/proc/self/status')) return Number.NaN
  return 1024 * Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
}

const size = (bytes) => {
  if (Number.isNaN(bytes)) return 'not known'
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(2)} GiB`
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${Math.round(bytes / 1024)} KiB`
}
const time = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(2)} ms`)

/** Gives back what is no longer used, so that the next measurement starts clean. */
const settle = () => globalThis.gc?.()

/** Runs something; gives its result, its time and what it added to private memory. */
async function measure(work) {
  settle()
  const [memory, start] = [privateMemory(), performance.now()]
  const result = await work()
  return { result, ms: performance.now() - start, memory: Math.max(0, privateMemory() - memory) }
}

async function digest(path) {
  const hash = createHash('sha1')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

async function tour(path) {
  title(
    `1 GiB of float32 in ${path.split('.').pop() === 'npy' ? 'a .npy file' : "a .mmap file, the seed's format"}`,
  )

  const made = await measure(() => create(path, { shape: [ROWS, COLUMNS], dtype: 'float32' }))
  say(
    'create by shape',
    time(made.ms),
    'disk space reserved, on disk, under its name; nothing passed through memory',
  )
  const array = made.result
  const filled = await measure(() => array.fill(1))
  for (let row = 0; row < ROWS; row += 1024) array.pick(row).fill(row)
  say('fill, every 1024th row with its number', time(filled.ms), `private memory +${size(filled.memory)}`)
  const flushed = await measure(() => array.flush())
  say('flush to the disk', time(flushed.ms))
  array.close()

  const opened = await measure(() => open(path))
  say("open, mode 'r'", time(opened.ms), `private memory +${size(opened.memory)}`)
  const read = await measure(() => readFile(path))
  say('fs.readFile of the same file', time(read.ms), `private memory +${size(read.memory)}`)
  read.result = null

  const a = opened.result
  say('a.shape, a.get(2048, 5)', `${a.get(2048, 5)}`, `[${a.shape}]`)
  const part = a.slice(slice(0, null, 1024), '-3:')
  say("a.slice(slice(0, null, 1024), '-3:')", `[${part.shape}]`, 'a view, not a copy')
  console.log(
    dim(
      `    ${String(
        part
          .slice(':4')
          .toArray()
          .map((row) => `[${row}]`)
          .join(' '),
      )}`,
    ),
  )
  say('a.T, every second row backwards', `[${a.slice('::-2').T.shape}]`)
  try {
    a.set(0, 0, 7)
  } catch (error) {
    say('a.set(0, 0, 7)', error.code, 'the process lives')
  }
  a.close()

  const before = await digest(path)
  const c = await open(path, { mode: 'c' })
  // 0.1 % of the file: one row of every 1,000.
  const changed = await measure(() => {
    for (let row = 0; row < ROWS; row += 1000) c.pick(row).fill(-1)
  })
  const share = Math.ceil(ROWS / 1000) * COLUMNS * 4
  say(
    "mode 'c': change 0.1 % of it",
    time(changed.ms),
    `${size(share)} changed, private memory +${size(changed.memory)}`,
  )
  say(
    'c.get(1000, 0) / the file',
    `${c.get(1000, 0)}`,
    (await digest(path)) === before ? 'the file did not change' : 'THE FILE CHANGED',
  )
  c.close()
  say('c.close()', `${c.closed}`, 'every typed array of it has length 0 now')
}

const folder = mkdtempSync(join(tmpdir(), 'mmap-ndarray-demo-'))
const { bavail, bsize } = statfsSync(folder)
if (bavail * bsize < 1.5 * GIB) {
  rmSync(folder, { recursive: true })
  console.error(`The demo needs 1.5 GiB of free space in ${tmpdir()}; set TMPDIR to a folder that has it.`)
  process.exit(1)
}
try {
  for (const name of ['demo.npy', 'demo.mmap']) {
    await tour(join(folder, name))
    rmSync(join(folder, name))
  }
} finally {
  rmSync(folder, { recursive: true })
}

title('Files that the seed crate and numpy wrote')
const fixtures = fileURLToPath(new URL('../crates/core/tests/fixtures', import.meta.url))
for (const [kind, wanted] of [
  ['mmap', /^(f32_2x3x4|f64_17|i64_9|i32_100)/],
  ['npy', /^(lef8|lei8|fortran|nb1|scalar|v3)/],
]) {
  for (const name of readdirSync(join(fixtures, kind)).filter((file) => wanted.test(file))) {
    using_(await open(join(fixtures, kind, name)), (a) => {
      const flat = a.toTypedArray({ copy: true })
      say(
        name,
        a.dtype,
        `[${a.shape}] ${a.descr}: ${Array.from(flat.subarray(0, 5), (x) => (Object.is(x, -0) ? '-0' : String(x))).join(', ')}${flat.length > 5 ? ', …' : ''}`,
      )
    })
  }
}
console.log('\nAll closed, all temporary files removed.')

/** `using` for Node.js 20. */
function using_(array, work) {
  try {
    work(array)
  } finally {
    array.close()
  }
}
