/** The command line, as its users run it: dist/cli.js in processes of its own. */
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createSync, openSync } from '../src/index.js'
import { type Code, descriptors, fixture, folder, mayMount, mounting, root, run } from './helpers.js'

const CLI = join(root, 'dist', 'cli.js')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const cli = (cwd: string, ...args: string[]) => run(process.execPath, [CLI, ...args], { cwd })

/** A header whose tensor has a name that clears the screen. */
const ESCAPE = JSON.stringify({ 'a\u001b[2J': { dtype: 'U8', shape: [2], data_offsets: [0, 2] } })

/** A folder with a file of each kind. */
function files(t: ExecutionContext): string {
  const dir = folder(t)
  const at = (name: string) => join(dir, name)
  createSync(at('f.npy'), {
    data: Float32Array.of(1.5, Number.NaN, 0, Number.NEGATIVE_INFINITY, 0.1, -0),
    shape: [2, 3],
  }).close()
  createSync(at('i.npy'), [-1n, 2n ** 60n + 1n]).close()
  createSync(at('b.npy'), [true, false]).close()
  createSync(at('one.npy'), { shape: [], dtype: 'int16', fill: 7 }).close()
  createSync(at('none.npy'), { shape: [0, 3], dtype: 'float64' }).close()
  createSync(at('wide.npy'), { shape: [40, 50], dtype: 'uint8', fill: 3 }).close()
  writeFileSync(
    at('raw.bin'),
    Buffer.concat([Buffer.alloc(2), Buffer.from(Int16Array.of(1, -1, 2, -2).buffer)]),
  )
  writeFileSync(at('text.txt'), 'not an array')
  const length = Buffer.alloc(8)
  length.writeUInt32LE(ESCAPE.length)
  writeFileSync(at('escape.safetensors'), Buffer.concat([length, Buffer.from(ESCAPE), Buffer.alloc(2)]))
  return dir
}

const NPZ = fixture('npz', 'kinds.npz')
const RAW = ['--dtype', '<i2', '--offset', '2', '--shape', '2,2']

