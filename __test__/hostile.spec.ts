/** Random files, options and call orders, in a process of their own: it lives on, and throws only what it may. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { folder, root, run } from './helpers.js'

const CASES = 2000
const SEED = 20261124

test('whatever is called with whatever, the process lives and every error has its code', async (t) => {
  const place = folder(t)
  const child = join(root, '__test__/hostile.ts')
  const args = ['--import=@oxc-node/core/register', '--expose-gc', child, place, String(CASES), String(SEED)]
  const { code, signal, stdout, stderr } = await run(process.execPath, args, { cwd: root })
  t.log(`seed ${SEED}`)
  if (code !== 0) {
    t.log(stderr)
    // A process that was killed could not make its last case smaller.
    const last = join(place, 'case.txt')
    if (signal !== null && existsSync(last)) t.log(`${signal} in ${readFileSync(last, 'utf8')}`)
  }
  t.like({ code, signal, stdout }, { code: 0, signal: null, stdout: `alive after ${CASES} cases\n` })
})
