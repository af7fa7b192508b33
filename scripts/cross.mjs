// `npm run cross [-- PLATFORM... --inspect]`: the binaries of all platforms, from any Linux or macOS, into npm/<platform>,
// each checked; with `--inspect` those that are there already. `--record`, which npm adds, writes their sizes to platforms.json.
//
// Zig links them all: against glibc 2.17, musl, the libraries of Windows and of macOS, which it brings along. That a binary
// was built says nothing about whether it runs: scripts/cross-test.mjs does.
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { built, CROSS, llvm, output, recordRow, run, target, withZig, zig } from './cross-tools.mjs'
import { SKIPPED } from './nightly.mjs'
import { GLIBC, LARGEST, MACOS, PLATFORMS } from './platforms.mjs'

const ENTRY = 'napi_register_module_v1'
const LC_CODE_SIGNATURE = 0x1d
const TARGETS = resolve('target/cross')
const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo')

const { binaryName } = JSON.parse(readFileSync('package.json', 'utf8')).napi
const [inspecting, recording] = ['--inspect', '--record'].map((word) => process.argv.includes(word))
const named = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const unknown = named.filter((name) => !(name in PLATFORMS))
if (unknown.length > 0) {
  console.error(`no such platform: ${unknown.join(', ')}; there are ${Object.keys(PLATFORMS).join(', ')}`)
  process.exit(2)
}

const names = named.length > 0 ? named : Object.keys(PLATFORMS)
const bin = zig()
const [objdump, nm] = [llvm('llvm-objdump'), llvm('llvm-nm')]
if (!bin || !objdump || !nm || !target(...names.map((name) => PLATFORMS[name].target))) {
  console.error('zig (from PyPI), or the tools of LLVM and the targets (from rustup), are not to be had here')
  process.exit(SKIPPED)
}

/**
 * napi-build looks for Node.js's library on Windows, to link with. There is none to find here, and none is needed: the
 * binary looks its functions up in the program that loads it.
 */
function stub() {
  const folder = join(CROSS, 'libnode')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'libnode.dll'), '')
  writeFileSync(join(folder, 'libnode.a'), '!<arch>\n')
  return folder
}

const placeOf = (name) => join('npm', name, `${binaryName}.${name}.node`)

function build(name) {
  const { target: triple, suffix = '', env = {} } = PLATFORMS[name]
  const file = `${binaryName}.${name}.node`
  const flags = [
    env.RUSTFLAGS,
    // No path of this machine: binaries of one commit are the same, and say nothing about where they were made.
    ...[`${process.cwd()}=.`, `${cargoHome}=cargo`].map((pair) => `--remap-path-prefix=${pair}`),
    name.startsWith('darwin') && `-C link-arg=-Wl,-install_name,@rpath/${file}`,
  ]
  const options = {
    env: {
      ...process.env,
      PATH: withZig(bin),
      CARGO_TARGET_DIR: TARGETS,
      LIBNODE_PATH: stub(),
      MACOSX_DEPLOYMENT_TARGET: MACOS,
      RUSTFLAGS: flags.filter(Boolean).join(' '),
    },
  }
  const args = [
    'zigbuild',
    '--locked',
    '--release',
    '-p',
    'mmap-ndarray-node',
    '--target',
    `${triple}${suffix}`,
  ]
  if (!run(join(bin, 'cargo-zigbuild'), args, options)) return undefined
  const [prefix, extension] = name.startsWith('win32')
    ? ['', 'dll']
    : ['lib', name.startsWith('darwin') ? 'dylib' : 'so']
  const library = join(TARGETS, triple, 'release', `${prefix}mmap_ndarray_node.${extension}`)
  copyFileSync(library, placeOf(name))
  return placeOf(name)
}

const all = (text, pattern) => [...text.matchAll(pattern)].map(([, found]) => found)
/** Whether the version `a` is later than `b`. */
const later = (a, b) => {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number))
  return x[0] > y[0] || (x[0] === y[0] && x[1] > y[1])
}

/**
 * Whether a Mach-O file is signed, and whether the hashes in its signature are those of its pages: on arm64 macOS ends the
 * process otherwise, which is what comes of changing a file once it is signed (a strip, for instance).
 */
