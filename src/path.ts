/**
 * Paths as Node's `fs` takes them, checked before anything native sees them.
 *
 * A relative path is tied to the working directory at once: an array that is still open after `process.chdir` must
 * not change the file it speaks of.
 */
import { isAbsolute, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalidArgType, invalidArgValue } from './errors.js'

/** A path: a string, a `file:` URL, or the bytes of a path in UTF-8. */
export type PathLike = string | URL | Uint8Array

/**
 * The absolute path that `path` names; it is not normalised, so that links and `..` mean what the OS says they mean.
 *
 * Throws ERR_INVALID_ARG_TYPE for anything else, ERR_INVALID_ARG_VALUE for a NUL byte or bytes that are no UTF-8,
 * and Node's own errors for a URL that is no file.
 */
export function checkPath(path: unknown): string {
  const text = path instanceof URL ? fileURLToPath(path) : path instanceof Uint8Array ? decode(path) : path
  if (typeof text !== 'string') {
    throw invalidArgType('path', 'of type string or an instance of Buffer or URL', path)
  }
  if (text.includes('\0')) throw invalidArgValue('path', 'must be a string without null bytes', text)
  // An empty path is no file anywhere; the OS says so.
  if (text === '') return text
  if (process.platform === 'win32') {
    // `\\a` and `c:a` depend on the working folder as well. Windows itself takes `..` out of the text.
    return /^([a-z]:[\\/]|[\\/]{2})/i.test(text) ? text : resolve(text)
  }
  return isAbsolute(text) ? text : `${process.cwd()}${sep}${text}`
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalidArgValue('path', 'must be UTF-8 when it is given as bytes', bytes)
  }
}
