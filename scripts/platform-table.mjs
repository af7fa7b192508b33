// `node scripts/platform-table.mjs [--check]`: makes the table of platforms in the README from platforms.json.
//
// That file says what scripts/cross-test.mjs saw, so the table cannot say more: a platform is called tested where specs
// ran and none failed, and whatever else was built is called that. `--check` changes nothing, and fails where they differ.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { PLATFORMS } from './platforms.mjs'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const [START, END] = ['<!-- platforms -->', '<!-- /platforms -->']
const SYSTEMS = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }
const LIBCS = { gnu: ', glibc 2.17', musl: ', musl' }

const { platforms, core } = JSON.parse(readFileSync('platforms.json', 'utf8'))
const notes = new Map()

function counts({ passed, failed, skipped, leftOut = {} }) {
  const words = [failed > 0 ? `${failed} of ${passed + failed} failed` : `${passed} passed`]
  if (skipped > 0) words.push(`${skipped} skipped`)
  const names = Object.entries(leftOut).map(([name, reason]) => {
    notes.set(reason, [...(notes.get(reason) ?? []), name.replace(/:+$/, '')])
    return name
  })
  return words.join(', ') + (names.length > 0 ? ', some left out' : '')
}

const rows = Object.keys(PLATFORMS).map((name) => {
  const [os, cpu, abi] = name.split('-')
  const entry = platforms[name]
  const size = entry ? `${(entry.bytes / 1e6).toFixed(1)} MB` : '–'
  const state = !entry
    ? 'not built yet'
    : !entry.tested
      ? 'built, never run'
      : `${entry.tested.failed > 0 ? '**failing**' : 'tested'}: Node.js ${entry.tested.node}, ${entry.tested.under}; ${counts(entry.tested)}`
  return `| ${SYSTEMS[os]} ${cpu}${LIBCS[abi] ?? ''} | ${size} | ${state} |`
})
const cores = Object.entries(core).map(
  ([name, entry]) =>
    `| ${name.replace('linux-', 'Linux ')}, the Rust core alone | – | ${entry.failed > 0 ? '**failing**' : 'tested'}: ${entry.under}; ${counts(entry)} |`,
)
const table = ['| platform | binary | state |', '|---|---|---|', ...rows, ...cores].join('\n')
const left = [...notes].map(
  ([reason, names]) => `- ${[...new Set(names)].map((name) => `\`${name}\``).join(', ')}: ${reason}.`,
)
const text = `${table}\n${left.length > 0 ? `\nLeft out:\n\n${left.join('\n')}\n` : ''}`

const readme = readFileSync('README.md', 'utf8')
const [before, rest] = readme.split(START)
const [, after] = rest?.split(END) ?? []
if (after === undefined) throw new Error(`README.md has no ${START} and ${END}`)
const expected = `${before}${START}\n${text}${END}${after}`
if (!process.argv.includes('--check')) writeFileSync('README.md', expected)
else if (readme !== expected) {
  console.error('the table of platforms is not what platforms.json says; run node scripts/platform-table.mjs')
  process.exitCode = 1
}
