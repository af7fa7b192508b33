/**
 * Real file systems that map no files, or fail: a folder that `tools/fuse` shows once more through FUSE. With direct I/O Linux refuses
 * shared mappings there and allows private ones, so that files in mode 'r+' are copied and others are mapped.
 *
 * Past 400 lines: what works and what fails, on both kinds of file system.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { attachSync, create, createSync, isMmapError, type MmapArray, open, openSync } from '../src/index.js'
import { type Code, descriptors, folder, listOf, mappings, refusal, root, run, tool } from './helpers.js'

const program = tool('fuse')
const kinds = ['direct', 'cached'] as const
const modes = ['r', 'r+', 'c'] as const
type Kind = (typeof kinds)[number]

interface Mounted {
  /** A path on the file system. */
  at(name: string): string
  /** The same file, where it really is. */
  behind(name: string): string
  /** Has calls fail that get past a byte of a file: `read 4096`. Nothing ends it. */
  fail(name: string, what?: string): void
  /** Takes the file system away; what is open there fails from then on. */
  end(): Promise<unknown>
}

/** Two folders, one to be shown in the other. */
function folders(t: ExecutionContext): [behind: string, at: string] {
  const dir = folder(t)
  const both: [string, string] = [join(dir, 'behind'), join(dir, 'at')]
  for (const path of both) mkdirSync(path)
  return both
}

