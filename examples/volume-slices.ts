// Pictures of a volume, cut along each of its axes: views that are read only where they are looked at.
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import { create, type NdView, open } from 'mmap-ndarray'

const SHAPE = [60, 100, 120] as const

/** A grey picture in the PNG format. */
function png({ shape: [height = 0, width = 0] }: NdView, pixels: Uint8Array): Buffer {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const ends = Buffer.alloc(8)
    ends.writeUInt32BE(data.length, 0)
    ends.writeUInt32BE(crc32(body), 4)
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 8 // bits of a pixel; 0, which follows, is grey
  const lines = Buffer.alloc(height * (width + 1)) // each begins with 0: not filtered
  for (let y = 0; y < height; y++) lines.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1)
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  const chunks = [chunk('IHDR', header), chunk('IDAT', deflateSync(lines)), chunk('IEND', Buffer.alloc(0))]
  return Buffer.concat([magic, ...chunks])
}

const folder = mkdtempSync(join(tmpdir(), 'volume-slices-'))
try {
  // A scanner would write this: waves around the middle, as float32.
  const path = join(folder, 'volume.npy')
  const made = await create(path, { shape: SHAPE, dtype: 'float32' })
  for (let z = 0; z < SHAPE[0]; z++) {
    const layer = made.pick(z)
    const data = layer.toTypedArray()
    for (let y = 0, i = 0; y < SHAPE[1]; y++) {
      for (let x = 0; x < SHAPE[2]; x++, i++) {
        data[i] = 100 * Math.cos(Math.hypot(z - SHAPE[0] / 2, y - SHAPE[1] / 2, x - SHAPE[2] / 2) / 4)
      }
    }
  }
  await made.flush()
  made.close()

  const volume = await open(path, { dtype: 'float32' })
  const { min, max } = await volume.minmax()
  console.log(`${volume.shape.join(' x ')}, values from ${min.toFixed(1)} to ${max.toFixed(1)}`)

  const cuts = {
    top: volume.slice(30),
    front: volume.slice('::-1', 50), // upside down
    side: volume.slice(null, null, 60).T, // turned
  }
  for (const [name, cut] of Object.entries(cuts)) {
    const values = cut.toTypedArray({ copy: true })
    const pixels = Uint8Array.from(values, (value) => Math.round((255 * (value - min)) / (max - min)))
    const picture = join(folder, `${name}.png`)
    writeFileSync(picture, png(cut, pixels))
    const kind = statSync(picture).size > 1000 ? 'a picture' : 'nothing'
    console.log(
      `  ${name}: ${kind} of ${cut.shape.join(' x ')}, ${cut.flags.C_CONTIGUOUS ? '' : 'not '}contiguous in the file`,
    )
  }
  volume.close()
} finally {
  rmSync(folder, { recursive: true })
}
