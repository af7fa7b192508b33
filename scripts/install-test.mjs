// `npm run test:install [-- --pack=FOLDER]`: the packages as a user gets them, from `npm install` in an empty folder on.
//
// The main package and those of the platforms are packed as a release packs them, and are served by a registry on the
// loopback; with FOLDER the tarballs are kept there, and every binary has to be in npm/. What runs sees Node.js on its PATH and nothing else: no Rust, no compiler; and no
// script of a package runs. Which platform package npm picks is asked for every platform. Where the binary of one was
// not built, an empty file takes its place here: npm looks into none, and only the one of this system is loaded.
import { spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodePath, OTHER_NODES } from './nodes.mjs'
import { serve } from './registry.mjs'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const { name: NAME, napi } = JSON.parse(readFileSync('package.json', 'utf8'))
const platforms = readdirSync('npm')
const here = hostPlatform()
const kept = process.argv.find((word) => word.startsWith('--pack='))?.slice(7)
const fixture = resolve('crates/core/tests/fixtures/npy/lei4_C.npy')
const temp = mkdtempSync(join(tmpdir(), 'mmap-ndarray-install-'))
process.on('exit', () => rmSync(temp, { recursive: true, force: true }))

const PROGRAM = `
const a = openSync(process.argv[2])
console.log(a.dtype, a.shape.join('x'), a.get(0, 0), String(a.sumSync()))
a.close()`
/** As numpy says. */
const PRINTED = 'int32 4x3 -685 4279'

/** The platform of this system: where no binary lies beside the loader, the one that its libc says. */
function hostPlatform() {
  const beside = platforms.find((platform) => existsSync(`${napi.binaryName}.${platform}.node`))
  if (beside) return beside
  const abi = {
    linux: process.report.getReport().header.glibcVersionRuntime ? '-gnu' : '-musl',
    win32: '-msvc',
  }
  return `${process.platform}-${process.arch}${abi[process.platform] ?? ''}`
}

let count = 0
function report(title, failure) {
  count += 1
  console.log(`${failure === undefined ? '' : 'not '}ok ${count} - install: ${title}`)
  if (failure === undefined) return
  console.log(failure.replaceAll(/^/gm, '  '))
  process.exitCode = 1
}
const same = (title, found, expected) =>
  report(title, found === expected ? undefined : `found    ${found}\nexpected ${expected}`)

/** A PATH with Node.js in it, and the home of somebody who never configured anything. */
const bin = join(temp, 'bin')
mkdirSync(bin)
symlinkSync(process.execPath, join(bin, 'node'))
const bare = { HOME: temp, PATH: bin }

function run(command, args, { cwd = temp, env = bare } = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const text = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (more) => {
        text[stream] += more
      })
    }
    child.on('error', (error) => done({ code: -1, stdout: '', stderr: error.message }))
    child.on('close', (code) => done({ code, stdout: text.stdout.trim(), stderr: text.stderr.trim() }))
  })
}

async function must(...command) {
  const { code, stdout, stderr } = await run(...command)
  if (code === 0) return stdout
  throw new Error(`${command[0]} ${command[1].join(' ')} ended with ${code}: ${stdout}\n${stderr}`)
}

/** npm's own program, so that PATH need not have it. */
const npm =
  process.env.npm_execpath ?? `${await must('npm', ['root', '-g'], { env: process.env })}/npm/bin/npm-cli.js`
const withNpm = (...args) => [process.execPath, [npm, ...args]]

/** Packs what a release would: `napi pre-publish` writes the optional dependencies, into a copy. */
async function pack() {
  const [stage, tarballs] = [join(temp, 'stage'), kept ? resolve(kept) : join(temp, 'tarballs')]
  mkdirSync(tarballs, { recursive: true })
  for (const path of ['package.json', 'README.md', 'LICENSE', 'index.js', 'index.d.ts', 'dist', 'npm']) {
    cpSync(path, join(stage, path), { recursive: true })
  }
  for (const platform of platforms) {
    const file = `${napi.binaryName}.${platform}.node`
    const target = join(stage, 'npm', platform, file)
    if (existsSync(target)) continue
    if (kept) throw new Error(`${file} is not in npm/${platform}; download or build it first`)
    if (existsSync(file)) cpSync(file, target)
    else writeFileSync(target, '')
  }
  const cli = resolve('node_modules/@napi-rs/cli/dist/cli.js')
  const prePublish = [cli, 'pre-publish', '-t', 'npm', '--no-gh-release', '--skip-optional-publish']
  await must(process.execPath, prePublish, { cwd: stage, env: { ...process.env, HOME: temp } })
  const folders = ['.', ...platforms.map((platform) => `./npm/${platform}`)]
  await must(...withNpm('pack', '--ignore-scripts', '--pack-destination', tarballs, ...folders), {
    cwd: stage,
  })
  return tarballs
}

