/**
 * Appending and resizing: rows are brought to the form of the file, and written in one call or block by block.
 *
 * What appends without being awaited runs one after the other; what is synchronous is refused meanwhile.
 */
import { type BackingChoice, checkFits } from './backing.js'
import { BLOCK, blocksOf, sourceChanged } from './blocks.js'
import { constructors, type DType, type ElementType, itemsizeOf } from './dtype.js'
import { checkOptions, invalidArgType, invalidArgValue, MmapError } from './errors.js'
import { isContiguous, sizeOf } from './layout.js'
import type { MappedFile } from './mapped-view.js'
import { type Source, toStrided } from './source.js'
import { bytesOf, isStore } from './store.js'

/** What `append` takes: rows, or one row with one axis less, in any form that `assign` takes. */
export type RowSource<D extends DType = DType> = Source<D>

/** Options of `append` and `appendSync`. */
export interface AppendOptions {
  /** Bring rows and header to the disk before it is done, so that they outlast a power loss; default false. */
  readonly durable?: boolean | undefined
}

/** The array that grows. */
export interface Growing extends ElementType {
  readonly file: MappedFile
  /** Where its bytes may live. */
  readonly choice: BackingChoice
  readonly shape: readonly number[]
  /** The axis along which it grows. */
  readonly axis: number
}

/** Whether the rows are to be durable. Throws for unknown options. */
export function checkDurable(options: AppendOptions | undefined): boolean {
  checkOptions(options, ['durable'], 'append')
  const durable = options?.durable ?? false
  if (typeof durable !== 'boolean') throw invalidArgType('durable', 'of type boolean', durable)
  return durable
}

/** Rows in the form of the file. */
export interface Rows {
  readonly count: number
  /** Bytes of all of them. */
  readonly size: number
  /** In parts, each a byte offset and bytes; to be gone through once. */
  readonly blocks: Iterable<[offset: number, bytes: Uint8Array]>
  /** All in one, where they lie that way already. */
  readonly bytes?: Uint8Array
}

/**
 * The rows of a source for an array.
 *
 * Throws ERR_INVALID_ARG_VALUE for a shape that does not fit, and as `assign` does for what is no source.
 */
export function rowsOf({ dtype, complex, shape, axis }: Growing, source: unknown): Rows {
  const plain = constructors[dtype]
  if (plain !== undefined && dtype !== 'bool' && source?.constructor === plain && axis === 0) {
    // What is appended most: one row, or elements, as they lie in the file.
    const row = source as Float64Array
    const width = shape.length === 1 ? 1 : shape.length === 2 ? (shape[1] as number) : -1
    if (width > 0 && row.length > 0 && (row.length === width || width === 1))
      return inPlace(row, row.length / width)
  }
  if (Array.isArray(source) && source.length === 0) return { count: 0, size: 0, blocks: [] }
  const found = toStrided(source, dtype)
  const rows =
    found.shape.length === shape.length - 1
      ? {
          ...found,
          shape: found.shape.toSpliced(axis, 0, 1),
          stride: found.stride.toSpliced(axis, 0, 0),
        }
      : found
  const fits = (extent: number, n: number) => n === axis || extent === shape[n]
  if (rows.shape.length !== shape.length || !rows.shape.every(fits)) {
    const one = shape.toSpliced(axis, 1)
    const many = shape.map((extent, n) => (n === axis ? 'n' : extent))
    const reason = `must have the shape [${many.join(', ')}], or [${one.join(', ')}] for one row`
    throw invalidArgValue('rows', reason, found.shape)
  }
  const { data, offset } = rows
  if (axis === 0 && found.dtype === dtype && dtype !== 'bool' && !isStore(data) && isContiguous(rows, 'C')) {
    const size = sizeOf(rows.shape)
    return inPlace(data.subarray(offset, offset + size) as Float64Array, rows.shape[0] as number)
  }
  return {
    count: rows.shape[axis] as number,
    size: sizeOf(rows.shape) * itemsizeOf(dtype),
    blocks: blocksOf(rows, { dtype, complex }, axis === 0 ? 'C' : 'F'),
  }
}

/** Rows that lie in memory as they do in the file. */
function inPlace(rows: Float64Array, count: number): Rows {
  const bytes = bytesOf(rows)
  return { count, size: bytes.length, blocks: whole(bytes, bytes.length), bytes }
}

function* whole(bytes: Uint8Array, size: number): Generator<[number, Uint8Array]> {
  for (let start = 0; start < size; start += BLOCK) {
    if (bytes.length !== size) throw sourceChanged()
    yield [start, bytes.subarray(start, start + BLOCK)]
  }
}

/** Throws ERR_TOO_LARGE for an array that the runtime could not show, before the file is touched. */
export function checkLength({ file, shape, axis, dtype, choice }: Growing, rows: number): number {
  checkFits(sizeOf(shape.with(axis, rows)) * itemsizeOf(dtype), file.path, choice)
  return rows
}

/** Appends rows before it returns. */
export function appendNow({ file }: Growing, { count, size, blocks, bytes }: Rows, durable: boolean): void {
  const { native } = file
  if (bytes !== undefined || size <= BLOCK) {
    native.appendSync(count, bytes ?? [...blocks][0]?.[1] ?? NOTHING, durable)
    return
  }
  const growth = native.beginAppend(count)
  try {
    growth.reserveSync()
    for (const [offset, bytes] of blocks) growth.writeSync(offset, bytes)
    growth.commitSync(durable)
    native.adopt(growth)
  } finally {
    growth.abort()
  }
}

/** Appends rows while the event loop turns; rejects with ERR_CLOSED, and leaves the file as it was, when it is closed meanwhile. */
export async function append(
  { file }: Growing,
  { count, size, blocks }: Rows,
  durable: boolean,
): Promise<void> {
  const { native } = file
  const growth = native.beginAppend(count)
  const stillOpen = () => {
    if (file.closed) throw file.gone()
  }
  try {
    if (size <= BLOCK) {
      const [first] = blocks
      await growth.finish(first?.[1] ?? NOTHING, durable)
    } else {
      await growth.reserve()
      for (const [offset, bytes] of blocks) {
        stillOpen()
        await growth.write(offset, bytes)
      }
      stillOpen()
      await growth.commit(durable)
    }
    stillOpen()
    native.adopt(growth)
  } finally {
    growth.abort()
  }
}

/** Gives an array another number of rows while the event loop turns. */
export async function resize({ file }: Growing, rows: number): Promise<void> {
  const { native } = file
  const growth = native.beginResize(rows)
  try {
    await growth.zeros()
    if (file.closed) throw file.gone()
    await growth.commit(false)
    if (file.closed) throw file.gone()
    native.adopt(growth)
  } finally {
    growth.abort()
  }
}

/** Lets what changes the length of one array run one after the other. */
export class Queue {
  private last: Promise<unknown> = Promise.resolve()
  private waiting = 0

  /** Runs `work` when what came before has ended, however that was. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.last
    this.waiting++
    const mine = (async () => {
      await before
      try {
        return await work()
      } finally {
        this.waiting--
      }
    })()
    this.last = mine.catch(() => {})
    return mine
  }

  /** Throws ERR_INVALID_STATE while something runs. */
  checkIdle(path: string): void {
    if (this.waiting === 0) return
    const message = `${path}: an append or resize of this array is under way; await it first`
    throw new MmapError(message, { code: 'ERR_INVALID_STATE', path })
  }
}

const NOTHING = new Uint8Array(0)
