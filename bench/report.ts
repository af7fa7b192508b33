/** What was measured as JSON, as lines for a terminal, and as the page docs/benchmarks.md with its chart. */
import { writeFileSync } from 'node:fs'
import { chart } from './chart.js'
import type { Measured, Outcome, Ratio } from './measure.js'

export interface Section {
  readonly title: string
  readonly about: string
  readonly cases: readonly Measured[]
}

/** What a program said that is a part of the benchmark. */
export interface Said {
  readonly title: string
  readonly text: string
}

export interface Report {
  /** What it ran on, by what it is: processor, cores, versions. */
  readonly machine: Readonly<Record<string, string>>
  readonly sections: readonly Section[]
  readonly said: readonly Said[]
}

const steps: Readonly<Record<Measured['unit'], readonly [least: number, unit: string][]>> = {
  ns: [
    [1e9, 's'],
    [1e6, 'ms'],
    [1e3, 'µs'],
    [1, 'ns'],
  ],
  bytes: [
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
    [1, 'bytes'],
  ],
}

function amount(value: number, unit: Measured['unit']): string {
  const [least, name] = steps[unit].find(([least]) => value >= least) ?? [1, unit === 'ns' ? 'ns' : 'bytes']
  return `${digits(value / least)} ${name}`
}

/** Three digits of a number. */
function digits(value: number): string {
  if (value === 0) return '0'
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)
}

const times = ({ ratio }: Ratio) => `${digits(ratio)}x`
const verdict = (met: boolean) => (met ? 'met' : 'not met')

/** What each target is, and whether it is met. */
function verdicts({ ratios, limit, met, unit }: Measured): string[] {
  const found = ratios.flatMap((one) => {
    if (one.target === undefined || one.met === undefined) return []
    return [
      `${one.against} ${times(one)}, target ${one.target.toLocaleString('en-US')}x: ${verdict(one.met)}`,
    ]
  })
  if (limit !== undefined && met !== undefined)
    found.push(`target under ${amount(limit, unit)}: ${verdict(met)}`)
  return found
}

function outcome({ name, value, reason }: Outcome, unit: Measured['unit'], ratios: readonly Ratio[]): string {
  if (value === undefined) return `${name} ${reason}`
  const against = ratios.find((one) => one.against === name)
  return `${name} ${amount(value, unit)}${against ? ` (${times(against)})` : ''}`
}

/** A case as lines for a terminal; small files say nothing of targets. */
export function lines(measured: Measured, judge: boolean): string {
  const { name, unit, outcomes, ratios } = measured
  const judged = judge ? verdicts(measured).map((text) => `    ${text}`) : []
  const found = outcomes.map((one) => outcome(one, unit, ratios)).join(' · ')
  return [`  ${name}`, `    ${found}`, ...judged].join('\n')
}

export function counts({ sections }: Report): { met: number; missed: number } {
  const all = sections.flatMap(({ cases }) =>
    cases.flatMap(({ ratios, met }) => [...ratios.map((ratio) => ratio.met), met]),
  )
  return { met: all.filter((met) => met === true).length, missed: all.filter((met) => met === false).length }
}

function table({ title, about, cases }: Section): string {
  const rows = cases.map((measured) => {
    const [own, ...others] = measured.outcomes as [Outcome, ...Outcome[]]
    const rest = others.map((one) => outcome(one, measured.unit, measured.ratios)).join('<br>')
    const judged = verdicts(measured)
      .map((text) => text.replace(/not met$/, '**not met**'))
      .join('<br>')
    const value = own.value === undefined ? own.reason : amount(own.value, measured.unit)
    return `| ${measured.name} | ${value} | ${rest} | ${judged || '–'} |`
  })
  const head = '| task | mmap-ndarray | others | targets |\n|---|---|---|---|'
  return `## ${title}\n\n${about}\n\n${head}\n${rows.join('\n')}\n`
}

/** What a program said, as it said it. */
const block = ({ title, text }: Said) => `## ${title}\n\n\`\`\`\n${text}\n\`\`\`\n`

function page(report: Report): string {
  const { met, missed } = counts(report)
  const machine = Object.entries(report.machine).map(([name, value]) => `- ${name}: ${value}`)
  return `# Benchmarks

Written by \`npm run bench\`; the numbers behind it are in [benchmarks.json](benchmarks.json). Of ${met + missed} targets
${met} are met and ${missed} are not.

${machine.join('\n')}

All contenders work on the same files in one run, in a process each, and their answers are compared before anything is
timed. They take turns; the best sample of each counts. Files are in memory already unless a task says cold. A number
with an x is how many times as fast mmap-ndarray is: below 1 it is the slower one. The floor is a Rust program of bare system
calls and plain loops that checks nothing (bench/floor); a target against it is against the better of its two. The
methods of mmap-ndarray are the synchronous twins where there are such, because the others' are.

![How many times as fast mmap-ndarray is](benchmarks.svg)

${[...report.sections.map(table), ...report.said.map(block)].join('\n')}`
}

/** Writes docs/benchmarks.json, .md and .svg. */
export function write(report: Report): void {
  writeFileSync('docs/benchmarks.json', `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync('docs/benchmarks.md', page(report))
  writeFileSync('docs/benchmarks.svg', chart(report))
}
