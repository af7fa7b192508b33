/**
 * Windows: elements that no one buffer can hold, through buffers over parts of them.
 *
 * The windows lie on a fixed grid and are made when something in them is asked for. There is a bounded number of them: the
 * one that was used longest ago makes room for a new one, and is detached. Typed arrays of it have length 0 then, and never
 * show other elements. Where they can, the lines of the grid lie between rows, so that each row is in one window.
 */
import {
  constructors,
  type DType,
  itemsizeOf,
  type ScalarOf,
  type TypedArray,
  type TypedArrayIn,
} from './dtype.js'
import { MmapError } from './errors.js'
import { type Data, type DataViewStore, dataViewStore, type ElementStore, isStore } from './store.js'

/** What gives windows of its bytes: an open file. */
export interface WindowSource {
  /** Whether it gives no more. */
  readonly closed: boolean
  readonly native: {
    /** A buffer over `length` bytes from byte `start` on, or over as many as there are; the same one until it is dropped. */
    window(start: number, length: number): ArrayBuffer
    /** Detaches the window that starts at byte `start`. */
    dropWindow(start: number): void
  }
}

/** How the elements lie in the bytes. */
export interface WindowLayout<D extends DType> {
  readonly dtype: D
  /** Bytes between positions that an element can have: those of an element, or a divisor of it. */
  readonly unit: number
  readonly littleEndian: boolean
  /** Whether a typed array shows them: in this machine's byte order and aligned. */
  readonly native: boolean
  /** Bytes of what should lie in one window, such as a row. */
  readonly pieces: readonly number[]
}

/** Windows that an array has at most. */
export const MOST_WINDOWS = 32

/** The windows of an array, which all stores of its elements share. */
export class Windows<D extends DType = DType> {
  /** By number on the grid, the one that was used last at the end. */
  private readonly held = new Map<number, DataViewStore<D>>()
  private moved = false
  private room: number | undefined
  readonly layout: WindowLayout<D>
  /** Bytes between two lines of the grid. */
  readonly size: number
  private readonly source: WindowSource

  constructor(source: WindowSource, layout: WindowLayout<D>, size: number) {
    this.source = source
    this.layout = layout
    const whole = [...layout.pieces, itemsizeOf(layout.dtype)].find((bytes) => bytes > 0 && bytes <= size)
    this.size = size - (size % (whole as number))
  }

  /** True when nothing is shown any more: the source was closed, or somebody has moved a window elsewhere. */
  get isGone(): boolean {
    return this.moved || this.source.closed
  }

  /**
   * A store of `count` positions. `room` is how many bytes the source has: where that has changed they are in other memory,
   * and the windows are left to those who hold them.
   */
  store(count: number, room: number): WindowStore<D> {
    if (room !== this.room) this.held.clear()
    this.room = room
    return new WindowStore(this, count)
  }

  /** Whether a store may use them. */
  get hasStores(): boolean {
    return this.room !== undefined
  }

  /** Window `n` of the grid, or undefined when all is gone. */
  at(n: number): DataViewStore<D> | undefined {
    if (this.isGone) return undefined
    const { held, size } = this
    let found = held.get(n)
    if (found === undefined) {
      if (held.size >= MOST_WINDOWS) this.dropOldest()
      const { dtype, unit, littleEndian } = this.layout
      const buffer = this.source.native.window(n * size, size)
      const bytes = Math.min(size, buffer.byteLength)
      const count = Math.max(0, Math.floor((bytes - itemsizeOf(dtype)) / unit) + 1)
      found = dataViewStore(dtype, buffer, 0, count, littleEndian, unit) as DataViewStore<D>
    } else {
      held.delete(n)
    }
    held.set(n, found)
    if (!this.isMoved(found)) return found
    return undefined
  }

  private dropOldest(): void {
    const [oldest] = this.held
    if (oldest === undefined || this.isMoved(oldest[1])) return
    this.held.delete(oldest[0])
    this.source.native.dropWindow(oldest[0] * this.size)
  }

  /** Whether somebody has moved a window elsewhere: we detach none that is held. */
  private isMoved({ buffer }: DataViewStore): boolean {
    this.moved ||= buffer.byteLength === 0
    return this.moved
  }
}

/** The elements in the windows of an array. */
export class WindowStore<D extends DType = DType> implements ElementStore<ScalarOf<D>> {
  // Only declared, for speed, as in `Memory`.
  declare readonly windows: Windows<D>
  private declare readonly count: number
  /** The window that was used last, whose first element is `first`, and the index after the last that it has here. */
  private declare near: DataViewStore<D> | undefined
  private declare first: number
  private declare end: number

