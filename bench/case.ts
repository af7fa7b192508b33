/** What a case of the benchmark is. Adding one is one entry in a table of bench/cases. */

/** What a request says beside the file: texts and numbers, as the contender's task wants them. */
export type Args = Readonly<Record<string, string | number>>

/** A file that contenders share, made when the first case needs it and removed after the last one. */
export interface File {
  readonly dtype: 'float32' | 'float64' | 'int32' | 'uint8'
  readonly rows: number
  readonly columns: number
  readonly order: 'C' | 'F'
  /** A hole, which reads as zeros and takes no room on the disk. */
  readonly zeros?: boolean
  /** The seed reads a format of its own: the same elements are written in it, too. */
  readonly twin?: boolean
}

/** One who does a task. */
export interface Contender {
  readonly name: string
  /** The process that does it: see bench/peers.ts. */
  readonly peer: string
  readonly args?: Args
  /** How far its answer may be from ours, relative to either; default 1e-11. */
  readonly near?: number
  /** Its answer is compared, and its time is of no interest. */
  readonly untimed?: boolean
  /** It is known to fail or to be wrong: which is printed, and stops nothing. */
  readonly mayFail?: boolean
}

export interface Case {
  readonly name: string
  readonly file: string
  readonly op: string
  readonly args?: Args
  /** The first is the one that is judged; the others' answers are compared with its. */
  readonly contenders: readonly Contender[]
  /** How many times as fast as another contender it should be; `floor` is the better of the floor's two. */
  readonly targets?: Readonly<Record<string, number>>
  /** What its value should stay under. */
  readonly limit?: number
  /** What values are: nanoseconds unless said. */
  readonly unit?: 'bytes'
  /** Before each sample the file is put out of memory, and contenders begin anew. */
  readonly cold?: boolean
  /** One core has something else to do meanwhile. */
  readonly busy?: boolean
}

/** A heading, and the cases under it. */
export interface Part {
  readonly title: string
  readonly about: string
  readonly cases: readonly Case[]
}

/** How large things are. */
export interface Sizes {
  /** Bytes of most files. */
  readonly size: number
  /** Rows of the matrix that is searched. */
  readonly rows: number
  readonly cores: number
}

const own = (name: string, peer: string) => (more?: Partial<Contender>) => ({ name, peer, ...more })

export const ours = own('mmap-ndarray', 'ours')
export const single = () => ours({ name: 'mmap-ndarray, 1 thread', args: { threads: 1 } })
export const numpy = own('numpy', 'numpy')
export const seed = own('seed', 'seed')
export const readFile = own('fs.readFileSync', 'readFile')
export const readSync = own('fs.readSync', 'readInParts')
export const mmapIo = own('@riaskov/mmap-io', 'mmapIo')
export const floors = ({ cores }: Sizes): Contender[] =>
  [...new Set([1, cores])].map((threads) => ({
    name: `floor, ${threads} thread${threads > 1 ? 's' : ''}`,
    peer: 'floor',
    args: { threads },
  }))
export const floor = own('floor', 'floor')
