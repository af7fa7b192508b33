// The specs as JavaScript, in a folder that is otherwise the project: what runs them many times (scripts/test.mjs,
// scripts/backings.mjs) compiles them once. Each process and each worker of a spec would do it anew, which is a third of
// their time.
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, relative, resolve } from 'node:path'

/** What is compiled, and what has no place beside the original. */
const OWN = ['src', '__test__', 'ava.config.js', '.git']

/** The settings of the project but for what is about TypeScript. */
const SETTINGS = `import settings from '../../ava.config.js'
const { extensions, ...rest } = settings
export default { ...rest, files: ['__test__/*.spec.js'], nodeArguments: ['--expose-gc'] }
`

/** Compiles the specs and the sources into a folder; `false` where that fails. */
export function compile(out) {
  const flags = ['--noEmit', 'false', '--rootDir', '.', '--outDir', out]
  const options = { stdio: 'inherit', shell: process.platform === 'win32' }
  return spawnSync('npx', ['tsc', '-p', 'tsconfig.json', ...flags], options).status === 0
}

/** Links all that is in `from` and not in `to`; Windows lets nobody link files, and takes no relative link of a folder. */
function link(from, to, but = []) {
  for (const name of readdirSync(from)) {
    const [there, here] = [resolve(from, name), join(to, name)]
    if (but.includes(name) || existsSync(here)) continue
    if (process.platform !== 'win32') symlinkSync(relative(to, there), here)
    else if (statSync(there).isDirectory()) symlinkSync(there, here, 'junction')
    else copyFileSync(there, here)
  }
}

/** Makes the folder, and gives it. */
export function suite() {
  const folder = resolve('.cache/suite')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  if (!compile(folder)) throw new Error('the specs do not compile')
  for (const name of ['bench', 'examples']) rmSync(join(folder, name), { recursive: true, force: true })
  link('.', folder, OWN)
  link('__test__', join(folder, '__test__'))
  writeFileSync(join(folder, 'ava.config.js'), SETTINGS)
  return folder
}
