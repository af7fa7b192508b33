/**
 * Chunks: a view in parts along axis 0, the next of which is on its way into memory while one is worked on.
 *
 * A loop over mapped memory that is not there yet stops JavaScript at every page. Here a chunk is handed over when its
 * pages are there, so that the loop over it only computes and the event loop is held up by no disk.
 */
import type { DType } from './dtype.js'
import { checkInteger, checkOptions, invalidArgType } from './errors.js'
import type { MappedView } from './mapped-view.js'
import { slice } from './selection.js'

/** How a view is cut into chunks. */
export interface ChunkOptions {
  /** Indices of axis 0 in a chunk; about a MiB when left out, at least 1 and twice the overlap. The last chunk may have fewer. */
  rows?: number | undefined
  /** How many rows of one chunk the next one begins with; default 0, less than `rows`. */
  overlap?: number | undefined
}

/** A view cut into chunks, all numbers in indices of axis 0. */
export interface Cut {
  /** How many chunks there are. */
  readonly count: number
  /** Rows that are read in at once: a chunk, or several small ones. */
  readonly block: number
  /** The first row of a chunk, and the one after its last. */
  bounds(index: number): [start: number, stop: number]
}

/** Bytes of a chunk when nobody says how many rows it has, and the fewest that are read in at once. */
const CHUNK = 2 ** 20

/** The names of `ChunkOptions`. */
export const CHUNK_OPTIONS = ['rows', 'overlap']

/**
 * Cuts a view. Throws a TypeError for one without axes, as iterating it does, ERR_INVALID_ARG_TYPE, and ERR_OUT_OF_RANGE for
 * rows that are not 1 or more and an overlap that is not 0 or more and less than them.
 */
export function cut(view: MappedView, options: ChunkOptions): Cut {
  const { ndim, shape, nbytes } = view
  if (ndim === 0) {
    throw invalidArgType('view', 'of one axis or more to be cut; read its element with get()', view)
  }
  const length = shape[0] as number
  const small = nbytes === 0 ? Math.max(1, length) : rowsOfChunk(nbytes / length)
  const { overlap = 0 } = options
  const { rows = Math.max(small, 2 * checkInteger('overlap', overlap, 0)) } = options
  checkInteger('rows', rows, 1)
  const step = rows - checkInteger('overlap', overlap, 0, rows - 1)
  return {
    count: length <= rows ? Math.min(length, 1) : Math.ceil((length - overlap) / step),
    block: Math.max(rows, small),
    bounds: (index) => [index * step, Math.min(index * step + rows, length)],
  }
}

/** Rows of a chunk when nobody says how many, for rows of `bytes`. */
export function rowsOfChunk(bytes: number): number {
  return Math.max(1, Math.floor(CHUNK / bytes))
}

/** Checks the options of `chunks` and cuts the view. */
export function checkChunks(view: MappedView, options: ChunkOptions | undefined): Cut {
  checkOptions(options, CHUNK_OPTIONS, 'chunks')
  return cut(view, options ?? {})
}

/** The chunks, each when it is in memory.
 *
 * `isGone` says whether the file was closed, `checkLoss` throws where pages vanished. */
export async function* readAhead<D extends DType>(
  view: MappedView<D>,
  { count, block, bounds }: Cut,
  isGone: () => boolean,
  checkLoss: () => void,
): AsyncGenerator<MappedView<D>, undefined, undefined> {
  if (count === 0) return
  const stop = new AbortController()
  const length = view.shape[0] as number
  const read = (from: number): Promise<void> | undefined => {
    if (from >= length) return undefined
    const work = view.slice(slice(from, from + block)).prefetch({ signal: stop.signal })
    // Whoever waits for it is told; nobody may.
    work.catch(() => {})
    return work
  }
  view.advise('sequential')
  // The rows before `known` are in memory, `coming` is the block from there on.
  let known = 0
  let coming = read(known)
  try {
    for (let index = 0; index < count; index++) {
      const [start, end] = bounds(index)
      while (known < end) {
        await coming
        known = Math.min(known + block, length)
        coming = read(known)
      }
      yield view.slice(slice(start, end))
    }
    checkLoss()
  } finally {
    stop.abort()
    await coming?.catch(() => {})
    if (!isGone()) view.advise('normal')
  }
}
