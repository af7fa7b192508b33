/** chunks: a view in parts along axis 0, read ahead of whoever goes through them. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type ChunkOptions, createSync, type MappedView, type MmapArray, openSync } from '../src/index.js'
import { folder, mappings } from './helpers.js'

const make = (t: ExecutionContext, shape: number[], name = 'a.npy') => {
  const path = join(folder(t), name)
  const size = shape.reduce((product, n) => product * n, 1)
  createSync(path, { data: Float64Array.from({ length: size }, (_, i) => i), shape }).close()
  return path
}

/** The first row of each chunk, and the row after its last, of an array whose rows are their numbers. */
async function boundsOf(view: MappedView, options?: ChunkOptions): Promise<[number, number][]> {
  const bounds: [number, number][] = []
  for await (const chunk of view.chunks(options)) {
    const rows = chunk.slice(null, ...(chunk.ndim > 1 ? [0] : [])).toArray() as number[]
    bounds.push([rows[0] as number, (rows.at(-1) as number) + 1])
    for (const [i, row] of rows.entries()) if (row !== (rows[0] as number) + i) throw new Error('rows')
  }
  return bounds
}

const cases: [length: number, options: ChunkOptions, bounds: [number, number][]][] = [
  [0, { rows: 3 }, []],
  [1, { rows: 3 }, [[0, 1]]],
  [3, { rows: 3 }, [[0, 3]]],
  [
    7,
    { rows: 3 },
    [
      [0, 3],
      [3, 6],
      [6, 7],
    ],
  ],
  [
    6,
    { rows: 3 },
    [
      [0, 3],
      [3, 6],
    ],
  ],
  [
    3,
    { rows: 1 },
    [
      [0, 1],
      [1, 2],
      [2, 3],
    ],
  ],
  [5, { rows: Number.MAX_SAFE_INTEGER }, [[0, 5]]],
  [5, {}, [[0, 5]]],
  [5, { rows: undefined, overlap: undefined }, [[0, 5]]],
  [
    7,
    { rows: 3, overlap: 1 },
    [
      [0, 3],
      [2, 5],
      [4, 7],
    ],
  ],
  [
    8,
    { rows: 3, overlap: 1 },
    [
      [0, 3],
      [2, 5],
      [4, 7],
      [6, 8],
    ],
  ],
  [
    6,
    { rows: 4, overlap: 3 },
    [
      [0, 4],
      [1, 5],
      [2, 6],
    ],
  ],
  [2, { rows: 4, overlap: 3 }, [[0, 2]]],
  [3, { overlap: 2 }, [[0, 3]]],
]

test('where chunks begin and end', async (t) => {
  for (const [length, options, expected] of cases) {
    const a = openSync(make(t, [length]))
    t.deepEqual(await boundsOf(a, options), expected, `${length} ${JSON.stringify(options)}`)
    a.close()
  }
})

test('every way to cut every view gives all of its elements', async (t) => {
  const a = openSync(make(t, [9, 4, 2]))
  const views = [
    a,
    a.slice('::-1'),
    a.slice('1::2', '::-1'),
    a.T,
    a.transpose(1, 0, 2),
    a.slice('2', '3:1:-1'),
    a.pick(null, 1),
    a.slice('3:3'),
    a.slice(null, '0:0'),
    a.slice('4', '2').broadcastTo([5, 2]),
  ]
  for (const view of views) {
    const expected = view.toArray() as unknown[]
    for (const rows of [1, 2, 3, 5, 9, 20]) {
      for (const overlap of [0, 1, 2].filter((overlap) => overlap < rows)) {
        const seen: unknown[] = []
        let repeated = 0
        for await (const chunk of view.chunks({ rows, overlap })) {
          const part = chunk.toArray() as unknown[]
          t.true(part.length <= rows && part.length > repeated)
          t.deepEqual(part.slice(0, repeated), seen.slice(seen.length - repeated))
          seen.push(...part.slice(repeated))
          repeated = overlap
        }
        t.deepEqual(seen, expected, `${view.shape} ${rows} ${overlap}`)
      }
    }
  }
  a.close()
})