/** Arguments, and all of what they print. */
const PRINTED: readonly [args: string[], printed: string][] = [
  [
    ['info', 'f.npy'],
    `f.npy
  format  npy
  dtype   float32 (<f4)
  shape   [2, 3]
  order   C
  offset  128 bytes
  data    24 bytes
  file    152 bytes
`,
  ],
  [
    ['info', 'f.npy', '--json'],
    '{"path":"f.npy","format":"npy","dtype":"float32","descr":"<f4","shape":[2,3],"order":"C","offset":128,"nbytes":24,"fileSize":152}\n',
  ],
  [
    ['info', NPZ, '--name', 'z', '--json'],
    `{"path":${JSON.stringify(NPZ)},"format":"npz","name":"z","dtype":"complex64","descr":"<c8","shape":[2,2],"order":"C","offset":393,"nbytes":32,"fileSize":2056}\n`,
  ],
  [
    ['info', 'raw.bin', ...RAW, '--strides', '1,2', '--json'],
    '{"path":"raw.bin","format":"raw","dtype":"int16","descr":"<i2","shape":[2,2],"order":"F","offset":2,"nbytes":8,"fileSize":10}\n',
  ],
  [
    ['info', 'escape.safetensors'],
    `escape.safetensors
  format  safetensors
  name    a\\x1b[2J
  dtype   uint8 (U8)
  shape   [2]
  order   C
  offset  ${8 + ESCAPE.length} bytes
  data    2 bytes
  file    ${10 + ESCAPE.length} bytes
`,
  ],
  [
    ['head', 'f.npy'],
    'float32 [2, 3]\n[[      1.5       NaN         0]\n [-Infinity       0.1        -0]]\n',
  ],
  [['head', 'f.npy', '-n', '1', '--json'], '{"dtype":"float32","shape":[1,3],"data":[[1.5,"NaN",0]]}\n'],
  [['head', 'one.npy'], 'int16 []\n7\n'],
  [['head', 'none.npy'], 'float64 [0, 3]\n[]\n'],
  [['slice', 'f.npy', '-1, ::-1'], 'float32 [3]\n[       -0       0.1 -Infinity]\n'],
  [
    ['slice', 'f.npy', '-1', '--json'],
    '{"dtype":"float32","shape":[3],"data":["-Infinity",0.10000000149011612,-0]}\n',
  ],
  [['slice', 'i.npy', '1', '--json'], '{"dtype":"int64","shape":[],"data":1152921504606846977}\n'],
  [['slice', 'b.npy', ':', '--json'], '{"dtype":"bool","shape":[2],"data":[true,false]}\n'],
  [['slice', 'raw.bin', ':,1', ...RAW], 'int16 [2]\n[-1 -2]\n'],
  [
    ['slice', 'wide.npy', '-7:'],
    `uint8 [7, 50]\n[${Array(7)
      .fill(`[${Array(50).fill('3').join(' ')}]`)
      .join('\n ')}]\n`,
  ],
  [['slice', 'wide.npy', '-30:'], `uint8 [30, 50]\n[${[1, 2, 3, 0, 4, 5, 6].map(ends).join('\n ')}]\n`],
  [['head', 'wide.npy', '-n', '21'], `uint8 [21, 50]\n[${Array(21).fill(1).map(ends).join('\n ')}]\n`],
  [
    ['stat', 'f.npy'],
    `float32 [2, 3], NaN left out
  elements  6
  nan       1
  zeros     2
  min       -Infinity
  max       1.5
  mean      -Infinity
  std       NaN
`,
  ],
  [
    ['stat', 'f.npy', '0, ::2', '--json'],
    '{"dtype":"float32","shape":[2],"elements":2,"nan":0,"zeros":1,"min":0,"max":1.5,"mean":0.75,"std":0.75}\n',
  ],
  [
    ['stat', 'none.npy', '--json'],
    '{"dtype":"float64","shape":[0,3],"elements":0,"nan":0,"zeros":0,"min":null,"max":null,"mean":"NaN","std":"NaN"}\n',
  ],
  [
    ['stat', 'b.npy', '--json'],
    '{"dtype":"bool","shape":[2],"elements":2,"nan":0,"zeros":1,"min":false,"max":true,"mean":0.5,"std":0.5}\n',
  ],
  [['verify', 'f.npy'], 'f.npy: ok\n'],
  [
    ['verify', NPZ, '--name', 'z', '--json'],
    `{"path":${JSON.stringify(NPZ)},"ok":true,"arrays":[{"name":"z","ok":true}]}\n`,
  ],
  [['checksum', 'wide.npy'], 'wide.npy.blocksums: 48 bytes\n'],
  [['verify', 'wide.npy'], 'wide.npy: ok, 1 block of 1048576 bytes (1.0 MiB) as the checksums say\n'],
  [
    ['checksum', 'raw.bin', ...RAW, '--block', '4096', '--json'],
    '{"path":"raw.bin.blocksums","fileSize":48}\n',
  ],
  [
    ['verify', 'raw.bin', ...RAW, '--json'],
    '{"path":"raw.bin","ok":true,"arrays":[{"name":"","ok":true,"checksums":{"ok":true,"block":4096,"blocks":1,"damaged":0,"bad":[]}}]}\n',
  ],
  [['--version'], `${manifest.version}\n`],
]

function ends(row: number): string {
  return row === 0 ? '...' : '[3 3 3 ... 3 3 3]'
}

test('what commands print', async (t) => {
  const dir = files(t)
  for (const [args, printed] of PRINTED) {
    const { code, stdout, stderr } = await cli(dir, ...args)
    t.deepEqual({ code, stdout, stderr }, { code: 0, stdout: printed, stderr: '' }, args.join(' '))
  }
})

