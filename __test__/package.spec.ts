/** The package as its users get it: what it exports, how it is loaded, what is in it. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'ava'
import { LARGEST } from '../scripts/platforms.mjs'
import { type Host, missingBinary, PLATFORMS } from '../src/platform.js'
import { folder, root, run } from './helpers.js'

/** A program of a package that this one is developed with. */
const bin = (name: string, path: string) => join(root, 'node_modules', name, path)

test('the exports', async (t) => {
  const names = Object.keys(await import('../src/index.js')).sort()
  t.deepEqual(names, [
    'MmapArray',
    'MmapError',
    'NdView',
    'attach',
    'attachSync',
    'create',
    'createSync',
    'isMmapError',
    'list',
    'listSync',
    'mapChunks',
    'open',
    'openSync',
    'slice',
  ])
})

test('import and require give the same classes', async (t) => {
  const script = `
    const required = require('mmap-ndarray')
    import('mmap-ndarray').then((imported) => {
      console.log(Object.keys(imported).every((name) => required[name] === imported[name]), Object.keys(imported).length)
    })`
  const { stdout, stderr } = await run(process.execPath, ['--input-type=commonjs', '--eval', script], {
    cwd: root,
  })
  t.is(stdout.trim(), 'true 14', stderr)
})

test('no top-level await anywhere: require would fail', (t) => {
  t.notThrows(() => createRequire(import.meta.url)('../dist/index.js'))
})

test('the exports of adapters', async (t) => {
  t.deepEqual(Object.keys(await import('../src/adapters.js')).sort(), [
    'toChunk',
    'toScijs',
    'toStdlib',
    'toTensorArgs',
  ])
})

test('the exports of electron, and of renderer', async (t) => {
  t.deepEqual(Object.keys(await import('../src/electron.js')), ['createProtocolHandler'])
  t.deepEqual(Object.keys(await import('../src/renderer.js')).sort(), [
    'MmapError',
    'NdView',
    'isMmapError',
    'readResponse',
  ])
})

test('publint finds nothing', async (t) => {
  const { code, stdout, stderr } = await run(process.execPath, [
    bin('publint', 'src/cli.js'),
    'run',
    root,
    '--strict',
  ])
  t.is(code, 0, stdout + stderr)
})

test('are the types wrong? no', async (t) => {
  const dir = folder(t)
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir], { cwd: root })
  const [tarball = ''] = readdirSync(dir)
  const attw = bin('@arethetypeswrong/cli', 'dist/index.js')
  const { code, stdout } = await run(process.execPath, [attw, join(dir, tarball), '--profile', 'esm-only'])
  t.is(code, 0, stdout)
})

