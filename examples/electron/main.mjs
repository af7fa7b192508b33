// The main process: maps the file and answers the page.
//
// It could be mapped in a utility process as well, but every element would then be copied to this process on its way to the page,
// because it is here that requests of a protocol arrive. Nothing is held up by it: the handler waits for the disk on other
// threads, and copies at most 256 KiB at a time here.
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { app, BrowserWindow, dialog, ipcMain, protocol } from 'electron'
import { create, open } from 'mmap-ndarray'
import { createProtocolHandler } from 'mmap-ndarray/electron'
import { memory } from './memory.mjs'
import { makeSample } from './sample.mjs'

const HOME = 'mmap://viewer/'
const here = dirname(fileURLToPath(import.meta.url))
const library = dirname(fileURLToPath(import.meta.resolve('mmap-ndarray')))
const isCheck = process.argv.includes('--check')
/** Where the sample is, for as long as the app runs. */
const temp = mkdtempSync(join(tmpdir(), 'mmap-ndarray-viewer-'))

protocol.registerSchemesAsPrivileged([
  { scheme: 'mmap', privileges: { standard: true, secure: true, supportFetchAPI: true, stream: true } },
])

/** What is open, by the name that the page knows it by. @type {Record<string, import('mmap-ndarray').MmapArray>} */
const arrays = {}
/** The file that is open. */
let path = ''

const TYPES = { html: 'text/html', css: 'text/css', mjs: 'text/javascript', js: 'text/javascript' }
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'"

/** The files of the page, and the modules of the library that it needs; nothing else is to be had. @param {string} pathname */
function fileOf(pathname) {
  const [, module] = /^\/lib\/([\w-]+\.js)$/.exec(pathname) ?? []
  if (module !== undefined) return join(library, module)
  const [, name] = /^\/(page\.mjs|plane\.mjs|colours\.mjs|style\.css|)$/.exec(pathname) ?? []
  return name === undefined ? undefined : join(here, name || 'index.html')
}

/** @param {string} file */
async function page(file) {
  const type = TYPES[/** @type {keyof typeof TYPES} */ (file.split('.').pop())]
  const headers = { 'Content-Type': `${type}; charset=utf-8`, 'Content-Security-Policy': POLICY }
  return new Response(new Uint8Array(await readFile(file)), { headers })
}

/** Opens a file in place of the one before. @param {string} next */
async function show(next) {
  const before = arrays.array
  arrays.array = await open(next)
  path = next
  before?.close()
}

async function sample() {
  const file = join(temp, 'sample.npy')
  // It may be the one that is open, which Windows does not replace.
  arrays.array?.close()
  await makeSample(create, file, isCheck ? [4, 256, 256] : [64, 1024, 1024])
  await show(file)
}

/** What the page may ask for. @type {Record<string, (window: BrowserWindow) => unknown>} */
const asked = {
  state: async () => ({ name: basename(path), backing: arrays.array?.backing, memory: await memory() }),
  sample,
  choose: async (window) => {
    const { filePaths } = await dialog.showOpenDialog(window, { properties: ['openFile'] })
    if (filePaths[0] !== undefined) await show(filePaths[0])
  },
}

app.on('window-all-closed', () => app.quit())
app.on('quit', () => {
  arrays.array?.close()
  rmSync(temp, { recursive: true, force: true })
})

async function start() {
  const answer = createProtocolHandler(arrays)
  protocol.handle('mmap', async (request) => {
    const file = fileOf(new URL(request.url).pathname)
    return file === undefined ? answer(request) : page(file)
  })
  const window = new BrowserWindow({
    width: 1180,
    height: 860,
    backgroundColor: '#12131a',
    show: !isCheck,
    webPreferences: { preload: join(here, 'preload.js'), sandbox: true, contextIsolation: true },
  })
  window.webContents.setWindowOpenHandler(() => ({ action: 'deny' }))
  window.webContents.on('will-navigate', (event) => event.preventDefault())
  for (const [name, work] of Object.entries(asked)) {
    ipcMain.handle(name, (event) => {
      if (event.senderFrame?.url !== HOME) throw new Error('only the page of this app may ask')
      return work(window)
    })
  }
  if (isCheck) {
    // What CI runs: the page has to show the sample, in colours, within a minute.
    await sample()
    ipcMain.handle(
      'shown',
      async (_, /** @type {{ pixels: number, colours: number }} */ { pixels, colours }) => {
        console.log(`${pixels} pixels in ${colours} colours from backing '${arrays.array?.backing}'`)
        console.log(await memory())
        app.exit(pixels === 256 * 256 && colours > 50 ? 0 : 1)
      },
    )
    setTimeout(() => app.exit(1), 60_000)
  }
  const given = process.argv.slice(app.isPackaged ? 1 : 2).find((argument) => !argument.startsWith('-'))
  if (given !== undefined) await show(given)
  await window.loadURL(HOME)
}

// Not awaited: Electron is ready only once this module has been evaluated.
app
  .whenReady()
  .then(start)
  .catch((error) => {
    console.error(error)
    app.exit(1)
  })
