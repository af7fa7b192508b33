/** Errors: fields, names, the guard, the texts of wrong use, and misspelt options. */
import { inspect } from 'node:util'
import test from 'ava'
import {
  checkInteger,
  checkOptions,
  invalidArgType,
  invalidArgValue,
  isMmapError,
  MmapError,
  outOfRange,
  show,
} from '../src/errors.js'

test('MmapError has exactly the fields it was given', (t) => {
  const cause = new Error('below')
  const err = new MmapError('no room', {
    code: 'ENOSPC',
    path: 'a.npy',
    errno: -28,
    syscall: 'fallocate',
    reason: undefined,
    cause,
  })
  t.true(err instanceof Error)
  t.is(err.name, 'MmapError')
  t.is(err.message, 'no room')
  t.is(err.cause, cause)
  t.deepEqual({ ...err }, { code: 'ENOSPC', path: 'a.npy', errno: -28, syscall: 'fallocate' } as typeof err)
  t.false('reason' in err)
  t.false('cause' in new MmapError('x', { code: 'ERR_CLOSED' }))
  t.true(inspect(err).startsWith('MmapError: no room'))
})

test('the name is on the prototype, but for ABORT_ERR', (t) => {
  t.false(Object.hasOwn(new MmapError('x', { code: 'ERR_CLOSED' }), 'name'))
  const reason = { why: 'timeout' }
  const aborted = new MmapError('The operation was aborted', { code: 'ABORT_ERR', cause: reason })
  t.is(aborted.name, 'AbortError')
  t.is(aborted.cause, reason)
  t.deepEqual(Object.keys(aborted), ['code'])
})

test('isMmapError: any, one of several, and never a foreign error', (t) => {
  const closed: unknown = new MmapError('x', { code: 'ERR_CLOSED' })
  t.true(isMmapError(closed))
  t.true(isMmapError(closed, 'ERR_CLOSED'))
  t.true(isMmapError(closed, 'ERR_LOCKED', 'ERR_CLOSED'))
  t.false(isMmapError(closed, 'ERR_LOCKED'))
  for (const foreign of [
    Object.assign(new Error('x'), { code: 'ERR_CLOSED' }),
    { code: 'ERR_CLOSED' },
    null,
    5,
  ]) {
    t.false(isMmapError(foreign))
    t.false(isMmapError(foreign, 'ERR_CLOSED'))
  }
})

class Thing {}

const texts: [Error, string, string, string][] = [
  [
    invalidArgType('path', 'of type string', 5),
    'TypeError',
    'ERR_INVALID_ARG_TYPE',
    'The "path" argument must be of type string. Received type number (5)',
  ],
  [
    invalidArgType('path', 'of type string', null),
    'TypeError',
    'ERR_INVALID_ARG_TYPE',
    'The "path" argument must be of type string. Received null',
  ],
  [
    invalidArgType('path', 'of type string', new Thing()),
    'TypeError',
    'ERR_INVALID_ARG_TYPE',
    'The "path" argument must be of type string. Received an instance of Thing',
  ],
  [
    invalidArgType('value', 'of type number', 5n),
    'TypeError',
    'ERR_INVALID_ARG_TYPE',
    'The "value" argument must be of type number. Received type bigint (5n)',
  ],
  [
    invalidArgType('value', 'of type number', isMmapError),
    'TypeError',
    'ERR_INVALID_ARG_TYPE',
    'The "value" argument must be of type number. Received function isMmapError',
  ],
  [
    invalidArgValue('mode', "must be 'r', 'r+' or 'c'", 'w'),
    'TypeError',
    'ERR_INVALID_ARG_VALUE',
    "The argument 'mode' must be 'r', 'r+' or 'c'. Received 'w'",
  ],
  [
    outOfRange('axis', '>= 0 && < 2', 5),
    'RangeError',
    'ERR_OUT_OF_RANGE',
    'The value of "axis" is out of range. It must be >= 0 && < 2. Received 5',
  ],
]

for (const [err, name, code, message] of texts) {
  test(`text: ${message}`, (t) => {
    t.like(err, { name, code, message })
    t.deepEqual(Object.keys(err), ['code'])
  })
}

test('show is short whatever it is given', (t) => {
  const shown: [unknown, string][] = [
    ['a', "'a'"],
    ['x'.repeat(1000), `'${'x'.repeat(40)}...'`],
    [7n, '7n'],
    [-0, '-0'],
    [Number.NaN, 'NaN'],
    [undefined, 'undefined'],
    [null, 'null'],
    [[2, 3], '[2, 3]'],
    [Array(1e6).fill(0), '[0, 0, 0, 0, 0, 0, 0, 0, ...]'],
    [[[[1]], 'b'], "[[...], 'b']"],
    [new Thing(), 'an instance of Thing'],
    [Object.create(null), 'an object'],
    [Symbol('s'), 'Symbol(s)'],
  ]
  for (const [value, text] of shown) t.is(show(value), text)
})

test('checkInteger: exact integers within the bounds', (t) => {
  for (const value of [0, 1, -5, 2 ** 53 - 1, -(2 ** 53) + 1]) t.is(checkInteger('n', value), value)
  t.is(checkInteger('n', -0), 0)
  for (const value of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    t.throws(() => checkInteger('n', value), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' })
  }
  for (const value of ['1', 1n, null, undefined, true, [1]]) {
    t.throws(() => checkInteger('n', value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  }
  t.is(checkInteger('n', 3, 0, 3), 3)
  t.throws(() => checkInteger('n', 4, 0, 3), {
    message: /"n" is out of range. It must be >= 0 && <= 3. Received 4/,
  })
  t.throws(() => checkInteger('n', -1, 0, 3), { code: 'ERR_OUT_OF_RANGE' })
})

const known = ['mode', 'dtype', 'shape', 'overwrite']

const misspelt: [string, string][] = [
  ['mod', "Unknown option 'mod'; did you mean 'mode'?"],
  ['Mode', "Unknown option 'Mode'; did you mean 'mode'?"],
  ['dytpe', "Unknown option 'dytpe'; did you mean 'dtype'?"],
  ['overWrite', "Unknown option 'overWrite'; did you mean 'overwrite'?"],
  ['shapes', "Unknown option 'shapes'; did you mean 'shape'?"],
  ['x', "Unknown option 'x'. open takes mode, dtype, shape, overwrite"],
  ['compression', "Unknown option 'compression'. open takes mode, dtype, shape, overwrite"],
]

for (const [name, message] of misspelt) {
  test(`options: ${message}`, (t) => {
    const err = t.throws(() => checkOptions({ mode: 'r', [name]: 1 }, known, 'open'), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_VALUE',
    })
    t.true(err.message.startsWith(message), err.message)
  })
}

test('options: an object with known names, or nothing', (t) => {
  for (const options of [undefined, {}, Object.create(null), { mode: 'r', shape: undefined }]) {
    t.notThrows(() => checkOptions(options, known, 'open'))
  }
  for (const options of [null, 'r', 5, true, ['r'], new Uint8Array(1), () => {}]) {
    t.throws(() => checkOptions(options, known, 'open'), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
    })
  }
  t.throws(() => checkOptions({ a: 1 }, [], 'close'), {
    message: "Unknown option 'a'. close takes no options",
  })
})
