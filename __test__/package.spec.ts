/** The package as its users get it: what it exports, how it is loaded, what is in it. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'ava'
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

test('what a package would contain', (t) => {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
  })
  const [{ files }] = JSON.parse(packed)
  const paths: string[] = files.map(({ path }: { path: string }) => path)
  t.deepEqual(paths.filter((path) => !path.startsWith('dist/')).sort(), [
    'LICENSE',
    'README.md',
    'index.d.ts',
    'index.js',
    'package.json',
  ])
  for (const path of ['index.js', 'index.d.ts', 'cli.js']) t.true(paths.includes(`dist/${path}`), path)
  t.false(paths.some((path) => path.endsWith('.node') || path.includes('.spec.')))
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
