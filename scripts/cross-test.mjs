// `npm run cross:test [-- ROW...]`: runs the specs of the package in real versions of Node.js on other platforms, and the
// tests of the core on other kinds of machine.
//
// The binaries are those of scripts/cross.mjs. `--record` writes what was seen to platforms.json, failures too; a platform
// that nothing here runs gets no more than the size of its binary. The README's table is made from that file
// (scripts/platform-table.mjs). `--core` runs the cores alone, which need no binary; `--specs=a,b` only those specs, which
// is never recorded. Exit code 77: nothing could run.
import { spawn } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { CORES, NODES } from './cross-nodes.mjs'
import { built, CROSS, recordRow, run } from './cross-tools.mjs'
import { SKIPPED } from './nightly.mjs'
import { PLATFORMS } from './platforms.mjs'
import { compile } from './suite.mjs'

/** No spec takes longer, in milliseconds, however slow the emulator; and no core, which is built in that time as well. */
const LONGEST = 600_000
const LONGEST_CORE = 2_400_000
/** Not about the binary, or not to be had here: they look at the project, start TypeScript, or need numpy, the seed or a file system. */
const HERE_ONLY = [
  'docs',
  'electron-app',
  'examples',
  'fuse',
  'hostile',
  'package',
  'readme',
  'numpy-reductions',
  'numpy-search',
  'numpy-selection',
  'interop',
  'seed',
]

const { binaryName } = JSON.parse(readFileSync('package.json', 'utf8')).napi

/** No loader for TypeScript exists for every platform. */
function compiled() {
  const out = join(CROSS, `js-${process.pid}`)
  rmSync(out, { recursive: true, force: true })
  process.on('exit', () => rmSync(out, { recursive: true, force: true }))
  return compile(out) ? out : undefined
}

/** A copy of the project in which `ava` is scripts/specs.mjs and the binary is that of the platform. */
function stage(name, js, binary) {
  const folder = join(CROSS, `suite-${name}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'node_modules/ava'), { recursive: true })
  for (const path of ['src', '__test__']) cpSync(join(js, path), join(folder, path), { recursive: true })
  for (const path of ['package.json', 'index.js', 'dist'])
    cpSync(path, join(folder, path), { recursive: true })
  for (const path of ['crates', 'scripts']) symlinkSync(resolve(path), join(folder, path))
  for (const path of readdirSync('node_modules').filter((path) => path !== 'ava' && !path.startsWith('.'))) {
    symlinkSync(resolve('node_modules', path), join(folder, 'node_modules', path))
  }
  copyFileSync('scripts/specs.mjs', join(folder, 'node_modules/ava/index.js'))
  writeFileSync(
    join(folder, 'node_modules/ava/package.json'),
    JSON.stringify({ name: 'ava', type: 'module', exports: './index.js' }),
  )
  copyFileSync(binary, join(folder, `${binaryName}.${name}.node`))
  return folder
}

/**
 * What specs start as `process.execPath`: a script that starts the emulator again, for the system knows nothing of it.
 */
function launcher(folder, command) {
  const [script, path] = [join(folder, 'node'), join(folder, 'exec-path.mjs')]
  writeFileSync(path, `process.execPath = ${JSON.stringify(script)}\n`)
  const words = [...command, '--import', pathToFileURL(path).href].map((word) => `'${word}'`)
  writeFileSync(script, `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 })
  return [script]
}

/** Runs a command with its output in a file; the lines of it, and whether it came to its end. */
function logged(command, args, options, log, longest = LONGEST) {
  const file = openSync(log, 'w')
  return new Promise((done) => {
    // A group of its own, so that the emulated children go with it.
    const child = spawn(command, args, { stdio: ['ignore', file, file], detached: true, ...options })
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), longest)
    const end = (code) => {
      clearTimeout(timer)
      closeSync(file)
      done({ code, lines: readFileSync(log, 'utf8').split(/\r?\n/) })
    }
    child.on('error', () => end(-1))
    child.on('close', end)
  })
}

