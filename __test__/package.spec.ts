/** The package as its users get it: what it exports, how it is loaded, what is in it. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'ava'
import { root, run } from './helpers.js'

test('the exports', async (t) => {
  const names = Object.keys(await import('../src/index.js')).sort()
  t.deepEqual(names, [
    'MmapArray',
    'MmapError',
    'NdView',
    'create',
    'createSync',
    'isMmapError',
    'list',
    'listSync',
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
  t.is(stdout.trim(), 'true 11', stderr)
})

test('no top-level await anywhere: require would fail', (t) => {
  t.notThrows(() => createRequire(import.meta.url)('../dist/index.js'))
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
  t.true(paths.includes('dist/index.js') && paths.includes('dist/index.d.ts'))
  t.false(paths.some((path) => path.endsWith('.node') || path.includes('.spec.')))
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
