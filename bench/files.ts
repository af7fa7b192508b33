/** The files of a run, in a folder that goes away with it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSync } from 'mmap-ndarray'
import type { Args, File, Sizes } from './case.js'
import type { Peers } from './peers.js'

const itemsizes = { float32: 4, float64: 8, int32: 4, uint8: 1 }

/** Every file that a case may name. */
function filesOf({ size, rows }: Sizes): Readonly<Record<string, File>> {
  const matrix = (dtype: File['dtype'], more: Partial<File> = {}, bytes = size): File => {
    const columns = more.columns ?? 768
    return { dtype, columns, rows: Math.floor(bytes / itemsizes[dtype] / columns), order: 'C', ...more }
  }
  return {
    float32: matrix('float32', { twin: true }),
    float64: matrix('float64', { twin: true }),
    int32: matrix('int32', { columns: 1024 }),
    uint8: matrix('uint8', { columns: 1024 }),
    float32F: matrix('float32', { order: 'F' }),
    float64F: matrix('float64', { order: 'F' }),
    zeros: matrix('float32', { zeros: true }),
    matrix: matrix('float32', { columns: 384, rows }),
    small: matrix('float32', { columns: 1000, rows: 1000 }),
    // A page less, so that it still fits a buffer of Node.js 20.
    large: matrix('float32', { columns: 384 }, 4 * size - 4096),
    sparse: matrix('float32', { zeros: true }, 10 * 2 ** 30),
  }
}

export class Files {
  readonly folder: string
  readonly #files: Readonly<Record<string, File>>
  readonly #peers: Peers
  readonly #made = new Set<string>()

  constructor(sizes: Sizes, peers: Peers, parent: string = tmpdir()) {
    this.folder = mkdtempSync(join(parent, 'mmap-ndarray-bench-'))
    this.#files = filesOf(sizes)
    this.#peers = peers
  }

  /** Makes a file if it is not there yet. */
  async make(name: string): Promise<void> {
    if (this.#made.has(name)) return
    const { twin, zeros, ...file } = this.#file(name)
    await this.#peers.ask('floor', { op: 'make', path: this.#path(name), ...file, zeros: zeros ? 1 : 0 })
    if (twin) {
      using array = openSync(this.#path(name))
      const path = this.#path(name, 'mmap')
      array.saveAsSync(path, { format: 'mmap' })
      // Written out now, so that nothing is while others are timed.
      await this.#peers.ask('floor', { op: 'sync', path })
    }
    this.#made.add(name)
  }

  /** What a request says of a file. */
  request(name: string, peer: string): Args {
    const { dtype, rows, columns, order } = this.#file(name)
    const path = this.#path(name, peer === 'seed' ? 'mmap' : 'npy')
    const bytes = rows * columns * itemsizes[dtype] + 128
    return { path, new: join(this.folder, `${peer}.new.npy`), dtype, rows, columns, order, bytes }
  }

  /** Puts a file's pages out of memory; contenders must have ended. */
  async evict(name: string): Promise<void> {
    await this.#peers.ask('floor', { op: 'evict', path: this.#path(name) })
    await this.#peers.end()
  }

  remove(name: string): void {
    for (const format of ['npy', 'mmap']) rmSync(this.#path(name, format), { force: true })
    this.#made.delete(name)
  }

  removeAll(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  #file(name: string): File {
    const file = this.#files[name]
    if (file === undefined) throw new Error(`bench/files.ts knows no file ${name}`)
    return file
  }

  #path(name: string, format = 'npy'): string {
    return join(this.folder, `${name}.${format}`)
  }
}