/** Arguments, the exit code, and the code in the one line that says what is wrong. */
const REFUSED: readonly [args: string[], code: number, error: string][] = [
  [['info', 'missing.npy'], 1, 'ENOENT'],
  [['head', '.'], 1, 'EISDIR'],
  [['info', 'text.txt'], 1, 'ERR_INVALID_MAGIC'],
  [['head', fixture('npz', 'compressed.npz'), '--name', 'a'], 1, 'ERR_UNSUPPORTED_DTYPE'],
  [['verify', fixture('hostile', 'trailing_1.mmap')], 1, 'ERR_TRAILING_DATA'],
  [['info', fixture('hostile', 'cut_120.mmap')], 1, 'ERR_FILE_TOO_SHORT'],
  [['checksum', 'text.txt'], 1, 'ERR_INVALID_MAGIC'],
  [['checksum', 'f.npy', '--block', '1'], 2, 'ERR_OUT_OF_RANGE'],
  [['convert', 'f.npy', 'raw.bin'], 1, 'EEXIST'],
  [['convert', 'f.npy', 'no/such/folder.npy'], 1, 'ENOENT'],
  [['slice', 'f.npy', '2'], 2, 'ERR_OUT_OF_RANGE'],
  [['slice', 'f.npy', 'x'], 2, 'ERR_INVALID_ARG_VALUE'],
  [['slice', 'f.npy'], 2, 'ERR_INVALID_ARG_VALUE'],
  [['head', NPZ], 2, 'ERR_INVALID_ARG_VALUE'],
  [['head', 'f.npy', '--offset', '2'], 2, 'ERR_INVALID_ARG_VALUE'],
  [['head', 'raw.bin', '--dtype', 'f4', '--offset', '-1'], 2, 'ERR_OUT_OF_RANGE'],
  [['head', 'raw.bin', '--dtype', 'f5'], 2, 'ERR_INVALID_ARG_VALUE'],
  [['head', 'raw.bin', '--dtype', 'f4', '--shape', '2x2'], 2, 'ERR_INVALID_ARG_VALUE'],
  [['convert', 'f.npy', 'g.txt'], 2, 'ERR_INVALID_ARG_VALUE'],
  [['info', 'f.npy', '--overwrite'], 2, 'ERR_PARSE_ARGS_UNKNOWN_OPTION'],
  [['print', 'f.npy'], 2, 'ERR_INVALID_ARG_VALUE'],
  [[], 2, 'ERR_INVALID_ARG_VALUE'],
]

test('what is refused: one line, with a code', async (t) => {
  const dir = files(t)
  for (const [args, expected, error] of REFUSED) {
    const { code, stderr } = await cli(dir, ...args)
    t.is(code, expected, args.join(' '))
    t.regex(stderr, new RegExp(`^mmap-ndarray: ${error}: .*\\n$`), args.join(' '))
  }
})

test('the help names every command and option', async (t) => {
  const { code, stdout } = await cli(root, '--help')
  t.is(code, 0)
  for (const word of 'info head slice stat convert checksum verify --json --name --dtype --shape --offset --strides --rows --format --order --overwrite --block --version'.split(
    ' ',
  )) {
    t.true(stdout.includes(word), word)
  }
  t.true(stdout.split('\n').every((line) => line.length <= 120))
  t.is((await cli(root, 'head', '--help')).stdout, stdout)
})

test('a file of several arrays: listed, and verified one by one', async (t) => {
  const listed = await cli(root, 'info', NPZ)
  t.regex(listed.stdout, /kinds\.npz: npz, 2056 bytes \(2\.0 KiB\)\nname {6}dtype {6}shape {3}offset\n/)
  t.regex(listed.stdout, /\nz {9}complex64 {2}\[2, 2\] {2}393\n/)
  const { arrays } = JSON.parse((await cli(root, 'info', NPZ, '--json')).stdout)
  t.deepEqual(arrays[1], { name: 'r.y', dtype: 'float64', shape: [3], offset: 184 })
  const { code, stdout, stderr } = await cli(root, 'verify', NPZ)
  t.is(code, 1)
  t.regex(stdout, /^r\.x: ok\n.*\ns: ERR_UNSUPPORTED_DTYPE\n.*d\.npy: ok\n$/s)
  t.regex(stderr, /^mmap-ndarray: ERR_UNSUPPORTED_DTYPE: .*\n$/)
})

