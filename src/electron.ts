/**
 * Arrays as answers to requests: what Electron's `protocol.handle` takes, without Electron.
 *
 * A sandboxed page can load no native code, and whatever brings it memory copies that. So the array stays where it is
 * mapped, and the page asks for the parts that it needs, with `fetch`. They are copied once, a block at a time, when the one
 * before was taken; the disk is waited for on other threads. An answer of any size goes through little memory.
 *
 * @module
 */
import {
  checkOptions,
  invalidArgType,
  invalidArgValue,
  isMmapError,
  type MmapError,
  outOfRange,
} from './errors.js'
import { MappedView } from './mapped-view.js'
import { MmapArray } from './mmap-array.js'
import type { NdView } from './nd-view.js'
import { slice } from './selection.js'
import { bytesOf } from './store.js'

/** How requests are answered. */
export interface ProtocolOptions {
  /**
   * The origin whose pages may read the answers, or '*': Access-Control-Allow-Origin. Left out, only pages of the scheme and
   * host that the handler serves can.
   */
  allowOrigin?: string | undefined
}

/** An array, a view of one, or several of them by name. */
export type ServedArrays = MappedView | Readonly<Record<string, MappedView>>

/** Answers one request; what `protocol.handle` takes. */
export type ProtocolHandler = (request: Request) => Promise<Response>

/** Bytes that are copied at a time. */
const BLOCK = 2 ** 18
/** Characters of a selection that are looked at; 64 axes need fewer. */
const LONGEST = 4096

/**
 * A handler that serves an array, or arrays by their names; views of arrays as well.
 *
 * | request | answer |
 * |---|---|
 * | `/` | JSON: `dtype`, `shape`, `order`, `byteOrder`, `itemsize`, `nbytes`, `format`; of several arrays their names |
 * | `/data` | all elements |
 * | `/data?slice=0:10,:,3` | those that `slice('0:10', ':', 3)` takes; `/?slice=...` tells what they are |
 * | `/NAME`, `/NAME/data` | the same of one of several arrays, which are looked up at each request |
 *
 * Elements come in C order and little-endian, whatever the file has; `readResponse` of `mmap-ndarray/renderer` makes an array of
 * them. The headers Array-Dtype and Array-Shape say what they are, and a range (`Range: bytes=0-99`, 206) is one of these
 * bytes; several ranges at once are ignored, as RFC 9110 allows. Errors are JSON, `{ code, message }`: 400 for a wrong query,
 * 404, 405 for methods other than GET and HEAD, 410 for ERR_CLOSED, 416 for a range outside the data, 500 for
 * ERR_MAPPING_LOST and what the system refuses. An array that is closed or lost later ends the answer with an error, and
 * so does an abort of the request. The handler itself never rejects.
 *
 * Throws ERR_INVALID_ARG_TYPE for what is no open array, and for options of another type.
 */
export function createProtocolHandler(arrays: ServedArrays, options?: ProtocolOptions): ProtocolHandler {
  checkArrays(arrays)
  const cors = corsOf(options)
  return async (request) => {
    const response = await answer(arrays, request, cors).catch((error) =>
      // Nobody listens any more; to reject would be an unhandled error there.
      request.signal.aborted ? Response.error() : refusal(error, cors),
    )
    return request.method === 'HEAD' && response.body ? new Response(null, response) : response
  }
}

function checkArrays(arrays: unknown): void {
  if (arrays instanceof MappedView) return
  if (typeof arrays !== 'object' || arrays === null || Array.isArray(arrays)) {
    throw invalidArgType('arrays', 'an array of open() or an object of them by name', arrays)
  }
  for (const [name, array] of Object.entries(arrays)) {
    if (!(array instanceof MappedView)) throw invalidArgType(`arrays.${name}`, 'an array of open()', array)
  }
}

function corsOf(options: ProtocolOptions | undefined): Record<string, string> {
  checkOptions(options, ['allowOrigin'], 'createProtocolHandler')
  const { allowOrigin } = options ?? {}
  if (allowOrigin === undefined) return {}
  if (typeof allowOrigin !== 'string') throw invalidArgType('allowOrigin', 'of type string', allowOrigin)
  const cors = {
    'Access-Control-Allow-Origin': allowOrigin,
    'Access-Control-Allow-Headers': 'Range',
    'Access-Control-Expose-Headers': 'Accept-Ranges, Array-Dtype, Array-Shape, Content-Length, Content-Range',
  }
  // What no header can hold is said here, and not at the first request.
  new Headers(cors)
  return cors
}

