/** What is said and asked about the pages of a view: advise, prefetch, residency, and flush of a part. */
import { readFileSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { type Advice, createSync, type MmapArray, type Mode, openSync } from '../src/index.js'
import { elementsOf, folder, isPending, mappings } from './helpers.js'

const ROWS = 1000
const COLUMNS = 1024
const WORDS: Advice[] = ['sequential', 'random', 'willneed', 'dontneed', 'normal']
const MODES: Mode[] = ['r', 'r+', 'c']

/** 8 MB of ones on the disk, two pages a row. */
const make = (t: ExecutionContext) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [ROWS, COLUMNS], dtype: 'float64', fill: 1 }).close()
  return path
}

/** Pages leave memory on Linux, where the files are on a disk. */
const TMPFS = 0x01021994
const dropsPages = (path: string) => process.platform === 'linux' && statfsSync(path).type !== TMPFS

/** Views of every kind, by name. */
const views: Record<string, (a: MmapArray) => ReturnType<MmapArray['slice']>> = {
  'the array': (a) => a,
  'a row': (a) => a.pick(7),
  'a column': (a) => a.pick(null, 1000),
  'every third row, backwards': (a) => a.slice('::-3'),
  'a block': (a) => a.slice('10:20', '100:200'),
  transposed: (a) => a.T,
  'repeated without end': (a) => a.slice('3', '5').broadcastTo([1e9, 1e3]),
  'an element': (a) => a.pick(3, 4),
  'no elements': (a) => a.slice('5:5'),
}

for (const [name, of] of Object.entries(views)) {
  test(`every method in every mode: ${name}`, async (t) => {
    const path = make(t)
    for (const mode of MODES) {
      const a = openSync(path, { mode })
      const view = of(a)
      for (const word of WORDS) t.is(view.advise(word), undefined)
      t.is(await view.prefetch(), undefined)
      t.is(view.prefetchSync(), undefined)
      t.is(await view.residency(), 1)
      t.is(view.residencySync(), 1)
      t.is(await view.flush(), undefined)
      t.is(view.flushSync(), undefined)
      a.close()
    }
  })
}

for (const mode of MODES) {
  test(`'${mode}': no advice loses a store`, (t) => {
    const path = make(t)
    const a = openSync<'float64'>(path, { mode })
    const data = elementsOf(a)
    const places = [0, 512, 1023, 1024 * 999 + 5, data.length - 1]
    for (const i of places) data.set(i, i + 0.5)
    if (mode !== 'r') a.set(3, 3, 33)
    for (const word of [...WORDS, ...WORDS]) {
      for (const of of Object.values(views)) of(a).advise(word)
      for (const i of places) t.is(data.get(i), i + 0.5, word)
      if (mode !== 'r') t.is(a.get(3, 3), 33, word)
    }
    t.is(data.get(1), 1)
    a.close()
    const b = openSync<'float64'>(path)
    t.is(b.get(3, 3), mode === 'r+' ? 33 : 1)
    t.is(b.get(999, 5), mode === 'r+' ? 1024 * 999 + 5.5 : 1)
    b.close()
  })

  test(`'${mode}': pages go and come back`, async (t) => {
    const path = make(t)
    const a = openSync<'float64'>(path, { mode })
    a.prefetchSync()
    t.is(a.residencySync(), 1)
    a.slice('500:').advise('dontneed')
    // The page on the border is of both halves.
    const [kept, rest] = [a.slice(':499'), a.slice('501:-1')]
    if (dropsPages(path)) {
      // The system may be at work on a few of them.
      t.true((await rest.residency()) < 0.1)
      t.is(await kept.residency(), 1)
      t.true(Math.abs((await a.residency()) - 0.5) < 0.05)
      a.advise('random') // otherwise the system reads on
      await a.slice('700:900').prefetch()
      t.true(Math.abs((await rest.residency()) - 0.4) < 0.1)
    } else t.log('skipped: pages stay in memory here')
    await a.prefetch()
    t.is(await a.residency(), 1)
    for (let i = 0; i < ROWS; i += 99) t.is(a.get(i, 1000), 1)
    a.close()
  })
}

test('a column reads in its pages, and not those between', async (t) => {
  const path = make(t)
  const a = openSync(path)
  if (!dropsPages(path)) return t.pass('skipped: pages stay in memory here')
  a.advise('dontneed')
  a.advise('random')
  // 50 of 2001 pages.
  await a.slice('::20', 1000).prefetch()
  t.is(await a.slice('::20', 1000).residency(), 1)
  t.true((await a.residency()) < 0.1, `${await a.residency()}`)
  a.close()
})

