// A utility process: the checks, for the main process to report.
import * as m from 'mmap-ndarray'
import { check } from './checks.mjs'

const results = await check(m, process.argv.at(-1)).catch((error) => [
  { name: error.stack, found: 'an error', expected: 'none' },
])
process.parentPort.postMessage(results)