test('without rows a chunk is about a MiB', async (t) => {
  const a = createSync(join(folder(t), 'a.npy'), { shape: [1000, 1024], dtype: 'float64' })
  const sizes = async (view: MappedView, options?: ChunkOptions) => {
    const sizes: (number | undefined)[] = []
    for await (const chunk of view.chunks(options)) sizes.push(chunk.shape[0])
    return sizes
  }
  t.deepEqual([...new Set(await sizes(a))], [128, 104])
  t.deepEqual([...new Set(await sizes(a.T))], [131, 1024 - 7 * 131])
  t.deepEqual(await sizes(a.slice('::500', '0')), [2])
  t.deepEqual(await sizes(a.reshape([2, 512000])), [1, 1])
  // No less than twice the overlap, so that half of each chunk is new.
  t.deepEqual(await sizes(a, { overlap: 400 }), [800, 600])
  a.close()
})

test('a chunk is a view of the file: writable as the array is', async (t) => {
  const path = make(t, [10, 2])
  const a = openSync<'float64'>(path, { mode: 'r+' })
  for await (const chunk of a.chunks({ rows: 4 })) chunk.fill(chunk.shape[0] as number)
  t.deepEqual(a.slice(null, 1).toArray(), [4, 4, 4, 4, 4, 4, 4, 4, 2, 2])
  for await (const chunk of a.view().chunks({ rows: 4 })) {
    t.true(chunk.flags.READONLY)
    t.throws(() => chunk.fill(0), { code: 'ERR_READ_ONLY' })
  }
  a.close()
})

test('wrong options, at once', (t) => {
  const a = openSync(make(t, [10, 2]))
  const wrong: [options: unknown, code: string][] = [
    [{ rows: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ rows: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ rows: 1.5 }, 'ERR_OUT_OF_RANGE'],
    [{ rows: Number.NaN }, 'ERR_OUT_OF_RANGE'],
    [{ rows: '3' }, 'ERR_INVALID_ARG_TYPE'],
    [{ rows: 3n }, 'ERR_INVALID_ARG_TYPE'],
    [{ rows: 3, overlap: 3 }, 'ERR_OUT_OF_RANGE'],
    [{ rows: 3, overlap: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ rows: 3, overlap: 0.5 }, 'ERR_OUT_OF_RANGE'],
    [{ overlap: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ overlap: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ row: 3 }, 'ERR_INVALID_ARG_VALUE'],
    [3, 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [options, code] of wrong) {
    t.throws(
      () => a.chunks(options as never),
      { code },
      JSON.stringify(options, (_, v) => String(v)),
    )
  }
  t.throws(() => a.pick(1, 1).chunks(), { code: 'ERR_INVALID_ARG_TYPE', message: /one axis or more/ })
  a.close()
  t.throws(() => a.chunks(), { code: 'ERR_CLOSED' })
})

/** What the system says of the mappings of a file. */
const flagsOf = (path: string) => {
  const parts = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  return parts
    .filter((part) => part.includes(path))
    .map((part) => /^VmFlags:.*$/m.exec(part)?.[0])
    .join('')
}

/** Whether the system has been told nothing special of the file. */
const isNormal = (path: string) => process.platform !== 'linux' || !/ (sr|rr)\b/.test(flagsOf(path))

test('reading on is told to the system, and taken back however the loop ends', async (t) => {
  const path = make(t, [1000, 512])
  const a = openSync(path)
  const ends: [name: string, end: (chunks: ReturnType<typeof a.chunks>) => Promise<unknown>][] = [
    ['to the end', (chunks) => all(chunks)],
    [
      'break',
      async (chunks) => {
        for await (const _ of chunks) break
      },
    ],
    ['throw', (chunks) => t.throwsAsync(failing(chunks), { message: 'mine' })],
    ['return', async (chunks) => [await chunks.next(), await chunks.return(undefined)]],
    [
      'thrown into',
      async (chunks) => [await chunks.next(), await t.throwsAsync(chunks.throw(new Error('mine')))],
    ],
  ]
  t.true(isNormal(path))
  for (const [name, end] of ends) {
    const chunks = a.chunks({ rows: 100 })
    t.true(isNormal(path), `before ${name}`)
    await chunks.next()
    if (process.platform === 'linux') t.false(isNormal(path), `during ${name}`)
    await end(chunks)
    t.true(isNormal(path), name)
    t.deepEqual(await chunks.next(), { done: true, value: undefined })
  }
  if (process.platform === 'linux') t.is(mappings(path), 1)
  a.close()
})

async function failing(chunks: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of chunks) throw new Error('mine')
}

