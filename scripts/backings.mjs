// The suite of specs with each backing forced, as MMAP_NDARRAY_BACKING forces it.
//
//   node scripts/backings.mjs                 each backing, on the Node.js that runs this: what `npm test` calls
//   node scripts/backings.mjs --all           each backing, on Node.js 20, 22 and 24: for the nightly workflow
//   node scripts/backings.mjs wasm [--all]    one of them
//
// 'external' is the ordinary run of `npm test`. A run takes two minutes of two processors, which is why `npm test` makes one
// for each backing; on the other versions it runs the specs of the backings themselves (wasm.spec.ts, window.spec.ts).
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

/** The backings that can be forced, with what else is in the environment of their runs. */
const BACKINGS = {
  wasm: {},
  // The smallest windows there are: most arrays have several.
  window: { MMAP_NDARRAY_WINDOW: '65536' },
}

/** Specs that no backing changes, and why. */
const EXEMPT = {
  'adapters.spec.ts': 'views over memory',
  'create-disk.spec.ts': 'the writer, before anything is mapped',
  'create-kill.spec.ts': 'the writer, before anything is mapped',
  'create-replace.spec.ts': 'the writer, before anything is mapped',
  'cage.spec.ts': 'chooses its own',
  'copied.spec.ts': 'shown by no buffer',
  'docs.spec.ts': 'examples',
  'dtype.spec.ts': 'tables',
  'electron.spec.ts': 'answers of HTTP',
  'errors.spec.ts': 'classes',
  'examples.spec.ts': 'examples',
  'half.spec.ts': 'arithmetic',
  'interop.spec.ts': 'bytes of files',
  'nd-view.spec.ts': 'views over memory',
  'numpy-reductions.spec.ts': 'kernels, which reductions.spec.ts runs',
  'numpy-search.spec.ts': 'kernels, which search.spec.ts runs',
  'numpy-selection.spec.ts': 'views over memory',
  'package.spec.ts': 'the package',
  'scijs.spec.ts': 'views over memory',
  'selection.spec.ts': 'views over memory',
  'strided.spec.ts': 'views over memory',
  'window.spec.ts': 'chooses its own',
  'windows.spec.ts': 'of Windows',
}

const args = process.argv.slice(2)
const all = args.includes('--all')
const asked = args.filter((arg) => arg !== '--all')
const backings = asked.length > 0 ? asked : Object.keys(BACKINGS)
const unknown = backings.filter((backing) => !Object.hasOwn(BACKINGS, backing))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; known are ${Object.keys(BACKINGS).join(', ')}`)
  process.exit(2)
}

const specs = readdirSync('__test__').filter((name) => name.endsWith('.spec.ts') && !(name in EXEMPT))
const gone = Object.keys(EXEMPT).filter((name) => !existsSync(`__test__/${name}`))
if (gone.length > 0) {
  console.error(`exempt, and not there: ${gone.join(', ')}`)
  process.exit(2)
}

/** The binaries that scripts/test.mjs has fetched, beside the one that runs this. */
const others = existsSync('.cache')
  ? readdirSync('.cache').filter((name) => /^node-(20|22|24)\.[\d.]+$/.test(name))
  : []
const nodes = [process.execPath]
for (const name of all ? others : []) {
  const [folder] = readdirSync(`.cache/${name}/node_modules`).filter((entry) => entry.startsWith('node-'))
  nodes.push(`.cache/${name}/node_modules/${folder}/bin/node`)
}

for (const backing of backings) {
  for (const node of nodes) {
    console.log(`# backing ${backing}, ${node}`)
    const child = spawn(
      node,
      ['node_modules/ava/entrypoints/cli.mjs', '--tap', ...specs.map((name) => `__test__/${name}`)],
      {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, MMAP_NDARRAY_BACKING: backing, ...BACKINGS[backing] },
      },
    )
    const code = await new Promise((resolve) => child.on('error', () => resolve(-1)).on('close', resolve))
    if (code !== 0) process.exitCode = 1
  }
}
