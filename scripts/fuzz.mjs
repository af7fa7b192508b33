// `npm run fuzz -- [SECONDS] [TARGET...] [--keep]`: libFuzzer on every target, or on those named, 60 seconds each.
//
// New inputs are kept in .cache/fuzz/TARGET, and one that fails in .cache/fuzz/TARGET-crash-*. `--keep` adds to the
// committed corpus what reaches code that neither it nor the fixtures reach; `--present` installs nothing. Exit code 77:
// cannot run here.
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { has, host, install, nightly, skip } from './nightly.mjs'

const FUZZ = 'crates/core/fuzz'
/** Folders of fixtures that are whole files of a target. */
const FIXTURES = {
  mmap: ['mmap', 'hostile'],
  npy: ['npy', 'records'],
  safetensors: ['safetensors'],
  npz: ['npz'],
}
/** Nothing that is read from a few KiB is a reason to allocate more than this, or to take longer. */
const LIMITS = ['-max_len=4096', '-timeout=10', '-rss_limit_mb=1024', '-malloc_limit_mb=64']

const args = process.argv.slice(2)
const [keep, present] = [args.includes('--keep'), args.includes('--present')]
const seconds = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 60)
const all = readdirSync(join(FUZZ, 'fuzz_targets')).map((file) => file.replace('.rs', ''))
const named = args.filter((arg) => !/^(--keep|--present|\d+)$/.test(arg))
const unknown = named.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  console.error(`no such target: ${unknown.join(', ')}; there are ${all.join(', ')}`)
  process.exit(2)
}

const triple = host()
if (!triple) skip('the nightly toolchain is missing; rustup toolchain install nightly')
if (process.platform === 'win32') skip('libFuzzer of Rust is for Linux and macOS')
if (present ? !has('fuzz', '--version') : !install('fuzz', '0.13.2'))
  skip('cargo-fuzz is missing; npm run fuzz')
if (!nightly(['fuzz', 'build', '--fuzz-dir', FUZZ, '--target-dir', 'target/fuzz'])) process.exit(1)

const failed = []
for (const target of named.length > 0 ? named : all) {
  const program = join('target/fuzz', triple, 'release', target)
  const found = join('.cache/fuzz', target)
  const committed = join(FUZZ, 'corpus', target)
  const known = [
    committed,
    ...(FIXTURES[target] ?? []).map((name) => join('crates/core/tests/fixtures', name)),
  ]
  for (const path of [found, committed]) mkdirSync(path, { recursive: true })
  const run = (...options) => {
    console.log(`\n== ${target}: ${options.join(' ')}`)
    return spawnSync(program, [`-artifact_prefix=${found}-`, ...LIMITS, ...options], { stdio: 'inherit' })
      .status
  }
  if (run(`-max_total_time=${seconds}`, '-print_final_stats=1', found, ...known) !== 0) failed.push(target)
  if (!keep) continue
  // What is in the first folder counts as reached.
  const merged = `${found}-merged`
  for (const path of known) cpSync(path, merged, { recursive: true })
  const before = new Set(readdirSync(merged))
  run('-merge=1', '-use_counters=0', '-max_len=1000', merged, found)
  for (const name of readdirSync(merged)) {
    const path = join(committed, name)
    if (!before.has(name) && !existsSync(path)) copyFileSync(join(merged, name), path)
  }
  rmSync(merged, { recursive: true })
}
console.log(failed.length > 0 ? `\nfailed: ${failed.join(', ')}; see .cache/fuzz` : '\nevery target holds')
process.exitCode = failed.length > 0 ? 1 : 0
