/** What else happens meanwhile: to the event loop, to memory, to others who use the thread pool. */
import { type Contender, numpy, ours, type Part, readFile } from '../case.js'

const way = (name: string, way: string): Contender => ours({ name, args: { way } })
const task = (task: string, k = 10) => ({ task, k })
const MIB = 2 ** 20

export const around = (): Part[] => [
  {
    title: 'The event loop',
    about: 'The 99th percentile of how late a timer of a millisecond is, or of how long fs.stat takes.',
    cases: [
      {
        name: 'event loop delay, cold sum of a file four times as large',
        file: 'large',
        op: 'loopDelay',
        contenders: [
          way('mmap-ndarray', 'sum'),
          { ...way('JavaScript loop', 'loop'), near: 1e-9 },
          { ...way('JavaScript loop over chunks()', 'chunks'), near: 1e-9 },
        ],
        limit: 20e6,
        cold: true,
      },
      {
        name: 'fs.stat beside eight sums',
        file: 'large',
        op: 'statBeside',
        args: { sums: 8 },
        contenders: [ours(), ours({ name: 'beside nothing', args: { sums: 0 } })],
      },
    ],
  },
  {
    title: 'Private memory',
    about: 'The most that counts against the process alone (RssAnon) over what there was before.',
    cases: [
      ...['sum', 'std', 'minmax'].map((name) => ({
        name: `${name} of a file four times as large`,
        file: 'large',
        op: 'memory',
        args: task(name),
        contenders: [ours(), ...(name === 'sum' ? [numpy({ near: 1e-3 })] : [])],
        limit: 64 * MIB,
        unit: 'bytes' as const,
      })),
      {
        name: 'topk of a file four times as large',
        file: 'large',
        op: 'memory',
        args: task('topk'),
        contenders: [ours(), numpy()],
        limit: 64 * MIB,
        unit: 'bytes',
      },
      {
        name: 'sum of a file',
        file: 'float64',
        op: 'memory',
        args: task('sum'),
        contenders: [ours(), numpy(), readFile()],
        limit: 64 * MIB,
        unit: 'bytes',
      },
      {
        name: 'four processes on one file, their shares together (Pss)',
        file: 'float64',
        op: 'together',
        args: { processes: 4 },
        contenders: [way('mmap-ndarray', 'map'), { ...way('fs.readFileSync', 'readFile'), near: 1e-9 }],
        unit: 'bytes',
      },
    ],
  },
]
