/**
 * What a new file takes over from the one that it replaces, through which links, and who may replace it.
 *
 * The old file lives on for whoever has it mapped, and under its other names.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { create, createSync, openSync } from '../src/index.js'
import { folder, run, runScript } from './helpers.js'

const posix = process.platform === 'win32' ? test.skip : test
const asRoot = process.getuid?.() === 0 ? test : test.skip
if (process.getuid?.() !== 0) console.error('skipped: other owners; only root can give files away')

posix('a new file obeys the umask, a replaced one keeps its mode', (t) => {
  const dir = folder(t)
  const path = join(dir, 'a.npy')
  const mode = () => statSync(path).mode & 0o7777
  createSync(path, [1]).close()
  t.is(mode(), 0o666 & ~process.umask())
  for (const wanted of [0o600, 0o640, 0o664, 0o666, 0o755, 0o777]) {
    chmodSync(path, wanted)
    createSync(path, [2], { overwrite: true }).close()
    t.is(mode(), wanted)
  }
  t.deepEqual(readdirSync(dir), ['a.npy'])
})

type Links = [name: string, links: Record<string, string>, path: string, made: string]
const links: Links[] = [
  ['a link', { 'link.npy': 'a.npy' }, 'link.npy', 'a.npy'],
  ['a link into another folder', { 'link.npy': 'sub/a.npy' }, 'link.npy', 'sub/a.npy'],
  ['a link back out of a folder', { 'sub/link.npy': '../a.npy' }, 'sub/link.npy', 'a.npy'],
  ['a link to a link', { '1.npy': 'sub/2.npy', 'sub/2.npy': '../a.npy' }, '1.npy', 'a.npy'],
  ['a link to the folder', { folder: 'sub' }, 'folder/a.npy', 'sub/a.npy'],
  ['a link from a linked folder', { folder: 'sub', 'sub/link.npy': '../a.npy' }, 'folder/link.npy', 'a.npy'],
]

for (const [name, made, path, file] of links) {
  for (const there of [false, true]) {
    posix(`${name} is followed${there ? '' : ' to where nothing is'}`, async (t) => {
      const dir = folder(t)
      mkdirSync(join(dir, 'sub'))
      for (const [link, to] of Object.entries(made)) symlinkSync(to, join(dir, link))
      if (there) {
        writeFileSync(join(dir, file), 'precious')
        await t.throwsAsync(create(join(dir, path), [1]), { code: 'EEXIST' })
        t.is(readFileSync(join(dir, file), 'utf8'), 'precious')
      }
      const a = await create(join(dir, path), [1], { overwrite: there })
      a.close()
      t.true(lstatSync(join(dir, file)).isFile())
      t.deepEqual(openSync(join(dir, file)).toArray(), [1])
      for (const [link, to] of Object.entries(made)) t.is(readlinkSync(join(dir, link)), to)
      const names = [...readdirSync(dir), ...readdirSync(join(dir, 'sub')).map((below) => `sub/${below}`)]
      t.deepEqual(names.sort(), [...Object.keys(made), file, 'sub'].sort())
    })
  }
}

posix('a link to a folder, and to where no folder is', async (t) => {
  const dir = folder(t)
  mkdirSync(join(dir, 'sub'))
  symlinkSync('sub', join(dir, 'a.npy'))
  symlinkSync('missing/b.npy', join(dir, 'b.npy'))
  await t.throwsAsync(create(join(dir, 'a.npy'), [1], { overwrite: true }), { code: 'EISDIR' })
  await t.throwsAsync(create(join(dir, 'a.npy'), [1]), { code: 'EEXIST' })
  await t.throwsAsync(create(join(dir, 'b.npy'), [1]), { code: 'ENOENT' })
  t.deepEqual(readdirSync(dir, { recursive: true }).sort(), ['a.npy', 'b.npy', 'sub'])
})

posix('another name of the replaced file keeps the old contents, and what its arrays store', (t) => {
  const dir = folder(t)
  const [path, other] = [join(dir, 'a.npy'), join(dir, 'other.npy')]
  createSync(path, Float64Array.of(1, 2, 3)).close()
  linkSync(path, other)
  const old = openSync(path, { mode: 'r+' })
  createSync(path, Float64Array.of(9, 9, 9), { overwrite: true }).close()
  old.set(0, 5)
  old.flushSync()
  old.close()
  t.deepEqual(openSync(other).toArray(), [5, 2, 3])
  t.deepEqual(openSync(path).toArray(), [9, 9, 9])
  t.is(statSync(path).nlink, 1)
})

asRoot('a replaced file keeps its owner', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, [1]).close()
  chownSync(path, 65534, 65534)
  createSync(path, [2], { overwrite: true }).close()
  t.like(statSync(path), { uid: 65534, gid: 65534 })
})

// Node.js has no call for access lists.
const listed = spawnSync('python3', ['-c', 'import os; os.setxattr']).status === 0 ? posix : test.skip

listed(
  'a replaced file keeps its access list: its group gets nothing that another user was given',
  async (t) => {
    const path = join(folder(t), 'a.npy')
    createSync(path, [1]).close()
    chmodSync(path, 0o600)
    const name = 'system.posix_acl_access'
    // The owner rw, user 1234 rw, the group nothing, at most rw, others nothing: tag, permissions, id.
    const entries = '[1, 6, -1], [2, 6, 1234], [4, 0, -1], [16, 6, -1], [32, 0, -1]'
    const set = `import os, struct, sys
list = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *entry) for entry in [${entries}])
os.setxattr(sys.argv[1], '${name}', list)`
    const get = `import os, sys; print(os.getxattr(sys.argv[1], '${name}').hex())`
    const { code, stderr } = await run('python3', ['-c', set, path])
    if (code !== 0) return t.regex(stderr, /not supported/, 'a file system without access lists')
    const before = await run('python3', ['-c', get, path])
    t.is(statSync(path).mode & 0o777, 0o660)
    createSync(path, [2], { overwrite: true }).close()
    t.deepEqual(await run('python3', ['-c', get, path]), before)
    t.is(statSync(path).mode & 0o777, 0o660)
    t.deepEqual(openSync(path).toArray(), [2])
  },
)

/** Whoever may not do everything: root's tests become that user. */
const [user, group] =
  process.getuid?.() === 0 ? [65534, 65534] : [process.getuid?.() ?? 0, process.getgid?.() ?? 0]

