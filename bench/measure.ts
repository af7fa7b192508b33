/**
 * One case: answers first, then times. Contenders take turns, one sample each at a time, in an order that moves on, so that
 * what else the machine does hits all alike; the best sample of each counts, because what else it does only ever adds.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Case, Contender } from './case.js'
import type { Files } from './files.js'
import type { Peers } from './peers.js'

/** What became of a contender. */
export interface Outcome {
  readonly name: string
  /** Nanoseconds or bytes. */
  readonly value?: number
  /** Why there is no value, or what is wrong with it. */
  readonly reason?: string
}

/** How ours stands to another: more than one where it is better. */
export interface Ratio {
  readonly against: string
  readonly ratio: number
  readonly target?: number
  readonly met?: boolean
}

export interface Measured {
  readonly name: string
  readonly unit: 'ns' | 'bytes'
  readonly outcomes: readonly Outcome[]
  readonly ratios: readonly Ratio[]
  readonly limit?: number
  readonly met?: boolean
}

/** The most samples of a contender, and the time in nanoseconds after which it needs no more of them. */
export interface Effort {
  readonly samples: number
  readonly enough: number
}

/** An answer that is not what it has to be: what ends a benchmark. */
export class WrongAnswer extends Error {}

interface Running {
  readonly contender: Contender
  readonly samples: number[]
  /** Nanoseconds that its samples took from outside: what a task repeats or makes ready counts, too. */
  spent: number
  answer?: readonly number[]
  reason?: string
}

export async function measure(one: Case, files: Files, peers: Peers, effort: Effort): Promise<Measured> {
  await files.make(one.file)
  const all = one.contenders.map((contender): Running => {
    const reason = peers.absent.get(contender.peer)
    return { contender, samples: [], spent: 0, ...(reason !== undefined && { reason: `absent: ${reason}` }) }
  })
  const sample = async (running: Running) => {
    const { peer, args, mayFail } = running.contender
    if (one.cold) {
      await peers.end()
      await files.evict(one.file)
    }
    try {
      const request = { op: one.op, ...files.request(one.file, peer), ...one.args, ...args }
      const start = performance.now()
      const { value, answer } = await peers.ask(peer, request)
      running.spent += (performance.now() - start) * 1e6
      running.samples.push(value)
      running.answer = answer
    } catch (error) {
      const reason = (error as Error).message.replaceAll(`${files.folder}/`, '')
      if (!mayFail) throw new WrongAnswer(`${one.name}: ${running.contender.name}: ${reason}`)
      running.reason = `fails: ${reason}`
    }
  }
  for (const running of all) {
    if (running.reason === undefined) await sample(running)
    compare(one, all.find(({ answer }) => answer !== undefined) ?? running, running)
  }
  const busy = one.busy ? spin() : undefined
  try {
    for (let round = 1; round < effort.samples; round++) {
      const waiting = all.filter((running) => wantsMore(running, one, effort))
      for (let n = 0; n < waiting.length; n++) await sample(waiting[(n + round) % waiting.length] as Running)
    }
  } finally {
    busy?.kill()
  }
  return judge(one, all)
}

/** A contender has as many samples as fit; what takes a moment has two at least. */
function wantsMore(
  { contender, samples, spent, reason }: Running,
  { cold, unit }: Case,
  { enough }: Effort,
): boolean {
  if (reason !== undefined || contender.untimed) return false
  if (cold || unit === 'bytes') return samples.length < 2 && spent < 10 * enough
  return spent < enough || (samples.length < 2 && spent < 4 * enough)
}

function compare({ name }: Case, { answer: expected = [], contender: first }: Running, other: Running): void {
  const { contender, answer } = other
  if (answer === undefined || contender === first || (expected.length === 0 && answer.length === 0)) return
  const near = contender.near ?? 1e-11
  const agrees =
    answer.length === expected.length &&
    answer.every((a, n) => {
      const b = expected[n] as number
      return Math.abs(a - b) <= near * Math.max(Math.abs(a), Math.abs(b))
    })
  if (agrees) return
  const short = (numbers: readonly number[]) => numbers.slice(0, 12).join(' ')
  const reason = `${contender.name} has ${short(answer)}, and ${first.name} ${short(expected)}`
  if (!contender.mayFail) throw new WrongAnswer(`${name}: ${reason}`)
  other.reason = `wrong: ${reason}`
}

/** A process that keeps a core busy until it is killed. */
function spin(): ChildProcess {
  return spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' })
}

function judge({ name, unit, targets = {}, limit }: Case, all: readonly Running[]): Measured {
  const outcomes = all
    .filter(({ contender }) => !contender.untimed)
    .map(({ contender, samples, reason }): Outcome => {
      if (reason !== undefined) return { name: contender.name, reason }
      return { name: contender.name, value: Math.min(...samples) }
    })
  const [own, ...others] = outcomes as [Outcome, ...Outcome[]]
  const floors = others.filter((other) => other.name.startsWith('floor') && other.value !== undefined)
  const rest = others.filter((other) => !other.name.startsWith('floor'))
  if (floors.length > 0)
    rest.push({ name: 'floor', value: Math.min(...floors.map(({ value }) => value as number)) })
  const ratios = rest.flatMap((other): Ratio[] => {
    if (own.value === undefined || other.value === undefined || unit === 'bytes') return []
    const ratio = other.value / own.value
    const target = targets[other.name]
    return [{ against: other.name, ratio, ...(target !== undefined && { target, met: ratio >= target }) }]
  })
  return {
    name,
    unit: unit ?? 'ns',
    outcomes,
    ratios,
    ...(limit !== undefined && { limit, met: (own.value ?? Number.POSITIVE_INFINITY) < limit }),
  }
}
