/** Options of what keeps a copy-on-write array, and ranges of elements as JavaScript has them. */
import { checkOptions, invalidArgType } from './errors.js'
import { checkTarget, type WriteOptions } from './formats.js'
import type { PathLike } from './path.js'
import { checkWork, type WorkOptions } from './reductions.js'

/** Options of `commit` and `commitSync`. */
export interface CommitOptions {
  /**
   * The whole change or none of it, whatever happens: a copy of the file (sharing its blocks where the file system can) is
   * changed and renamed over it, and the array goes on with that. Default false: the file is written in place.
   */
  atomic?: boolean | undefined
  /**
   * Commit although somebody has written to the file since it was opened, or another file that holds an array of the same
   * description is at the path. What others wrote to pages that were stored to here is overwritten.
   */
  force?: boolean | undefined
}

/** Options of `saveAs` and `saveAsSync`. */
export interface SaveOptions extends WriteOptions, WorkOptions {}

/** Elements of `data`, as `index()` counts them: the first, and the one after the last. */
export type ElementRange = [start: number, stop: number]

/** Checks the options of a commit. Throws ERR_INVALID_ARG_TYPE and ERR_INVALID_ARG_VALUE. */
export function checkCommit(options: CommitOptions | undefined): [atomic: boolean, force: boolean] {
  checkOptions(options, ['atomic', 'force'], 'commit')
  const { atomic = false, force = false } = options ?? {}
  for (const [name, value] of Object.entries({ atomic, force })) {
    if (typeof value !== 'boolean') throw invalidArgType(name, 'of type boolean', value)
  }
  return [atomic, force]
}

/** Checks where and how a view is to be saved. Throws Node's codes for wrong arguments. */
export function checkSave(path: PathLike, options: SaveOptions | undefined) {
  checkOptions(options, ['format', 'order', 'overwrite', 'signal', 'onProgress'], 'saveAs')
  const { file, ...native } = checkTarget(path, options ?? {})
  return { file, native, work: checkWork(options ?? {}) }
}

/** Pairs of numbers that lie one after the other. */
export function pairsOf(bounds: Float64Array): ElementRange[] {
  return Array.from({ length: bounds.length / 2 }, (_, n) => [
    bounds[2 * n] as number,
    bounds[2 * n + 1] as number,
  ])
}
