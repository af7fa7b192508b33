/**
 * `npm run bench`: mmap-ndarray beside its peers, on the same files in one run. It fails for a wrong answer, never for a
 * slow one.
 *
 * Options:
 *   --quick        small files, one sample each, nothing written: only that all runs and that answers agree
 *   --only TEXT    the cases whose name or heading has TEXT in it; nothing is written
 *   --size MIB     MiB of most files; default 1024, and 8 when quick
 *   --dir FOLDER   where the files of the run are made; default the system's temporary folder
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Sizes } from './case.js'
import { around } from './cases/around.js'
import { files as fileCases } from './cases/files.js'
import { reductions } from './cases/reductions.js'
import { search } from './cases/search.js'
import { Files } from './files.js'
import { type Effort, type Measured, measure, WrongAnswer } from './measure.js'
import { Peers } from './peers.js'
import { counts, lines, type Report, type Said, write } from './report.js'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    size: { type: 'string' },
    dir: { type: 'string' },
  },
})
const { quick, only } = options
const mebibytes = Number(options.size ?? (quick ? 8 : 1024))
if (!Number.isInteger(mebibytes) || mebibytes < 1 || mebibytes > 2 ** 20) {
  throw new Error(`--size is ${options.size}; it takes a number of MiB, from 1 on`)
}
const size = mebibytes * 2 ** 20
const sizes: Sizes = { size, rows: Math.floor((512_000 * size) / 2 ** 30), cores: availableParallelism() }
const effort: Effort = quick ? { samples: 1, enough: 0 } : { samples: 25, enough: 7e8 }

/** Programs of their own that are parts of the benchmark: what they say is part of the report as it is. */
const programs = [
  { title: 'Views', file: 'bench/views.ts', env: {} },
  {
    title: 'Appending',
    file: 'bench/append.ts',
    env: { ROWS: `${Math.max(1, Math.floor(size / 3072 / 1000)) * 1000}`, RUNS: quick ? '1' : '3' },
  },
]

function versionOf(command: string, ...args: string[]): string {
  return existsSync(command) ? execFileSync(command, args, { encoding: 'utf8' }).trim() : 'absent'
}

const machine = {
  processor: `${cpus()[0]?.model.trim()}, ${sizes.cores} cores`,
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  system: `${type()} ${release()}, ${process.arch}`,
  'Node.js': process.versions.node,
  numpy: versionOf('.cache/numpy/bin/python', '-c', 'import numpy; print(numpy.__version__)'),
  size: `files of ${mebibytes} MiB unless said`,
}

const chosen = (...names: string[]) => only === undefined || names.some((name) => name.includes(only))
const parts = [...fileCases(sizes), ...reductions(sizes), ...search(sizes), ...around()]
  .map((part) => ({ ...part, cases: part.cases.filter(({ name }) => chosen(name, part.title)) }))
  .filter(({ cases }) => cases.length > 0)
const planned = parts.flatMap(({ title, cases }) => cases.map((one) => ({ title, one })))

const peers = new Peers(quick)
peers.prepare(['floor', ...planned.flatMap(({ one }) => one.contenders.map(({ peer }) => peer))])
for (const [name, reason] of peers.absent) console.log(`${name} is absent: ${reason}`)

const files = new Files(sizes, peers, options.dir)
process.on('exit', () => {
  peers.kill()
  files.removeAll()
})
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => process.exit(code))
}

/** Runs the cases file by file, so that one or two files are on the disk at a time. */
async function runAll(): Promise<Map<object, Measured>> {
  const found = new Map<object, Measured>()
  for (const file of new Set(planned.map(({ one }) => one.file))) {
    console.log(`\n${file}`)
    for (const { one } of planned.filter(({ one }) => one.file === file)) {
      const measured = await measure(one, files, peers, effort)
      found.set(one, measured)
      console.log(lines(measured, !quick))
    }
    await peers.end()
    files.remove(file)
  }
  return found
}

/** Runs a program whose files, too, are gone when this one ends; gives what it said. */
function runProgram({ title, file, env }: (typeof programs)[number]): Said {
  console.log(`\n${title}`)
  const args = ['--import=@oxc-node/core/register', file, ...(quick ? ['--quick'] : [])]
  const { status, stdout } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env, TMPDIR: files.folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  console.log(stdout)
  if (status !== 0) throw new WrongAnswer(`${title}: it ended with ${status}`)
  return { title, text: stdout.trim() }
}

console.log(Object.values(machine).join('; '))
try {
  const found = await runAll()
  const sections = parts.map(({ title, about, cases }) => ({
    title,
    about,
    cases: cases.map((one) => found.get(one) as Measured),
  }))
  const said = programs.filter(({ title }) => chosen(title)).map(runProgram)
  const report: Report = { machine, sections, said }
  const { met, missed } = counts(report)
  console.log(`Answers agree${quick ? '' : `; of ${met + missed} targets ${met} are met`}.`)
  if (!quick && only === undefined) write(report)
} catch (error) {
  if (!(error instanceof WrongAnswer)) throw error
  console.error(`\n${error.message}`)
  process.exit(1)
}