test('convert: every format and order, parts, and what is there already', async (t) => {
  const dir = files(t)
  const source = openSync(join(dir, 'f.npy'))
  t.teardown(() => source.close())
  const equal = (name: string, options = {}, view = source.view()) => {
    const made = openSync(join(dir, name), options)
    t.true(made.equalsSync(view, { equalNaN: true }), name)
    made.close()
  }
  t.is((await cli(dir, 'convert', 'f.npy', 'f.mmap')).stdout, 'f.mmap: float32 [2, 3], 88 bytes\n')
  equal('f.mmap', { format: 'mmap' })
  await cli(dir, 'convert', 'f.mmap', 'f.bin', '--order', 'F')
  equal('f.bin', { format: 'raw', dtype: 'float32', shape: [2, 3], order: 'F' })
  await cli(dir, 'convert', 'f.npy', 'part', ':, 1:', '--format', 'npy')
  equal('part', {}, source.slice(null, '1:'))
  const replaced = await cli(dir, 'convert', 'part', 'f.mmap', '--overwrite', '--json')
  t.is(replaced.stdout, '{"path":"f.mmap","dtype":"float32","shape":[2,2],"fileSize":80}\n')
  equal('f.mmap', {}, source.slice(null, '1:'))
})

test('verify with checksums: which blocks, and what is in them', async (t) => {
  const dir = files(t)
  const path = join(dir, 'big.npy')
  createSync(path, { shape: [300, 100], dtype: 'float32' }).close()
  await cli(dir, 'checksum', 'big.npy', '--block', '4096')
  const bytes = readFileSync(path)
  for (const at of [20_000, 21_000]) bytes.writeUInt8(1, at)
  writeFileSync(path, bytes)
  const found = await cli(dir, 'verify', 'big.npy')
  t.deepEqual(found, {
    code: 1,
    signal: null,
    stderr: '',
    stdout: `big.npy: 2 of 30 blocks of 4096 bytes (4.0 KiB) not as the checksums say
  block 4, from byte 16384 on, elements 4064 to 5087, rows 40 to 50
  block 5, from byte 20480 on, elements 5088 to 6111, rows 50 to 61
`,
  })
  writeFileSync(`${path}.blocksums`, 'x')
  const { code, stdout, stderr } = await cli(dir, 'verify', 'big.npy')
  t.deepEqual([code, stdout], [1, 'big.npy: ERR_INVALID_HEADER\n'])
  t.regex(stderr, /^mmap-ndarray: ERR_INVALID_HEADER: .*big\.npy\.blocksums: .*\n$/)
})

const canMount = process.platform === 'linux' && mayMount('a file whose pages cannot be had')

;(canMount ? test : test.skip)('verify meets pages that cannot be had', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'hole.bin')
  // A hole of a file takes a page when it is read there, and the disk has fewer.
  const script = 'truncate -s 8M "$1" && exec "$2" "$3" verify "$1" --dtype u1'
  const program = ['sh', '-c', script, 'sh', path, process.execPath, CLI]
  const { code, stdout, stderr } = await run(...mounting(dir, 'size=1m', program))
  t.is(code, 1)
  t.is(stdout, `${path}: ERR_MAPPING_LOST\n`)
  t.regex(stderr, /^mmap-ndarray: ERR_MAPPING_LOST: .*\n$/)
})

