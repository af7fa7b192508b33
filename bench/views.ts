/**
 * What a view costs beside npm ndarray and @stdlib/ndarray: one run, answers checked before anything is timed.
 *
 * Read the ratios. The times of a shared machine mean little, and a ratio below about 1.3 means nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ndarray from '@stdlib/ndarray-base-ctor'
import { createSync, NdView, slice } from 'mmap-ndarray'
import scijs from 'ndarray'
import { Bench } from 'tinybench'

const N = 64
const values = Float64Array.from({ length: N * N }, (_, i) => i * 0.5)
const total = values.reduce((sum, value) => sum + value, 0)
const folder = mkdtempSync(join(tmpdir(), 'mmap-ndarray-bench-'))

const ours = new NdView(values.slice(), [N, N])
const mapped = createSync(join(folder, 'a.npy'), { data: values, shape: [N, N] })
const theirs = scijs(values.slice(), [N, N])
const standard = ndarray('float64', values.slice(), [N, N], [N, 1], 0, 'row-major')

interface Grid {
  get(i: number, j: number): number
  set(i: number, j: number, value: number): unknown
}

// A function of its own for each kind, so that none is slowed down by the kinds seen before.
const summing = (grid: Grid): (() => number) =>
  new Function(
    'grid',
    'n',
    `return () => { let s = 0
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) s += grid.get(i, j)
    return s }`,
  )(grid, N)
const storing = (grid: Grid, set = 'grid.set(i, j, i + j)'): (() => number) =>
  new Function(
    'grid',
    'n',
    `return () => {
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) ${set}
    return grid.get(n - 1, n - 1) }`,
  )(grid, N)
const indexing = (view: object): (() => number) =>
  new Function(
    'view',
    'n',
    `return () => { let s = 0; const data = view.data
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) s += data[view.index(i, j)]
    return s }`,
  )(view, N)
// Each part is kept for a moment: a view that nobody sees is one that V8 never makes.
const cutting = (view: object, cut: string): (() => number) =>
  new Function(
    'view',
    'n',
    'slice',
    'kept',
    `return () => { let s = 0
    for (let i = 1; i < n; i++) { const part = ${cut}; kept[i & 7] = part; s += part.offset }
    return s }`,
  )(view, N, slice, new Array(8).fill(null))

/** title, the answer that all must give, and each contender; the first is what the others are compared with. */
const groups: [title: string, answer: number, contenders: [name: string, run: () => number][]][] = [
  [
    'get(i, j), in cache',
    total,
    [
      ['scijs', summing(theirs as never)],
      ['NdView, checked', summing(ours as never)],
      ['mapped, checked', summing(mapped as never)],
      ['stdlib, checked', summing(standard as never)],
    ],
  ],
  [
    'data[index(i, j)], in cache, against scijs get',
    total,
    [
      ['scijs', summing(theirs as never)],
      ['NdView', indexing(ours)],
      ['mapped', indexing(mapped)],
    ],
  ],
  [
    'set(i, j, value), in cache',
    2 * (N - 1),
    [
      ['scijs', storing(theirs as never)],
      ['NdView, checked', storing(ours as never)],
      ['mapped, checked', storing(mapped as never)],
      ['stdlib, checked', storing(standard as never)],
    ],
  ],
  [
    'part of an array, against a chain of lo and hi of scijs',
    ((N * (N - 1)) / 2) * (N + 1),
    [
      ['scijs lo hi', cutting(theirs, 'view.lo(i, i).hi(1, 1)')],
      ['NdView lo hi', cutting(ours, 'view.lo(i, i).hi(1, 1)')],
      ['mapped lo hi', cutting(mapped, 'view.lo(i, i).hi(1, 1)')],
      ['NdView slice(slice, slice)', cutting(ours, 'view.slice(slice(i, i + 1), slice(i, i + 1))')],
      ["NdView slice('a:b', 'a:b')", cutting(ours, "view.slice(i + ':' + (i + 1), i + ':' + (i + 1))")],
    ],
  ],
  [
    'one row',
    ((N * (N - 1)) / 2) * N,
    [
      ['scijs pick', cutting(theirs, 'view.pick(i)')],
      ['NdView pick', cutting(ours, 'view.pick(i)')],
      ['mapped pick', cutting(mapped, 'view.pick(i)')],
    ],
  ],
]

console.log(`Node.js ${process.versions.node}, ${process.arch}`)
for (const [title, answer, contenders] of groups) {
  const bench = new Bench({ time: 400, warmupTime: 200 })
  for (const [name, run] of contenders) {
    const found = run()
    if (found !== answer) throw new Error(`${title}, ${name}: ${found}, expected ${answer}`)
    bench.add(name, () => void run())
  }
  await bench.run()
  console.log(`\n${title}`)
  const median = (n: number) => {
    const { result } = bench.tasks[n] ?? {}
    return result !== undefined && 'latency' in result ? result.latency.p50 : Number.NaN
  }
  for (const [n, [name]] of contenders.entries()) {
    console.log(`  ${name.padEnd(30)} ${(median(n) / median(0)).toFixed(2).padStart(6)} x`)
  }
}
mapped.close()
rmSync(folder, { recursive: true })
