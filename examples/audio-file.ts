// The samples of a WAV file as an array: a file with a header that is no array format is opened as raw, from a byte on.
import {
  closeSync as closeFile,
  mkdtempSync,
  openSync as openFile,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'mmap-ndarray'

const RATE = 8000
const SECONDS = 4

/** Where the samples of a WAV file begin, how many channels take turns, and how many frames there are. */
function readHeader(path: string) {
  const file = openFile(path, 'r')
  const header = Buffer.alloc(4096)
  const length = readSync(file, header)
  closeFile(file)
  let channels = 0
  // Chunks of a name, a length and as many bytes.
  for (let at = 12; at + 8 <= length; at += 8 + header.readUInt32LE(at + 4)) {
    const name = header.toString('latin1', at, at + 4)
    if (name === 'fmt ') channels = header.readUInt16LE(at + 10)
    if (name === 'data')
      return { offset: at + 8, channels, frames: header.readUInt32LE(at + 4) / (2 * channels) }
  }
  throw new Error(`${path}: no samples found`)
}

const folder = mkdtempSync(join(tmpdir(), 'audio-file-'))
try {
  // A recorder would write this: a tone on the left that fades away, a lower one on the right that comes.
  const path = join(folder, 'sound.wav')
  const samples = new Int16Array(2 * RATE * SECONDS)
  for (let frame = 0; frame < RATE * SECONDS; frame++) {
    const done = frame / (RATE * SECONDS)
    samples[2 * frame] = 30_000 * (1 - done) * Math.sin((2 * Math.PI * 440 * frame) / RATE)
    samples[2 * frame + 1] = 20_000 * done * Math.sin((2 * Math.PI * 220 * frame) / RATE)
  }
  const header = Buffer.alloc(44)
  header.write('RIFF    WAVEfmt ', 0, 'latin1')
  header.writeUInt32LE(36 + samples.byteLength, 4)
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20) // samples as they are
  header.writeUInt16LE(2, 22) // channels
  header.writeUInt32LE(RATE, 24)
  header.writeUInt32LE(4 * RATE, 28)
  header.writeUInt16LE(4, 32)
  header.writeUInt16LE(16, 34) // bits of a sample
  header.write('data', 36, 'latin1')
  header.writeUInt32LE(samples.byteLength, 40)
  writeFileSync(path, Buffer.concat([header, Buffer.from(samples.buffer)]))

  const { offset, channels, frames } = readHeader(path)
  console.log(`${channels} channels of ${frames} samples, from byte ${offset} on`)
  for (const [channel, name] of ['left', 'right'].entries()) {
    // Every other sample, from the first or from the second on; nothing is copied.
    const sound = await open(path, {
      format: 'raw',
      dtype: '<i2',
      offset: offset + 2 * channel,
      shape: [frames],
      strides: [channels],
    })
    const parts = sound.reshape([32, frames / 32])
    const loud = (await parts.max({ axis: 1 })).toArray() as number[]
    const wave = loud.map((peak) => ' .:-=+*#%@'[Math.floor(peak / 3277)]).join('')
    const level = 20 * Math.log10((await sound.std()) / 32768)
    console.log(`  ${name.padEnd(5)} |${wave}| ${level.toFixed(1)} dB`)
    sound.close()
  }
} finally {
  rmSync(folder, { recursive: true })
}