test('100 GB: what is in it, and a part of it, without the rest', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'huge.bin')
  writeFileSync(path, '')
  truncateSync(path, 100e9)
  const raw = ['--dtype', 'f4', '--shape', '1000000,25000']
  const info = await cli(dir, 'info', 'huge.bin', ...raw, '--json')
  const found = JSON.parse(info.stdout)
  t.is(found.fileSize, 100e9)
  t.deepEqual(found.shape, [1e6, 25000])
  const part = await cli(dir, 'slice', 'huge.bin', '-2:, -2:', ...raw)
  // Whether all of it can be mapped is up to the runtime and the backing; the command line says what the library says.
  let code: string | undefined
  try {
    openSync(path, { format: 'raw', dtype: 'f4', shape: [1e6, 25000] }).close()
  } catch (error) {
    code = (error as Code).code
  }
  if (code !== undefined) {
    t.is(code, 'ERR_TOO_LARGE')
    t.is(found.error.code, code)
    t.is(part.code, 1)
    t.regex(part.stderr, /^mmap-ndarray: ERR_TOO_LARGE: /)
  } else {
    t.is(found.nbytes, 100e9)
    t.is(part.stdout, 'float32 [2, 2]\n[[0 0]\n [0 0]]\n')
  }
  if (process.platform === 'linux') t.true(statSync(path).blocks < 100)
})

test('a reader that has had enough ends it, without a word', async (t) => {
  const dir = folder(t)
  createSync(join(dir, 'long.npy'), { shape: [2_000_000], dtype: 'int32' }).close()
  const child = spawn(process.execPath, [CLI, 'slice', 'long.npy', ':', '--json'], { cwd: dir })
  child.stdout.once('data', () => child.stdout.destroy())
  let stderr = ''
  child.stderr.on('data', (text) => {
    stderr += text
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  t.is(code, 0)
  t.is(stderr, '')
})

/** A file that takes a while, and no space. */
function long(t: ExecutionContext): string {
  const dir = folder(t)
  writeFileSync(join(dir, 'long.bin'), '')
  truncateSync(join(dir, 'long.bin'), 2 ** 30)
  return dir
}

const hasScript =
  process.platform === 'linux' && spawnSync('script', ['-qec', 'true', '/dev/null']).status === 0
if (!hasScript) console.error('skipped: progress on a terminal; there is no script(1) that makes one')

;(hasScript ? test : test.skip)('progress is for terminals', async (t) => {
  const dir = long(t)
  // What is written takes long enough everywhere; statistics do not.
  const args = [CLI, 'convert', 'long.bin', 'made.npy', '--dtype', 'u1', '--overwrite']
  const piped = await run(process.execPath, args, { cwd: dir })
  t.is(piped.stderr, '')
  const terminal = await run('script', ['-qec', [process.execPath, ...args].join(' '), '/dev/null'], {
    cwd: dir,
  })
  t.is(terminal.code, 0)
  t.regex(terminal.stdout, /\rconvert made\.npy \d+ %/)
  // Taken away again before the result.
  const left = terminal.stdout.replaceAll('\r\n', '\n').split('\x1b[K').at(-1)
  t.is(left, piped.stdout)
})

;(process.platform === 'linux' ? test : test.skip)('Ctrl-C: no part of a file is left', async (t) => {
  const dir = long(t)
  const args = [CLI, 'convert', 'long.bin', 'made.npy', '--dtype', 'u1']
  const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (text) => {
    stderr += text
  })
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)))
  // When it is at work, the new file is open beside the old one, with or without a name.
  const atWork = () => {
    const pid = child.pid as number
    return descriptors(dir, pid) > descriptors(join(dir, 'long.bin'), pid)
  }
  while (child.exitCode === null && !atWork()) await new Promise((resolve) => setImmediate(resolve))
  child.kill('SIGINT')
  t.is(await ended, 130)
  t.regex(stderr, /^mmap-ndarray: ABORT_ERR: .*\n$/)
  t.deepEqual(readdirSync(dir), ['long.bin'])
})