const registry = await serve(await pack())

/** `npm install` in an empty folder; the platform packages that it put there. */
async function install(folder, ...options) {
  const cwd = join(temp, folder)
  mkdirSync(cwd)
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--registry', registry.url, ...options]
  const { code, stderr } = await run(...withNpm('install', NAME, ...flags), { cwd })
  const scope = join(cwd, 'node_modules', napi.packageName.split('/')[0])
  return { cwd, code, stderr, packages: existsSync(scope) ? readdirSync(scope).join(' ') : 'none' }
}
const packageOf = (platform) => `${napi.packageName.split('/')[1]}-${platform}`

same('nothing but Node.js on the PATH', readdirSync(bin).join(' '), 'node')
const started = performance.now()
const mine = await install('mine')
same(
  `npm install ends well, in ${Math.round(performance.now() - started)} ms`,
  `${mine.code} ${mine.stderr}`,
  '0 ',
)
same('the package of this system, and no other', mine.packages, packageOf(here))
const lock = JSON.parse(readFileSync(join(mine.cwd, 'package-lock.json'), 'utf8'))
const optional = Object.keys(lock.packages[`node_modules/${NAME}`].optionalDependencies ?? {})
same(
  'the lock file has every platform, so that it holds on all of them',
  optional.sort().join(' '),
  platforms
    .map((platform) => `${napi.packageName}-${platform}`)
    .sort()
    .join(' '),
)

writeFileSync(join(mine.cwd, 'imports.mjs'), `import { openSync } from '${NAME}'${PROGRAM}`)
writeFileSync(join(mine.cwd, 'requires.cjs'), `const { openSync } = require('${NAME}')${PROGRAM}`)
const found = [
  [process.versions.node, process.execPath],
  ...OTHER_NODES.map((version) => [version, nodePath(version)]),
]
for (const [version, node] of found) {
  for (const program of ['imports.mjs', 'requires.cjs']) {
    const title = `${program} in Node.js ${version}`
    if (!existsSync(node)) {
      count += 1
      console.log(`ok ${count} - install: ${title} # SKIP this Node.js is not to be had here`)
      continue
    }
    const { code, stdout, stderr } = await run(node, [program, fixture], { cwd: mine.cwd })
    same(title, `${code} ${stdout} ${stderr}`, `0 ${PRINTED} `)
  }
}

const choices = platforms.map((platform) => {
  const [os, cpu, abi] = platform.split('-')
  const libc = { gnu: ['--libc=glibc'], musl: ['--libc=musl'] }[abi] ?? []
  return { platform, expected: packageOf(platform), options: [`--os=${os}`, `--cpu=${cpu}`, ...libc] }
})
choices.push({ platform: 'freebsd-x64', expected: 'none', options: ['--os=freebsd', '--cpu=x64'] })
await Promise.all(
  choices.map(async ({ platform, expected, options }) => {
    const { code, packages } = await install(platform, ...options)
    same(`npm's choice for ${platform}`, `${code} ${packages}`, `0 ${expected}`)
  }),
)

// In the folder without any binary: first as the system this is, then as the one that there is none for.
const bereft = join(temp, 'freebsd-x64')
const loads = (...flags) =>
  run(process.execPath, [...flags, '--input-type=module', '--eval', `import '${NAME}'`], { cwd: bereft })
const pretend = 'data:text/javascript,Object.defineProperty(process,"platform",{value:"freebsd"})'
for (const [title, flags, words] of [
  ['an install without its binary says which package is missing', [], `${packageOf(here)}.*npm install`],
  [
    'a platform without a package is named, with the way out',
    ['--import', pretend],
    'freebsd-x64.*npm run build',
  ],
]) {
  const { code, stderr } = await loads(...flags)
  const right =
    code === 1 && new RegExp(words).test(stderr) && /ERR_FEATURE_UNAVAILABLE_ON_PLATFORM/.test(stderr)
  report(title, right ? undefined : `${code} ${stderr}`)
}
registry.close()
console.log(`1..${count}`)