async function all<T>(chunks: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const chunk of chunks) list.push(chunk)
  return list
}

test('many at once, and next called without waiting', async (t) => {
  const a = openSync(make(t, [100, 3]))
  const lists = await Promise.all([1, 7, 100].map((rows) => all(a.chunks({ rows }))))
  t.deepEqual(
    lists.map((list) => list.length),
    [100, 15, 1],
  )
  const chunks = a.chunks({ rows: 40 })
  const steps = await Promise.all([chunks.next(), chunks.next(), chunks.next(), chunks.next()])
  t.deepEqual(
    steps.map(({ value }) => value?.shape[0]),
    [40, 40, 20, undefined],
  )
  a.close()
})

test('closed meanwhile: ERR_CLOSED at the next chunk', async (t) => {
  for (const rows of [10, 50]) {
    const a = openSync(make(t, [100, 3]))
    const chunks = a.chunks({ rows })
    await chunks.next()
    const waiting = chunks.next()
    a.close()
    const ends = await Promise.allSettled([waiting, chunks.next()])
    t.true(
      ends.some(
        ({ status, reason }: { status: string; reason?: { code?: string } }) =>
          status === 'rejected' && reason?.code === 'ERR_CLOSED',
      ),
    )
    t.deepEqual(await chunks.next(), { done: true, value: undefined })
  }
  const a = openSync(make(t, [100, 3]))
  const closing = async () => {
    for await (const _ of a.chunks({ rows: 100 })) a.close()
  }
  await t.throwsAsync(closing(), { code: 'ERR_CLOSED' })
})

/** Windows shortens no file that is mapped, and replaces none. */
const posix = process.platform === 'win32' ? test.skip : test

posix('pages that vanish: ERR_MAPPING_LOST, in the last chunk too', async (t) => {
  const cases: [name: string, rows: number, at: number][] = [
    ['before the next is read', 128, 0],
    ['in the last', 1024, 0],
  ]
  for (const [name, rows, at] of cases) {
    const path = make(t, [1024, 1024])
    const a = openSync<'float64'>(path)
    a.advise('dontneed')
    const seen: number[] = []
    const losing = async () => {
      for await (const chunk of a.chunks({ rows })) {
        if (seen.length === at) truncateSync(path, 4096)
        seen.push(chunk.get((chunk.shape[0] as number) - 1, 0))
      }
    }
    const error = await t.throwsAsync(losing(), { code: 'ERR_MAPPING_LOST' }, name)
    t.is((error as unknown as { reason: string }).reason, 'truncated')
    t.throws(() => a.flushSync(), { code: 'ERR_MAPPING_LOST' })
    a.close()
  }
})

test('the next chunk is in memory before it is asked for', async (t) => {
  const path = join(folder(t), 'a.raw')
  writeFileSync(path, '')
  truncateSync(path, 2 ** 26)
  // Holes: nothing of it is in memory.
  const a = openSync(path, { format: 'raw', dtype: 'float64' })
  t.is(a.residencySync(), 0)
  const rows = 2 ** 17
  let n = 0
  for await (const chunk of a.chunks({ rows })) {
    t.is(chunk.residencySync(), 1)
    n++
    const next = a.slice(`${n * rows}:${(n + 1) * rows}`)
    while (next.residencySync() < 1) await new Promise((resolve) => setImmediate(resolve))
    // The system may read on by itself, but the file is not read at once.
    if (n === 1) t.true(a.residencySync() < 0.9, `${a.residencySync()}`)
  }
  t.is(n, 64)
  a.close()
})

test('elements that no typed array can show', async (t) => {
  const path = join(folder(t), 'a.raw')
  writeFileSync(
    path,
    Uint8Array.from({ length: 41 }, (_, i) => i),
  )
  const a = openSync(path, { format: 'raw', dtype: '>u2', offset: 1 }) as MmapArray<'uint16'>
  const seen: number[] = []
  for await (const chunk of a.chunks({ rows: 7 })) seen.push(...(chunk.toArray() as number[]))
  t.deepEqual(seen, a.toArray() as number[])
  a.close()
})
