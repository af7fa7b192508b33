/**
 * The only import of the binding: everything else in `src` comes through here.
 *
 * The native side makes its errors with our function, so that a refusal of the OS and one of TypeScript are one kind of
 * thing, and nothing has to be caught and wrapped on the way.
 */
import './platform.js'
import { disableGuard, disableMapping, registerErrorMaker } from '../index.js'
import { makeError } from './errors.js'

export {
  attach as attachNative,
  attachSync as attachNativeSync,
  create as createNative,
  createSync as createNativeSync,
  list as listNative,
  listSync as listNativeSync,
  type NativeArray,
  type NativeCreateOptions,
  type NativeFacts,
  type NativeGrowth,
  type NativeHandle,
  NativeJob,
  type NativeOpenOptions,
  type NativeOperand,
  type NativeReduced,
  type NativeReduceOptions,
  type NativeSearchOptions,
  type NativeVerified,
  type NativeWriter,
  open as openNative,
  openSync as openNativeSync,
  tracking,
  writeBack,
} from '../index.js'

registerErrorMaker(makeError)
// For a process that handles SIGBUS itself. An environment variable, because it holds for the process and not for a file.
if (process.env.MMAP_NDARRAY_GUARD === 'off') disableGuard()
// For file systems whose maps are not to be trusted, and for tests: every file is read and written.
if (process.env.MMAP_NDARRAY_MMAP === 'off') disableMapping()
