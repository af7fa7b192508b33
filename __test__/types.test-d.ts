/** Types, asserted where `tsc` checks them; nothing here runs. */
import * as tf from '@tensorflow/tfjs-core'
import type { NdArray } from 'ndarray'
import { Tensor } from 'onnxruntime-common'
import type * as zarr from 'zarrita'
import {
  type Chunk,
  type ScijsArray,
  toChunk,
  toScijs,
  type toStdlib,
  toTensorArgs,
} from '../src/adapters.js'
import { type attach, attachSync, type Handle } from '../src/attach.js'
import type { BadBlock, Verified } from '../src/checksum.js'
import { createSync } from '../src/create.js'
import type { DType, ScalarOf, TypedArrayOf, ValueOf } from '../src/dtype.js'
import { isMmapError, type MmapErrorCode } from '../src/errors.js'
import type { Axes } from '../src/layout.js'
import { type ChunkFunction, mapChunks } from '../src/map-chunks.js'
import type { MappedView } from '../src/mapped-view.js'
import type { MmapArray } from '../src/mmap-array.js'
import { NdView, NdViewBase } from '../src/nd-view.js'
import { openSync } from '../src/open.js'
import type { MinMax, ReduceOptions, SumOptions } from '../src/reductions.js'
import { type Slice, slice } from '../src/selection.js'
import { dataViewStore, type ElementStore } from '../src/store.js'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function same<A, B>(equal: Equal<A, B>): void

// dtypes
same<ScalarOf<'int64'>, bigint>(true)
same<ScalarOf<'uint64' | 'bool'>, bigint | number>(true)
same<ScalarOf<'float32'>, number>(true)
same<ValueOf<'bool'>, number | boolean>(true)
same<ValueOf<'uint64'>, bigint>(true)
same<TypedArrayOf<'bool'>, Uint8Array>(true)
same<TypedArrayOf<'int64'>, BigInt64Array>(true)

// The constructor finds the dtype of a typed array, and is told any other.
const floats = new NdView(new Float32Array(6), [2, 3])
same<typeof floats, NdView<'float32'>>(true)
same<(typeof floats)['data'], Float32Array | ElementStore<number>>(true)
const longs = new NdView(new BigInt64Array(6))
same<typeof longs, NdView<'int64'>>(true)
const bytes = new NdView(Buffer.alloc(6))
same<typeof bytes, NdView<'uint8'>>(true)
const flags = new NdView(new Uint8Array(6), [6], undefined, undefined, 'bool')
same<typeof flags, NdView<'bool'>>(true)
const stored = new NdView(dataViewStore('int16', new ArrayBuffer(8), 1, 3, false), [3], [1], 0, 'int16')
same<typeof stored, NdView<'int16'>>(true)
// @ts-expect-error: not the dtype of the data
new NdView(new Float32Array(6), [6], [1], 0, 'float64')
// @ts-expect-error: plain arrays are no data
new NdView([1, 2, 3])

// Elements
same<ReturnType<typeof floats.get>, number>(true)
same<ReturnType<typeof longs.get>, bigint>(true)
floats.set(1, 2, 3)
longs.set(1, 3n)
flags.set(1, true)
longs.fill(1n)
// @ts-expect-error: a number is no element of int64
longs.set(1, 3)
// @ts-expect-error: nor a bigint one of float32
floats.set(1, 2, 3n)
// @ts-expect-error: an index is a number
floats.get(1n, 2)
// @ts-expect-error: nor is a boolean
floats.fill(true)
same<ReturnType<typeof longs.toTypedArray>, BigInt64Array>(true)

// Views keep their dtype.
same<ReturnType<typeof floats.lo>, NdView<'float32'>>(true)
same<typeof floats.T, NdView<'float32'>>(true)
same<ReturnType<typeof longs.slice>, NdView<'int64'>>(true)
floats
  .slice(null, -1)
  .slice('::-1')
  .slice(slice(1, null, 2))
  .slice({ start: 1 })
floats.pick(null, 1).lo(undefined).reshape([3, -1])
// @ts-expect-error: a selection is no array
floats.slice([0, 1])
const range: Slice = slice(3)

export { range }

