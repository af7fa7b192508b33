// A stand-in for Electron, so that what examples/electron does itself runs in Node.js: one window, whose page gets its modules from
// the protocol and has as much of a document as it asks for. Of Electron it shows nothing.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

const handlers = new Map()
const listeners = new Map()
let answer

export const app = {
  isPackaged: false,
  whenReady: async () => {},
  on: (event, listener) => listeners.set(event, listener),
  exit(code) {
    listeners.get('quit')()
    process.exit(code)
  },
}
export const dialog = {}
export const protocol = {
  registerSchemesAsPrivileged() {},
  handle: (_, handler) => {
    answer = handler
  },
}
export const ipcMain = { handle: (name, work) => handlers.set(name, work) }

class Element {
  textContent = ''
  children = []
  append(...children) {
    this.children.push(...children)
  }
  replaceChildren(...children) {
    this.children = children
  }
  addEventListener() {}
  getContext() {
    return { canvas: this, putImageData: (image) => Object.assign(this, { image }) }
  }
}

export class BrowserWindow {
  webContents = { setWindowOpenHandler() {}, on() {} }

  async loadURL(url) {
    const ask = (path, init) => answer(new Request(new URL(path, url), init))
    const invoke = async (name, ...given) => handlers.get(name)({ senderFrame: { url } }, ...given)
    const elements = new Map()
    const html = await (await ask('/')).text()
    for (const path of [
      '/main.mjs',
      '/preload.js',
      '/lib/..%2fpackage.json',
      '/lib/../main.mjs',
      '/array/x',
    ]) {
      if ((await ask(path)).status !== 404) throw new Error(`${path} is served`)
    }
    for (const [, path] of html.matchAll(/(?:href|src)="([^"]+)"/g)) {
      if ((await ask(path)).status !== 200) throw new Error(`${path} is not served`)
    }
    const shown = async (what) => {
      const { name, facts, message, axes, head, memory, map } = Object.fromEntries(elements)
      const texts = [name, facts, message].map((element) => element.textContent)
      const counts = [axes, head, memory].map((element) => element.children.length)
      console.log(JSON.stringify([...texts, ...counts, map.width, map.height, map.image.data.length]))
      await invoke('shown', what)
    }
    Object.assign(globalThis, {
      fetch: ask,
      window: { viewer: { state: () => invoke('state'), sample: () => invoke('sample'), shown } },
      document: {
        createElement: () => new Element(),
        getElementById(id) {
          if (!html.includes(`id="${id}"`)) throw new Error(`no #${id}`)
          if (!elements.has(id)) elements.set(id, new Element())
          return elements.get(id)
        },
      },
      ImageData: class {
        constructor(data) {
          this.data = data
        }
      },
    })
    const served = join(process.cwd(), 'served')
    mkdirSync(served)
    writeFileSync(join(served, 'package.json'), '{ "type": "module" }')
    const seen = new Set()
    const save = async (path) => {
      if (seen.has(path)) return
      seen.add(path)
      const source = await (await ask(path)).text()
      const file = join(served, path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, source.replaceAll("from '/lib/", "from './lib/"))
      for (const [, next] of source.matchAll(/from '([^']+)'/g)) {
        await save(new URL(next, new URL(path, url)).pathname)
      }
    }
    await save('/page.mjs')
    await import(pathToFileURL(join(served, 'page.mjs')).href)
  }
}
