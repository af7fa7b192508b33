// The page, sandboxed: asks for the parts of the array that it shows, and never sees the file.
import { readResponse } from '/lib/renderer.js'
import { COLOURS, paint } from './colours.mjs'
import { extremes, head, plane, size } from './plane.mjs'

/** The most rows and columns of the picture. */
const MOST = 768

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id))
/** @param {string} id */
const context = (id) => {
  const found = /** @type {HTMLCanvasElement} */ (element(id)).getContext('2d')
  return /** @type {CanvasRenderingContext2D} */ (found)
}
/** The part of the array that a text selects. @param {string} slice @param {AbortSignal} [signal] */
const fetchPart = async (slice, signal) =>
  readResponse(await fetch(`/array/data?slice=${encodeURIComponent(slice)}`, { ...(signal && { signal }) }))

/** @type {number[]} */
let shape = []
/** @type {number[]} */
let index = []
let drawing = new AbortController()

/** Draws the plane at `index`; one that was being drawn is given up. */
async function draw() {
  drawing.abort()
  drawing = new AbortController()
  const { slice, rows, columns } = plane(shape, index, MOST)
  const part = await fetchPart(slice, drawing.signal)
  const values = Float64Array.from(part.toTypedArray({ copy: true }), Number)
  const { min, max } = extremes(values)
  element('min').textContent = String(min)
  element('max').textContent = String(max)
  const { canvas } = context('map')
  canvas.width = Math.max(1, columns)
  canvas.height = Math.max(1, rows)
  const pixels = paint(values, min, max, new Uint8ClampedArray(4 * canvas.width * canvas.height))
  context('map').putImageData(new ImageData(pixels, canvas.width), 0, 0)
  const words = new Uint32Array(pixels.buffer)
  return { pixels: words.length, colours: new Set(words).size }
}

function sliders() {
  const labels = shape.slice(0, -2).map((extent, axis) => {
    const label = document.createElement('label')
    const input = Object.assign(document.createElement('input'), { type: 'range', max: extent - 1, value: 0 })
    const text = () => `axis ${axis}: ${index[axis]} of ${extent}`
    const name = document.createElement('span')
    name.textContent = text()
    input.addEventListener('input', () => {
      index[axis] = Number(input.value)
      name.textContent = text()
      draw().catch(show)
    })
    label.append(name, input)
    return label
  })
  element('axes').replaceChildren(...labels)
}

async function table() {
  const part = await fetchPart(head(shape, 8, 5))
  const [rows, columns] = part.ndim < 2 ? [1, part.size] : part.shape
  const lines = Array.from({ length: Number(rows) }, (_, row) => {
    const line = document.createElement('tr')
    for (let column = 0; column < Number(columns); column++) {
      const value = part.ndim === 2 ? part.get(row, column) : part.ndim === 1 ? part.get(column) : part.get()
      const cell = document.createElement('td')
      cell.textContent = typeof value === 'bigint' ? String(value) : String(Number(value.toPrecision(5)))
      line.append(cell)
    }
    return line
  })
  element('head').replaceChildren(...lines)
}

/** Shows an error, unless it is that something newer is being drawn. @param {unknown} error */
function show(error) {
  const { name = '', message = String(error) } = /** @type {Partial<Error>} */ (error)
  if (name !== 'AbortError') element('message').textContent = message
}

async function remember() {
  const { memory } = await window.viewer.state()
  const { own, rss, heapUsed, arrayBuffers } = memory
  const lines = { private: own, resident: rss, 'JavaScript heap': heapUsed, 'array buffers': arrayBuffers }
  const cells = Object.entries(lines).flatMap(([name, bytes]) => {
    const [term, value] = [document.createElement('dt'), document.createElement('dd')]
    term.textContent = name
    value.textContent = bytes === undefined ? 'not told here' : size(bytes)
    return [term, value]
  })
  element('memory').replaceChildren(...cells)
}

/** Shows what is open. */
async function load() {
  element('message').textContent = ''
  const { name, backing } = await window.viewer.state()
  if (backing === undefined) return
  const response = await fetch('/array')
  if (!response.ok) throw new Error((await response.json()).message)
  const facts = await response.json()
  shape = facts.shape
  index = shape.slice(0, -2).map(() => 0)
  element('name').textContent = name
  element('facts').textContent =
    `${facts.format} · ${facts.dtype} · ${shape.join(' × ') || 'one element'} · ${size(facts.nbytes)} · ${backing}`
  sliders()
  const shown = await draw()
  await table()
  await window.viewer.shown(shown).catch(() => {}) // Only the check of CI asks.
}

for (const id of /** @type {const} */ (['choose', 'sample'])) {
  const button = /** @type {HTMLButtonElement} */ (element(id))
  button.addEventListener('click', async () => {
    button.disabled = true
    await window.viewer[id]().then(load).catch(show)
    button.disabled = false
  })
}
context('legend').putImageData(new ImageData(new Uint8ClampedArray(COLOURS), 256), 0, 0)
setInterval(() => void remember().catch(show), 1000)
await Promise.all([load(), remember()]).catch(show)
