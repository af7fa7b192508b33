// `npm run leak [-- ROUNDS]`: opens, uses and closes arrays, thousands of times; nothing of them may stay.
//
// On Linux, where the system says what a process has: memory, mappings and descriptors before and after.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSync, openSync } from 'mmap-ndarray'

const rounds = Number(process.argv[2] ?? 20_000)
const folder = mkdtempSync(join(tmpdir(), 'mmap-ndarray-leak-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'a.npy')
createSync(path, { shape: [256, 256], dtype: 'float32', fill: 1 }).close()

async function round(mode) {
  const a = openSync(path, { mode })
  if (mode !== 'r') a.pick(3).fill(2)
  if ((await a.slice('3').sum()) <= 0) throw new Error('the sum is wrong')
  if (mode === 'c') a.pick(3).commitSync()
  a.close()
}

async function settled() {
  for (let turn = 0; turn < 20; turn++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    'KiB of private memory': Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]),
    mappings: readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .filter((line) => line.includes(folder)).length,
    descriptors: readdirSync('/proc/self/fd').length,
  }
}

const modes = ['r', 'r+', 'c']
for (let i = 0; i < 1000; i++) await round(modes[i % 3])
const before = await settled()
for (let i = 0; i < rounds; i++) await round(modes[i % 3])
const after = await settled()
console.log(`before, and after ${rounds} rounds:`, before, after)
// A leak of 1 KiB a round would be 20 MiB; what V8 keeps for itself comes and goes.
const leaked =
  after.mappings > 0 ||
  after.descriptors > before.descriptors ||
  after['KiB of private memory'] - before['KiB of private memory'] > rounds / 2
process.exitCode = leaked ? 1 : 0