// `is` narrows.
declare const any: NdView
same<ReturnType<typeof any.get>, number | bigint>(true)
if (any.is('uint64')) same<ReturnType<typeof any.get>, bigint>(true)
if (any.is('float32')) same<typeof any.data, Float32Array | ElementStore<number>>(true)
const general: NdView<DType> = floats

export { general }

// What assign takes.
floats
  .assign(1)
  .assign([[1, 2, 3]])
  .assign(new Int8Array(3))
  .assign([new Float32Array(3)])
  .assign(longs)
floats.assign({ data: new Float64Array(6), shape: [2, 3], stride: [1, 2], offset: 0 })
longs.assign(5n).assign([1n, 2n])
// @ts-expect-error: text is no source
floats.assign('1')
// @ts-expect-error: numbers are no elements of int64
longs.assign([1, 2])

// The libraries of the scijs family take a view as it is.
const scijs: NdArray<Float32Array | ElementStore<number>> = floats
const loose: NdArray = floats
declare const theirs: NdArray<Float32Array>
floats.assign(theirs)

export { loose, scijs }

// A subclass has views of its own class.
class FileView<D extends DType = DType> extends NdViewBase<D, FileView<D>> {
  protected override derive(axes: Axes, readOnly: boolean = this.readOnly): FileView<D> {
    return new FileView(this.memory, axes, readOnly, this.root)
  }
  override is<E extends DType>(dtype: E): this is FileView<E> {
    return super.is(dtype)
  }
}
class WholeFile<D extends DType = DType> extends FileView<D> {
  override is<E extends DType>(dtype: E): this is WholeFile<E> {
    return super.is(dtype)
  }
}
declare const file: FileView<'int64'>
same<ReturnType<typeof file.pick>, FileView<'int64'>>(true)
same<typeof file.T, FileView<'int64'>>(true)
same<ReturnType<typeof file.get>, bigint>(true)
const asView: NdView = file

declare const whole: WholeFile<'bool'>
same<ReturnType<typeof whole.pick>, FileView<'bool'>>(true)
const wholeAsView: NdView = whole

export { asView, wholeAsView }

declare const anyFile: FileView
if (anyFile.is('int8')) same<ReturnType<typeof anyFile.slice>, FileView<'int8'>>(true)

// The guard narrows to the codes it was given.
declare const err: unknown
if (isMmapError(err, 'ERR_CLOSED', 'ENOENT')) same<typeof err.code, 'ERR_CLOSED' | 'ENOENT'>(true)
if (isMmapError(err)) same<typeof err.code, MmapErrorCode>(true)
// @ts-expect-error: no such code
isMmapError(err, 'ERR_CLOSE')

// The classes of files.
declare const array: MmapArray
if (array.is('float32')) {
  const typed: MmapArray<'float32'> = array
  same<ReturnType<typeof typed.get>, number>(true)
  same<ReturnType<typeof typed.toTypedArray>, Float32Array>(true)
}
const part = array.slice('1:')
same<typeof part, MappedView>(true)
if (part.is('int64')) {
  const typed: MappedView<'int64'> = part
  same<ReturnType<typeof typed.get>, bigint>(true)
}
const opened = openSync('a.npy', { dtype: 'float32' })
same<typeof opened, MmapArray<'float32'>>(true)
const owned = opened.copy()
same<typeof owned, NdView<'float32'>>(true)
const byShape = createSync('a.npy', { shape: [2], dtype: 'uint8' })
same<typeof byShape, MmapArray<'uint8'>>(true)
const byArray = createSync('a.npy', new BigInt64Array(2))
same<typeof byArray, MmapArray<'int64'>>(true)
const byNumbers = createSync('a.npy', [[1, 2]])
same<typeof byNumbers, MmapArray<'float64'>>(true)
const byData = createSync('a.npy', { data: new Float32Array(6), shape: [2, 3] })
same<typeof byData, MmapArray<'float32'>>(true)
const byView = createSync('a.npy', floats)
same<typeof byView, MmapArray<'float32'>>(true)

