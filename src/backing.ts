/**
 * Where the bytes of an array live: what may be asked for, and what is tried when nothing is.
 *
 * The choice is made once, after the file is open and before JavaScript sees a byte. Each way either gives the data or
 * says why it cannot, and 'auto' takes the first that can.
 */
import { constants } from 'node:buffer'
import { invalidArgType, invalidArgValue, isMmapError, MmapError, show } from './errors.js'

/**
 * Where the bytes of an array live: an ArrayBuffer over the mapping itself ('external'), a SharedArrayBuffer over it
 * ('shared'), the memory of a WebAssembly.Memory that the file is mapped over ('wasm'), or windows of the file ('window').
 */
export type Backing = 'external' | 'shared' | 'wasm' | 'window'

/** What can be asked for: 'auto' is the first backing that the runtime, the system and the size allow. */
export type BackingChoice = 'auto' | Backing

const CHOICES: readonly BackingChoice[] = ['auto', 'external', 'shared', 'wasm', 'window']

/** The variable of the environment that is asked where no option says anything: for tests, and for a whole process. */
const VARIABLE = 'MMAP_NDARRAY_BACKING'

/** Bytes of a window: the most that every supported runtime takes. */
const WINDOW = 2 ** 32
/** What the bytes of a window have to be a multiple of: a page. */
const WINDOW_UNIT = 4096
/** The variable of the environment that asks for smaller windows: for tests. */
const WINDOW_VARIABLE = 'MMAP_NDARRAY_WINDOW'

/** What 'auto' tries, the best first. */
const ORDER: readonly Backing[] = ['external', 'wasm', 'window']

/** The backing that the options ask for, or else the environment, checked. */
export function checkBacking(options: { backing?: unknown; shared?: unknown } | undefined): BackingChoice {
  // Each is read once: a getter may say something else the next time.
  const { shared, backing } = options ?? {}
  if (shared !== undefined && typeof shared !== 'boolean')
    throw invalidArgType('shared', 'of type boolean', shared)
  const asked = backing === undefined ? undefined : checkChoice('backing', backing)
  if (asked !== undefined && asked !== 'auto') {
    if (shared !== undefined && shared !== (asked === 'shared')) {
      throw invalidArgValue('backing', `must be 'auto' beside shared: ${shared}, or say the same`, asked)
    }
    return asked
  }
  if (shared) return 'shared'
  const found = asked ?? fromEnvironment()
  return shared === false && found === 'shared' ? 'auto' : found
}

/** The backing of an array that is attached to, where no option says anything; `there` is that of the handle. */
export function checkAttached(backing: unknown, there: Backing): BackingChoice {
  if (backing !== undefined) return checkChoice('backing', backing)
  // A handle may come from a process that could do more: only what is less common is meant to be the same here.
  return there === 'external' ? fromEnvironment() : there
}

/** A backing by its name, as a handle has it. */
export function isBacking(value: unknown): value is Backing {
  return value !== 'auto' && CHOICES.includes(value as BackingChoice)
}

function fromEnvironment(): BackingChoice {
  return checkChoice(VARIABLE, process.env[VARIABLE] || 'auto')
}

function checkChoice(name: string, value: unknown): BackingChoice {
  if (typeof value !== 'string') throw invalidArgType(name, 'of type string', value)
  if (!CHOICES.includes(value as BackingChoice)) {
    throw invalidArgValue(name, `must be one of ${CHOICES.map(show).join(', ')}`, value)
  }
  return value as BackingChoice
}

/** Bytes of a window, as the environment asks, checked. */
export function windowSize(): number {
  const asked = process.env[WINDOW_VARIABLE]
  if (!asked) return WINDOW
  const size = /^\d+$/.test(asked) ? Number(asked) : 0
  if (size > 0 && size <= WINDOW && size % WINDOW_UNIT === 0) return size
  const reason = `must be a multiple of ${WINDOW_UNIT} up to ${WINDOW}, in bytes`
  throw invalidArgValue(WINDOW_VARIABLE, reason, asked)
}

/** Throws ERR_TOO_LARGE where one buffer has to hold the array, and cannot, and for more bytes than numbers count. */
export function checkFits(bytes: number, path: string, choice: BackingChoice): void {
  const inWindows = choice === 'auto' || choice === 'window'
  const most = inWindows ? Number.MAX_SAFE_INTEGER : constants.MAX_LENGTH
  if (bytes <= most) return
  const why = inWindows
    ? `no file can have more than ${most}`
    : `one buffer of this runtime takes ${most}. Use backing 'auto' or 'window', or Node.js 22 or later`
  const message = `${path}: too large: the array has ${bytes} bytes, ${why}`
  throw new MmapError(message, { code: 'ERR_TOO_LARGE', path })
}

/**
 * The first backing that `take` can give, with what it gives; of those that 'auto' tries, from `least` on.
 *
 * `take` refuses with ERR_FEATURE_UNAVAILABLE_ON_PLATFORM or ERR_TOO_LARGE; any other error is the end. Where all refuse,
 * the error of the best of them is thrown.
 */
export function choose<T>(
  choice: BackingChoice,
  take: (backing: Backing) => T,
  least: Backing = 'external',
): [Backing, T] {
  let refusal: unknown
  for (const backing of choice === 'auto' ? ORDER.slice(ORDER.indexOf(least)) : [choice]) {
    try {
      return [backing, take(backing)]
    } catch (error) {
      if (!isMmapError(error, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', 'ERR_TOO_LARGE')) throw error
      refusal ??= error
    }
  }
  throw refusal
}
