// `npm run crate`: whether the core can be published as a crate of its own: its documentation and its examples, and what
// is packed builds alone. Also with the oldest compiler that it promises, where rustup has it or can fetch it.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const CRATE = ['--locked', '-p', 'mmap-ndarray-core']
const [, oldest] = /^rust-version = "(.*)"$/m.exec(readFileSync('Cargo.toml', 'utf8'))
const failed = []

function run(title, command, args, env = {}) {
  console.log(`\n== ${title}: ${[command, ...args].join(' ')}`)
  const { status } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } })
  if (status !== 0) failed.push(title)
  return status === 0
}

run('documentation', 'cargo', ['doc', ...CRATE, '--no-deps'], { RUSTDOCFLAGS: '-D warnings' })
for (const [name, ...args] of [
  ['list', 'crates/core/tests/fixtures/npy/lei4_C.npy', 'crates/core/tests/fixtures/mmap/f32_5_ramp.mmap'],
  ['nearest'],
]) {
  run(`example ${name}`, 'cargo', ['run', '--quiet', ...CRATE, '--example', name, '--', ...args])
}
// `--allow-dirty`: what is committed is for git to say.
run('package', 'cargo', ['package', ...CRATE, '--allow-dirty', '--quiet'])

const toolchain = ['toolchain', 'install', oldest, '--profile', 'minimal', '--no-self-update']
if (spawnSync('rustup', toolchain, { stdio: 'ignore' }).status === 0) {
  const env = { RUSTUP_TOOLCHAIN: oldest, CARGO_TARGET_DIR: 'target/oldest' }
  run(`Rust ${oldest}`, 'cargo', ['check', ...CRATE], env)
} else {
  console.log(`skipped: Rust ${oldest} is not to be had here`)
}
console.log(failed.length > 0 ? `\nfailed: ${failed.join(', ')}` : '\nthe crate could be published')
process.exitCode = failed.length > 0 ? 1 : 0
