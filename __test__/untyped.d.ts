/** Packages of the scijs family come without types. */
declare module 'cwise'
declare module 'ndarray-fft'
declare module 'ndarray-gemm'
declare module 'ndarray-ops'
declare module 'ndarray-unpack'
