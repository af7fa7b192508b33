/** Reductions over everything, over an axis, and of one column. */
import {
  type Case,
  type Contender,
  floors,
  mmapIo,
  numpy,
  ours,
  type Part,
  readFile,
  readSync,
  type Sizes,
  seed,
  single,
} from '../case.js'

const dtypes = ['float32', 'float64', 'int32', 'uint8'] as const
type DType = (typeof dtypes)[number]

/** numpy adds float32 up in float32. */
const nearOf = (dtype: DType) => ({ near: dtype === 'float32' ? 1e-3 : 1e-9 })

/** Targets against numpy and the floor, by dtype. */
const exact = { float32: [1.1, 0.9], float64: [1.1, 0.9], int32: [3, 0.9], uint8: [6, 0.9] }
const every = (...targets: number[]) => ({
  float32: targets,
  float64: targets,
  int32: targets,
  uint8: targets,
})
const spread = { float32: [4, 0.8], float64: [4, 0.8], int32: [6, 0.8], uint8: [6, 0.8] }
const whole: [op: string, targets: Record<DType, number[]>][] = [
  ['sum', exact],
  ['mean', exact],
  ['min', every(1, 0.9)],
  ['max', every(1, 0.9)],
  ['std', spread],
  ['var', spread],
  ['argmin', every(4, 0.8)],
  ['argmax', every(4, 0.8)],
  ['minmax', every(4, 0.8)],
  ['all', every(2)],
  ['countNonzero', every(2)],
  ['histogram', every(2)],
]

/** What numpy makes temporary arrays of eight times the size for, or takes half a minute for, is done on an eighth. */
const isCut = (op: string, dtype: DType) =>
  op === 'histogram' || (['std', 'var'].includes(op) && dtype === 'uint8')

const targetsOf = ([ofNumpy, ofFloor]: number[]) => ({
  ...(ofNumpy !== undefined && { numpy: ofNumpy }),
  ...(ofFloor !== undefined && { floor: ofFloor }),
})

function wholeCases(sizes: Sizes): Case[] {
  return dtypes
    .flatMap((dtype) => {
      const cases = whole.map(([op, targets]): Case => {
        const [, ofFloor] = targets[dtype]
        const args = {
          ...(op === 'histogram' && { k: 64 }),
          ...(isCut(op, dtype) && {
            first: sizes.size / { float32: 4, float64: 8, int32: 4, uint8: 1 }[dtype] / 8,
          }),
        }
        const others: Contender[] = [numpy(nearOf(dtype)), ...(ofFloor === undefined ? [] : floors(sizes))]
        if (op === 'sum') {
          const near = 1e-14
          others.push(single(), { name: 'exact', peer: 'floor', args: { op: 'exact' }, near, untimed: true })
        }
        const name = `${op} ${dtype}${isCut(op, dtype) ? ', an eighth' : ''}`
        return {
          name,
          file: dtype,
          op,
          args,
          contenders: [ours(), ...others],
          targets: targetsOf(targets[dtype]),
        }
      })
      return cases
    })
    .concat({
      name: 'any float32, all zeros',
      file: 'zeros',
      op: 'any',
      contenders: [ours(), numpy()],
      targets: { numpy: 2 },
    })
}

function axisCases(sizes: Sizes): Case[] {
  const files = [
    ['float32', 'float32', 'C'],
    ['float32', 'float32F', 'F'],
    ['float64', 'float64', 'C'],
    ['float64', 'float64F', 'F'],
  ] as const
  const tasks = [
    ['axis 0', { axis: 0 }],
    ['axis 1', { axis: 1 }],
    ['one column', { column: 300 }],
  ] as const
  return files.flatMap(([dtype, file, order]) =>
    tasks.map(([what, args]) => ({
      name: `sum over ${what}, ${dtype} in ${order} order`.replace('over one', 'of one'),
      file,
      op: 'sum',
      args,
      contenders: [ours(), numpy(nearOf(dtype)), ...floors(sizes)],
      targets: { numpy: 1.1, floor: 0.9 },
    })),
  )
}

/** From the name of a file to a sum, opening and closing counted. */
const fileCases: Case[] = [
  {
    name: 'open, sum, close',
    file: 'float64',
    op: 'openSum',
    contenders: [ours(), seed(), readFile(), readSync(), mmapIo()],
  },
  {
    name: 'open, sum, close, cold',
    file: 'float64',
    op: 'openSum',
    contenders: [ours(), readFile(), readSync(), mmapIo()],
    cold: true,
  },
]

const threads = (busy: boolean): Case => ({
  name: `sum float64, all threads against one${busy ? ', the other core busy' : ''}`,
  file: 'float64',
  op: 'sum',
  contenders: [ours(), single()],
  targets: { [single().name]: 0.95 },
  busy,
})

export const reductions = (sizes: Sizes): Part[] => [
  { title: 'Reductions over everything', about: 'The array is open already.', cases: wholeCases(sizes) },
  { title: 'Sums over an axis', about: 'Matrices of 768 columns.', cases: axisCases(sizes) },
  { title: 'From a file to its sum', about: 'The contenders in JavaScript loop.', cases: fileCases },
  {
    title: 'Threads',
    about: 'A second thread must not slow down what one does.',
    cases: [threads(false), threads(true)],
  },
]