/** A file system that is gone when the test ends, however it does: the program unmounts it when nobody holds its input any more. */
async function mount(t: ExecutionContext, kind: Kind): Promise<Mounted> {
  const [behind, at] = folders(t)
  // Of a group of its own: what ends this process from a terminal leaves it the time to unmount.
  const made = spawn(program as string, [kind, behind, at], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const ended = once(made, 'exit')
  const end = () => {
    made.stdin.end()
    return ended
  }
  t.teardown(end)
  await Promise.race([once(made.stdout, 'data'), ended])
  if (made.exitCode !== null) throw new Error(`not mounted: ${made.exitCode}`)
  return {
    at: (name) => join(at, name),
    behind: (name) => join(behind, name),
    fail: (name, what) => {
      if (what === undefined) rmSync(join(behind, `${name}.fails`))
      else writeFileSync(join(behind, `${name}.fails`), what)
    },
    end,
  }
}

/** Why nothing can be mounted here, which is only known by trying. */
function obstacle(): string {
  if (process.platform !== 'linux') return 'not Linux'
  if (program === undefined) return 'tools/fuse is not built'
  const dir = mkdtempSync(join(tmpdir(), 'mmap-ndarray-test-'))
  const { status, stderr } = spawnSync(program, ['cached', root, dir], { input: '' })
  rmdirSync(dir)
  return status === 0 ? '' : `nothing can be mounted: ${stderr}`
}
const missing = obstacle()
if (missing) console.log(`skipped: files of a FUSE file system: ${missing}`)
const fuse = missing ? test.skip : test

/** Whether Linux lets a file be mapped there. */
const isMapped = (kind: Kind, mode: string) => kind === 'cached' || mode !== 'r+'

const backingOf = (kind: Kind, mode: string) => (isMapped(kind, mode) ? 'external' : 'window')

const byte = (path: string, at: number) => readFileSync(path).at(at)

/** The error of a call. */
function failure(call: () => unknown): Code & { syscall?: string; path?: string; reason?: string } {
  try {
    call()
    return {}
  } catch (error) {
    return error as Code
  }
}

const ROWS = 300
const COLUMNS = 1000
const LENGTH = ROWS * COLUMNS
/** 2.4 MB: the third block of what is read at a time is not whole. */
const values = Float64Array.from({ length: LENGTH }, (_, n) => (n * 7) % 97)

/** Writes `values` behind the file system's back, in one of the formats. */
function write(path: string): void {
  const source = { data: values, shape: [ROWS, COLUMNS] }
  if (!path.endsWith('safetensors')) {
    createSync(path, source).close()
    return
  }
  const header = { a: { dtype: 'F64', shape: source.shape, data_offsets: [0, 8 * LENGTH] } }
  const text = JSON.stringify(header).padEnd(80)
  const length = new BigUint64Array([BigInt(text.length)])
  writeFileSync(
    path,
    Buffer.concat([new Uint8Array(length.buffer), Buffer.from(text), Buffer.from(values.buffer)]),
  )
}

for (const kind of kinds) {
  for (const mode of modes) {
    for (const name of ['a.npy', 'a.mmap', 'a.safetensors']) {
      fuse(`${kind}: ${name}, mode ${mode}`, async (t) => {
        const { at, behind } = await mount(t, kind)
        write(behind(name))
        write(join(folder(t), name))
        const a = await open<'float64'>(at(name), { mode })
        const expected = openSync<'float64'>(behind(name))
        const mapped = isMapped(kind, mode)
        t.is(a.backing, backingOf(kind, mode))
        t.is(mappings(at(name)) > 0, mapped)
        const same = async (look: (a: MmapArray<'float64'>) => unknown) =>
          t.deepEqual(await look(a), await look(expected), String(look))
        await same((a) => [a.shape, a.get(0, 0), a.get(299, 999), a.sumSync()])
        await same(async (a) => [await a.sum(), (await a.mean({ axis: 0 })).get(7)])
        await same(async (a) => listOf((await a.take([299, 3])).toTypedArray()))
        await same((a) => listOf(a.slice('::99', '5:9').toTypedArray({ copy: true })))
        if (mapped) t.is(a.pick(299).toTypedArray()[4], values[299 * COLUMNS + 4] as number)
        if (mode !== 'r') {
          const last = () => byte(behind(name), -1)
          a.set(299, 999, -1)
          t.is(a.get(299, 999), -1)
          if (!(mapped && mode === 'r+')) t.is(last(), 0x40, 'not before the flush')
          if (mode === 'c') {
            t.deepEqual([a.dirty, a.diff()], [true, [[LENGTH - 1, LENGTH]]])
            a.discard()
            t.is(a.get(299, 999), values[LENGTH - 1] as number)
            a.set(299, 999, -1)
            await a.pick(299).commit()
            t.false(a.dirty)
          } else {
            await a.flush()
          }
          t.is(last(), 0xbf)
          a.set(299, 999, 2)
          if (mode === 'c') await a.commit({ atomic: true })
          a.close()
          // A mapping has the system write later; it does when somebody asks it for the file.
          const again = openSync(at(name), { mode: 'r+' })
          t.is(again.get(299, 999), 2)
          again.flushSync()
          again.close()
          t.is(last(), 0x40)
        }
        for (const array of [a, expected]) array.close()
        t.deepEqual([mappings(at(name)), descriptors(at(name))], [0, 0])
      })
    }
  }

  fuse(`${kind}: create, saveAs, append, resize, checksums, locks`, async (t) => {
    const { at, behind } = await mount(t, kind)
    const a = createSync(at('a.npy'), { shape: [2, 3], dtype: 'float64', fill: 7 })
    t.is(a.backing, backingOf(kind, 'r+'))
    const again = (sync: string) => (sync ? createSync(at('a.npy'), [1]) : create(at('a.npy'), [1]))
    t.is((await refusal(again)).code, 'EEXIST')
    await a.append([[1, 2, 3]], { durable: true })
    a.set(0, 0, 5)
    a.resizeSync(4)
    await a.resize(3)
    const rows = [
      [5, 7, 7],
      [7, 7, 7],
      [1, 2, 3],
    ]
    t.deepEqual(a.toArray(), rows)
    await a.checksum()
    t.is((await a.verify()).damaged, 0)
    await a.flush()
    const reader = openSync<'float64'>(behind('a.npy'))
    t.deepEqual(reader.toArray(), rows)
    await reader.saveAs(at('b.npy'))
    reader.T.saveAsSync(at('c.mmap'))
    reader.close()
    const b = openSync(at('b.npy'))
    const c = openSync(at('c.mmap'))
    t.true(b.equalsSync(a) && c.equalsSync(a.T))
    t.false(b.isStale())
    createSync(at('b.npy'), [1], { overwrite: true }).close()
    t.true(b.isStale())
    t.is(b.sumSync(), 46)
    for (const array of [a, b, c]) array.close()
    const held = openSync(at('a.npy'), { lock: 'exclusive' })
    t.is(failure(() => openSync(at('a.npy'), { lock: 'shared' })).code, 'ERR_LOCKED')
    held.close()
    t.deepEqual(readdirSync(behind('')).sort(), ['a.npy', 'a.npy.blocksums', 'b.npy', 'c.mmap'])
  })

  for (const mode of modes) {
    fuse(`${kind}: the file is made shorter, mode ${mode}`, async (t) => {
      const { at, behind } = await mount(t, kind)
      for (const [name, cut] of [
        ['a.npy', at('a.npy')],
        ['b.npy', behind('b.npy')],
      ] as const) {
        write(behind(name))
        const a = openSync(at(name), { mode })
        t.is(a.get(0, 1), 7)
        truncateSync(cut, 8192)
        t.deepEqual([a.get(299, 999), a.lost], [0, true], cut)
        for (const call of ['sum', 'flush'] as const) {
          const { code, reason } = (await refusal((sync) => a[`${call}${sync}` as 'sum']())) as Code & {
            reason?: string
          }
          t.deepEqual([code, reason], ['ERR_MAPPING_LOST', 'truncated'], call)
        }
        t.is(a.get(0, 1), 7, 'what is left')
        a.close()
      }
    })
  }
}

fuse('backings of a file that refuses shared mappings', async (t) => {
  const { at, behind } = await mount(t, 'direct')
  write(behind('a.npy'))
  for (const mode of modes) {
    const look = () => {
      const a = openSync(at('a.npy'), { mode, backing: 'wasm' })
      const found = [a.backing, a.sumSync(), a.get(299, 999)]
      a.close()
      return found
    }
    if (mode === 'r+') t.is(failure(look).code, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM')
    else t.deepEqual(look(), ['wasm', values.reduce((a, b) => a + b), values.at(-1)])
  }
})

for (const kind of kinds) {
  fuse(`${kind}: what others store through the file system shows where the file is mapped`, async (t) => {
    const { at, behind } = await mount(t, kind)
    write(behind('a.npy'))
    const readers = (['r', 'c'] as const).map((mode) => openSync(at('a.npy'), { mode }))
    for (const a of readers) t.is(a.get(0, 1), 7)
    const writer = openSync(at('a.npy'), { mode: 'r+' })
    writer.set(0, 1, -5)
    writer.flushSync()
    for (const a of readers) t.is(a.get(0, 1), -5)
    for (const a of [...readers, writer]) a.close()
  })
}

fuse(
  'a read fails under a file that is copied: an error of the call, which can be tried again',
  async (t) => {
    const { at, behind, fail } = await mount(t, 'direct')
    write(behind('a.npy'))
    const a = openSync(at('a.npy'), { mode: 'r+' })
    fail('a.npy', 'read 1100000')
    const expected = { code: 'EIO', syscall: 'read', path: at('a.npy') }
    for (const call of [
      () => a.get(299, 999),
      () => a.set(299, 999, 1),
      () => a.slice('200:').fill(1),
      () => a.copy(),
    ]) {
      t.like(failure(call), expected, String(call))
    }
    t.like(await refusal((sync) => a[`sum${sync}` as 'sum']()), expected)
    t.like(await refusal((sync) => a[`saveAs${sync}` as 'saveAs'](behind('b.npy'))), expected)
    t.like(await refusal((sync) => a[`checksum${sync}` as 'checksum']()), expected)
    t.deepEqual([a.get(0, 1), a.lost], [7, false], 'the rest')
    fail('a.npy')
    t.is(
      a.sumSync(),
      values.reduce((a, b) => a + b),
    )
    a.set(299, 999, 1)
    a.close()
    t.deepEqual(readdirSync(behind('')), ['a.npy'])
    t.deepEqual([byte(behind('a.npy'), -1), byte(behind('a.npy'), -2)], [0x3f, 0xf0])
  },
)

for (const kind of kinds) {
  for (const mode of modes.filter((mode) => isMapped(kind, mode))) {
    fuse(`${kind}: a read fails under a mapping, mode ${mode}`, async (t) => {
      const { at, behind, fail } = await mount(t, kind)
      write(behind('a.npy'))
      const source = `
        import { writeFileSync } from 'node:fs'
        import { openSync } from 'mmap-ndarray'
        const told = (work) => { try { work(); return 'nothing' } catch (error) { return error.code + ' ' + error.reason } }
        const a = openSync(process.argv[1], { mode: '${mode}' })
        writeFileSync(process.argv[2], 'read 1048576')
        let sum = 0
        for (let i = 200_000; i < a.length; i++) sum += a.data[i]
        console.log(sum, a.lost, a.get(0, 1), told(() => a.sumSync()), told(() => a.flushSync()), told(() => a.close()))`
      const attack = (guard: string) => {
        const args = ['--input-type=module', '--eval', source, '--', at('a.npy'), behind('a.npy.fails')]
        return run(process.execPath, args, { cwd: root, env: { ...process.env, MMAP_NDARRAY_GUARD: guard } })
      }
      t.is((await attack('off')).signal, 'SIGBUS')
      fail('a.npy')
      const { code, stdout, stderr } = await attack('on')
      const lost = 'ERR_MAPPING_LOST io'
      t.deepEqual([code, stderr, stdout.trim()], [0, '', `0 true 7 ${lost} ${lost} nothing`])
    })
  }

  fuse(`${kind}: a read that fails while opening`, async (t) => {
    const { at, behind, fail } = await mount(t, kind)
    write(behind('a.npy'))
    fail('a.npy', 'read 0')
    for (const mode of modes) {
      const error = await refusal((sync) => (sync ? openSync : open)(at('a.npy'), { mode }))
      t.like(error, { code: 'EIO', syscall: 'read', path: at('a.npy') })
      t.true(isMmapError(error))
    }
    t.is(descriptors(at('a.npy')), 0)
  })
}

for (const [what, syscall] of [
  ['write', 'write'],
  ['fsync', 'fdatasync'],
] as const) {
  fuse(
    `a ${what} fails: the next flush of a file that is copied writes it again, and so does a commit`,
    async (t) => {
      const { at, behind, fail } = await mount(t, 'direct')
      for (const mode of ['r+', 'c'] as const) {
        const name = `${mode}.npy`
        write(behind(name))
        const before = readFileSync(behind(name))
        const a = openSync(at(name), { mode })
        a.set(299, 999, -1)
        fail(name, `${what} 0`)
        const flush = (sync: string) =>
          mode === 'c' ? a[`commit${sync}` as 'commit']() : a[`flush${sync}` as 'flush']()
        t.like(await refusal(flush), { code: 'EIO', syscall, path: at(name) })
        t.deepEqual([a.get(299, 999), a.lost], [-1, false])
        fail(name)
        // As if what got there before the sync had been thrown away.
        writeFileSync(behind(name), before, { flag: 'r+' })
        t.is(byte(behind(name), -1), 0x40)
        if (mode === 'c') await a.commit({ force: true })
        else await a.flush()
        t.is(byte(behind(name), -1), 0xbf)
        a.set(299, 999, 1)
        fail(name, 'write 0')
        t.is(failure(() => a.close()).code, mode === 'c' ? undefined : 'EIO')
        t.is(byte(behind(name), -1), 0xbf)
      }
    },
  )
}

for (const what of ['write', 'fsync']) {
  fuse(`what a ${what} that fails has lost of a mapping is not forgotten by the next flush`, async (t) => {
    const { at, behind, fail } = await mount(t, 'cached')
    write(behind('a.npy'))
    const a = openSync(at('a.npy'), { mode: 'r+' })
    a.set(299, 999, -1)
    fail('a.npy', `${what} 0`)
    t.like(
      failure(() => a.flushSync()),
      { code: 'EIO', syscall: 'msync', path: at('a.npy') },
    )
    fail('a.npy')
    if (what !== 'fsync') t.is(byte(behind('a.npy'), -1), 0x40, 'the system has given it up')
    t.like(await refusal((sync) => a[`flush${sync}` as 'flush']()), {
      code: 'ERR_MAPPING_LOST',
      reason: 'io',
    })
    t.true(a.lost)
    a.close()
  })
}

for (const kind of kinds) {
  fuse(`${kind}: the file system goes away under open arrays`, async (t) => {
    const { at, behind, end } = await mount(t, kind)
    write(behind('a.npy'))
    for (const mode of modes)
      createSync(behind(`${mode}.npy`), { data: values, shape: [ROWS, COLUMNS] }).close()
    const arrays = modes.map((mode) => openSync(at(`${mode}.npy`), { mode }))
    for (const a of arrays) t.is(a.get(0, 1), 7)
    t.deepEqual(await end(), [0, null])
    for (const a of arrays) {
      t.is(a.get(0, 1), 7, 'a page that was read')
      if (isMapped(kind, a.mode)) {
        t.deepEqual([a.get(299, 999), a.lost], [0, true])
        t.like(await refusal((sync) => a[`sum${sync}` as 'sum']()), {
          code: 'ERR_MAPPING_LOST',
          reason: 'io',
        })
      } else {
        t.like(
          failure(() => a.get(299, 999)),
          { code: 'ENOTCONN', syscall: 'read' },
        )
        a.set(0, 1, 8)
        t.is((await refusal((sync) => a[`flush${sync}` as 'flush']())).code, 'ENOTCONN')
      }
      const closed = failure(() => a.close()).code
      t.is(closed, isMapped(kind, a.mode) ? undefined : 'ENOTCONN')
    }
    t.is(mappings(at('')), 0)
    t.is(failure(() => openSync(at('a.npy'))).code, 'ENOENT')
  })
}

fuse('nothing stays mounted when whoever mounted it is killed', async (t) => {
  const [behind, at] = folders(t)
  const source = `
    const { spawn } = require('node:child_process')
    spawn(...JSON.parse(process.argv[1]), { stdio: ['pipe', 'inherit', 'inherit'], detached: true })`
  const made = spawn(
    process.execPath,
    ['--eval', source, '--', JSON.stringify([program, ['direct', behind, at]])],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  t.is(String(await once(made.stdout, 'data')), 'mounted\n')
  t.true(readFileSync('/proc/self/mounts', 'utf8').includes(at))
  made.kill('SIGKILL')
  // Its output ends with the last process that has it.
  const [code, signal] = await once(made, 'close')
  t.deepEqual([code, signal], [null, 'SIGKILL'])
  t.false(readFileSync('/proc/self/mounts', 'utf8').includes(at))
})

/** What fails a sync, which the system says once, and so to one of those that have the file. */
const failed: [
  name: string,
  kind: Kind,
  work: (a: MmapArray<'float64'>, fail: () => void) => Promise<unknown>,
][] = [
  [
    'a store, then a durable append',
    'cached',
    (a, fail) => {
      a.set(0, 5, 42)
      fail()
      return a.append(new Float64Array(COLUMNS), { durable: true })
    },
  ],
  [
    'the flush of another array that has the file',
    'cached',
    (a, fail) => {
      const b = attachSync(a.toHandle())
      // It goes on in another mapping of the same open file.
      a.resizeSync(12_000)
      a.set(0, 5, 42)
      fail()
      return b.flush().finally(() => b[Symbol.asyncDispose]().catch(() => {}))
    },
  ],
  [
    'rows that were appended',
    'direct',
    (a, fail) => {
      a.appendSync(new Float64Array(COLUMNS))
      fail()
      return a.flush()
    },
  ],
  [
    'a store, then a durable append, not mapped',
    'direct',
    (a, fail) => {
      a.set(0, 5, 42)
      fail()
      return a.append(new Float64Array(COLUMNS), { durable: true })
    },
  ],
]

for (const [name, kind, work] of failed) {
  fuse(`a sync that fails is not forgotten: ${name}`, async (t) => {
    const { at, behind, fail } = await mount(t, kind)
    write(behind('a.npy'))
    const a = openSync<'float64'>(at('a.npy'), { mode: 'r+' })
    await t.throwsAsync(
      work(a, () => fail('a.npy', 'fsync')),
      { code: 'EIO' },
    )
    fail('a.npy')
    t.true(a.lost)
    await t.throwsAsync(a.flush(), { code: 'ERR_MAPPING_LOST' })
    t.is(a.get(0, 1), 7)
    a.close()
  })
}
