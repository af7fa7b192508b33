/** Selections: numpy's results, case by case and against Python's rule spelt out as a loop. */
import test from 'ava'
import fc from 'fast-check'
import { type Selection, select, slice } from '../src/selection.js'

const SEED = 20_240_607

/** The offsets that a selection of one axis of `extent` reaches; a number for an index. */
function taken(extent: number, selection: Selection): number[] | number {
  const { shape, stride, offset } = select([extent], [1], 0, [selection])
  if (shape.length === 0) return offset
  return Array.from({ length: shape[0] as number }, (_, i) => offset + i * (stride[0] as number))
}

const onTen: [string, Selection, number[] | number][] = [
  ['null', null, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
  [':', ':', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ['::', '::', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ['{}', {}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ['3', 3, 3],
  ['-1', -1, 9],
  ['-10', -10, 0],
  ["'3'", '3', 3],
  ["' -2 '", ' -2 ', 8],
  ["'+4'", '+4', 4],
  ['slice(3)', slice(3), [0, 1, 2]],
  ['slice(-3)', slice(-3), [0, 1, 2, 3, 4, 5, 6]],
  ['slice(null)', slice(null), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
  ['slice(7, null)', slice(7, null), [7, 8, 9]],
  ['slice(null, null, 4)', slice(null, null, 4), [0, 4, 8]],
  ["'1:5'", '1:5', [1, 2, 3, 4]],
  ["'1 : 5 : 2'", '1 : 5 : 2', [1, 3]],
  ["'-3:'", '-3:', [7, 8, 9]],
  ["':-8'", ':-8', [0, 1]],
  ["'::-1'", '::-1', [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]],
  ["'::-4'", '::-4', [9, 5, 1]],
  ["'8:2:-3'", '8:2:-3', [8, 5]],
  ["'2::-1'", '2::-1', [2, 1, 0]],
  ["':6:-1'", ':6:-1', [9, 8, 7]],
  ["':-11:-4'", ':-11:-4', [9, 5, 1]],
  ["'100:'", '100:', []],
  ["'5:2'", '5:2', []],
  ["'2:5:-1'", '2:5:-1', []],
  ["'-100:100:3'", '-100:100:3', [0, 3, 6, 9]],
  ["'100:-100:-3'", '100:-100:-3', [9, 6, 3, 0]],
  ["'4:99999999999999999999'", '4:99999999999999999999', [4, 5, 6, 7, 8, 9]],
  ['{ start: 8 }', { start: 8 }, [8, 9]],
  ['{ stop: 2 }', { stop: 2 }, [0, 1]],
  ['{ step: -5 }', { step: -5 }, [9, 4]],
  ['a step past the axis', slice(2, null, 2 ** 60), [2]],
]

for (const [name, selection, expected] of onTen) {
  test(`ten elements, ${name}`, (t) => t.deepEqual(taken(10, selection), expected))
}

test('an empty axis takes ranges, never an index', (t) => {
  for (const selection of [null, ':', '::-1', '1:5', slice(-3), '5::-2']) t.deepEqual(taken(0, selection), [])
  t.throws(() => taken(0, 0), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => taken(0, -1), { code: 'ERR_OUT_OF_RANGE' })
})

test('an empty range keeps the offset and the stride, as numpy does', (t) => {
  t.deepEqual(select([4, 3], [3, 1], 5, ['9:', '1:2:-1']), { shape: [0, 0], stride: [3, 1], offset: 5 })
})

test('several axes: numbers drop theirs, missing ones are kept whole', (t) => {
  const shape = [4, 5, 6]
  const stride = [30, 6, 1]
  const cases: [Selection[], { shape: number[]; stride: number[]; offset: number }][] = [
    [[], { shape, stride, offset: 7 }],
    [[2], { shape: [5, 6], stride: [6, 1], offset: 67 }],
    [[null, -1], { shape: [4, 6], stride: [30, 1], offset: 31 }],
    [[1, 2, 3], { shape: [], stride: [], offset: 7 + 30 + 12 + 3 }],
    [['::2', '1:3', '::-1'], { shape: [2, 2, 6], stride: [60, 6, -1], offset: 7 + 6 + 5 }],
    [[slice(1, 3), null, '2'], { shape: [2, 5], stride: [30, 6], offset: 7 + 30 + 2 }],
  ]
  for (const [selections, expected] of cases) t.deepEqual(select(shape, stride, 7, selections), expected)
})

test('a step too large for an exact stride leaves the stride of the one element alone', (t) => {
  t.deepEqual(select([10], [8], 0, [slice(2, null, 2 ** 60)]), { shape: [1], stride: [8], offset: 16 })
})

test('a reversed axis of stride 0 has stride 0, not -0', (t) => {
  t.is(Object.is(select([3], [0], 0, ['::-1']).stride[0], 0), true)
})

const refused: [string, Selection[], string][] = [
  ['an index past the end', [10], 'ERR_OUT_OF_RANGE'],
  ['an index before the start', [-11], 'ERR_OUT_OF_RANGE'],
  ['text: an index past the end', ['10'], 'ERR_OUT_OF_RANGE'],
  ['a fraction', [1.5], 'ERR_OUT_OF_RANGE'],
  ['NaN', [Number.NaN], 'ERR_OUT_OF_RANGE'],
  ['more selections than axes', [null, null], 'ERR_OUT_OF_RANGE'],
  ['a step of 0 in text', ['::0'], 'ERR_OUT_OF_RANGE'],
  ['a step of 0 in an object', [{ step: 0 }], 'ERR_OUT_OF_RANGE'],
  ['a fraction in an object', [{ start: 0.5 }], 'ERR_OUT_OF_RANGE'],
  ['an infinite end', [{ stop: Number.POSITIVE_INFINITY }], 'ERR_OUT_OF_RANGE'],
  ['empty text', [''], 'ERR_INVALID_ARG_VALUE'],
  ['blank text', ['  '], 'ERR_INVALID_ARG_VALUE'],
  ["'...'", ['...'], 'ERR_INVALID_ARG_VALUE'],
  ["'1:2:3:4'", ['1:2:3:4'], 'ERR_INVALID_ARG_VALUE'],
  ["'a:b'", ['a:b'], 'ERR_INVALID_ARG_VALUE'],
  ["'1.5:2'", ['1.5:2'], 'ERR_INVALID_ARG_VALUE'],
  ["'1e3'", ['1e3'], 'ERR_INVALID_ARG_VALUE'],
  ["'0:2, 1'", ['0:2, 1'], 'ERR_INVALID_ARG_VALUE'],
  ["'-'", ['-'], 'ERR_INVALID_ARG_VALUE'],
  ['undefined', [undefined as never], 'ERR_INVALID_ARG_TYPE'],
  ['a bigint', [1n as never], 'ERR_INVALID_ARG_TYPE'],
  ['a boolean', [true as never], 'ERR_INVALID_ARG_TYPE'],
  ['an array', [[0, 1] as never], 'ERR_INVALID_ARG_TYPE'],
  ['an unknown field', [{ begin: 1 } as never], 'ERR_INVALID_ARG_TYPE'],
  ['a bigint end', [{ stop: 3n } as never], 'ERR_INVALID_ARG_TYPE'],
]

for (const [name, selections, code] of refused) {
  test(`refused: ${name}`, (t) => {
    const instanceOf = code === 'ERR_OUT_OF_RANGE' ? RangeError : TypeError
    t.throws(() => select([10], [1], 0, selections), { instanceOf, code, message: /selections/ })
  })
}

test('slice() is plain data, and checks what it is given', (t) => {
  t.deepEqual(slice(5), { start: null, stop: 5, step: null })
  t.deepEqual(slice(2, 5), { start: 2, stop: 5, step: null })
  t.deepEqual(slice(2, null, -1), { start: 2, stop: null, step: -1 })
  t.deepEqual(slice(2, undefined as never), { start: 2, stop: null, step: null })
  t.throws(() => slice(1, 2, 0), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message: /slice\.step/ })
  t.throws(() => slice(1.5), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message: /slice\.stop/ })
  t.throws(() => slice('1' as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
})

/** The indices of Python's `range(extent)[start:stop:step]`, one at a time. */
function python(extent: number, start: number | null, stop: number | null, step: number): number[] {
  const at = (end: number) => (end < 0 ? end + extent : end)
  const found: number[] = []
  let i = start === null ? (step > 0 ? 0 : extent - 1) : at(start)
  i = step > 0 ? Math.max(i, 0) : Math.min(i, extent - 1)
  const end = stop === null ? (step > 0 ? extent : -1) : Math.max(at(stop), -1)
  for (; step > 0 ? i < Math.min(end, extent) : i > end && i >= 0; i += step) found.push(i)
  return found
}

test(`any range of any short axis is Python's (seed ${SEED})`, (t) => {
  const end = fc.option(fc.integer({ min: -12, max: 12 }))
  const step = fc.integer({ min: -5, max: 5 }).filter((n) => n !== 0)
  const property = fc.property(fc.nat(9), end, end, step, (extent, start, stop, by) => {
    const expected = python(extent, start, stop, by)
    const text = `${start ?? ''}:${stop ?? ''}:${by}`
    t.deepEqual(taken(extent, slice(start, stop, by)), expected, text)
    t.deepEqual(taken(extent, text), expected, text)
  })
  fc.assert(property, { seed: SEED, numRuns: 3000 })
  t.log(`seed ${SEED}`)
})
