/**
 * Says what is missing where there is no binary, before the generated loader says something else.
 *
 * Imports run in order, and native.ts imports this first: whether no binary is made for a platform, or the install left
 * it out, the error names the platform and the way out. The loader only knows that nothing could be loaded, and blames
 * npm. Where a binary is present this looks up one path.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { MmapError } from './errors.js'

/** The platforms with a package of their own, as npm/ has them. */
export const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
] as const

/** What decides which binary is needed; `libc` is `undefined` where it cannot be told at no cost. */
export type Host = { platform: string; arch: string; libc: 'gnu' | 'musl' | undefined }

const packageOf = (name: string): string => `@mmap-ndarray/binding-${name}`

/** Why no binary can be loaded on `host`, and what to do; `undefined` where one is there. */
export function missingBinary(host: Host, isThere: (name: string) => boolean): string | undefined {
  const system = `${host.platform}-${host.arch}`
  const wanted = PLATFORMS.filter((name) => {
    const [os, arch, abi] = name.split('-')
    const libcDiffers = os === 'linux' && host.libc !== undefined && abi !== host.libc
    return `${os}-${arch}` === system && !libcDiffers
  })
  if (wanted.some(isThere)) return undefined
  if (wanted.length === 0) {
    return (
      `no binary of mmap-ndarray is made for ${system}; there are binaries for ${PLATFORMS.join(', ')}. ` +
      'Build one with Rust from a clone (npm ci && npm run build), ' +
      'and set NAPI_RS_NATIVE_LIBRARY_PATH to the .node file that this makes'
    )
  }
  return (
    `the binary for ${wanted.join(' or ')} is not installed; it is in the package ${wanted.map(packageOf).join(' or ')}, ` +
    'an optional dependency of mmap-ndarray. Run npm install again on this platform, without --omit=optional; ' +
    'where a lock file of another platform or node_modules copied from one is in the way, delete it before'
  )
}

/** As the loader tells it: by what `ldd` is. */
function libc(): Host['libc'] {
  try {
    return readFileSync('/usr/bin/ldd', 'utf8').includes('musl') ? 'musl' : 'gnu'
  } catch {
    // A system without one: whichever is installed is left to the loader.
    return undefined
  }
}

function isInstalled(name: string): boolean {
  // The binary of a build from source lies beside the loader.
  if (existsSync(new URL(`../mmap-ndarray.${name}.node`, import.meta.url))) return true
  try {
    createRequire(import.meta.url).resolve(packageOf(name))
    return true
  } catch {
    // Not found, which is the question; whatever else is wrong with it, the loader reports.
    return false
  }
}

// A binary that the environment names is for the loader to judge.
if (!process.env.NAPI_RS_NATIVE_LIBRARY_PATH) {
  const { platform, arch } = process
  const host: Host = { platform, arch, libc: platform === 'linux' ? libc() : undefined }
  const message = missingBinary(host, isInstalled)
  if (message !== undefined) throw new MmapError(message, { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' })
}
