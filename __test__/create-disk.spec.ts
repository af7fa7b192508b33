/**
 * Creating on a full disk: ENOSPC from `create`, nothing left behind, and the old file where there was one.
 *
 * Each script runs in a process with a small file system of its own, which is gone when it ends.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createSync } from '../src/index.js'
import { folder, mayMount, mounting, root, run } from './helpers.js'

const mounted = mayMount('a full disk') ? test : test.skip

/** The script's `attempt` says what became of a creation; it prints what was found with `show`. */
const prelude = `
  import { createHash } from 'node:crypto'
  import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
  import { create, createSync } from 'mmap-ndarray'
  const dir = process.argv[1]
  const path = dir + '/a.npy'
  const MiB = 2 ** 20
  const outcome = async (make) => {
    try {
      const a = await make()
      const { shape } = a
      a.close()
      return shape.join()
    } catch (error) {
      return error.code + ' ' + error.syscall
    }
  }
  const attempt = async (source, options) => {
    const results = [await outcome(() => create(path, source, options)), await outcome(() => createSync(path, source, options))]
    return results[0] === results[1] ? results[0] : results
  }
  const show = (value) => console.log(JSON.stringify(value))
  const names = () => readdirSync(dir).join()
  const digest = () => createHash('sha256').update(readFileSync(path)).digest('hex')
`

type Full = [name: string, options: string, script: string, expected: unknown[]]
const disks: Full[] = [
  [
    'space is reserved first',
    'size=1m',
    `show(await attempt({ shape: [2 * MiB], dtype: 'int8' })); show(names())`,
    ['ENOSPC fallocate', ''],
  ],
  [
    'a sparse file of zeros takes none',
    'size=1m',
    `show(await outcome(() => create(path, { shape: [2 * MiB], dtype: 'int8' }, { reserve: false })))
     show(names())
     show(statSync(path).blocks <= 8)`,
    [String(2 ** 21), 'a.npy', true],
  ],
  [
    'in the middle of the data',
    'size=1m',
    `show(await attempt(new Int8Array(2 * MiB), { reserve: false })); show(names())`,
    ['ENOSPC write', ''],
  ],
  [
    'in a later block of the data',
    'size=6m',
    `show(await attempt(new Int8Array(8 * MiB), { reserve: false })); show(names())`,
    ['ENOSPC write', ''],
  ],
  [
    'in the middle of a fill',
    'size=1m',
    `show(await attempt({ shape: [2 * MiB], dtype: 'int8', fill: 1 }, { reserve: false })); show(names())`,
    ['ENOSPC write', ''],
  ],
  [
    'overwriting: the old file stays',
    'size=1m',
    `createSync(path, Float64Array.from({ length: 1000 }, (_, i) => i)).close()
     const before = digest()
     for (const reserve of [true, false]) show(await attempt(new Int8Array(2 * MiB), { reserve, overwrite: true }))
     show(names())
     show(digest() === before)`,
    ['ENOSPC fallocate', 'ENOSPC write', 'a.npy', true],
  ],
  [
    'overwriting needs space for both files at once',
    'size=3m',
    `createSync(path, new Int8Array(2 * MiB)).close()
     show(await attempt(new Int8Array(2 * MiB), { overwrite: true }))
     show(await attempt(new Int8Array(MiB / 2), { overwrite: true }))
     show(names())`,
    ['ENOSPC fallocate', String(2 ** 19), 'a.npy'],
  ],
  [
    'no file can be added: inodes',
    'size=1m,nr_inodes=2',
    `createSync(path, [1]).close()
     const before = digest()
     show(await attempt([2], { overwrite: true }))
     show(await outcome(() => create(dir + '/b.npy', [2])))
     show(names())
     show(digest() === before)`,
    ['ENOSPC open', 'ENOSPC open', 'a.npy', true],
  ],
]

for (const [name, options, script, expected] of disks) {
  mounted(`a full disk: ${name}`, async (t) => {
    const dir = folder(t)
    const node = [process.execPath, '--input-type=module', '--eval', prelude + script, '--', dir]
    const { stdout, stderr } = await run(...mounting(dir, options, node), { cwd: root })
    t.deepEqual(
      stdout.trim().split('\n'),
      expected.map((value) => JSON.stringify(value)),
      stderr,
    )
  })
}

// Node.js ignores SIGXFSZ, which would end the process.
const limited = spawnSync('prlimit', ['--version']).status === 0 ? test : test.skip

limited('a limit on the length of files is EFBIG, and the process lives', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  createSync(
    path,
    Float64Array.from({ length: 1000 }, (_, i) => i),
  ).close()
  const before = createHash('sha256').update(readFileSync(path)).digest('hex')
  const script = `${prelude}
    for (const reserve of [true, false]) show(await attempt(new Int8Array(2 * MiB), { reserve, overwrite: true }))
    show(await outcome(() => create(dir + '/b.npy', new Int8Array(2 * MiB))))
    show(names())
    show(digest())`
  const args = ['--fsize=1048576', process.execPath, '--input-type=module', '--eval', script, '--', dir]
  const { stdout, stderr } = await run('prlimit', args, { cwd: root })
  const expected = ['EFBIG fallocate', 'EFBIG ftruncate', 'EFBIG fallocate', 'a.npy', before]
  t.deepEqual(
    stdout.trim().split('\n'),
    expected.map((value) => JSON.stringify(value)),
    stderr,
  )
})
