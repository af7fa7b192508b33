// `npm run sanitize`: the core's tests under AddressSanitizer, and those that need no file mapping under Miri.
//
// Miri knows no mappings of files, so it runs the parsers, the layouts and the kernels over memory of the heap, with
// fewer random cases. What is missing here is installed where rustup can, and skipped with a reason where it cannot;
// exit code 77: nothing could run.
import { component, has, host, nightly, SKIPPED, skip } from './nightly.mjs'

const CRATE = ['-p', 'mmap-ndarray-core']
/** Modules of the suite that map no file: kernels and what they rely on, and a parser. The others have no unsafe code. */
const MIRI = ['fuzz', 'kernel', 'layout', 'mmap_format']

const triple = host()
if (!triple) skip('the nightly toolchain is missing; rustup toolchain install nightly')

const results = {}
const source = component('rust-src')
results.address =
  process.platform === 'win32'
    ? 'skipped: AddressSanitizer of Rust is for Linux and macOS'
    : nightly(
        [
          ...['test', ...CRATE, '--lib', '--tests', '--target', triple, '--target-dir', 'target/sanitize'],
          // With its source the standard library is checked as well.
          ...(source ? ['-Zbuild-std'] : []),
        ],
        { RUSTFLAGS: '-Zsanitizer=address' },
      )

const flags = { MIRIFLAGS: '-Zmiri-disable-isolation -Zmiri-deterministic-floats' }
const miri = source && component('miri') && has('miri', '--version')
results.miri = miri
  ? nightly(['miri', 'test', ...CRATE, '--lib', '--target-dir', 'target/miri'], flags) &&
    nightly(
      [
        'miri',
        'test',
        ...CRATE,
        '--test',
        'suite',
        '--target-dir',
        'target/miri',
        '--',
        ...MIRI.map((name) => `${name}::`),
      ],
      flags,
    )
  : 'skipped: Miri or the source of the standard library cannot be installed'

for (const [name, result] of Object.entries(results)) {
  console.log(`${name}: ${typeof result === 'string' ? result : result ? 'passed' : 'failed'}`)
}
const outcomes = Object.values(results)
process.exitCode = outcomes.includes(false) ? 1 : outcomes.includes(true) ? 0 : SKIPPED