  constructor(windows: Windows<D>, count: number) {
    this.windows = windows
    this.count = count
    this.near = undefined
    this.first = 0
    this.end = 0
  }

  get length(): number {
    return this.windows.isGone ? 0 : this.count
  }

  get(index: number): ScalarOf<D> {
    if (index >= this.first && index < this.end) {
      // It may have been detached meanwhile.
      const value = this.near?.get(index - this.first)
      if (value !== undefined) return value
    }
    return this.reach(index, (store, at) => store.get(at)) as ScalarOf<D>
  }

  set(index: number, value: ScalarOf<D>): ScalarOf<D> {
    if (index >= this.first && index < this.end && this.near !== undefined && this.near.length > 0) {
      return this.near.set(index - this.first, value)
    }
    this.reach(index, (store, at) => store.set(at, value), true)
    return value
  }

  /** Whether a typed array can show elements. */
  get isTyped(): boolean {
    const { native, dtype } = this.windows.layout
    return native && constructors[dtype] !== undefined
  }

  /**
   * The elements from index `start` up to, and without, `stop` as a typed array over their window, if `isTyped`.
   *
   * Throws ERR_NOT_CONTIGUOUS where they are not all in one.
   */
  subarray(start: number, stop: number): TypedArray {
    const { layout, size } = this.windows
    const { dtype, unit } = layout
    const ctor = constructors[dtype] as NonNullable<(typeof constructors)[DType]>
    if (start >= stop) return new ctor(0)
    const { near } = this
    if (start >= this.first && stop <= this.end && near !== undefined && near.length > 0) {
      return new ctor(near.buffer as ArrayBuffer, (start - this.first) * unit, stop - start)
    }
    const first = Math.floor((start * unit) / size)
    const last = Math.floor((stop * unit - 1) / size)
    if (first !== last) {
      const line = last * (size / unit)
      const message = `Elements ${start} to ${stop} of the data lie in ${last - first + 1} windows of ${size / unit} elements each, the last of which begins with element ${line}; take smaller parts, or toTypedArray({ copy: true })`
      throw new MmapError(message, { code: 'ERR_NOT_CONTIGUOUS' })
    }
    const store = this.windows.at(first)
    if (store === undefined) return new ctor(0)
    this.approach(first, store)
    return new ctor(store.buffer as ArrayBuffer, start * unit - first * size, stop - start)
  }

  /** Keeps window `n` at hand. */
  private approach(n: number, store: DataViewStore<D>): void {
    this.near = store
    this.first = (n * this.windows.size) / this.windows.layout.unit
    this.end = Math.min(this.first + store.length, this.count)
  }

  /**
   * Does something with the store that has an element, which may change it: the window, or a copy of the bytes of one that
   * lies across a line.
   */
  private reach<R>(
    index: number,
    use: (store: ElementStore<ScalarOf<D>>, at: number) => R,
    changes = false,
  ): R | undefined {
    if (!(index >= 0 && index < this.count && Math.floor(index) === index)) return undefined
    const { windows } = this
    const { dtype, unit, littleEndian } = windows.layout
    const n = Math.floor((index * unit) / windows.size)
    const at = index * unit - n * windows.size
    const store = windows.at(n)
    if (store === undefined) return undefined
    if (at + itemsizeOf(dtype) <= windows.size) {
      this.approach(n, store)
      return use(store, at / unit)
    }
    const next = windows.at(n + 1)
    if (next === undefined) return undefined
    const parts = [
      new Uint8Array(store.buffer, at, windows.size - at),
      new Uint8Array(next.buffer, 0, at + itemsizeOf(dtype) - windows.size),
    ] as const
    const bytes = Uint8Array.from([...parts[0], ...parts[1]])
    const result = use(dataViewStore(dtype, bytes.buffer, 0, 1, littleEndian), 0)
    if (changes) {
      parts[0].set(bytes.subarray(0, parts[0].length))
      parts[1].set(bytes.subarray(parts[0].length))
    }
    return result
  }
}

/** The data, if parts of it can be had as typed arrays by `subarray`. */
export function divisible<D extends DType>(data: Data<D>): TypedArrayIn<D> | WindowStore<D> | undefined {
  if (!isStore(data)) return data
  return data instanceof WindowStore && data.isTyped ? data : undefined
}
