/**
 * Elements on their way to a file: put into its order and dtype a few MiB at a time on the main thread, so that a source of
 * any size is written through one small buffer.
 */
import { type DType, type ElementType, itemsizeOf } from './dtype.js'
import { MmapError } from './errors.js'
import { contiguousStride, type Order, sizeOf } from './layout.js'
import { allocate, bytesOf, type Data } from './store.js'
import { assign, gather, type Strided } from './strided.js'

/** Bytes that are put together at a time. */
export const BLOCK = 4 * 2 ** 20

/**
 * The parts of the file, each a byte offset and bytes, in the order of the file and of its dtype.
 *
 * What the source must still be when a part is read is noted now, before anything is awaited.
 */
export function blocksOf(source: Strided, type: ElementType, order: Order): Iterable<[number, Uint8Array]> {
  const { dtype } = type
  const { data, shape, stride } = source
  const { length } = data
  const walk =
    order === 'C'
      ? source
      : { ...source, shape: reversed(shape, type.complex), stride: reversed(stride, type.complex) }
  const [size, itemsize] = [sizeOf(shape), itemsizeOf(dtype)]
  const count = BLOCK / itemsize
  const parts = function* (): Generator<[number, Uint8Array]> {
    for (let start = 0; start < size; start += count) {
      if (data.length !== length) throw sourceChanged()
      const part = gather(walk, start, Math.min(start + count, size))
      yield [start * itemsize, bytesOf(convert(part, source.dtype, dtype))]
    }
  }
  return parts()
}

/** The error for a source whose elements are gone before all were written. */
export function sourceChanged(): MmapError {
  const message = 'The source was detached or changed its length while it was being read; nothing was written'
  return new MmapError(message, { code: 'ERR_INVALID_STATE' })
}

/** The axes of a Fortran-order walk as those of a C-order walk; the parts of a complex number stay together. */
function reversed(list: readonly number[], complex: boolean): number[] {
  const parts = complex ? list.slice(-1) : []
  return [...list.slice(0, list.length - parts.length).reverse(), ...parts]
}

function convert(part: Data, from: DType, to: DType): Data {
  if (from === to && to !== 'bool') return part
  const shape = [part.length]
  const layout = { shape, stride: contiguousStride(shape), offset: 0 }
  const data = allocate(to, part.length)
  assign({ ...layout, data, dtype: to }, { ...layout, data: part, dtype: from })
  return data
}
