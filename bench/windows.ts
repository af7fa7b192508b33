/**
 * What windows cost: a full scan in JavaScript of one file through windows, beside the same scan of it in one buffer.
 * `npm run bench:windows`, or with another Node.js after that, `other/node --import=@oxc-node/core/register
 * bench/windows.ts`. The folder to write in may be given as an argument; it needs a GB.
 *
 * Both sides take the chunks of the same array one after the other, as typed arrays over the file itself, and the sum is
 * checked. They take turns, and the fastest run of each counts. Windows are of 64 MiB, so that they change often. Exits
 * with 1 where windows have less than 0.7 of the other's throughput.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSync, type MmapArray, openSync } from 'mmap-ndarray'

const ROWS = Number(process.env.ROWS ?? 2 ** 17)
const WIDTH = 1000
const RUNS = Number(process.env.RUNS ?? 5)
const LEAST = 0.7

process.env.MMAP_NDARRAY_WINDOW = String(2 ** 26)

type Scan = (a: MmapArray<'float64'>) => Promise<number>

const SCANS: Record<string, Scan> = {
  'chunks, typed arrays': async (a) => {
    let sum = 0
    for await (const chunk of a.chunks()) {
      const data = chunk.toTypedArray()
      for (let i = 0; i < data.length; i++) sum += data[i] as number
    }
    return sum
  },
  'rows, typed arrays': async (a) => {
    let sum = 0
    for (let row = 0; row < ROWS; row++) {
      const data = a.pick(row).toTypedArray()
      for (let i = 0; i < WIDTH; i++) sum += data[i] as number
    }
    return sum
  },
  'get(i, j)': async (a) => {
    let sum = 0
    for (let i = 0; i < ROWS; i++) for (let j = 0; j < WIDTH; j++) sum += a.get(i, j)
    return sum
  },
  'native sum': (a) => a.sum(),
}

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'mmap-ndarray-bench-'))
try {
  const path = join(folder, 'a.npy')
  createSync(path, { shape: [ROWS, WIDTH], dtype: 'float64', fill: 0.5 }).close()
  const sides = (['external', 'window'] as const).map((backing) => openSync<'float64'>(path, { backing }))
  for (const [name, scan] of Object.entries(SCANS)) {
    const best = sides.map(() => Number.POSITIVE_INFINITY)
    for (let run = 0; run < RUNS; run++) {
      for (const [n, side] of sides.entries()) {
        const start = performance.now()
        const sum = await scan(side)
        best[n] = Math.min(best[n] as number, performance.now() - start)
        if (sum !== (ROWS * WIDTH) / 2) throw new Error(`${name}: ${sum}`)
      }
    }
    const rates = best.map((ms) => (ROWS * WIDTH * 8) / ms / 1e6)
    const ratio = (rates[1] as number) / (rates[0] as number)
    const [one, windows] = rates.map((rate) => rate.toFixed(2).padStart(6))
    console.log(
      `${name.padEnd(22)} external ${one} GB/s   window ${windows} GB/s   ratio ${ratio.toFixed(2)}`,
    )
    if (name.startsWith('chunks') && ratio < LEAST) process.exitCode = 1
  }
  for (const side of sides) side.close()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