test('what the packages would contain', (t) => {
  const contents = (...folders: string[]) => {
    const args = ['pack', '--dry-run', '--json', '--ignore-scripts', ...folders]
    const packed = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8' }))
    return packed.map(({ files }: { files: { path: string }[] }) => files.map(({ path }) => path).sort())
  }
  const modules = readdirSync(join(root, 'src')).map((name) => name.replace(/\.ts$/, ''))
  const [main, ...others] = contents('.', ...PLATFORMS.map((name) => `./npm/${name}`))
  t.deepEqual(
    main,
    [
      'LICENSE',
      'README.md',
      ...modules.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`, `dist/${name}.js.map`]),
      'index.d.ts',
      'index.js',
      'package.json',
    ].sort(),
  )
  for (const [i, name] of PLATFORMS.entries()) {
    // The binary is there where it was built.
    const files = others[i].filter((path: string) => path !== `mmap-ndarray.${name}.node`)
    t.deepEqual(files, ['README.md', 'package.json'], name)
  }
})

test('the manifests of the platforms', (t) => {
  const read = (...path: string[]) => JSON.parse(readFileSync(join(root, ...path, 'package.json'), 'utf8'))
  const main = read()
  t.is(
    main.optionalDependencies,
    undefined,
    'they join in a release: a lock file cannot name what is not published',
  )
  t.deepEqual(readdirSync(join(root, 'npm')).sort(), [...PLATFORMS])
  for (const name of PLATFORMS) {
    const [os, cpu, abi] = name.split('-')
    const manifest = read('npm', name)
    const libc = { gnu: ['glibc'], musl: ['musl'] }[abi as string]
    t.like(manifest, {
      name: `@mmap-ndarray/binding-${name}`,
      version: main.version,
      main: `mmap-ndarray.${name}.node`,
      files: [`mmap-ndarray.${name}.node`],
      engines: main.engines,
      license: main.license,
      repository: main.repository,
      os: [os],
      cpu: [cpu],
    })
    t.deepEqual(manifest.libc, libc)
    for (const key of ['scripts', 'dependencies', 'bin']) t.is(manifest[key], undefined)
  }
})

const hosts: [host: Host, installed: string[], message: RegExp | undefined][] = [
  ...PLATFORMS.map((name): [Host, string[], undefined] => {
    const [platform = '', arch = '', abi] = name.split('-')
    return [
      { platform, arch, libc: platform === 'linux' ? (abi as Host['libc']) : undefined },
      [name],
      undefined,
    ]
  }),
  [{ platform: 'linux', arch: 'x64', libc: undefined }, ['linux-x64-musl'], undefined],
  [
    { platform: 'linux', arch: 'x64', libc: 'musl' },
    ['linux-x64-gnu'],
    /binding-linux-x64-musl.*npm install/,
  ],
  [{ platform: 'linux', arch: 'arm64', libc: undefined }, [], /linux-arm64-gnu or linux-arm64-musl/],
  [{ platform: 'darwin', arch: 'arm64', libc: undefined }, ['darwin-x64'], /binding-darwin-arm64.*lock file/],
  [
    { platform: 'linux', arch: 'arm', libc: 'gnu' },
    [],
    /made for linux-arm; .*linux-arm64-gnu.*npm run build/,
  ],
  [{ platform: 'freebsd', arch: 'x64', libc: undefined }, [], /freebsd-x64.*NAPI_RS_NATIVE_LIBRARY_PATH/],
]
for (const [host, installed, message] of hosts) {
  const { platform, arch, libc } = host
  test(`a binary for ${platform} ${arch} ${libc}, with ${installed[0] ?? 'none'} installed`, (t) => {
    const found = missingBinary(host, (name) => installed.includes(name))
    if (message === undefined) t.is(found, undefined)
    else t.regex(found ?? '', message)
  })
}

test('the binary of this system is stripped, and no larger than is allowed', (t) => {
  const [file = ''] = readdirSync(root).filter((name) => name.endsWith('.node'))
  const bytes = readFileSync(join(root, file))
  t.log(`${file}: ${bytes.length} bytes`)
  t.true(bytes.length < LARGEST, `${bytes.length} bytes`)
  // Where an ELF file has no such section, its names have no such name.
  if (process.platform === 'linux') t.false(bytes.includes('.symtab\0'))
})

test('the command is a program', (t) => {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.deepEqual(bin, { 'mmap-ndarray': './dist/cli.js' })
  t.regex(readFileSync(join(root, 'dist', 'cli.js'), 'utf8'), /^#!\/usr\/bin\/env node\n/)
})

test('declarations of the public types mention nothing native or internal', (t) => {
  const seen = new Set<string>()
  const visit = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const [, next = ''] of readFileSync(join(root, 'dist', file), 'utf8').matchAll(
      /from '\.\/([\w-]+)\.js'/g,
    )) {
      visit(`${next}.d.ts`)
    }
  }
  visit('index.d.ts')
  for (const file of seen) t.true(existsSync(join(root, 'dist', file)))
  t.false(readFileSync(join(root, 'dist', 'mmap-array.d.ts'), 'utf8').includes('wrap('))
})