/** A request that is answered with a status of its own, and not by what the array says. */
class Refused extends Error {
  readonly status: number
  readonly headers: Record<string, string>

  constructor(status: number, cause: unknown, headers: Record<string, string> = {}) {
    super('refused', { cause })
    this.status = status
    this.headers = headers
  }
}

async function answer(
  arrays: ServedArrays,
  request: Request,
  cors: Record<string, string>,
): Promise<Response> {
  const { method, signal } = request
  signal.throwIfAborted()
  const allow = { Allow: 'GET, HEAD' }
  if (method === 'OPTIONS' && 'Access-Control-Allow-Origin' in cors) {
    return new Response(null, { status: 204, headers: { ...cors, ...allow } })
  }
  if (method !== 'GET' && method !== 'HEAD') {
    throw new Refused(405, invalidArgValue('method', 'must be GET or HEAD', method), allow)
  }
  const { pathname, searchParams } = new URL(request.url)
  const [array, isData] = find(arrays, pathname)
  if (array === undefined) return json(200, { arrays: Object.keys(arrays) }, cors)
  // Throws where it is closed or lost.
  MappedView.part(array).file.checkLoss()
  const view = selected(array, searchParams)
  if (!isData) return json(200, factsOf(view, array), cors)
  const { dtype, shape, nbytes } = view
  // A HEAD has no ranges, and of what If-Range compares nothing is known here.
  const hasRange = method === 'GET' && !request.headers.has('If-Range')
  const range = hasRange ? rangeOf(request.headers.get('Range'), nbytes) : undefined
  const [start, stop] = range ?? [0, nbytes]
  const headers = {
    ...cors,
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(stop - start),
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'no-store',
    'Array-Dtype': dtype,
    'Array-Shape': JSON.stringify(shape),
    ...(range && { 'Content-Range': `bytes ${start}-${stop - 1}/${nbytes}` }),
  }
  const body = method === 'HEAD' || nbytes === 0 ? null : await bodyOf(view, start, stop, signal)
  return new Response(body, { status: range ? 206 : 200, headers })
}

/** The array that a path names, and whether its elements are asked for; undefined for the list of several. */
function find(arrays: ServedArrays, pathname: string): [array: MappedView | undefined, isData: boolean] {
  const parts = pathname.split('/').slice(1)
  const isSingle = arrays instanceof MappedView
  const name = isSingle || parts[0] === '' ? undefined : decoded(parts.shift() as string)
  // What is left of '/' is one empty part, and nothing of '/NAME'.
  const isData = parts.length === 1 && parts[0] === 'data'
  if (isData || parts.length === 0 || (parts.length === 1 && parts[0] === '')) {
    if (isSingle) return [arrays, isData]
    if (name === undefined && !isData) return [undefined, false]
    const array = typeof name === 'string' && Object.hasOwn(arrays, name) ? arrays[name] : undefined
    if (array instanceof MappedView) return [array, isData]
  }
  const known = isSingle ? "'/' or '/data'" : "'/', or '/NAME' or '/NAME/data' of an array that is here"
  throw new Refused(404, invalidArgValue('path', `must be ${known}`, pathname))
}

/** A part of a path as a name; null for what no name is written as. */
function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part)
  } catch {
    return null
  }
}

/** The part of an array that a query selects. */
function selected(array: MappedView, query: URLSearchParams): MappedView {
  try {
    // A misspelt name would be answered with all of the array.
    for (const name of query.keys()) {
      if (name !== 'slice') throw invalidArgValue('query', "must be 'slice=' and a selection", name)
    }
    const [text = '', ...more] = query.getAll('slice')
    if (more.length > 0) throw invalidArgValue('query', 'must have one slice', query.toString())
    if (text.length > LONGEST) throw outOfRange('slice.length', `at most ${LONGEST}`, text.length)
    return text.trim() === '' ? array : array.slice(...text.split(','))
  } catch (error) {
    throw new Refused(400, error)
  }
}

/** What the bytes of the answer are. */
function factsOf(view: MappedView, array: MappedView): object {
  const { dtype, shape, itemsize, nbytes } = view
  const format = array instanceof MmapArray ? array.format : undefined
  return { dtype, shape, order: 'C', byteOrder: 'little', itemsize, nbytes, format }
}