// A file's dtype says what its elements are, and what they are in.
declare const file32: MmapArray<'float32'>
declare const file64: MmapArray<'int64'>
same<(typeof file32)['data'], Float32Array | ElementStore<number>>(true)
same<(typeof file64)['data'], BigInt64Array | ElementStore<bigint>>(true)
same<ReturnType<typeof file32.toTypedArray>, Float32Array>(true)
same<ReturnType<typeof file64.toTypedArray>, BigInt64Array>(true)
same<ReturnType<typeof file64.get>, bigint>(true)
same<ReturnType<typeof file32.slice>, MappedView<'float32'>>(true)
same<typeof file64.T, MappedView<'int64'>>(true)
file64.set(0, 1, 2n)
// @ts-expect-error: nor is a number an element of a file of int64
file64.set(0, 1, 2)
if (!ArrayBuffer.isView(file32.data)) same<ReturnType<typeof file32.data.get>, number>(true)
for (const row of file32) if (typeof row !== 'number') same<typeof row, MappedView<'float32'>>(true)

// Whoever takes an ndarray of scijs takes a file, a part of one, and what toScijs gives.
const files: NdArray<Float32Array | ElementStore<number>>[] = [file32, file32.slice('1:'), file32.T]
const adapted: NdArray<Float32Array | ElementStore<number>> = toScijs(file32)

export { adapted, files }

// The adapters keep what is known of the elements.
same<ReturnType<typeof toScijs<'int64'>>['T'], ScijsArray<'int64'>>(true)
same<ReturnType<ReturnType<typeof toStdlib<'int64'>>['get']>, bigint>(true)
same<ReturnType<typeof toChunk<'float32'>>, Chunk<'float32'>>(true)
const chunk: zarr.Chunk<'float32'> = toChunk(file32)
const tensor = new Tensor(...toTensorArgs(file32))
same<typeof tensor.data, Float32Array>(true)
same<(typeof tensor)['type'], 'float32'>(true)
const longTensor = new Tensor(...toTensorArgs(file64))
const tfTensor = tf.tensor(...toTensorArgs(file32, 'tfjs'))
// @ts-expect-error: no such runtime
toTensorArgs(file32, 'torch')

export { chunk, longTensor, tfTensor }

// Operations with a second operand
same<ReturnType<typeof file64.takeSync>, NdView<'int64'>>(true)
same<Awaited<ReturnType<typeof file32.take>>, NdView<'float32'>>(true)
same<Awaited<ReturnType<typeof file32.topk>>['indices'], number[]>(true)
same<ReturnType<typeof file32.dotSync>, number | NdView<'float64'>>(true)
same<ReturnType<typeof file64.dotSync>, bigint | NdView<'int64'>>(true)
same<ReturnType<typeof byShape.dotSync>, number | NdView<'uint64'>>(true)
same<ReturnType<typeof file32.histogramSync>['edges'], number[]>(true)
same<Awaited<ReturnType<typeof file32.equals>>, boolean>(true)
file32.takeSync([[0, 1n]], { axis: -1 })
file32.allCloseSync(file64, { rtol: 0, equalNaN: true })
// @ts-expect-error: no such metric
file32.topkSync([1], 1, { metric: 'cos' })
// @ts-expect-error: k is missing
file32.topkSync([1])

// Chunks
same<ReturnType<typeof file32.chunks>, AsyncGenerator<MappedView<'float32'>, undefined, undefined>>(true)
same<Awaited<ReturnType<typeof mapChunks<number>>>, number[]>(true)
const perChunk: ChunkFunction<'float32', number> = (part, { start, stop }) => part.get(0, 0) + stop - start
file32.advise('willneed')
// @ts-expect-error: no such advice
file32.advise('maybe')
// @ts-expect-error: not a URL
mapChunks(file32, 5)

export { perChunk }

// Handles
const handle: Handle = openSync('a.npy', { lock: 'shared', shared: true }).toHandle()
same<Awaited<ReturnType<typeof attach<'int8'>>>, MmapArray<'int8'>>(true)
same<ReturnType<typeof attachSync<'int64'>>, MmapArray<'int64'>>(true)
same<typeof handle.backing, 'external' | 'shared' | 'wasm' | 'window'>(true)
attachSync(JSON.parse(JSON.stringify(handle)))
// @ts-expect-error: not a path
attachSync('a.npy')
// @ts-expect-error: no such lock
openSync('a.npy', { lock: 'none' })

