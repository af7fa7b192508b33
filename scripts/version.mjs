// `node scripts/version.mjs [TAG]`: whether everything that has a version has the same, and the tag is that version.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const json = (path) => JSON.parse(readFileSync(path, 'utf8')).version
const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
const found = [
  ['package-lock.json', json('package-lock.json')],
  ['Cargo.toml', /^version = "(.*)"$/m.exec(readFileSync('Cargo.toml', 'utf8'))?.[1]],
  ...readdirSync('npm').map((name) => [`npm/${name}`, json(`npm/${name}/package.json`)]),
  ...(process.argv[2] ? [['the tag', process.argv[2].replace(/^v/, '')]] : []),
]
const wrong = found.filter(([, other]) => other !== version)
for (const [where, other] of wrong) console.error(`${where} says ${other}, package.json ${version}`)
process.exitCode = wrong.length > 0 ? 1 : 0
