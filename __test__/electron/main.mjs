// Runs in a real Electron: the checks of each kind of process, and a page that is fed by the protocol. Ends with 0 if all hold.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { app, BrowserWindow, ipcMain, protocol, utilityProcess } from 'electron'
import * as m from 'mmap-ndarray'
import { createProtocolHandler } from 'mmap-ndarray/electron'
import { check, N, own, report } from './checks.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const library = dirname(fileURLToPath(import.meta.resolve('mmap-ndarray')))
const dir = mkdtempSync(join(tmpdir(), 'mmap-ndarray-electron-'))
const path = join(dir, 'a.npy')
let isGood = true

protocol.registerSchemesAsPrivileged([
  { scheme: 'mmap', privileges: { standard: true, secure: true, supportFetchAPI: true, stream: true } },
])

function end(code) {
  rmSync(dir, { recursive: true, force: true })
  app.exit(code)
}

const say = (where, results) => {
  isGood = report(where, results) && isGood
}

/** A window whose page, or whose process, must not go. */
function windowOf(webPreferences) {
  const window = new BrowserWindow({ show: false, webPreferences })
  window.webContents.on('render-process-gone', (_, { reason }) => {
    say('renderer', [{ name: 'is there', found: reason, expected: 'there' }])
    end(1)
  })
  return window
}

function utility() {
  return new Promise((resolve) => {
    let results = []
    const child = utilityProcess.fork(join(here, 'utility.mjs'), [path])
    child.on('message', (message) => {
      results = message
      child.kill()
    })
    child.on('exit', () => resolve(results))
  })
}

/** The preload's checks, again after each reload of its page. */
async function preload() {
  const window = windowOf({
    preload: join(here, 'preload.mjs'),
    sandbox: false,
    contextIsolation: true,
    additionalArguments: [`--array=${path}`],
  })
  for (const where of ['preload', 'preload, reloaded', 'preload, reloaded twice']) {
    const checked = new Promise((resolve) => ipcMain.once('checked', (_, results) => resolve(results)))
    await window.loadURL('mmap://test/')
    say(where, await checked)
    const found = await window.webContents.executeJavaScript('part()[1] = 99; part()[1]')
    say(where, [{ name: 'contextBridge copies', found, expected: 1 }])
  }
  window.destroy()
}

/** A sandboxed page: takes all of the array, block by block, and parts of it. */
async function page() {
  const window = windowOf({ sandbox: true, contextIsolation: true })
  for (const where of ['page', 'page, reloaded']) {
    await window.loadURL('mmap://test/')
    const before = own()
    const [sum, shape, code] = await window.webContents.executeJavaScript(`(async () => {
      const { readResponse } = await import('/lib/renderer.js')
      const whole = await readResponse(await fetch('/array/data'))
      const part = await readResponse(await fetch('/array/data?slice=' + encodeURIComponent('::-1000')))
      const error = await fetch('/array/data?slice=nonsense').then(readResponse).catch((error) => error)
      return [whole.data.reduce((a, b) => a + b), part.shape.join(), error.code]
    })()`)
    const range = await window.webContents.executeJavaScript(
      `fetch('/array/data', { headers: { Range: 'bytes=8-23' } }).then(async (r) => [r.status, (await r.arrayBuffer()).byteLength].join())`,
    )
    const results = [
      { name: 'sum of the whole array', found: sum, expected: N },
      { name: 'a part', found: shape, expected: String(Math.ceil(N / 1000)) },
      { name: 'an error', found: code, expected: 'ERR_INVALID_ARG_VALUE' },
      { name: 'a range', found: range, expected: '206,16' },
    ]
    const grown = own() - before
    say(where, [
      ...results,
      { name: `main stays small (${grown})`, found: grown < 48 * 2 ** 20, expected: true },
    ])
  }
  window.destroy()
}

async function start() {
  m.createSync(path, { shape: [N], dtype: 'float64', fill: 1 }).close()
  say('main', await check(m, path))
  say('utility', await utility())
  const array = m.openSync(path)
  const answer = createProtocolHandler({ array })
  protocol.handle('mmap', (request) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/') {
      return new Response('<!doctype html><title>test</title>', { headers: { 'Content-Type': 'text/html' } })
    }
    const [, module] = /^\/lib\/([\w-]+\.js)$/.exec(pathname) ?? []
    if (module === undefined) return answer(request)
    const source = new Uint8Array(readFileSync(join(library, module)))
    return new Response(source, { headers: { 'Content-Type': 'text/javascript' } })
  })
  await preload()
  await page()
  array.close()
}

setTimeout(() => {
  console.log('not ok - it takes more than four minutes')
  end(1)
}, 240_000)
app.on('window-all-closed', () => {})
// Not awaited: Electron is ready only once this module has been evaluated.
app
  .whenReady()
  .then(start)
  .then(
    () => end(isGood ? 0 : 1),
    (error) => {
      console.error(error)
      end(1)
    },
  )
