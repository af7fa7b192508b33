/** Packages of the scijs family come without types. */
declare module 'cwise'
declare module 'ndarray-fft'
declare module 'ndarray-gemm'
declare module 'ndarray-ops'
declare module 'ndarray-unpack'

/** The scripts of the project, as far as specs look into them. */
declare module '*/platforms.mjs' {
  export const PLATFORMS: Record<string, { target: string }>
  export const LARGEST: number
}
