// What the process needs of its own: the pages of mapped files belong to the system, which takes them back when it likes.
import { readFile } from 'node:fs/promises'

/** The private memory in the text of /proc/self/status, in bytes; undefined where it does not say. @param {string} status */
export function privateOf(status) {
  const [, kibibytes] = /^RssAnon:\s+(\d+) kB$/m.exec(status) ?? []
  return kibibytes === undefined ? undefined : 1024 * Number(kibibytes)
}

/** The memory of this process in bytes; `own`, its private memory, on Linux only. */
export async function memory() {
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  const own =
    process.platform === 'linux' ? privateOf(await readFile('/proc/self/status', 'utf8')) : undefined
  return { rss, own, heapUsed, arrayBuffers }
}
