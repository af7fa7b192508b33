// `node specs.mjs FILE [TITLE...]`: runs a compiled spec without ava, but for the tests named, and counts in TAP.
//
// For Node.js in an emulator: there ava's process per file, and the pipes between them, cost minutes where they work at
// all. This takes the place of the module `ava` (scripts/cross-test.mjs sees to it) and runs the tests of one file, one
// after the other. It knows the assertions that the specs use; what it does not know is a TypeError, and no pass.
import assert from 'node:assert/strict'
import { writeSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const tests = []
const after = []

function test(title, work) {
  tests.push({ title, work })
}
export default test
test.serial = test
test.skip = (title) => tests.push({ title })
test.serial.skip = test.skip
test.after = { always: (work) => after.push(work) }

/** Whether `error` is as expected; where it is not, it is thrown on, for it says most. */
function expectError(error, expected = {}) {
  const { instanceOf, is, code, message, name } =
    typeof expected === 'function' ? { instanceOf: expected } : expected
  const matches = (text, pattern) =>
    pattern === undefined ||
    (pattern instanceof RegExp
      ? pattern.test(text)
      : typeof pattern === 'function'
        ? pattern(text)
        : text === pattern)
  const right =
    (is === undefined || error === is) &&
    (instanceOf === undefined || error instanceof instanceOf) &&
    (code === undefined || error.code === code) &&
    (name === undefined || error.name === name) &&
    matches(error?.message, message)
  if (!right) throw new Error(`another error than expected: ${error?.message}`, { cause: error })
  return error
}

/** The parts of `value` that `selector` asks for; of an error or any other object of a class, all. */
function selected(value, selector) {
  if (selector instanceof Error) return value
  if (selector === null || typeof selector !== 'object' || value === null || typeof value !== 'object')
    return value
  if (Array.isArray(selector) !== Array.isArray(value)) return value
  const parts = Reflect.ownKeys(selector).map((key) => [key, selected(value[key], selector[key])])
  return Array.isArray(selector)
    ? parts.filter(([key]) => key !== 'length').map(([, part]) => part)
    : Object.fromEntries(parts)
}

function context(title) {
  const teardowns = []
  const t = {
    title,
    is: (a, b, message) => assert.ok(Object.is(a, b), message ?? `${String(a)} is not ${String(b)}`),
    not: (a, b, message) => assert.ok(!Object.is(a, b), message),
    deepEqual: (a, b, message) => assert.deepStrictEqual(a, b, message),
    like: (a, b, message) => assert.deepStrictEqual(selected(a, b), b, message),
    true: (a, message) => assert.equal(a, true, message),
    false: (a, message) => assert.equal(a, false, message),
    truthy: (a, message) => assert.ok(a, message),
    regex: (text, pattern, message) => assert.match(text, pattern, message),
    notRegex: (text, pattern, message) => assert.doesNotMatch(text, pattern, message),
    pass() {},
    fail: (message) => assert.fail(message),
    throws(call, expected, message) {
      try {
        call()
      } catch (error) {
        return expectError(error, expected)
      }
      return assert.fail(message ?? 'nothing was thrown')
    },
    async throwsAsync(call, expected, message) {
      try {
        await (typeof call === 'function' ? call() : call)
      } catch (error) {
        return expectError(error, expected)
      }
      return assert.fail(message ?? 'nothing was thrown')
    },
    notThrows: (call) => void call(),
    notThrowsAsync: async (call) => void (await (typeof call === 'function' ? call() : call)),
    log() {},
    timeout() {},
    teardown: (work) => teardowns.unshift(work),
  }
  return { t, teardowns }
}

// Node.js under wine throws at a write to a pipe through its stream.
const say = (text) => writeSync(1, `${text}\n`)

async function runAll(file, leftOut) {
  await import(pathToFileURL(file))
  let failed = 0
  for (const [i, { title, work }] of tests.entries()) {
    if (!work || leftOut.includes(title)) {
      say(`ok ${i + 1} - ${title} # SKIP`)
      continue
    }
    const { t, teardowns } = context(title)
    let failure
    try {
      await work(t)
    } catch (error) {
      failure = error
    }
    for (const teardown of teardowns) {
      try {
        await teardown()
      } catch (error) {
        failure ??= error
      }
    }
    if (failure) failed += 1
    say(`${failure ? 'not ' : ''}ok ${i + 1} - ${title}`)
    if (failure) say(`  ${failure.stack}\n${failure.cause?.stack ?? ''}`.replaceAll('\n', '\n  '))
  }
  for (const work of after) await work()
  say(`1..${tests.length}`)
  process.exit(failed > 0 ? 1 : 0)
}

// Not awaited: the spec imports this module, and would wait for it.
if (isMainThread && process.argv[2]) runAll(process.argv[2], process.argv.slice(3))
