/**
 * The chart: for each case a bar against numpy and one against the floor, from 1 to the right where mmap-ndarray is faster and
 * to the left where it is slower, on a scale of powers. A mark across a bar is its target.
 */
import type { Ratio } from './measure.js'
import type { Report } from './report.js'

const LABELS = 330
const PLOT = 520
const ROW = 30
const [LEAST, MOST] = [1 / 4, 64]
const peers = ['numpy', 'floor']

const style = `
  svg { background: #fff; font: 12px system-ui, sans-serif }
  text { fill: #1f2328 } .grid { stroke: #d1d9e0 } .one, .target { stroke: #1f2328 }
  .numpy { fill: #0969da } .floor { fill: #9a6700 } .missed { fill-opacity: .45 }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 } text { fill: #f0f6fc } .grid { stroke: #3d444d } .one, .target { stroke: #f0f6fc }
    .numpy { fill: #4493f8 } .floor { fill: #d29922 }
  }
`

/** Where a ratio is, in pixels; what is off the scale is at its end. */
function x(ratio: number): number {
  const inside = Math.min(MOST, Math.max(LEAST, ratio))
  return Math.round(LABELS + (PLOT * Math.log(inside / LEAST)) / Math.log(MOST / LEAST))
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

function bar({ against, ratio, target, met }: Ratio, y: number): string {
  const [from, to] = [x(Math.min(1, ratio)), x(Math.max(1, ratio))]
  const classes = `${against}${met === false ? ' missed' : ''}`
  const mark =
    target === undefined ? '' : `<path class="target" d="M${x(target)} ${y - 1}v12" stroke-width="2"/>`
  const number = `<text x="${to + 5}" y="${y + 9}" font-size="10">${ratio.toFixed(2)}</text>`
  return `<rect class="${classes}" x="${from}" y="${y}" width="${Math.max(1, to - from)}" height="10"/>${mark}${number}`
}

/** The chart as an SVG image. */
export function chart({ sections }: Report): string {
  const rows = sections.flatMap(({ cases }) =>
    cases.flatMap(({ name, ratios }) => {
      const bars = ratios.filter(({ against }) => peers.includes(against))
      return bars.length > 0 ? [{ name, bars }] : []
    }),
  )
  const top = 50
  const height = top + rows.length * ROW + 10
  const width = LABELS + PLOT + 60
  const ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64].map(
    (tick) =>
      `<path class="${tick === 1 ? 'one' : 'grid'}" d="M${x(tick)} ${top - 8}V${height - 8}"/>` +
      `<text x="${x(tick)}" y="${top - 14}" text-anchor="middle">${tick}x</text>`,
  )
  const legend = peers.map((peer, n) => {
    const at = 10 + n * 130
    return `<rect class="${peer}" x="${at}" y="8" width="12" height="12"/><text x="${at + 18}" y="18">against ${peer}</text>`
  })
  const key = `<text x="280" y="18">right of 1x: mmap-ndarray is faster; | target; pale: target not met</text>`
  const drawn = rows.map(({ name, bars }, n) => {
    const y = top + n * ROW
    const label = `<text x="${LABELS - 8}" y="${y + 15}" text-anchor="end">${escaped(name)}</text>`
    return label + bars.map((one, m) => bar(one, y + m * 12)).join('')
  })
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`
  const title = 'How many times as fast mmap-ndarray is as numpy and as the floor'
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${title}">
<style>${style}</style>
${[...legend, key, ...ticks, ...drawn].join('\n')}
</svg>
`
}
