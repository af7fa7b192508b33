// What scripts/cross.mjs and scripts/cross-test.mjs are made of that a machine lacks: fetched into .cache/cross, with no
// right to change the system and with nothing left outside of it.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

/** The folder of it all. */
export const CROSS = resolve('.cache/cross')

/** Debian packages that are unpacked, never installed: the emulator, and the C libraries of what it emulates. */
const DEBS = [
  'qemu-user-static',
  ...['arm64', 's390x'].flatMap((cpu) =>
    ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'].map((name) => `${name}-${cpu}-cross`),
  ),
]

/** Runs a command and shows it; true when it succeeded. */
export function run(command, args, options = {}) {
  console.log(`\n== ${[command, ...args].join(' ')}`)
  return spawnSync(command, args, { stdio: 'inherit', ...options }).status === 0
}

/** What a command prints, or `undefined` if it fails. */
export function output(command, args, options = {}) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options })
  return status === 0 ? stdout : undefined
}

/** Does what `make` does once: what was begun and not finished is taken away, and `<name>.ok` says that it was finished. */
export function once(name, make) {
  const [folder, done] = [join(CROSS, name), join(CROSS, `${name}.ok`)]
  if (existsSync(done)) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  if (!make(folder)) {
    rmSync(folder, { recursive: true, force: true })
    return undefined
  }
  writeFileSync(done, '')
  return folder
}

/** Zig, which links for every system, and the command that lets cargo use it: the folder of the programs. */
export function zig() {
  const venv = once(
    'venv',
    (folder) =>
      run('python3', ['-m', 'venv', folder]) &&
      run(join(folder, 'bin/pip'), [
        ...['install', '--quiet', '--disable-pip-version-check'],
        ...['ziglang==0.17.1', 'cargo-zigbuild==0.24.0'],
      ]),
  )
  return venv && join(venv, 'bin')
}

/** PATH with zig in front. */
export const withZig = (bin) => [bin, process.env.PATH].join(delimiter)

/** What rustup installs for the pinned toolchain: `true` when it is there. */
export const target = (...names) => run('rustup', ['target', 'add', ...names])

/** A program of LLVM that comes with the toolchain. */
export function llvm(name) {
  const sysroot = output('rustc', ['--print', 'sysroot'])?.trim()
  const host = /host: (.*)/.exec(output('rustc', ['-vV']) ?? '')?.[1]
  if (!sysroot || !host) return undefined
  const path = join(sysroot, 'lib/rustlib', host, 'bin', name)
  return existsSync(path) || run('rustup', ['component', 'add', 'llvm-tools']) ? path : undefined
}

/** The usr folder of the unpacked Debian packages. */
export function debian() {
  const folder = once('debian', (into) => {
    if (!run('apt-get', ['download', ...DEBS], { cwd: into })) return false
    return readdirSync(into)
      .filter((name) => name.endsWith('.deb'))
      .every((name) => run('dpkg-deb', ['-x', name, '.'], { cwd: into }))
  })
  return folder && join(folder, 'usr')
}

/** What platforms.json says of a binary, whether it was run or not. */
export function built(target, path) {
  const bytes = readFileSync(path)
  return { target, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** Writes a row of platforms.json at once, into the file as it is now: what comes later may take hours. */
export function recordRow(kind, name, entry) {
  const file = 'platforms.json'
  const known = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { platforms: {}, core: {} }
  // What was seen of a binary holds for as long as it is the same.
  const before = known[kind][name]
  known[kind][name] = before?.sha256 === entry.sha256 ? { ...before, ...entry } : entry
  const sorted = (table) => Object.fromEntries(Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1)))
  const text = { platforms: sorted(known.platforms), core: sorted(known.core) }
  writeFileSync(file, `${JSON.stringify(text, undefined, 2)}\n`)
}
