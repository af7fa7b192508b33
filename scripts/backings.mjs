// The suite of specs with each backing forced, as MMAP_NDARRAY_BACKING forces it.
//
//   node scripts/backings.mjs          each backing, on Node.js 20, 22 and 24: what `npm test` calls
//   node scripts/backings.mjs wasm     one of them
//
// 'external' is the ordinary run of `npm test`. The other versions of Node.js are those that `npm test` has fetched; where
// there are none it is the one that runs this.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { nodePath, OTHER_NODES, specsBut } from './nodes.mjs'
import { suite } from './suite.mjs'

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
  'cli.spec.ts': 'processes that print',
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
  'fuse.spec.ts': 'chooses its own',
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

const asked = process.argv.slice(2)
const backings = asked.length > 0 ? asked : Object.keys(BACKINGS)
const unknown = backings.filter((backing) => !Object.hasOwn(BACKINGS, backing))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; known are ${Object.keys(BACKINGS).join(', ')}`)
  process.exit(2)
}

const specs = specsBut(EXEMPT)
const cwd = suite()
const others = OTHER_NODES.filter((version) => /^2[024]\./.test(version)).map(nodePath)
const nodes = [process.execPath, ...others.filter((path) => existsSync(path))]

for (const backing of backings) {
  for (const node of nodes) {
    console.log(`# backing ${backing}, ${node}`)
    const child = spawn(node, ['node_modules/ava/entrypoints/cli.mjs', '--tap', ...specs], {
      cwd,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, MMAP_NDARRAY_BACKING: backing, ...BACKINGS[backing] },
    })
    const code = await new Promise((resolve) => child.on('error', () => resolve(-1)).on('close', resolve))
    if (code !== 0) process.exitCode = 1
  }
}