test('the words are checked', (t) => {
  const a = openSync(make(t))
  const cases: [word: unknown, code: string][] = [
    ['Sequential', 'ERR_INVALID_ARG_VALUE'],
    ['', 'ERR_INVALID_ARG_VALUE'],
    ['constructor', 'ERR_INVALID_ARG_VALUE'],
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [3, 'ERR_INVALID_ARG_TYPE'],
    [['normal'], 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [word, code] of cases) t.throws(() => a.advise(word as never), { code, message: /advice/ })
  a.close()
})

test('the options of prefetch are checked', async (t) => {
  const a = openSync(make(t))
  const cases: [options: unknown, code: string][] = [
    [3, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
    [{ signal: {} }, 'ERR_INVALID_ARG_TYPE'],
    [{ onProgress: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ threads: 1 }, 'ERR_INVALID_ARG_VALUE'],
  ]
  for (const [options, code] of cases) await t.throwsAsync(a.prefetch(options as never), { code })
  t.is(await a.prefetch({ signal: undefined, onProgress: undefined }), undefined)
  a.close()
})

test('the promises need the event loop', async (t) => {
  const a = openSync(make(t))
  for (const begin of [() => a.prefetch(), () => a.residency()]) {
    const work = begin()
    t.true(await isPending(work))
    await work
  }
  a.close()
})

test('progress: bytes of pages, upwards, to the end', async (t) => {
  const a = openSync(make(t))
  const told: [done: number, total: number][] = []
  await a.slice('::4', '0').prefetch({ onProgress: (...args) => told.push(args) })
  t.deepEqual(
    [...told].sort(([x], [y]) => x - y),
    told,
  )
  const [done, total = 0] = told.at(-1) ?? []
  t.is(done, total)
  t.true(total >= 4096 * 250 && total % 4096 === 0, `${total}`)
  await t.throwsAsync(
    a.prefetch({
      onProgress: () => {
        throw new Error('mine')
      },
    }),
    { message: 'mine' },
  )
  a.close()
})

/** A GiB of holes, none of which is in memory. */
const holes = (t: ExecutionContext) => {
  const path = join(folder(t), 'a.raw')
  writeFileSync(path, '')
  truncateSync(path, 2 ** 30)
  return openSync(path, { format: 'raw', dtype: 'float64' })
}

test('an abort stops it', async (t) => {
  const a = holes(t)
  const reason = new Error('enough')
  const before = t.throwsAsync(a.prefetch({ signal: AbortSignal.abort(reason) }), { code: 'ABORT_ERR' })
  t.is((await before)?.cause, reason)
  const controller = new AbortController()
  const work = a.prefetch({ signal: controller.signal })
  // At once: the first that is told of progress may be told of the end.
  controller.abort(reason)
  const error = await t.throwsAsync(work, { code: 'ABORT_ERR', name: 'AbortError' })
  t.is(error?.cause, reason)
  t.true((await a.residency()) < 1)
  a.close()
})

test('close() stops it', async (t) => {
  const a = holes(t)
  const works = [a.prefetch(), a.prefetch()]
  a.close()
  await Promise.all(works.map((work) => t.throwsAsync(work, { code: 'ERR_CLOSED' })))
  for (const work of [a.prefetch(), a.residency(), a.flush()]) {
    await t.throwsAsync(work, { code: 'ERR_CLOSED', message: /closed; open the file again/ })
  }
})

/** Windows shortens no file that is mapped, and replaces none. */
const posix = process.platform === 'win32' ? test.skip : test

posix('pages that are gone: ERR_MAPPING_LOST', async (t) => {
  for (const mode of MODES) {
    const path = make(t)
    const a = openSync(path, { mode })
    a.advise('dontneed')
    truncateSync(path, 8 * COLUMNS * 500)
    const error = await t.throwsAsync(a.prefetch(), { code: 'ERR_MAPPING_LOST' })
    t.is((error as unknown as { reason: string }).reason, 'truncated')
    t.true(a.lost)
    t.throws(() => a.prefetchSync(), { code: 'ERR_MAPPING_LOST' })
    for (const word of WORDS) t.notThrows(() => a.advise(word))
    t.notThrows(() => a.residencySync())
    a.close()
  }
})

test('a pattern of a column splits the mapping into few parts, and normal joins them', (t) => {
  const path = make(t)
  const a = openSync(path)
  const column = a.slice('::2', 1000)
  if (process.platform !== 'linux') return t.notThrows(() => column.advise('random'))
  t.is(mappings(path), 1)
  for (const word of ['random', 'sequential'] as const) {
    column.advise(word)
    t.true(mappings(path) > 1 && mappings(path) <= 130, `${mappings(path)}`)
  }
  column.advise('normal')
  t.is(mappings(path), 1)
  a.close()
})

/** What the system was told of the pages of a file: 'rr' is random, 'sr' sequential. */
function told(path: string): string[] {
  const parts = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const flags = parts.filter((part) => part.includes(path)).map((part) => /VmFlags: (.*)/.exec(part)?.[1])
  return ['rr', 'sr'].filter((flag) => flags.some((words) => words?.split(' ').includes(flag)))
}

const onLinux = process.platform === 'linux' ? test : test.skip

const ROWS_APART = 2 ** 17

onLinux('take: rows here and there are read without what lies between, until it ends', async (t) => {
  const path = join(folder(t), 'rows.npy')
  createSync(path, { shape: [ROWS_APART, 1024], dtype: 'float32' }, { reserve: false }).close()
  const a = openSync(path)
  const rows = Int32Array.from({ length: 20_000 }, (_, i) => (i * 7919) % ROWS_APART)
  const during = async (work: Promise<unknown>) => {
    const seen = new Set<string>()
    while (await isPending(work)) {
      for (const flag of told(path)) seen.add(flag)
      await turn()
    }
    return [...seen]
  }
  // Work may end between two looks: then once more, until one of them meets it.
  const met = async (start: () => Promise<unknown>) => {
    let flags: string[] = []
    while (flags.length === 0) flags = await during(start())
    return flags
  }
  t.deepEqual(await met(() => a.take(rows)), ['rr'])
  t.deepEqual(told(path), [])
  // Two at once: the last one takes it back.
  const two = () => Promise.all([a.take(rows), a.slice('1000:').take(rows.map((row) => row >> 1))])
  t.deepEqual(await met(two), ['rr'])
  t.deepEqual(told(path), [])
  // Rows one behind the other are better read ahead, and what a program says itself stays.
  t.deepEqual(await during(a.take(rows.map((_, i) => i))), [])
  a.advise('sequential')
  t.deepEqual(await met(() => a.take(rows)), ['sr'])
  t.deepEqual(told(path), ['sr'])
  a.advise('normal')
  t.deepEqual(told(path), [])
  // One that is stopped takes it back as well, but its threads may only begin when the caller knows already: it comes last.
  await t.throwsAsync(a.take(rows, { signal: AbortSignal.timeout(1) }), { code: 'ABORT_ERR' })
  while (told(path).length > 0) await turn()
  a.close()
})

/** Bytes of the mapping that were stored to and are not on the disk. */
function dirty(path: string): number {
  let [inside, bytes] = [false, 0]
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) inside = line.includes(path)
    const found = inside && /^(?:Shared|Private)_Dirty:\s+(\d+) kB/.exec(line)
    if (found) bytes += 1024 * Number(found[1])
  }
  return bytes
}

test('flush of a part brings its pages to the disk, and not the rest', async (t) => {
  const path = make(t)
  if (!dropsPages(path)) return t.pass('skipped: nothing is ever on a disk here')
  const a = openSync<'float64'>(path, { mode: 'r+' })
  const store = () => {
    a.fill(2)
    a.pick(0).fill(3)
  }
  const parts: [name: string, part: ReturnType<typeof a.slice>, pages: number][] = [
    ['a row', a.pick(500), 3],
    ['ten columns of two rows', a.slice('::500', '10:20'), 2],
    ['no elements', a.slice('3:3'), 0],
    ['all', a, 2001],
  ]
  for (const [name, part, pages] of parts) {
    store()
    const before = dirty(path)
    await part.flush()
    // The system may have written some by itself meanwhile; it does not write more than it was given.
    t.true(before - dirty(path) >= Math.min(before, 4096 * pages), name)
    // It may write more than a page for a page, but not the file.
    if (pages < 100) t.true(dirty(path) > 4096 * 200, `${name}: ${dirty(path)} bytes are left`)
  }
  t.is(dirty(path), 0)
  a.close()
})
