/** Files to be written: which format, order and name, checked for everything that writes one. */
import { extname } from 'node:path'
import { invalidArgType, invalidArgValue, show } from './errors.js'
import type { Order } from './layout.js'
import { checkPath } from './path.js'

/** The formats that can be written; 'raw' is the elements alone. */
export type WritableFormat = 'mmap' | 'npy' | 'raw'

/** The format that each extension stands for. */
const EXTENSIONS: Readonly<Record<string, WritableFormat>> = {
  mmap: 'mmap',
  npy: 'npy',
  bin: 'raw',
  raw: 'raw',
}
const WRITABLE: readonly WritableFormat[] = ['mmap', 'npy', 'raw']

/** How a file is to be written. */
export interface WriteOptions {
  /** The format to write; from the extension (`.npy`, `.mmap`, `.bin` and `.raw`) when left out. */
  format?: WritableFormat | undefined
  /** The order of the elements in the file; default 'C'. */
  order?: Order | undefined
  /**
   * Replace a file that is there; EEXIST otherwise. An array mapped from it keeps its contents; ERR_LOCKED while one is open
   * with a lock, and while somebody else is replacing the file.
   *
   * The new file takes over its permissions, and its owner and group as far as this process may. A symbolic link is
   * followed; another hard link keeps the old file.
   */
  overwrite?: boolean | undefined
}

/** Checks where and how a file is to be written. Throws Node's codes for wrong arguments. */
export function checkTarget(path: unknown, { format, order = 'C', overwrite = false }: WriteOptions) {
  if (order !== 'C' && order !== 'F') throw invalidArgValue('order', `must be 'C' or 'F'`, order)
  if (typeof overwrite !== 'boolean') throw invalidArgType('overwrite', 'of type boolean', overwrite)
  const file = checkPath(path)
  const found = format === undefined ? formatOf(file) : checkFormat(format, WRITABLE)
  if (found === 'mmap' && order === 'F') {
    throw invalidArgValue('order', "must be 'C' in format 'mmap', which has no other; use 'npy'", order)
  }
  return { file, format: found, order, overwrite }
}

/** A format of those that the caller offers, checked. */
export function checkFormat<F extends string>(format: unknown, offered: readonly F[]): F {
  if (typeof format !== 'string') throw invalidArgType('format', 'of type string', format)
  if (!offered.includes(format as F)) {
    throw invalidArgValue('format', `must be one of ${offered.map(show).join(', ')}`, format)
  }
  return format as F
}

function formatOf(file: string): WritableFormat {
  const extension = extname(file).slice(1).toLowerCase()
  const format = Object.hasOwn(EXTENSIONS, extension) ? EXTENSIONS[extension] : undefined
  if (format !== undefined) return format
  const known = Object.keys(EXTENSIONS).map((name) => `.${name}`)
  throw invalidArgValue('path', `must end in ${known.join(', ')}, or 'format' be given`, file)
}
