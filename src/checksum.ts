/** Checksums beside a file: options, and what native code finds as JavaScript has it. */
import { checkInteger, checkOptions } from './errors.js'
import type { NativeVerified } from './native.js'
import { checkWork, type WorkOptions } from './reductions.js'

/** Options of `verify` and `verifySync`. */
export interface VerifyOptions extends WorkOptions {
  /** The most threads to use; all cores for large files and one for small ones when left out. */
  threads?: number | undefined
}

/** Options of `checksum` and `checksumSync`. */
export interface ChecksumOptions extends VerifyOptions {
  /** Bytes of a block, 4096 to 2^30; default 2^20. What is bad is known to a block, and each one takes 8 bytes of the sidecar. */
  block?: number | undefined
}

/** A block of a file that is not as it was when its checksum was made. */
export interface BadBlock {
  /** Which block: it begins at byte `index * block` of the file. */
  readonly index: number
  /** The first element of `data`, as `index()` counts them, that has a byte in the block. */
  readonly start: number
  /** The element after the last; the same as `start` where the block holds none (the header). */
  readonly stop: number
  /** The indices of axis 0 that have a byte in the block, where they lie one after the other in the file (C order). */
  readonly rows?: readonly [start: number, stop: number]
}

/** What `verify` gives. */
export interface Verified {
  /** Whether every block is as it was. */
  readonly ok: boolean
  /** Bytes of a block. */
  readonly block: number
  /** How many blocks were looked at. */
  readonly blocks: number
  /** How many of them are bad. */
  readonly damaged: number
  /** The bad ones in order; of more than 10,000 the first. */
  readonly bad: readonly BadBlock[]
}

const BLOCK = 2 ** 20

/** How native code describes a bad block. */
type BadNumbers = [index: number, start: number, stop: number, first: number, last: number]

/** Checks the options of `checksum`. Throws Node's codes for wrong arguments. */
export function checkChecksum(options: ChecksumOptions | undefined) {
  checkOptions(options, ['block', 'threads', 'signal', 'onProgress'], 'checksum')
  const { block = BLOCK } = options ?? {}
  return { block: checkInteger('block', block, 2 ** 12, 2 ** 30), ...checkShared(options) }
}

/** Checks the options of `verify`. Throws Node's codes for wrong arguments. */
export function checkVerify(options: VerifyOptions | undefined) {
  checkOptions(options, ['threads', 'signal', 'onProgress'], 'verify')
  return checkShared(options)
}

function checkShared({ threads, ...work }: VerifyOptions = {}) {
  return {
    threads: threads === undefined ? undefined : checkInteger('threads', threads, 1),
    work: checkWork(work),
  }
}

/** What native code has found. */
export function verifiedOf({ block, blocks, damaged, bad: numbers }: NativeVerified): Verified {
  const bad: BadBlock[] = []
  for (let at = 0; at < numbers.length; at += 5) {
    const [index, start, stop, first, last] = numbers.subarray(at, at + 5) as unknown as BadNumbers
    bad.push({ index, start, stop, ...(first >= 0 && { rows: [first, last] as const }) })
  }
  return { ok: damaged === 0, block, blocks, damaged, bad }
}
