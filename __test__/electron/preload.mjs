// A preload that is not sandboxed: the checks, and what contextBridge makes of a typed array.
import { contextBridge, ipcRenderer } from 'electron'
import * as m from 'mmap-ndarray'
import { check } from './checks.mjs'

const path = process.argv.find((argument) => argument.startsWith('--array=')).slice('--array='.length)
const results = await check(m, path).catch((error) => [
  { name: error.stack, found: 'an error', expected: 'none' },
])
const data = m
  .openSync(path, { mode: 'c' })
  .slice(':4')
  .toTypedArray({ copy: process.platform === 'win32' })
contextBridge.exposeInMainWorld('part', () => data)
ipcRenderer.send('checked', results)