function signature(bytes) {
  let command = 32
  for (let n = bytes.readUInt32LE(16); n > 0; n--) {
    if (bytes.readUInt32LE(command) === LC_CODE_SIGNATURE) {
      const blobs = bytes.subarray(bytes.readUInt32LE(command + 8))
      const directory = blobs.subarray(blobs.readUInt32BE(16))
      const [first, slots, end] = [16, 28, 32].map((field) => directory.readUInt32BE(field))
      const [size, page] = [directory[36], 2 ** directory[39]]
      const isRight = (_, slot) => {
        const part = bytes.subarray(slot * page, Math.min(end, (slot + 1) * page))
        const hash = createHash('sha256').update(part).digest()
        return hash.equals(directory.subarray(first + slot * size, first + (slot + 1) * size))
      }
      const whole = slots === Math.ceil(end / page) && Array.from({ length: slots }, isRight).every(Boolean)
      return { signed: true, whole }
    }
    command += bytes.readUInt32LE(command + 4)
  }
  return { signed: false, whole: false }
}

/** What is wrong with a binary, and what was looked at. */
function inspect(name, path) {
  const bytes = readFileSync(path)
  const headers = output(objdump, ['--private-headers', path]) ?? ''
  const [wrong, seen] = [[], []]
  const expect = (what, ok) => (ok ? seen : wrong).push(what)

  expect(`${bytes.length} bytes`, bytes.length < LARGEST)
  const places = [process.cwd(), cargoHome, homedir()].filter(
    (place) => place.length > 1 && bytes.includes(place),
  )
  expect(
    places.length > 0 ? `the path ${places[0]} is in it` : 'no path of this machine',
    places.length === 0,
  )

  let libraries
  if (name.startsWith('linux')) {
    libraries = all(headers, /^\s*NEEDED\s+(\S+)/gm)
    const versions = all(headers, /\bGLIBC_([\d.]+)/g)
    const newest = versions.reduce((a, b) => (later(b, a) ? b : a), '0.0')
    if (name.endsWith('gnu')) expect(`glibc ${newest}`, versions.length > 0 && !later(newest, GLIBC))
    else expect('no glibc', versions.length === 0)
    expect(`exports ${ENTRY}`, (output(nm, ['-D', '--defined-only', path]) ?? '').includes(` T ${ENTRY}`))
    expect('no other symbols', output(nm, ['--no-sort', path])?.trim() === '')
  } else if (name.startsWith('win32')) {
    libraries = all(headers, /DLL Name: (\S+)/g)
    expect(`exports ${ENTRY}`, new RegExp(`^\\s+\\d+\\s+0x[\\da-f]+\\s+${ENTRY}$`, 'm').test(headers))
  } else {
    libraries = all(headers, /cmd LC_LOAD_DYLIB\n.*\n\s+name (\S+)/g)
    expect(`macOS ${all(headers, /\bminos (\S+)/g)[0]}`, all(headers, /\bminos (\S+)/g)[0] === MACOS)
    const { signed, whole } = signature(bytes)
    // Zig signs what has to be: macOS loads code for Intel without, and the binaries of Apple's own linker have none there.
    if (name === 'darwin-x64' && !signed) expect('no signature, and none is asked for', true)
    else expect(signed ? 'the hashes of its signature' : 'a signature', whole)
    expect(
      'found by its own name',
      all(headers, /cmd LC_ID_DYLIB\n.*\n\s+name (\S+)/g)[0]?.startsWith('@rpath/'),
    )
    expect(
      `exports ${ENTRY}`,
      (output(nm, ['--extern-only', '--defined-only', path]) ?? '').includes(` T _${ENTRY}`),
    )
  }
  const foreign = libraries.filter((library) => !PLATFORMS[name].libraries.test(library))
  expect(`needs ${libraries.join(' ')}`, libraries.length > 0 && foreign.length === 0)
  return { wrong, seen }
}

const lines = []
for (const name of names) {
  const path = inspecting ? placeOf(name) : build(name)
  if (!path || !existsSync(path)) {
    lines.push(`not ok ${name}: it was not built`)
    continue
  }
  const { wrong, seen } = inspect(name, path)
  if (recording && wrong.length === 0) recordRow('platforms', name, built(PLATFORMS[name].target, path))
  lines.push(wrong.length > 0 ? `not ok ${name}: ${wrong.join(', ')}` : `ok ${name}: ${seen.join(', ')}`)
}
console.log(`\n${lines.join('\n')}`)
process.exitCode = lines.some((line) => line.startsWith('not')) ? 1 : 0
