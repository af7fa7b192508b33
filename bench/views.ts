/**
 * What a view costs beside npm ndarray and @stdlib/ndarray, in one run: `npm run bench -- --only Views`, or, after that,
 * with another Node.js, `other/node --import=@oxc-node/core/register bench/views.ts`. With `--quick` it only checks answers.
 *
 * Read the ratios; a difference below about 0.1 is noise. How it measures, and why:
 * - Each contender runs in a process of its own, because V8 compiles a method for all that it has met there.
 *   The processes of a group take turns, one sample each at a time, and the fastest sample of each counts: what
 *   else the machine does only ever adds.
 * - The loop gets the view as an argument and meets several views in turn, as code in a library does. Around one
 *   constant view V8 reads fields of the view while compiling; the groups 'one constant view' show that case too.
 * - What a loop makes is kept for a moment: a view that nobody sees is one that V8 never makes. The view in the
 *   middle of a chain is not kept; where V8 can leave it out, that is a merit of the contender.
 * - Answers are checked before anything is timed.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import standard from '@stdlib/ndarray-base-ctor'
import { createSync, NdView, slice } from 'mmap-ndarray'
import scijs from 'ndarray'

const N = 64
const VIEWS = 4
const ROUNDS = 25
const quick = process.argv.includes('--quick')
/** Sum of the elements of a view, and of the offsets that the loops below reach. */
const total = (N * N * (N * N - 1)) / 4
const diagonal = ((N * (N - 1)) / 2) * (N + 1)

const values = () => Float64Array.from({ length: N * N }, (_, i) => i * 0.5)
const make: { [library: string]: (folder: string, n: number) => object } = {
  scijs: () => scijs(values(), [N, N]),
  stdlib: () => standard('float64', values(), [N, N], [N, 1], 0, 'row-major'),
  NdView: () => new NdView(values(), [N, N]),
  mapped: (folder, n) => createSync(join(folder, `${n}.npy`), { data: values(), shape: [N, N] }),
}

const elements = (body: string) => `let s = 0; const { data } = view
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) ${body}
  return s`
const parts = (part: string) => `let s = 0
  for (let i = 1; i < n; i++) { const part = ${part}; kept[i & 7] = part; s += part.offset }
  return s`

const get = elements('s += view.get(i, j)')
const set = `${elements('view.set(i, j, i + j)').replace('return s', 'return view.get(n - 1, n - 1)')}`
const index = elements('s += data[view.index(i, j)]')
const chain = parts('view.lo(i, i).hi(1, 1)')
const row = parts('view.pick(i)')

interface Group {
  title: string
  answer: number
  /** The loop's body closes over one constant view, instead of getting one as an argument. */
  constant?: boolean
  /** Library, body of the loop, and what it does where it differs; the first is what the others are compared with. */
  contenders: [library: string, body: string, what?: string][]
}

const all = (body: string): Group['contenders'] => [
  ['scijs', body],
  ['NdView', body],
  ['mapped', body],
  ['stdlib', body],
]

const groups: Group[] = [
  { title: 'get(i, j), in cache', answer: total, contenders: all(get) },
  { title: 'get(i, j), one constant view', answer: total, constant: true, contenders: all(get) },
  { title: 'set(i, j, value), in cache', answer: 2 * (N - 1), contenders: all(set) },
  { title: 'set(i, j, value), one constant view', answer: 2 * (N - 1), constant: true, contenders: all(set) },
  {
    title: 'data[index(i, j)], against get of scijs',
    answer: total,
    contenders: [
      ['scijs', get, 'get'],
      ['scijs', index],
      ['NdView', index],
      ['mapped', index],
    ],
  },
  {
    title: 'a part of an array, against the chain lo(i, i).hi(1, 1) of scijs',
    answer: diagonal,
    contenders: [
      ['scijs', chain, 'lo hi'],
      ['NdView', chain, 'lo hi'],
      ['mapped', chain, 'lo hi'],
      ['NdView', parts('view.slice(slice(i, i + 1), slice(i, i + 1))'), 'slice(slice(i, i + 1), ...)'],
      ['NdView', parts('view.slice(ranges[i], ranges[i])'), 'slice(range, range)'],
      ['mapped', parts('view.slice(slice(i, i + 1), slice(i, i + 1))'), 'slice(slice(i, i + 1), ...)'],
      ['NdView', parts("view.slice(i + ':' + (i + 1), i + ':' + (i + 1))"), "slice('i:i+1', ...)"],
      ['NdView', parts('view.slice(i, i)'), 'slice(i, i)'],
    ],
  },
  { title: 'lo(i, i)', answer: diagonal, contenders: all(parts('view.lo(i, i)')).slice(0, 3) },
  {
    title: 'one row, against pick(i) of scijs',
    answer: ((N * (N - 1)) / 2) * N,
    contenders: [...all(row).slice(0, 3), ['NdView', parts('view.slice(i, null)'), 'slice(i, null)']],
  },
]

