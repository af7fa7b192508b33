/**
 * Open array files larger than memory as ndarrays: nothing is read, nothing is copied.
 *
 * @module
 */
export { type AttachOptions, attach, attachSync, type Handle } from './attach.js'
export type { Backing, BackingChoice } from './backing.js'
export type { BadBlock, ChecksumOptions, Verified, VerifyOptions } from './checksum.js'
export type { ChunkOptions } from './chunks.js'
export type { CommitOptions, ElementRange, SaveOptions } from './commit.js'
export { type CreateOptions, type CreateSource, create, createSync } from './create.js'
export type { DType, ScalarOf, TypedArray, TypedArrayOf, ValueOf } from './dtype.js'
export { isMmapError, MmapError, type MmapErrorCode, type MmapErrorFields } from './errors.js'
export type { WritableFormat } from './formats.js'
export type { AppendOptions, RowSource } from './grow.js'
export type { Order } from './layout.js'
export { type ChunkFunction, type ChunkInfo, type MapChunksOptions, mapChunks } from './map-chunks.js'
export type { Advice, MappedView } from './mapped-view.js'
export { type ArraySummary, MmapArray, type Tracking } from './mmap-array.js'
export { type Flags, NdView, type Nested, type Summary } from './nd-view.js'
export {
  type Entry,
  type Format,
  type Lock,
  list,
  listSync,
  type Mode,
  type OpenOptions,
  open,
  openSync,
} from './open.js'
export type { PathLike } from './path.js'
export type { MinMax, ReduceOptions, SpreadOptions, SumOptions, WorkOptions } from './reductions.js'
export type {
  AllCloseOptions,
  Dot,
  EqualsOptions,
  Histogram,
  HistogramOptions,
  Indices,
  SearchOptions,
  TakeOptions,
  TopK,
  TopKOptions,
  Vector,
} from './search.js'
export { type Selection, type Slice, slice } from './selection.js'
export type { NdArrayLike, NestedArray, Source } from './source.js'
export type { Data, ElementStore } from './store.js'
