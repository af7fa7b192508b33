/**
 * What appending costs beside one `fs.createWriteStream` of the same bytes, in one run: `npm run bench -- --only Appending`,
 * or with another Node.js after that, `other/node --import=@oxc-node/core/register bench/append.ts`. The folder to write in
 * is the system's temporary one; it needs 4 GB.
 *
 * Each way writes a million rows of 768 float32 to a new file, and the file is checked before its time counts. The ways
 * take turns, and the fastest run of each counts. The stream gets the rows in the same parts as the array, and waits for
 * 'drain' as it asks for; how often it is asked to write decides its speed, so each way has a stream of its own to be
 * compared with.
 */
import { once } from 'node:events'
import {
  closeSync,
  createWriteStream,
  mkdtempSync,
  openSync as openFile,
  readSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSync } from 'mmap-ndarray'

const WIDTH = 768
const ROWS = Number(process.env.ROWS ?? 1_000_000)
const BATCH = 1000
const RUNS = Number(process.env.RUNS ?? 3)
const BYTES = ROWS * WIDTH * 4

/** Rows that differ from one another, in one buffer that is sent again and again. */
const batch = Float32Array.from({ length: BATCH * WIDTH }, (_, i) => (i % 4093) + 0.5)
const rows = Array.from({ length: BATCH }, (_, n) => batch.subarray(n * WIDTH, (n + 1) * WIDTH))
const matrix = { data: batch, shape: [BATCH, WIDTH] }
const bytesOf = (part: Float32Array) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)

type Way = (path: string) => Promise<void>

const stream =
  (parts: Uint8Array[]): Way =>
  async (path) => {
    const out = createWriteStream(path)
    const count = BYTES / (parts[0] as Uint8Array).length
    for (let n = 0; n < count; n++) {
      if (!out.write(parts[n % parts.length])) await once(out, 'drain')
    }
    out.end()
    await once(out, 'close')
  }

const array =
  (capacity: number, append: (a: ReturnType<typeof empty>) => Promise<void> | void): Way =>
  async (path) => {
    const a = empty(path, capacity)
    await append(a)
    if (a.shape[0] !== ROWS) throw new Error(`${a.shape}`)
    a.close()
  }
const empty = (path: string, capacity: number) =>
  createSync(path, { shape: [0, WIDTH], dtype: 'float32' }, { format: 'npy', capacity })

const byRow = (a: ReturnType<typeof empty>) => {
  for (let n = 0; n < ROWS; n++) a.appendSync(rows[n % BATCH] as Float32Array)
}

const groups: [title: string, ways: [name: string, way: Way, header: number][]][] = [
  [
    `${ROWS} rows, one at a time`,
    [
      ['createWriteStream', stream(rows.map(bytesOf)), 0],
      ['appendSync', array(0, byRow), 128],
      ['appendSync, capacity', array(BYTES, byRow), 128],
    ],
  ],
  [
    `${ROWS} rows in batches of ${BATCH}`,
    [
      ['createWriteStream', stream([bytesOf(batch)]), 0],
      [
        'appendSync',
        array(0, (a) => {
          for (let n = 0; n < ROWS; n += BATCH) a.appendSync(matrix)
        }),
        128,
      ],
      [
        'append',
        array(0, async (a) => {
          for (let n = 0; n < ROWS; n += BATCH) await a.append(matrix)
        }),
        128,
      ],
    ],
  ],
]

/** The file has every row. */
function check(path: string, header: number): void {
  if (statSync(path).size !== header + BYTES) throw new Error(`${statSync(path).size} bytes`)
  const file = openFile(path, 'r')
  const expected = Buffer.from(bytesOf(batch))
  const found = Buffer.alloc(expected.length)
  for (let at = 0; at < BYTES; at += expected.length) {
    readSync(file, found, 0, found.length, header + at)
    if (!found.equals(expected)) throw new Error(`other bytes after byte ${at}`)
  }
  closeSync(file)
}

const folder = mkdtempSync(join(tmpdir(), 'mmap-ndarray-bench-'))
const path = join(folder, 'a')
try {
  console.log(`Node.js ${process.versions.node}, ${process.arch}`)
  for (const [title, ways] of groups) {
    const fastest = ways.map(() => Number.POSITIVE_INFINITY)
    for (let run = 0; run < RUNS; run++) {
      for (const [n, [, way, header]] of ways.entries()) {
        const start = performance.now()
        await way(path)
        fastest[n] = Math.min(fastest[n] as number, performance.now() - start)
        check(path, header)
        rmSync(path)
      }
    }
    console.log(`\n${title}`)
    for (const [n, [name]] of ways.entries()) {
      const time = fastest[n] as number
      const speed = `${(BYTES / time / 1e6).toFixed(2)} GB/s`
      console.log(
        `  ${name.padEnd(24)} ${speed.padStart(10)} ${((fastest[0] as number) / time).toFixed(2)} x`,
      )
    }
  }
} finally {
  rmSync(folder, { recursive: true })
}
