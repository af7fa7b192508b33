/** The libraries of the scijs family, unchanged from npm, on our views: the results are those on scijs arrays. */
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import cwise from 'cwise'
import ndarray, { type NdArray } from 'ndarray'
import fft from 'ndarray-fft'
import gemm from 'ndarray-gemm'
import ops from 'ndarray-ops'
import unpack from 'ndarray-unpack'
import { toScijs } from '../src/adapters.js'
import { createSync, NdView, openSync } from '../src/index.js'
import { dataViewStore } from '../src/store.js'
import { fixture, folder } from './helpers.js'

/** What the libraries read; ours and theirs both are. */
type Array = Pick<NdArray, 'lo' | 'hi' | 'step' | 'transpose' | 'pick' | 'get' | 'set'>
type Make = (values: number[], shape: number[]) => Array

/** Element stores only: cwise has no blocks of them. */
type Kind = 'typed array' | 'store'

const rowMajor = (shape: number[]) => shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
const columnMajor = (shape: number[]) => rowMajor(shape.toReversed()).toReversed()

/** The array of scijs with these values in C order, whatever its strides. */
function filled(array: NdArray, values: number[], shape: number[]): NdArray {
  const dense = ndarray(values, shape)
  ops.assign(array, dense)
  return array
}

const scijs: Make = (values, shape) => ndarray(Float64Array.from(values), shape)
const scijsColumns: Make = (values, shape) =>
  filled(ndarray(new Float64Array(values.length), shape, columnMajor(shape)), values, shape)
const scijs32: Make = (values, shape) => ndarray(Float32Array.from(values), shape)
const scijsGeneric: Make = (values, shape) => {
  const data = Float64Array.from(values)
  const get = (i: number) => data[i] as number
  const set = (i: number, value: number) => {
    data[i] = value
  }
  return ndarray({ length: data.length, get, set }, shape)
}

let files = 0
function mapped(t: ExecutionContext, dtype: 'float32' | 'float64', order: 'C' | 'F' = 'C'): Make {
  const dir = folder(t)
  return (values, shape) => {
    const source = { data: values, shape, dtype }
    const array = createSync(join(dir, `${files++}.npy`), source, { order })
    t.teardown(() => array.close())
    return array as unknown as Array
  }
}

const inMemory: Make = (values, shape) => new NdView(Float64Array.from(values), shape)
const adapted: Make = (values, shape) => toScijs(new NdView(Float64Array.from(values), shape)) as Array
/** Big-endian, on odd bytes. */
const store: Make = (values, shape) => {
  const data = dataViewStore('float64', new ArrayBuffer(8 * values.length + 1), 1, values.length, false)
  for (const [i, value] of values.entries()) data.set(i, value)
  return toScijs(new NdView(data, shape, undefined, undefined, 'float64')) as Array
}

const kinds: [name: string, kind: Kind, ours: (t: ExecutionContext) => Make, theirs: Make][] = [
  ['in memory', 'typed array', () => inMemory, scijs],
  ['in memory, through toScijs', 'typed array', () => adapted, scijs],
  ['mapped', 'typed array', (t) => mapped(t, 'float64'), scijs],
  ['mapped, Fortran order', 'typed array', (t) => mapped(t, 'float64', 'F'), scijsColumns],
  ['mapped float32', 'typed array', (t) => mapped(t, 'float32'), scijs32],
  ['an element store, through toScijs', 'store', () => store, scijsGeneric],
]

/** Values that are neither sorted nor exact in binary. */
const values = (count: number, seed = 1) =>
  Array.from({ length: count }, (_, i) => (((i + seed) * 7919) % 101) / 10 - 4)

/** One array of 3 x 4 x 5 in several layouts, all made by the methods that both have. */
const layouts: [name: string, make: (a: Array) => Array][] = [
  ['whole', (a) => a],
  ['transposed', (a) => a.transpose(2, 0, 1)],
  ['a part', (a) => a.lo(1, 1, 1).hi(2, 2, 3)],
  ['every second', (a) => a.step(2, 1, 2)],
  ['reversed', (a) => a.step(-1, 1, -2)],
  ['a plane', (a) => a.pick(null, 2)],
  ['a row', (a) => a.pick(1, 2)],
  ['empty', (a) => a.hi(0)],
]

