/**
 * What a page makes of the answers of `mmap-ndarray/electron`. Nothing here, or below it, needs Node.js or native code: a sandboxed
 * renderer loads these modules as they are.
 *
 * @module
 */
import { constructors, type DType, dtypes, itemsizeOf } from './dtype.js'
import { invalidArgValue, type MmapErrorFields, makeError } from './errors.js'
import { checkShape, sizeOf } from './layout.js'
import { NdView } from './nd-view.js'
import { dataViewStore } from './store.js'

export { isMmapError, MmapError } from './errors.js'
export { NdView }

/**
 * The elements of an answer in memory of their own, as an array: `data`, `shape`, `dtype` and every method of a view.
 *
 * Its `data` is a typed array: BigInt64Array or BigUint64Array for 64-bit integers, Uint8Array for bool. Where none has the dtype
 * (bfloat16; float16 in runtimes without Float16Array) it is an element store, and `toTypedArray({ copy: true })` gives a
 * Float32Array. Rejects with the error that the handler has answered, by its code, with ERR_INVALID_ARG_VALUE for what is no
 * whole answer of it (a range is bytes, and no array), and as `fetch` where the answer ends early.
 */
export async function readResponse(response: Response): Promise<NdView> {
  const { status, headers } = response
  if (!response.ok) throw await errorOf(response)
  const [dtype, shape] = [headers.get('Array-Dtype') as DType, headers.get('Array-Shape')]
  if (status !== 200 || shape === null || !dtypes.includes(dtype)) {
    throw invalidArgValue('response', 'must be elements of createProtocolHandler, all of them', status)
  }
  const extents = checkShape(JSON.parse(shape))
  const size = sizeOf(extents)
  const buffer = await response.arrayBuffer()
  if (buffer.byteLength !== size * itemsizeOf(dtype)) {
    throw invalidArgValue('response', `must have ${size} elements of ${dtype}`, `${buffer.byteLength} bytes`)
  }
  const ctor = constructors[dtype]
  const data = ctor ? new ctor(buffer, 0, size) : dataViewStore(dtype, buffer, 0, size, true)
  return new NdView(data, extents, undefined, undefined, dtype)
}

async function errorOf(response: Response): Promise<Error> {
  const text = await response.text()
  try {
    const { code, message } = JSON.parse(text)
    if (typeof code === 'string' && typeof message === 'string') {
      return makeError(message, { code } as MmapErrorFields)
    }
  } catch {
    // Somebody else has answered.
  }
  return invalidArgValue('response', 'must be an answer of createProtocolHandler', response.status)
}
