// What CI runs in a real Electron: the assertions of __test__/electron, and the app of examples/electron. The Electron is that of
// the example, which pins it: npm install --prefix examples/electron
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { skip } from './nightly.mjs'

const require = createRequire(resolve('examples/electron/package.json'))
let electron
try {
  // The path of the program, which is fetched now if it was not yet.
  electron = require('electron')
} catch (error) {
  skip(`Electron is not there (${error.message.split('\n')[0]}); npm install --prefix examples/electron`)
}
const { ELECTRON_RUN_AS_NODE: _, MMAP_NDARRAY_BACKING: __, ...env } = process.env
for (const args of [['__test__/electron/main.mjs'], ['examples/electron', '--check']]) {
  console.log(`\n== electron ${args.join(' ')}`)
  const { status, signal } = spawnSync(electron, args, { stdio: 'inherit', env })
  if (status !== 0) {
    console.log(`not ok - ended with ${status ?? signal}`)
    process.exitCode = 1
  }
}
