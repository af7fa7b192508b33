// The versions of Node.js that the suite runs on besides the one that runs it: real binaries, from the npm registry.
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Newest of each line that the registry's `node-<platform>-<cpu>` packages hold. */
export const OTHER_NODES = ['22.23.3', '24.21.0', '26.10.0']

export const nodePackage = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`

/** Where the set-up step of scripts/test.mjs puts one of them. */
export const nodePath = (version) =>
  resolve(
    join('.cache', `node-${version}`, 'node_modules', nodePackage, 'bin'),
    process.platform === 'win32' ? 'node.exe' : 'node',
  )

/** Specs to which all versions of Node.js are one, and why; they take a third of the time, and run on the first. */
const OF_ANY_NODE = {
  'cli.spec.ts': 'processes that print',
  'create-kill.spec.ts': 'the writer, which is native, in processes that are killed',
  'docs.spec.ts': 'examples',
  'examples.spec.ts': 'examples',
  'fuse.spec.ts': 'what the system does under a mapping',
  'interop.spec.ts': 'bytes of files',
  'numpy-reductions.spec.ts': 'native kernels',
  'numpy-search.spec.ts': 'native kernels',
  'numpy-selection.spec.ts': 'arithmetic of indices',
  'package.spec.ts': 'the package',
}

/** The specs but those that a table names, compiled (suite.mjs); throws where it names one that is not there. */
export function specsBut(table) {
  const gone = Object.keys(table).filter((name) => !existsSync(`__test__/${name}`))
  if (gone.length > 0) throw new Error(`left out, and not there: ${gone.join(', ')}`)
  const all = readdirSync('__test__').filter((name) => name.endsWith('.spec.ts'))
  return all.filter((name) => !(name in table)).map((name) => `__test__/${name.replace(/ts$/, 'js')}`)
}

/** What runs on the other versions. */
export const specsOfNodes = () => specsBut(OF_ANY_NODE)