/** The elements in C order, by the array's own `get`. */
function read(a: Array): number[] {
  const { shape } = a as NdArray
  const index = shape.map(() => 0)
  const found: number[] = []
  const size = shape.reduce((x, y) => x * y, 1)
  for (let n = 0; n < size; n++) {
    found.push(a.get(...index) as number)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = ((index[axis] as number) + 1) % (shape[axis] as number)
      if (index[axis] !== 0) break
    }
  }
  return found
}

// cwise reads the bodies as text, so they are plain JavaScript of 2009.

/** Every element by its indices, and a scalar. */
const scaled = cwise({
  args: ['array', 'array', 'scalar', 'index', 'shape'],
  body: new Function('out', 'a', 'by', 'index', 'shape', 'out = a * by + index[0] * shape[0]'),
})

/** A stencil: what lies next to each element along the last axis. */
const differences = cwise({
  args: ['array', 'array', { offset: [0, 1], array: 1 }],
  body: new Function('out', 'here', 'next', 'out = next - here'),
})

/** Blocks: each row as a whole. */
const rowSums = cwise({
  args: ['array', { blockIndices: -1 }, 'scalar'],
  body: new Function(
    'out',
    'row',
    'count',
    'var sum = 0; for (var i = 0; i < count; i++) sum += row[i]; out = sum',
  ),
})

type Program = (make: Make, layout: (a: Array) => Array) => unknown

const copyOf = (make: Make, a: Array) => make(values((a as NdArray).size, 50), [...(a as NdArray).shape])

const programs: [name: string, run: Program, onlyFor?: Kind][] = [
  ...[
    'sum',
    'prod',
    'norm1',
    'norm2',
    'norm2squared',
    'norminf',
    'sup',
    'inf',
    'argmin',
    'argmax',
    'any',
    'all',
  ].map((name): [string, Program] => [
    `ops.${name}`,
    (make, layout) => ops[name](layout(make(values(60), [3, 4, 5]))),
  ]),
  ...['assign', 'addeq', 'muleq', 'maxeq', 'sqrt', 'neg', 'floor'].map((name): [string, Program] => [
    `ops.${name}, both ways between layouts`,
    (make, layout) => {
      const whole = make(values(60), [3, 4, 5])
      const a = layout(whole)
      const b = copyOf(make, a)
      ops[name](b, a)
      const there = read(b)
      ops[name](a, copyOf(make, a))
      return [there, read(a), read(whole)]
    },
  ]),
  ...['addseq', 'mulseq', 'powseq', 'assigns'].map((name): [string, Program] => [
    `ops.${name}`,
    (make, layout) => {
      const whole = make(values(60), [3, 4, 5])
      ops[name](layout(whole), 1.5)
      return read(whole)
    },
  ]),
  [
    'ops.add of three arrays',
    (make, layout) => {
      const a = layout(make(values(60), [3, 4, 5]))
      const [out, b] = [copyOf(make, a), copyOf(make, a)]
      ops.add(out, a, b)
      return read(out)
    },
  ],
]

