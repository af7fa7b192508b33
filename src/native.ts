/**
 * The only import of the binding: everything else in `src` comes through here.
 *
 * The native side makes its errors with our class, so that a refusal of the OS and one of TypeScript are one kind of
 * thing, and nothing has to be caught and wrapped on the way.
 */
import { registerErrorClass } from '../index.js'
import { MmapError } from './errors.js'

export {
  create as createNative,
  createSync as createNativeSync,
  type NativeArray,
  type NativeCreateOptions,
  type NativeFacts,
  type NativeOpenOptions,
  type NativeWriter,
  open as openNative,
  openSync as openNativeSync,
} from '../index.js'

registerErrorClass(MmapError as unknown as Parameters<typeof registerErrorClass>[0])
