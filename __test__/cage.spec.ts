/**
 * The cage itself: V8's sandbox as Electron has it, here in Chromium. A file over memory of WebAssembly is read and written
 * through a typed array of a page. The part of the native module is played by `tools/cage`, with the same core.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, truncateSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { createSync, openSync } from '../src/index.js'
import { folder, root } from './helpers.js'

const library = join(root, '.cache/cage/debug/libcage.so')
const browser = ['chromium-headless-shell', 'chromium', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
)
const missing = browser ? (existsSync(library) ? '' : 'tools/cage is not built') : 'there is no Chromium here'
if (missing) console.log(`skipped: memory of a page in the cage: ${missing}`)
const caged = missing || process.platform !== 'linux' ? test.skip : test

const ROWS = 1000
const LENGTH = ROWS * 100
/** What the page runs, and posts what it found. */
const PAGE = `<script type="module">
  const LENGTH = ${LENGTH}
  const PAGES = Math.ceil((128 + 8 * LENGTH) / 65536)
  const memory = (pages) => new WebAssembly.Memory({ initial: pages, maximum: pages })
  const until = async (come) => { while (!come()) await new Promise((resolve) => setTimeout(resolve, 1)) }
  const ask = (bytes, letter, which = ' ') =>
    bytes.set(new TextEncoder().encode('mmap-ndarray-cage' + letter + which))
  const map = async (letter) => {
    const made = memory(PAGES)
    const bytes = new Uint8Array(made.buffer)
    ask(bytes, letter)
    await until(() => bytes[0] === 0x93)
    return { made, data: new Float64Array(made.buffer, 128, LENGTH) }
  }
  const end = async (letter) => {
    const bytes = new Uint8Array(memory(1).buffer)
    ask(bytes, 'e', letter)
    await until(() => bytes[17] === 'd'.charCodeAt(0))
  }
  const sum = (data) => { let all = 0; for (let i = 0; i < data.length; i++) all += data[i]; return all }
  const refusal = (call) => { try { call(); return 'done' } catch (error) { return error.name } }

  const found = {}
  const arrays = { r: await map('r'), w: await map('w'), c: await map('c') }
  found.sums = Object.values(arrays).map(({ data }) => sum(data))
  for (const { data } of Object.values(arrays)) { data[5] = 42; data.fill(7, LENGTH - 50, LENGTH) }
  found.stored = Object.values(arrays).map(({ data }) => [data[5], data[LENGTH - 1]])
  found.transfer = refusal(() => structuredClone(arrays.w.made.buffer, { transfer: [arrays.w.made.buffer] }))
  await fetch('/shorter', { method: 'POST' })
  found.lost = [arrays.r.data[4], arrays.r.data[LENGTH / 2]]
  arrays.w.made.grow(0)
  found.closed = arrays.w.data.length
  await end('w')
  const left = new Float64Array(arrays.w.made.buffer, 128, LENGTH)
  found.zeros = sum(left)
  left.fill(-1)
  await end('r')
  // As after a collection: memory that is there next, wherever it is, is not the file.
  arrays.w = arrays.r = arrays.c = undefined
  for (let n = 0; n < 200; n++) new Uint8Array(memory(PAGES).buffer).fill(255)
  const kept = []
  found.full = refusal(() => { for (;;) kept.push(memory(1)) })
  found.count = kept.length
  kept.length = 0
  found.again = refusal(() => { for (let n = 0; n < 300; n++) memory(1) })
  await fetch('/found', { method: 'POST', body: JSON.stringify(found) })
</script>`

caged('a page in the cage reads and writes a file through a typed array', async (t) => {
  const dir = folder(t)
  const paths = Object.fromEntries(['r', 'w', 'c'].map((letter) => [letter, join(dir, `${letter}.npy`)]))
  const data = Float64Array.from({ length: LENGTH }, (_, i) => i)
  for (const path of Object.values(paths)) createSync(path, { data, shape: [ROWS, 100] }).close()
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const posted = new Promise<string>((resolve) => {
    server.on('request', async (request: IncomingMessage, response) => {
      if (request.url === '/shorter') truncateSync(paths.r as string, 8192)
      if (request.url === '/found') resolve(await text(request))
      response.setHeader('Content-Type', 'text/html').end(request.url === '/' ? PAGE : '')
    })
  })
  const flags = ['--no-sandbox', '--no-zygote', '--disable-gpu', '--disable-breakpad', '--no-first-run']
  const profile = `--user-data-dir=${join(dir, 'profile')}`
  const child = spawn(
    browser as string,
    ['--headless', ...flags, profile, '--remote-debugging-port=0', `http://127.0.0.1:${port}/`],
    {
      env: { ...process.env, LD_PRELOAD: library, CAGE_FOLDER: dir },
      stdio: ['ignore', 'ignore', 'pipe'],
      // A group of its own, which ends as a whole: the command may be a script.
      detached: true,
    },
  )
  const said = text(child.stderr)
  const ended = once(child, 'exit')
  t.teardown(async () => {
    process.kill(-(child.pid as number), 'SIGKILL')
    await said
  })
  const answer = await Promise.race([posted, ended])
  if (typeof answer !== 'string') return t.fail(await said)
  const log = readFileSync(join(dir, 'log'), 'utf8')
  const found = JSON.parse(answer)
  const sum = (LENGTH * (LENGTH - 1)) / 2
  t.like(found, {
    sums: [sum, sum, sum],
    stored: [
      [42, 7],
      [42, 7],
      [42, 7],
    ],
    transfer: 'TypeError',
    lost: [4, 0],
    closed: 0,
    zeros: 0,
    full: 'RangeError',
    again: 'done',
  })
  t.true(found.count > 100 && found.count < 130, `${found.count} memories`)
  const cage = /w at 0x[0-9a-f]+, inside of (\d+) GiB/.exec(log)
  t.true(Number(cage?.[1]) >= 512, log)
  t.regex(log, /w ended: Some\(\(None, Ok/)
  t.regex(log, /r ended: Some\(\(Some\(Truncated\), Ok/)
  t.notRegex(log, /error/)
  const [w, c] = [openSync(paths.w as string), openSync(paths.c as string)]
  t.deepEqual([w.get(0, 5), w.get(ROWS - 1, 99), w.get(ROWS - 1, 49)], [42, 7, LENGTH - 51])
  t.is(c.sumSync(), sum)
  for (const each of [w, c]) each.close()
})