programs.push(
  [
    'cwise with indices, a scalar and the shape',
    (make, layout) => {
      const a = layout(make(values(60), [3, 4, 5]))
      const out = copyOf(make, a)
      scaled(out, a, 3)
      return read(out)
    },
  ],
  [
    'cwise with a stencil',
    (make) => {
      const whole = make(values(60), [6, 10])
      const out = make(values(54), [6, 9])
      differences(out, whole.hi(6, 9))
      return read(out)
    },
  ],
  [
    'cwise with blocks',
    (make) => {
      const out = make(values(12), [12])
      rowSums(out, make(values(60), [12, 5]).step(-1), 5)
      return read(out)
    },
    'typed array',
  ],
  [
    'fft and back, of one axis to three, powers of two or not',
    (make) =>
      [[8], [6], [4, 8], [3, 4, 5]].map((shape) => {
        const count = shape.reduce((a, b) => a * b, 1)
        const [re, im] = [make(values(count), shape), make(values(count, 9), shape)]
        fft(1, re, im)
        const there = [read(re), read(im)]
        fft(-1, re, im)
        return [there, read(re), read(im)]
      }),
  ],
  [
    'fft of a part',
    (make) => {
      const [re, im] = [make(values(60), [3, 4, 5]), make(values(60, 9), [3, 4, 5])]
      const part = (a: Array) => a.lo(1, 0, 1).hi(2, 4, 4).step(1, -1, 1).transpose(2, 1, 0)
      fft(1, part(re), part(im))
      return [read(re), read(im)]
    },
  ],
  [
    'gemm, all ways of lying, alpha and beta',
    (make) => {
      const results: number[][] = []
      for (const turned of [0, 1, 2, 3]) {
        const matrix = (turn: number, rows: number, columns: number, seed: number) =>
          turn === 0
            ? make(values(rows * columns, seed), [rows, columns])
            : make(values(rows * columns, seed), [columns, rows]).transpose(1, 0)
        const a = matrix(turned & 1, 37, 40, 1)
        const b = matrix(turned >> 1, 40, 35, 2)
        for (const [alpha, beta] of [[], [2.5], [1, 0.5]] as [number?, number?][]) {
          const out = make(values(37 * 35), [37, 35])
          gemm(out, a, b, alpha, beta)
          results.push(read(out))
        }
      }
      return results
    },
  ],
  ['unpack', (make, layout) => unpack(layout(make(values(60), [3, 4, 5])))],
)

for (const [kindName, kind, ours, theirs] of kinds) {
  for (const [name, run, onlyFor] of programs) {
    if (onlyFor !== undefined && onlyFor !== kind) continue
    test(`${kindName}: ${name}`, (t) => {
      const make = ours(t)
      for (const [layoutName, layout] of run.length < 2 ? layouts.slice(0, 1) : layouts) {
        t.deepEqual(run(make, layout), run(theirs, layout), layoutName)
      }
    })
  }
}

test('ours and theirs in one call', (t) => {
  const shape = [3, 4, 5]
  const ours = mapped(t, 'float32')(values(60), shape)
  const theirs = scijs(values(60, 7), shape)
  ops.addeq(theirs, ours)
  ops.assign(ours, theirs)
  t.deepEqual(read(ours), read(theirs).map(Math.fround))
  ops.assign(theirs, store(values(60), shape))
  t.deepEqual(read(theirs), values(60))
})

test('integers and bool, which wrap as in a typed array', (t) => {
  for (const data of [new Int8Array(6), new Uint16Array(6), new Int32Array(6)]) {
    const view = new NdView(data as Int8Array, [2, 3])
    ops.assigns(view, 70_000.7)
    t.deepEqual([...data], Array(6).fill(new (data.constructor as typeof Int8Array)([70_000])[0]))
  }
  const flags = new NdView(new Uint8Array([1, 0, 1]), [3], undefined, undefined, 'bool')
  t.is(ops.sum(flags), 2)
  t.deepEqual(unpack(new NdView(BigInt64Array.of(1n, -2n))), [1n, -2n])
})

for (const file of ['bef4_F.npy', 'no_padding_unaligned.npy']) {
  test(`${file}: an element store of a file runs in all of them`, (t) => {
    const array = openSync(fixture('npy', file), { mode: 'c' })
    t.teardown(() => array.close())
    t.false(ArrayBuffer.isView(array.data))
    const { shape } = array
    const theirs = ndarray(array.toTypedArray({ copy: true }) as Float64Array, shape)
    const ours = toScijs(array)
    t.is(ours.dtype, 'generic')
    t.is(ops.sum(ours), ops.sum(theirs))
    t.deepEqual(ops.argmax(ours), ops.argmax(theirs))
    t.deepEqual(unpack(ours), unpack(theirs))
    ops.mulseq(ours, 2)
    ops.mulseq(theirs, 2)
    scaled(ours, ours, 0.5)
    scaled(theirs, theirs, 0.5)
    t.deepEqual(read(ours as Array), read(theirs))
    t.deepEqual(unpack(ours), array.toArray())
    const turned = ours.T as Array
    const imaginary = values(array.size)
    const generic = scijsGeneric(read(turned), shape.toReversed())
    fft(1, turned, scijs(imaginary, shape.toReversed()))
    fft(1, generic, scijs(imaginary, shape.toReversed()))
    t.deepEqual(read(turned), read(generic).map(array.dtype === 'float32' ? Math.fround : Math.trunc))
  })
}