// Reductions: a scalar without axes, a view with them, either where nobody can know.
declare const file8: MmapArray<'uint8'>
declare const fileI32: MmapArray<'int32'>
declare const fileBool: MmapArray<'bool'>
declare const flag: boolean
declare const axis: number | undefined
declare const reducing: ReduceOptions
declare const summing: SumOptions
const sum32 = fileI32.sumSync()
same<typeof sum32, number>(true)
const big32 = fileI32.sumSync({ bigint: true })
same<typeof big32, bigint>(true)
const perhapsBig = fileI32.sumSync({ bigint: flag })
same<typeof perhapsBig, number | bigint>(true)
const sum64 = file64.sumSync({ skipNaN: true, threads: 2 })
same<typeof sum64, bigint>(true)
const prod64 = file64.prod()
same<typeof prod64, Promise<bigint>>(true)
const sums32 = fileI32.sumSync({ axis: 0 })
same<typeof sums32, NdView<'int64'>>(true)
const sums8 = file8.sum({ axis: [0, -1] })
same<typeof sums8, Promise<NdView<'uint64'>>>(true)
const sumsBool = fileBool.sumSync({ axis: [] })
same<typeof sumsBool, NdView<'int64'>>(true)
const sumsFloat = file32.prodSync({ keepdims: true })
same<typeof sumsFloat, NdView<'float64'>>(true)
const unkept = file32.sumSync({ keepdims: false })
same<typeof unkept, number>(true)
const perhapsKept = file32.sumSync({ keepdims: flag })
same<typeof perhapsKept, number | NdView<'float64'>>(true)
const perhapsAxis = file32.meanSync({ axis })
same<typeof perhapsAxis, number | NdView<'float64'>>(true)
const anyhow = file32.minSync(reducing)
same<typeof anyhow, number | NdView<'float32'>>(true)
const anySum = fileI32.sumSync(summing)
same<typeof anySum, number | bigint | NdView<'int64'>>(true)
const min32 = file32.min()
same<typeof min32, Promise<number>>(true)
const min64 = file64.minSync()
same<typeof min64, bigint>(true)
const mins32 = file32.minSync({ axis: 0 })
same<typeof mins32, NdView<'float32'>>(true)
const both64 = file64.minmax()
same<typeof both64, Promise<MinMax<bigint>>>(true)
const both32 = file32.slice(0).minmaxSync({ axis: 0 })
same<typeof both32, MinMax<NdView<'float32'>>>(true)
const place = file64.argmaxSync()
same<typeof place, number>(true)
const places = file64.argminSync({ axis: 1 })
same<typeof places, NdView<'int64'>>(true)
const truth = file32.anySync()
same<typeof truth, boolean>(true)
const truths = file32.all({ axis: 0, keepdims: true })
same<typeof truths, Promise<NdView<'bool'>>>(true)
const deviation = file64.std({ ddof: 1 })
same<typeof deviation, Promise<number>>(true)
const sumOfAny = array.sumSync()
same<typeof sumOfAny, number | bigint>(true)
file32.sumSync({ onProgress: (done, total) => same<typeof done, typeof total>(true) })
// @ts-expect-error: only var and std divide
file32.sum({ ddof: 1 })
// @ts-expect-error: not an axis
file32.sum({ axis: '0' })
// @ts-expect-error: only sum and prod may be exact
fileI32.max({ bigint: true })

// Growth
same<ReturnType<typeof file32.append>, Promise<void>>(true)
same<ReturnType<typeof file32.refresh>, boolean>(true)
file32.appendSync(Float32Array.of(1), { durable: true })
file64.appendSync([1n])
// @ts-expect-error: numbers for int64
file64.appendSync([1])
// @ts-expect-error: no such option
file32.resizeSync(1, { durable: true })

// Checksums
same<ReturnType<typeof file32.checksum>, Promise<void>>(true)
same<ReturnType<typeof file32.verify>, Promise<Verified>>(true)
file32.checksumSync({ block: 4096, threads: 2 })
const { ok, bad } = file32.verifySync({ onProgress: (done, total) => same<typeof done, typeof total>(true) })
same<typeof ok, boolean>(true)
same<typeof bad, readonly BadBlock[]>(true)
const badRows = bad[0]?.rows
same<typeof badRows, readonly [start: number, stop: number] | undefined>(true)
// @ts-expect-error: the sidecar says it
file32.verify({ block: 4096 })
// @ts-expect-error: of the file, not of a view
file32.slice(0).checksum()
