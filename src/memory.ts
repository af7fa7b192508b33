/**
 * The data that all views of one array share, and its life.
 *
 * Views hold the `Memory`, never the data, so that one assignment here closes or moves them all. Reading and
 * writing one element are here too. The switches below are long for speed: a keyed access that has met more
 * than four kinds of typed array is five times slower in V8, in the whole process; here every access meets
 * one kind only.
 */
import { checkValue, type DType, type ScalarOf } from './dtype.js'
import { MmapError } from './errors.js'
import { allocate, type Data, type ElementStore, isStore } from './store.js'

/** What the switches below tell apart; first those that hold any number as it is. */
const KIND: { readonly [D in DType]: number } = {
  uint8: 0,
  int8: 1,
  int16: 2,
  uint16: 3,
  int32: 4,
  uint32: 5,
  float32: 6,
  float64: 7,
  float16: 8,
  int64: 9,
  uint64: 10,
  bfloat16: 11,
  bool: 12,
}
const NUMBERS = 9
const STORE = 11
const BOOL = 12
const GONE = 13
const LATER = 14
/** Whichever typed array a line of a switch is for. */
type AnyArray = { [index: number]: number | bigint } & Data

const EMPTY: ElementStore<never> = { length: 0, get: () => undefined as never, set: () => {} }

/** Data that is made when it is needed; `store` has the same elements, and is as good for a few of them. */
export class Later<D extends DType = DType> {
  readonly store: ElementStore<ScalarOf<D>>
  readonly make: () => Data<D>

  constructor(store: ElementStore<ScalarOf<D>>, make: () => Data<D>) {
    this.store = store
    this.make = make
  }
}

/** Elements that are looked at before the data is made. */
const LOOKS = 16

/** The data under a family of views; views made from one another share it and close together. */
export class Memory<D extends DType = DType> {
  // Fields are only declared: V8 keeps a number in a slower form when the field began as undefined.
  declare readonly dtype: D
  private declare current: Data<D>
  private declare kind: number
  /** Elements that were there; a buffer that is detached or made shorter holds fewer. */
  private declare count: number
  private declare readonly explain: () => Error
  private declare later: Later<D> | null
  private declare looks: number
  /** The view that owns the data, of which all others are made; null until it is there itself. */
  declare root: object | null

  /** `explain` makes the error for use after the data is gone; without it that is ERR_INVALID_STATE. */
  constructor(data: Data<D> | Later<D>, dtype: D, explain: () => Error = detached) {
    this.dtype = dtype
    this.explain = explain
    this.root = null
    this.looks = LOOKS
    if (data instanceof Later) {
      this.current = allocate(dtype, 0)
      this.kind = LATER
      this.count = 0
      this.later = data
    } else {
      this.move(data)
    }
  }

  /** The data. Throws the error of `gone()` when it is not there any more. */
  get data(): Data<D> {
    if (this.isGone) throw this.gone()
    if (this.later) this.now()
    return this.current
  }

  /** True when the data was released, or when its buffer was detached or made shorter. */
  get isGone(): boolean {
    return this.current.length < this.count
  }

  /** The error to throw once the data is gone. */
  gone(): Error {
    return this.explain()
  }

  /** The error for an index past the end: `gone()`, or ERR_OUT_OF_RANGE where the array has become shorter. */
  missing(): Error {
    if (this.isGone) return this.gone()
    const message = 'The array was made shorter; this view of it reaches past its end'
    return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' as const })
  }

  /** Goes on with other data of the same dtype: that of an array which has become longer or shorter. */
  move(data: Data<D>): void {
    this.current = data
    this.kind = isStore(data) ? STORE : KIND[this.dtype]
    this.count = data.length
    this.later = null
  }

  /** Lets go of the data: every later use throws, also where the buffer itself cannot be detached. */
  release(): void {
    this.current = this.kind === STORE ? EMPTY : allocate(this.dtype, 0)
    this.kind = GONE
    this.count = Number.POSITIVE_INFINITY
    this.later = null
  }

  /** The element at index `at`, an integer >= 0 that the caller has checked. Throws the error of `gone()`. */
  read(at: number): ScalarOf<D> {
    const value = this.load(at)
    if (value === undefined) throw this.missing()
    return value as ScalarOf<D>
  }

  /**
   * Stores `value` at index `at`, an integer >= 0 that the caller has checked, and returns what was stored.
   *
   * Throws the error of `gone()`, and ERR_INVALID_ARG_TYPE as `checkValue` does.
   */
  write(at: number, value: unknown): ScalarOf<D> {
    const stored = typeof value === 'number' && this.kind < NUMBERS ? value : checkValue(this.dtype, value)
    if (this.store(at, stored) === undefined) throw this.missing()
    return stored as ScalarOf<D>
  }

  /** The element, or undefined when the data is shorter than it was. */
  private load(at: number): number | bigint | undefined {
    const data = this.current as AnyArray
    switch (this.kind) {
      case 0:
        return data[at]
      case 1:
        return data[at]
      case 2:
        return data[at]
      case 3:
        return data[at]
      case 4:
        return data[at]
      case 5:
        return data[at]
      case 6:
        return data[at]
      case 7:
        return data[at]
      case 8:
        return data[at]
      case 9:
        return data[at]
      case 10:
        return data[at]
      case BOOL: {
        // Any byte other than 0 is true, whoever wrote it.
        const byte = data[at]
        return byte === undefined || byte === 0 ? byte : 1
      }
      case STORE:
        return (this.current as ElementStore).get(at)
      default:
        return Memory.early(this, at)
    }
  }

  /**
   * `loadEarly`, as a proxy: V8 leaves the call of one alone. A function would become a part of every loop that gets elements, once
   * a process has opened some arrays and looked into each, and those loops took three times as long.
   */
  private static readonly early = new Proxy((memory: Memory, at: number) => memory.loadEarly(at), {})

  private loadEarly(at: number): number | bigint | undefined {
    if (this.later && this.looks > 0) {
      this.looks -= 1
      return this.later.store.get(at)
    }
    return this.now().load(at)
  }

  /** This, with its data there. */
  private now(): this {
    if (!this.later) throw this.gone()
    this.move(this.later.make())
    return this
  }

  /** Stores the element and gives what is there then: undefined when the data is shorter than it was. */
  private store(at: number, value: number | bigint): number | bigint | undefined {
    const data = this.current as AnyArray
    switch (this.kind) {
      case 0:
        data[at] = value
        return data[at]
      case 1:
        data[at] = value
        return data[at]
      case 2:
        data[at] = value
        return data[at]
      case 3:
        data[at] = value
        return data[at]
      case 4:
        data[at] = value
        return data[at]
      case 5:
        data[at] = value
        return data[at]
      case 6:
        data[at] = value
        return data[at]
      case 7:
        data[at] = value
        return data[at]
      case 8:
        data[at] = value
        return data[at]
      case 9:
        data[at] = value
        return data[at]
      case 10:
        data[at] = value
        return data[at]
      case BOOL:
        data[at] = value
        return data[at]
      case STORE:
        return storeThrough(this.current as ElementStore, at, value)
      default:
        return this.now().store(at, value)
    }
  }
}

function storeThrough(store: ElementStore, at: number, value: number | bigint): number | bigint | undefined {
  if (at >= store.length) return undefined
  store.set(at, value)
  return value
}

function detached(): MmapError {
  const message = 'The data of this view is gone: its buffer was detached, transferred or made shorter'
  return new MmapError(message, { code: 'ERR_INVALID_STATE' })
}