/** The bytes `[start, stop)` that a Range header asks for; undefined where it asks for none that is served. */
function rangeOf(header: string | null, length: number): [start: number, stop: number] | undefined {
  const [, first = '', last = ''] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  // Too many digits are more than any array has, exact or not.
  if (first !== '' && last !== '' && Number(first) > Number(last)) return undefined
  const start = first === '' ? Math.max(0, length - Number(last)) : Number(first)
  const stop = first === '' || last === '' ? length : Math.min(length, Number(last) + 1)
  if (start < stop) return [start, stop]
  const error = outOfRange('Range', `of the ${length} bytes there are`, header)
  throw new Refused(416, error, { 'Content-Range': `bytes */${length}` })
}

/** The bytes `[start, stop)` of a view. The first are read at once, so that what is wrong with the array is the answer. */
async function bodyOf(
  view: MappedView,
  start: number,
  stop: number,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const cancelled = new AbortController()
  const blocks = bytes(view, start, stop, AbortSignal.any([signal, cancelled.signal]))
  let next = await blocks.next()
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>) {
      if (!next.done) controller.enqueue(next.value)
      next = await blocks.next()
      if (next.done) controller.close()
    },
    cancel: (reason: unknown) => cancelled.abort(reason),
  }
  // While one block is taken the next is made, and no more.
  return new ReadableStream(source, { highWaterMark: 0 })
}

async function* bytes(
  view: MappedView,
  start: number,
  stop: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, undefined> {
  const { itemsize } = view
  const { file } = MappedView.part(view)
  const first = Math.floor(start / itemsize)
  let at = first * itemsize
  for (const block of blocksOf(view, first, Math.ceil(stop / itemsize), BLOCK / itemsize)) {
    const copy = bytesOf((await copyOf(block, signal)).data)
    file.checkLoss()
    yield copy.subarray(Math.max(0, start - at), stop - at)
    at += copy.length
  }
}

/**
 * The elements of a block in new memory. The disk is waited for on other threads, and elements that may be in a page each are
 * put together there as well; what is in one piece and in memory is copied once, and at once.
 */
async function copyOf(block: MappedView, signal: AbortSignal): Promise<NdView> {
  if (block.flags.C_CONTIGUOUS) {
    await block.prefetch({ signal })
    return block.copy()
  }
  // An array may have as many axes as there can be, but not all of them longer than 1.
  const whole = block.reshape([1, ...block.shape.filter((extent) => extent > 1)])
  return whole.take(0, { signal })
}

/** The elements at C-order positions `[start, stop)` as views of at most `count`, one after the other. */
function* blocksOf(view: MappedView, start: number, stop: number, count: number): Generator<MappedView> {
  if (view.ndim === 0) {
    yield view
    return
  }
  const inner = view.size / (view.shape[0] as number)
  for (let at = start; at < stop; ) {
    const row = Math.floor(at / inner)
    const end = Math.min(stop, (row + 1) * inner)
    if (end - at < inner || inner > count) {
      yield* blocksOf(view.pick(row), at - row * inner, end - row * inner, count)
      at = end
    } else {
      const rows = Math.floor(Math.min(stop - at, count) / inner)
      yield view.slice(slice(row, row + rows))
      at += rows * inner
    }
  }
}

/** The answer to a request that failed. What is in it goes to a page, which need not know where files are. */
function refusal(error: unknown, cors: Record<string, string>): Response {
  const { status, cause, headers } = error instanceof Refused ? error : refusedBy(error)
  const { message = String(cause), code = 'UNKNOWN', path } = (cause ?? {}) as Partial<MmapError>
  const told = path === undefined ? message : message.replaceAll(path, 'the file')
  return json(status, { code, message: told }, { ...cors, ...headers })
}

/** What the array says of itself. */
function refusedBy(error: unknown): Refused {
  return new Refused(isMmapError(error, 'ERR_CLOSED') ? 410 : 500, error)
}

function json(status: number, value: object, headers: Record<string, string>): Response {
  const body = new TextEncoder().encode(JSON.stringify(value))
  const type = { 'Content-Type': 'application/json', 'Content-Length': String(body.length) }
  return new Response(body, { status, headers: { ...headers, ...type, 'Cache-Control': 'no-store' } })
}
