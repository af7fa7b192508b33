// A log that one process appends to while another follows it: what was appended is there for all, and nothing is sent.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setInterval } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { create, open } from 'mmap-ndarray'

const SECONDS = 300
const MINUTE = 60

/** Appends a row each time that the sensor says something: second, temperature, humidity. */
async function write(path: string): Promise<void> {
  const log = await create(path, { shape: [0, 3], dtype: 'float64' }, { capacity: 2 ** 20 })
  const reader = fork(fileURLToPath(import.meta.url), [path])
  const ended = once(reader, 'exit')
  for await (const second of ticks()) {
    const day = (2 * Math.PI * second) / SECONDS
    await log.append([second, 20 + 5 * Math.sin(day), 50 + (second % 2)])
  }
  await log.flush() // on the disk, whatever happens to the power
  const [code] = await ended
  console.log(`written: ${log.shape.join(' x ')}, the reader ended with ${code}`)
  log.close()
}

/** Goes on when the log has become longer, and says something for every minute of it that is complete. */
async function follow(path: string): Promise<void> {
  const log = await open(path, { dtype: 'float64', capacity: 2 ** 20 })
  let known = 0
  for await (const _ of setInterval(5)) {
    log.refresh()
    for (; known + MINUTE <= (log.shape[0] as number); known += MINUTE) {
      const minute = log.slice(`${known}:${known + MINUTE}`)
      const [, temperature, humidity] = [...minute.meanSync({ axis: 0 })] as number[]
      console.log(`  minute ${known / MINUTE}: ${temperature?.toFixed(2)} degrees, ${humidity?.toFixed(1)} %`)
    }
    if (known === SECONDS) break
  }
  log.close()
}

/** The seconds, which are over sooner here. */
async function* ticks(): AsyncGenerator<number> {
  let second = 0
  for await (const _ of setInterval(1)) {
    yield second++
    if (second === SECONDS) return
  }
}

const [, , given] = process.argv
if (given !== undefined) {
  await follow(given)
} else {
  const folder = mkdtempSync(join(tmpdir(), 'sensor-log-'))
  try {
    await write(join(folder, 'log.npy'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
