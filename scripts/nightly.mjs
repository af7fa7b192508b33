// What the scripts share that need the nightly toolchain: finding it, and saying what is missing.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

/** The exit code of a script that could not run here, as automake has it. */
export const SKIPPED = 77

const tools = resolve('.cache/tools')

/** Runs cargo of the nightly toolchain, and shows what it says; true when it succeeded. */
export function nightly(args, env = {}, stdio = 'inherit') {
  console.log(`\n== cargo +nightly ${args.join(' ')}`)
  const path = [resolve(tools, 'bin'), process.env.PATH].join(delimiter)
  const options = { stdio, env: { ...process.env, PATH: path, RUSTUP_TOOLCHAIN: 'nightly', ...env } }
  return spawnSync('cargo', args, options).status === 0
}

/** Whether a cargo command answers at all. */
export const has = (...args) => nightly(args, {}, 'ignore')

/** Installs a cargo command of this version for the project alone; true when it is there. */
export function install(command, version) {
  if (has(command, '--version')) return true
  mkdirSync(tools, { recursive: true })
  return nightly(['install', '--locked', '--root', tools, `cargo-${command}@${version}`])
}

/** Adds a component to the nightly toolchain; true when it is there. */
export const component = (name) =>
  spawnSync('rustup', ['component', 'add', '--toolchain', 'nightly', name], { stdio: 'inherit' }).status === 0

/** The system this machine is, by its name in Rust; undefined where there is no nightly toolchain. */
export function host() {
  const env = { ...process.env, RUSTUP_TOOLCHAIN: 'nightly' }
  const { status, stdout } = spawnSync('rustc', ['-vV'], { env, encoding: 'utf8' })
  // Without rustup the variable says nothing, and another toolchain answers.
  return status === 0 && /release: .*-nightly/.test(stdout) ? /host: (.*)/.exec(stdout)[1].trim() : undefined
}

/** Says why, and ends the script. */
export function skip(reason) {
  console.log(`skipped: ${reason}`)
  process.exit(SKIPPED)
}
