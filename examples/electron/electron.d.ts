/** The little of Electron that this app uses, so that it can be type-checked where Electron is not installed. */
declare module 'electron' {
  export const app: {
    readonly isPackaged: boolean
    whenReady(): Promise<void>
    on(event: 'window-all-closed' | 'quit', listener: () => void): void
    quit(): void
    exit(code: number): void
  }
  export class BrowserWindow {
    constructor(options: {
      width: number
      height: number
      backgroundColor: string
      show: boolean
      webPreferences: { preload: string; sandbox: boolean; contextIsolation: boolean }
    })
    readonly webContents: {
      setWindowOpenHandler(handler: () => { action: 'deny' }): void
      on(event: 'will-navigate', listener: (event: { preventDefault(): void }) => void): void
    }
    loadURL(url: string): Promise<void>
  }
  export const dialog: {
    showOpenDialog(
      window: BrowserWindow,
      options: { properties: 'openFile'[] },
    ): Promise<{ filePaths: string[] }>
  }
  interface Asking {
    readonly senderFrame: { readonly url: string } | null
  }
  export const ipcMain: {
    // biome-ignore lint/suspicious/noExplicitAny: as Electron has it
    handle(channel: string, listener: (event: Asking, ...given: any[]) => unknown): void
  }
  export const protocol: {
    registerSchemesAsPrivileged(schemes: { scheme: string; privileges: Record<string, boolean> }[]): void
    handle(scheme: string, handler: (request: Request) => Promise<Response>): void
  }
  export const contextBridge: { exposeInMainWorld(name: string, api: object): void }
  export const ipcRenderer: { invoke(channel: string, ...given: unknown[]): Promise<unknown> }
}

/** What preload.js gives to the page. */
interface Window {
  readonly viewer: {
    state(): Promise<{
      name: string
      backing: string | undefined
      memory: { rss: number; own: number | undefined; heapUsed: number; arrayBuffers: number }
    }>
    sample(): Promise<void>
    choose(): Promise<void>
    shown(what: { pixels: number; colours: number }): Promise<void>
  }
}
