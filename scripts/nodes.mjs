// The versions of Node.js that the suite runs on besides the one that runs it: real binaries, from the npm registry.
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
