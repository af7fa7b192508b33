// What has to hold in every process that maps files: main, utility, and a preload that is not sandboxed. Plain Node.js runs it too,
// with MMAP_NDARRAY_BACKING=wasm, so that a mistake in here is not found in Electron first.
import { closeSync, openSync as openFile, readFileSync, readSync, writeSync } from 'node:fs'

/** Elements of the file, float64 ones. */
export const N = 2 ** 23
/** The backing that a caged runtime has on this system. */
const CAGED = process.platform === 'win32' ? 'window' : 'wasm'
const isLinux = process.platform === 'linux'

/** The private memory of this process in bytes, 0 where the system does not tell. */
export const own = () =>
  isLinux ? 1024 * Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) : 0

const codeOf = (work) => {
  try {
    work()
    return 'nothing'
  } catch (error) {
    return error.code
  }
}

/** Element `n` of the file, and the same written, beside every mapping. */
function element(path, n, value) {
  const fd = openFile(path, 'r+')
  try {
    const bytes = new Float64Array(1)
    if (value !== undefined) bytes[0] = value
    const at = 128 + 8 * n
    if (value === undefined) readSync(fd, bytes, 0, 8, at)
    else writeSync(fd, bytes, 0, 8, at)
    return bytes[0]
  } finally {
    closeSync(fd)
  }
}

/** Runs everything; each result is a name, what was found and what was expected. `m` is the library. */
export async function check(m, path, { caged = true, backing = CAGED } = {}) {
  const results = []
  const is = (name, found, expected) => results.push({ name, found, expected })
  const opened = (options) => m.openSync(path, options)

  if (caged) {
    is(
      'external buffers are refused',
      codeOf(() => opened({ backing: 'external' })),
      'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
    )
  }

  // A page that was reloaded may have left some.
  const mappings = () => readFileSync('/proc/self/maps', 'utf8').split(path).length
  const others = isLinux ? mappings() : 0
  const before = own()
  const a = opened({ mode: 'r+' })
  is('backing', a.backing, backing)
  let sum = 0
  for (const chunk of [0, N / 2]) {
    const data = a.slice(`${chunk}:${chunk + 2 ** 20}`).toTypedArray({ copy: backing === 'window' })
    for (let i = 0; i < data.length; i++) sum += data[i]
  }
  is('the loop sees the file', sum, 2 ** 21)
  is('native code sees the file', await a.sum(), N)
  if (isLinux) is('reading 64 MiB costs no private memory', own() - before < 24 * 2 ** 20, true)

  a.set(5, 42)
  await a.flush()
  is('a store is in the file', element(path, 5), 42)
  if (backing === 'wasm') {
    const { data } = a
    data[N - 1] = 7
    is('a store through data is in the file at once: no copy', element(path, N - 1), 7)
    element(path, 6, -3)
    is('what others write is in data at once: no copy', data[6], -3)
    element(path, 6, 1)
    codeOf(() => structuredClone(data.buffer, { transfer: [data.buffer] }))
    is('nobody else can take the memory', data.length, N)
    a.set(5, 1)
    data[N - 1] = 1
    a.close()
    is('close takes the data away', data.length, 0)
  } else {
    a.set(5, 1)
    a.close()
  }
  is(
    'closed',
    codeOf(() => a.get(0)),
    'ERR_CLOSED',
  )
  if (isLinux) is('close unmaps', mappings() <= others, true)

  const c = opened({ mode: 'c' })
  c.set(0, 9)
  is('copy-on-write stays here', [c.get(0), element(path, 0)].join(), '9,1')
  c.close()

  // A cage has room for 124 memories: those of closed arrays have to be given back.
  const seen = new Set()
  for (let n = 0; n < 300; n++) {
    const one = opened()
    seen.add(`${one.backing} ${one.get(n)}`)
    one.close()
    if (n % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 0))
  }
  is('300 arrays, one after the other', [...seen].join(), `${backing} 1`)

  if (caged && backing === 'wasm') {
    const held = []
    const full = codeOf(() => {
      while (held.length < 2000) held.push(opened({ backing: 'wasm' }))
    })
    is('the cage is full: an error', full, 'ERR_TOO_LARGE')
    is(`the cage holds some hundred memories (${held.length})`, held.length > 30 && held.length < 200, true)
    // Windows where there are some in a cage, else an error that says so; it must not end the process.
    let next = 'nothing'
    const code = codeOf(() => {
      const one = opened()
      next = `${one.backing} ${one.get(3)}`
      one.close()
    })
    const ends = ['window 1', 'ERR_TOO_LARGE', 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM']
    is(`the next array (${next}, ${code})`, ends.includes(code === 'nothing' ? next : code), true)
    for (const one of held) one.close()
  }
  return results
}

/** Prints results, and says whether all are as expected. */
export function report(where, results) {
  let isGood = results.length > 0
  for (const { name, found, expected } of results) {
    const ok = Object.is(found, expected)
    isGood &&= ok
    console.log(
      `${ok ? 'ok' : 'not ok'} - ${where}: ${name}${ok ? '' : ` (found ${found}, expected ${expected})`}`,
    )
  }
  if (results.length === 0) console.log(`not ok - ${where}: no results`)
  return isGood
}
