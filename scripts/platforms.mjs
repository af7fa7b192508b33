// The platforms that have a package: how their binary is built from any system, and what it may be like.
//
// The names are napi's, the folders of npm/. On Windows the releases are built by the linker that the name says; from
// here they are built with LLVM's, for Node-API is plain C and needs nothing of Microsoft's runtime.

/**
 * No binary is larger, in bytes: what a slip in the release profile or in a dependency would show first. Those of x64 have each
 * kernel twice.
 */
export const LARGEST = 4.5 * 2 ** 20

/** The oldest glibc that the binaries run with: that of every distribution Node.js 20 runs on. */
export const GLIBC = '2.17'

const musl = { env: { RUSTFLAGS: '-C target-feature=-crt-static' }, libraries: /^libc\.so$/ }
const gnu = {
  suffix: `.${GLIBC}`,
  libraries: /^(lib(c|m|dl|pthread|rt|gcc_s)\.so\.\d|ld-linux-[\w-]+\.so\.\d)$/,
}
const macos = { libraries: /^\/usr\/lib\/lib(System\.B|iconv\.2|charset\.1)\.dylib$/ }
const windows = {
  libraries: /^(kernel32|ntdll|bcryptprimitives|psapi|advapi32|api-ms-win-(core|crt)-[\w-]+)\.dll$/i,
}

export const PLATFORMS = {
  'linux-x64-gnu': { target: 'x86_64-unknown-linux-gnu', ...gnu },
  'linux-arm64-gnu': { target: 'aarch64-unknown-linux-gnu', ...gnu },
  'linux-x64-musl': { target: 'x86_64-unknown-linux-musl', ...musl },
  'linux-arm64-musl': { target: 'aarch64-unknown-linux-musl', ...musl },
  'win32-x64-msvc': { target: 'x86_64-pc-windows-gnullvm', ...windows },
  'win32-arm64-msvc': { target: 'aarch64-pc-windows-gnullvm', ...windows },
  'darwin-x64': { target: 'x86_64-apple-darwin', ...macos },
  'darwin-arm64': { target: 'aarch64-apple-darwin', ...macos },
}

/** The oldest macOS: what Rust's own binaries for arm64 need. */
export const MACOS = '11.0'