type Loop = (view: object, n: number, slice: unknown, ranges: unknown[], kept: unknown[]) => number

/** In a process of its own: checks the answer, warms up, then answers each message with the time of one sample. */
function contend({ answer, constant }: Group, library: string, body: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'mmap-ndarray-bench-'))
  const views = Array.from({ length: constant ? 1 : VIEWS }, (_, n) => make[library]?.(folder, n) as object)
  const ranges = Array.from({ length: N }, (_, i) => slice(i, i + 1))
  const kept = Array(8).fill(null)
  const parameters = 'view, n, slice, ranges, kept'
  const loop: Loop = constant
    ? new Function(parameters, `return () => { ${body} }`)(views[0], N, slice, ranges, kept)
    : (new Function(parameters, body) as Loop)
  for (let run = 0; run < (quick ? VIEWS : 5000); run++) {
    const found = loop(views[run % views.length] as object, N, slice, ranges, kept)
    if (found !== answer) throw new Error(`${library}: ${body}: ${found}, expected ${answer}`)
  }
  process.on('message', () => {
    let fastest = Number.POSITIVE_INFINITY
    for (let sample = 0; sample < 20; sample++) {
      const start = process.hrtime.bigint()
      for (let run = 0; run < 50; run++) {
        loop(views[run % views.length] as object, N, slice, ranges, kept)
      }
      fastest = Math.min(fastest, Number(process.hrtime.bigint() - start))
    }
    process.send?.(fastest)
  })
  process.on('disconnect', () => rmSync(folder, { recursive: true }))
  process.send?.('ready')
}

/** What a contender says next. */
async function next(child: ChildProcess): Promise<unknown> {
  const heard = new AbortController()
  const ended = once(child, 'exit', heard).then(([code]) => {
    throw new Error(`a contender ended with ${code}`)
  })
  try {
    return (await Promise.race([once(child, 'message', heard), ended]))[0]
  } finally {
    heard.abort()
  }
}

async function measure({ title, contenders }: Group, group: number): Promise<void> {
  const children = contenders.map((_, n) =>
    fork(fileURLToPath(import.meta.url), [`${group}`, `${n}`, ...(quick ? ['--quick'] : [])]),
  )
  const fastest = contenders.map(() => Number.POSITIVE_INFINITY)
  await Promise.all(children.map(next))
  for (let round = 0; round < (quick ? 0 : ROUNDS); round++) {
    for (const [n, child] of children.entries()) {
      const sample = next(child)
      child.send('sample')
      fastest[n] = Math.min(fastest[n] as number, (await sample) as number)
    }
  }
  for (const child of children) child.disconnect()
  console.log(`\n${title}`)
  if (quick) return
  for (const [n, [library, , what = '']] of contenders.entries()) {
    const ratio = (fastest[n] as number) / (fastest[0] as number)
    console.log(`  ${`${library} ${what}`.padEnd(36)} ${ratio.toFixed(2).padStart(6)} x`)
  }
}

const [group, contender] = process.argv.slice(2).filter((one) => one !== '--quick')
if (group !== undefined && contender !== undefined) {
  const chosen = groups[Number(group)] as Group
  const [library, body] = chosen.contenders[Number(contender)] as [string, string]
  contend(chosen, library, body)
} else {
  console.log(`Node.js ${process.versions.node}, ${process.arch}`)
  for (const [n, group] of groups.entries()) await measure(group, n)
}