/** The owner, group and mode of a file. */
type Found = [uid: number, gid: number, mode: number]
type Rights = [name: string, folder: number, before: Found | null, code: string, after: Found | null]
const rights: Rights[] = [
  ['a new file', 0o777, null, 'made', [user, group, 0o644]],
  ['a folder that may not be written', 0o555, null, 'EACCES', null],
  ['a folder that may be written but not read', 0o333, null, 'made', [user, group, 0o644]],
  ['a folder that may not be written, with a file that may', 0o555, [0, 0, 0o666], 'EACCES', [0, 0, 0o666]],
  ['a file that may not be written', 0o777, [0, 0, 0o644], 'EACCES', [0, 0, 0o644]],
  [
    'a file of the owner’s that may not be written',
    0o777,
    [user, group, 0o444],
    'EACCES',
    [user, group, 0o444],
  ],
  ['a file of the owner’s', 0o777, [user, group, 0o600], 'made', [user, group, 0o600]],
  ['a file of somebody else’s becomes the writer’s', 0o777, [0, group, 0o660], 'made', [user, group, 0o660]],
  ['its group is kept where the writer is in it', 0o777, [0, 100, 0o664], 'made', [user, 100, 0o664]],
  [
    'a group that is lost does not hand its rights on',
    0o777,
    [user, 101, 0o640],
    'made',
    [user, group, 0o600],
  ],
  ['a write takes the set-user-ID bit away', 0o777, [user, group, 0o4755], 'made', [user, group, 0o755]],
  ['a sticky folder keeps files of others', 0o1777, [0, 0, 0o666], 'EPERM', [0, 0, 0o666]],
]

for (const [name, mode, before, code, after] of rights) {
  const own = before === null || (before[0] === user && before[1] === group)
  ;(own ? posix : asRoot)(`somebody without rights: ${name}`, async (t) => {
    const dir = folder(t)
    const path = join(dir, 'a.npy')
    if (before) {
      createSync(path, [1]).close()
      chownSync(path, before[0], before[1])
      chmodSync(path, before[2])
    }
    chmodSync(dir, mode)
    const script = `
      import { createSync } from 'mmap-ndarray'
      process.umask(0o022)
      if (process.getuid() === 0) {
        process.setgroups([100])
        process.setgid(65534)
        process.setuid(65534)
      }
      try {
        createSync(process.argv[1], [2], { overwrite: ${before !== null} })
        console.log('made')
      } catch (error) {
        console.log(error.code)
      }`
    const { stdout, stderr } = await runScript(script, path)
    chmodSync(dir, 0o755)
    t.is(stdout.trim() || stderr, code)
    t.deepEqual(readdirSync(dir), after ? ['a.npy'] : [])
    if (!after) return
    const { uid, gid, mode: found } = statSync(path)
    t.deepEqual([uid, gid, found & 0o7777], after)
    t.deepEqual(openSync(path).toArray(), [code === 'made' ? 2 : 1])
  })
}
