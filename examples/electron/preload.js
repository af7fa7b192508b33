// Runs sandboxed, before the page: hands it the few questions that it may ask the main process. Elements do not come this way,
// since contextBridge would copy them; the page fetches them.
const { contextBridge, ipcRenderer } = require('electron')

contextBridge.exposeInMainWorld('viewer', {
  state: () => ipcRenderer.invoke('state'),
  sample: () => ipcRenderer.invoke('sample'),
  choose: () => ipcRenderer.invoke('choose'),
  shown: (/** @type {object} */ what) => ipcRenderer.invoke('shown', what),
})
