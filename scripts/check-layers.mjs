// The layers of the house, as far as a machine can see them.
//
// crates/core stands on its own, only src/native.ts imports the binding, nd-view.ts and what it is made of know no
// files, unsafe code stays in the files that SAFETY.md lists, and what only tests need is in no build of the binary.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const wrong = []

const tree = execFileSync('cargo', ['tree', '--locked', '-p', 'mmap-ndarray-core', '-e', 'normal'], {
  encoding: 'utf8',
})
if (/napi/.test(tree)) wrong.push('crates/core depends on napi')

const features = execFileSync(
  'cargo',
  ['tree', '--locked', '-p', 'mmap-ndarray-node', '-e', 'normal,features', '-f', '{p} {f}'],
  { encoding: 'utf8' },
)
if (/fault-injection/.test(features)) wrong.push('the binary is built with fault-injection')

const importsOf = (file) =>
  [...readFileSync(join('src', file), 'utf8').matchAll(/from '([^']+)'/g)].map(([, specifier]) => specifier)
const sources = readdirSync('src').filter((name) => name.endsWith('.ts'))
for (const file of sources) {
  if (file !== 'native.ts' && importsOf(file).includes('../index.js')) {
    wrong.push(`src/${file} imports the binding; only src/native.ts may`)
  }
}

const FILES = new Set([
  './native.js',
  './open.js',
  './attach.js',
  './create.js',
  './mapped-view.js',
  './mmap-array.js',
  'node:fs',
])
const seen = new Set()
const visit = (file) => {
  if (seen.has(file)) return
  seen.add(file)
  for (const specifier of importsOf(file)) {
    if (FILES.has(specifier)) wrong.push(`src/${file}, below nd-view.ts, imports ${specifier}`)
    else if (specifier.startsWith('./')) visit(specifier.slice(2).replace(/\.js$/, '.ts'))
  }
}
visit('nd-view.ts')

const UNSAFE =
  /^crates\/(core\/src\/(sys|guard|kernel|array)\/|core\/src\/mapping\.rs$|node\/src\/buffer\.rs$)/
for (const crate of ['core', 'node']) {
  const folder = `crates/${crate}/src`
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).replaceAll('\\', '/')
    if (!entry.isFile() || UNSAFE.test(path)) continue
    if (/\bunsafe\b *(\{|fn|impl|extern)/.test(readFileSync(path, 'utf8')))
      wrong.push(`${path} has unsafe code`)
  }
}

for (const line of wrong) console.error(line)
process.exitCode = wrong.length > 0 ? 1 : 0
