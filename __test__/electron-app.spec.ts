/** The parts of examples/electron that need no Electron: what the page asks for, its colours, its types. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { createProtocolHandler } from '../src/electron.js'
import { create, createSync, openSync } from '../src/index.js'
import { readResponse } from '../src/renderer.js'
import { folder, root, run } from './helpers.js'

const app = join(root, 'examples', 'electron')
// JavaScript, with types that are checked by the test of its own.
const load = (name: string) => import(pathToFileURL(join(app, name)).href)

test('it has the types that it should, without Electron', async (t) => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  t.is((await run(process.execPath, [tsc, '-p', app])).stdout, '')
})

test('what it serves and loads is there', (t) => {
  const read = (name: string) => readFileSync(join(app, name), 'utf8')
  const sources = ['main.mjs', 'page.mjs', 'index.html']
  for (const name of sources) {
    for (const [, file = ''] of read(name).matchAll(/(?:from '\.|href="|src=")\/([\w.]+)['"]/g)) {
      t.true(existsSync(join(app, file)), `${name}: ${file}`)
      if (name !== 'main.mjs')
        t.true(read('main.mjs').includes(file.replace('.', '\\.')), `${file} is served`)
    }
  }
  t.true(existsSync(join(app, JSON.parse(read('package.json')).main)))
  t.regex(read('package.json'), /"electron": "\d+\.\d+\.\d+"/)
})

const planes: [shape: number[], index: number[], slice: string, rows: number, columns: number][] = [
  [[], [], '', 1, 1],
  [[0], [], '::1', 0, 0],
  [[10], [], '::1', 3, 4],
  [[1000], [], '::10', 10, 10],
  [[5, 7], [], '::1,::1', 5, 7],
  [[25, 7], [], '::3,::1', 9, 7],
  [[1e9, 1e9], [], '::100000000,::100000000', 10, 10],
  [[4, 5, 7], [2], '2,::1,::1', 5, 7],
  [[4, 5, 7], [99], '3,::1,::1', 5, 7],
  [[4, 5, 7], [], '0,::1,::1', 5, 7],
  [[0, 3], [], '::1,::1', 0, 3],
  [[2, 3, 11, 21], [1, 2], '1,2,::2,::3', 6, 7],
]
for (const [shape, index, slice, rows, columns] of planes) {
  test(`the plane of [${shape}] at [${index}] in 10 x 10 is ${slice}, and what the handler gives`, async (t) => {
    const { plane, head } = await load('plane.mjs')
    t.deepEqual(plane(shape, index, 10), { slice, rows, columns })
    if (shape.includes(1e9)) return
    const a = createSync(join(folder(t), 'a.npy'), { shape, dtype: 'uint8' })
    const ask = async (text: string) =>
      readResponse(await createProtocolHandler(a)(new Request(`mmap://a/data?slice=${text}`)))
    const { size, ndim } = await ask(slice)
    if (ndim === 2) t.is(size, rows * columns)
    else t.true(size <= rows * columns && size > rows * columns - Math.max(columns, 1))
    t.true((await ask(head(shape, 8, 5))).size <= 40)
    a.close()
  })
}

test('equal steps of a value are equal steps of lightness, and every colour is one of a screen', async (t) => {
  const { COLOURS, colour } = await load('colours.mjs')
  t.is(COLOURS.length, 1024)
  const lightness = (n: number) => {
    const [r, g, b] = [...COLOURS.subarray(4 * n, 4 * n + 3)].map((byte) => {
      const light = byte / 255
      return light <= 0.04045 ? light / 12.92 : ((light + 0.055) / 1.055) ** 2.4
    }) as [number, number, number]
    const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s
  }
  for (let n = 0; n < 255; n++) {
    t.is(COLOURS[4 * n + 3], 255)
    const step = lightness(n + 1) - lightness(n)
    t.true(step > 0 && step < 0.008, `${n}: ${step}`)
  }
  t.true(Math.abs(lightness(128) - (lightness(0) + lightness(255)) / 2) < 0.01)
  for (const share of [0, 0.5, 1]) t.true(colour(share).every((byte: number) => byte >= 0 && byte <= 255))
})

test('pixels: the ends, the middle, what is no number, and where all is one', async (t) => {
  const { COLOURS, paint } = await load('colours.mjs')
  const { extremes } = await load('plane.mjs')
  const values = [Number.NaN, -2, 0, 2, Number.POSITIVE_INFINITY]
  const { min, max } = extremes(values)
  t.deepEqual([min, max], [-2, 2])
  const pixels = paint(values, min, max, new Uint8ClampedArray(20))
  const at = (n: number) => [...COLOURS.subarray(4 * n, 4 * n + 4)]
  t.deepEqual([...pixels], [0, 0, 0, 0, ...at(0), ...at(128), ...at(255), 0, 0, 0, 0])
  t.deepEqual([...paint([7], 7, 7, new Uint8ClampedArray(4))], at(0))
  t.deepEqual(extremes([Number.NaN]), { min: 0, max: 0 })
})

test('sizes and memory are read as they are', async (t) => {
  const { size } = await load('plane.mjs')
  const expected: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [256 * 2 ** 20, '256.0 MiB'],
    [2 ** 60, '1048576.0 TiB'],
  ]
  for (const [bytes, text] of expected) t.is(size(bytes), text)
  const { privateOf, memory } = await load('memory.mjs')
  t.is(privateOf('Name:\tnode\nRssAnon:\t    2048 kB\nRssFile:\t 1 kB\n'), 2 ** 21)
  t.is(privateOf(''), undefined)
  const { rss, own } = await memory()
  t.true(rss > 0)
  t.is(own !== undefined, process.platform === 'linux')
})

test('the sample is a volume of numbers from -2 to 2', async (t) => {
  const { makeSample } = await load('sample.mjs')
  const path = join(folder(t), 'sample.npy')
  await makeSample(create, path, [3, 40, 50])
  const a = openSync(path, { dtype: 'float32', shape: [3, 40, 50] })
  const { min, max } = a.minmaxSync()
  t.true(min >= -2 && max <= 2 && max - min > 1)
  a.close()
})

test('the whole of it, with a stand-in for Electron: the page shows the sample, and nothing is left behind', async (t) => {
  const home = folder(t)
  const temp = folder(t)
  for (const name of readdirSync(app).filter((name) => /\.(mjs|js|html|css|json)$/.test(name))) {
    cpSync(join(app, name), join(home, name))
  }
  const modules = join(home, 'node_modules')
  mkdirSync(join(modules, 'electron'), { recursive: true })
  cpSync(join(root, '__test__', 'electron', 'stub.mjs'), join(modules, 'electron', 'index.mjs'))
  writeFileSync(join(modules, 'electron', 'package.json'), '{ "exports": "./index.mjs" }')
  symlinkSync(root, join(modules, 'mmap-ndarray'), 'junction')
  const env = { ...process.env, TMPDIR: temp, TEMP: temp, TMP: temp }
  const { code, stdout, stderr } = await run(process.execPath, ['main.mjs', '--check'], { cwd: home, env })
  t.is(code, 0, stderr + stdout)
  const [name, facts, message, ...counts] = JSON.parse(stdout.split('\n')[0] ?? '')
  t.is(name, 'sample.npy')
  t.regex(facts, /^npy · float32 · 4 × 256 × 256 · 1\.00 MiB · \w+$/)
  t.is(message, '')
  t.deepEqual(counts, [1, 8, 8, 256, 256, 4 * 256 * 256])
  t.regex(stdout, /65536 pixels in \d{2,3} colours/)
  t.deepEqual(readdirSync(temp), [])
})

// Windows has no 'wasm', here as in Electron.
for (const backing of process.platform === 'win32' ? ['window'] : ['wasm', 'window']) {
  test(`the assertions for a real Electron hold in Node.js over '${backing}'`, async (t) => {
    const script = `
      import * as m from 'mmap-ndarray'
      import { check, N, report } from './__test__/electron/checks.mjs'
      const path = process.argv.at(-1)
      m.createSync(path, { shape: [N], dtype: 'float64', fill: 1 }).close()
      const results = await check(m, path, { caged: false, backing: '${backing}' })
      process.exitCode = report('node', results) ? 0 : 1`
    const env = { ...process.env, MMAP_NDARRAY_BACKING: backing }
    const args = ['--input-type=module', '--eval', script, '--', join(folder(t), 'a.npy')]
    const { code, stdout, stderr } = await run(process.execPath, args, { cwd: root, env })
    t.is(code, 0, stdout + stderr)
    t.true(stdout.split('\n').length > 8)
  })
}

test('without Electron the run is skipped, and says why', async (t) => {
  if (existsSync(join(app, 'node_modules', 'electron'))) return t.pass('it is here')
  const { code, stdout } = await run(process.execPath, ['scripts/electron.mjs'], { cwd: root })
  t.is(code, 77)
  t.regex(stdout, /^skipped: Electron is not there/)
})