async function specs(name, node, js, only) {
  const binary = join('npm', name, `${binaryName}.${name}.node`)
  const folder = stage(name, js, binary)
  const command = node.emulated === false ? node.command : launcher(folder, node.command)
  const env = { ...process.env, ...node.env, TMPDIR: '/tmp' }
  if (node.names) env.NAPI_RS_NATIVE_LIBRARY_PATH = join(folder, `${binaryName}.${name}.node`)
  const leftOut = { ...node.leftOut }
  const total = { passed: 0, failed: 0, skipped: 0 }
  const all = readdirSync(join(folder, '__test__')).filter((file) => file.endsWith('.spec.js'))
  const waiting = all
    .map((file) => file.replace('.spec.js', ''))
    .filter((spec) => !(HERE_ONLY.includes(spec) || leftOut[spec] || (only && !only.includes(spec))))
  const runNext = async () => {
    const spec = waiting.shift()
    if (spec === undefined) return
    const started = performance.now()
    const path = (...parts) => (node.path ?? ((x) => x))(join(folder, ...parts))
    const titles = Object.keys(leftOut).filter((key) => key.startsWith(`${spec}: `))
    const args = [
      ...['--expose-gc', path('node_modules/ava/index.js'), path('__test__', `${spec}.spec.js`)],
      ...titles.map((key) => key.slice(spec.length + 2)),
    ]
    const log = join(folder, `${spec}.log`)
    const { code, lines } = await logged(
      command[0],
      [...command.slice(1), ...args],
      { cwd: folder, env },
      log,
    )
    const count = (pattern) => lines.filter((line) => pattern.test(line)).length
    const skipped = count(/^ok .* # SKIP$/)
    const result = { passed: count(/^ok /) - skipped, failed: count(/^not ok /), skipped }
    // Ended before its last line, or by its time: that is a failure of its own.
    if (code !== 0 && result.failed === 0) result.failed = 1
    for (const key of Object.keys(total)) total[key] += result[key]
    const words = Object.entries(result).map(([key, n]) => `${n} ${key}`)
    console.log(
      `${result.failed > 0 ? 'not ok' : 'ok'} - ${name} ${spec}: ${words.join(', ')}, ${Math.round((performance.now() - started) / 100) / 10} s`,
    )
    if (result.failed > 0)
      console.log(
        lines
          .filter((line) => !/^ok /.test(line))
          .slice(0, 30)
          .join('\n'),
      )
    await runNext()
  }
  // Two at once: each waits for much, for workers and for other processes to start.
  await Promise.all([runNext(), runNext()])
  return {
    node: node.version,
    under: node.under,
    ...total,
    ...(Object.keys(leftOut).length > 0 && { leftOut }),
  }
}

const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'))
const onlyCores = process.argv.includes('--core')
const only = process.argv
  .find((word) => word.startsWith('--specs='))
  ?.slice(8)
  .split(',')
const rows = onlyCores
  ? []
  : Object.keys(PLATFORMS).filter((name) => wanted.length === 0 || wanted.includes(name))

const recording = process.argv.includes('--record') && !only

const record = recording ? recordRow : () => {}

let [failed, ran] = [0, 0]
let js
for (const name of rows) {
  const binary = join('npm', name, `${binaryName}.${name}.node`)
  if (!existsSync(binary)) {
    console.log(`${name}: there is no binary; npm run cross -- ${name}`)
    continue
  }
  const entry = built(PLATFORMS[name].target, binary)
  const node = NODES[name]?.()
  if (!node) {
    console.log(`${name}: nothing here runs it`)
    record('platforms', name, entry)
    continue
  }
  js ??= compiled()
  if (!js) process.exit(1)
  const result = await specs(name, node, js, only)
  ran += 1
  failed += result.failed
  record('platforms', name, { ...entry, tested: result })
}
for (const name of Object.keys(CORES).filter((name) => wanted.length === 0 || wanted.includes(name))) {
  const result = await CORES[name]((...args) => logged(...args, LONGEST_CORE))
  if (!result) {
    console.log(`ok - core on ${name} # SKIP what it needs is not to be had here`)
    continue
  }
  ran += 1
  failed += result.failed
  record('core', name, result)
}
if (recording) run(process.execPath, ['scripts/platform-table.mjs'])
process.exitCode = failed > 0 ? 1 : ran > 0 ? 0 : SKIPPED
