#!/usr/bin/env node
/**
 * The command line: a thin layer over the public API, for looking at array files and turning them into others.
 *
 * Results go to standard output, as text for people or with `--json` for programs; errors are one line on standard error.
 * What a file says of itself is printed without control characters: a name in it could otherwise write to the terminal. Past
 * 400 lines: a screen for each command, and nothing that another file could use.
 */
import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { invalidArgValue } from './errors.js'
import {
  type DType,
  type Entry,
  isMmapError,
  list,
  type MappedView,
  type MmapArray,
  type OpenOptions,
  open,
  type SaveOptions,
  slice,
  type Verified,
  type WorkOptions,
} from './index.js'
import { element, elements, json, jsonElements, plain, scalar } from './text.js'

const USAGE = `Usage: mmap-ndarray COMMAND FILE [...] [OPTIONS]

  info     FILE                       what the file holds; its data is not read
  head     FILE                       its first rows
  slice    FILE SELECTION             a part of it, selected as in numpy: '0:5, :, -1'
  stat     FILE [SELECTION]           min, max, mean, std, and how many NaN and zeros
  convert  FILE TARGET [SELECTION]    a file of another format: .npy, .mmap, .bin or .raw; whole or not at all
  checksum FILE                       writes checksums of all of it to FILE.blocksums
  verify   FILE                       checks the header strictly, and reads every byte; with FILE.blocksums
                                      beside it every byte is compared with its checksum

  --json             for programs: NaN and infinities are strings, integers have all their digits
  --name NAME        which tensor (safetensors), member (npz) or field of records (npy)
  --dtype DTYPE      the file has no header, and elements of this dtype
  --shape 1000,768     of this shape; to the end of the file when left out
  --offset BYTES       from this byte on; default 0
  --strides 768,1      with so many elements between neighbours along each axis
  -n, --rows ROWS    head: how many; default 5
  --format FORMAT    convert: npy, mmap or raw; from the name of the target when left out
  --order C|F        convert: the order of the elements in the target; default C
  --overwrite        convert: replace a file that is there
  --block BYTES      checksum: bytes that have one checksum; default 1048576
  -h, --help         this text
  --version          the version

Text shows the ends of what has more than 1000 elements; JSON has all of it. Progress is shown on a terminal only.
Exit codes: 0 done, 1 the file or its data, 2 wrong use, 130 interrupted; convert leaves no part of a file behind.
`

const COMMON = {
  json: { type: 'boolean' },
  name: { type: 'string' },
  dtype: { type: 'string' },
  shape: { type: 'string' },
  offset: { type: 'string' },
  strides: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const
const HEAD = { rows: { type: 'string', short: 'n' } } as const
const CONVERT = {
  format: { type: 'string' },
  order: { type: 'string' },
  overwrite: { type: 'boolean' },
} as const
const CHECKSUM = { block: { type: 'string' } } as const
const OPTIONS = { ...COMMON, ...HEAD, ...CONVERT, ...CHECKSUM } as const

type Values = {
  [K in keyof typeof OPTIONS]?: (typeof OPTIONS)[K]['type'] extends 'boolean' ? boolean : string
}

interface Command {
  /** The names of the arguments; the first `needed` of them have to be there. */
  readonly args: readonly string[]
  readonly needed: number
  readonly options: Partial<typeof OPTIONS>
  run(args: readonly string[], values: Values): Promise<void>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  info: { args: ['FILE'], needed: 1, options: COMMON, run: info },
  head: { args: ['FILE'], needed: 1, options: { ...COMMON, ...HEAD }, run: head },
  slice: { args: ['FILE', 'SELECTION'], needed: 2, options: COMMON, run: part },
  stat: { args: ['FILE', 'SELECTION'], needed: 1, options: COMMON, run: statistics },
  convert: {
    args: ['FILE', 'TARGET', 'SELECTION'],
    needed: 2,
    options: { ...COMMON, ...CONVERT },
    run: convert,
  },
  checksum: { args: ['FILE'], needed: 1, options: { ...COMMON, ...CHECKSUM }, run: checksum },
  verify: { args: ['FILE'], needed: 1, options: COMMON, run: verify },
}

async function main(given: readonly string[]): Promise<void> {
  const [name = ''] = given
  if (name === '--version') {
    const manifest = new URL('../package.json', import.meta.url)
    return print(`${JSON.parse(readFileSync(manifest, 'utf8')).version}\n`)
  }
  if (['-h', '--help', 'help'].includes(name)) return print(USAGE)
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    throw invalidArgValue('COMMAND', `must be one of ${Object.keys(COMMANDS).join(', ')}; see --help`, name)
  }
  // A number below zero is never an option here: -1 selects the last index.
  const args = given.slice(1).map((arg) => (/^-\d[\d\s,:+-]*$/.test(arg) ? ` ${arg}` : arg))
  const { positionals, values } = parseArgs({ args, options: command.options, allowPositionals: true })
  if ((values as Values).help) return print(USAGE)
  if (positionals.length < command.needed || positionals.length > command.args.length) {
    const usage = command.args.map((arg, n) => (n < command.needed ? arg : `[${arg}]`)).join(' ')
    throw invalidArgValue(name, `takes ${usage}; see --help`, positionals)
  }
  await command.run(positionals, values as Values)
}

async function info([path = '']: readonly string[], values: Values): Promise<void> {
  const fileSize = (await stat(path)).size
  const options = openOptions(values)
  const entries = options.format === 'raw' ? [rawEntry(options)] : await list(path)
  const chosen = values.name === undefined ? entries : entries.filter(({ name }) => name === values.name)
  const [entry] = chosen
  if (entry !== undefined && chosen.length === 1) {
    const array = await open(path, { ...options, name: entry.name || undefined }).catch(unreadable)
    return print(describe(path, fileSize, entry, array, values))
  }
  // No array of that name, or one of records, whose fields are arrays: opening it says which.
  if (values.name !== undefined) await open(path, options)
  const format = await formatOf(path, entries)
  if (values.json) return print(`${json({ path, format, fileSize, arrays: entries })}\n`)
  const rows = entries.map(({ name, dtype, shape, offset }) => [name, dtype, shown(shape), String(offset)])
  await print(`${plain(path)}: ${format ?? 'nothing that can be opened'}, ${sizeText(fileSize)}\n`)
  await print(table([['name', 'dtype', 'shape', 'offset'], ...rows]))
}

/** What the caller says of a file without a header. */
function rawEntry({ dtype = '', shape = [], offset = 0 }: OpenOptions): Entry {
  return { name: '', dtype, shape: [...shape], offset }
}

/** The format of a file of several arrays: that of the first which can be opened. */
async function formatOf(path: string, entries: readonly Entry[]): Promise<string | undefined> {
  for (const { name } of entries.slice(0, 16)) {
    const array = await open(path, { name }).catch(unreadable)
    if (!(array instanceof Error)) return array.format
  }
  return undefined
}

/** Why a file that can be listed cannot be mapped here; throws what is no reason of that kind. */
function unreadable(error: unknown): Error {
  if (isMmapError(error, 'ERR_UNSUPPORTED_DTYPE', 'ERR_TOO_LARGE')) return error
  throw error
}

function describe(
  path: string,
  fileSize: number,
  entry: Entry,
  array: MmapArray | Error,
  values: Values,
): string {
  const { offset } = entry
  const name = entry.name || undefined
  if (array instanceof Error) {
    const { message, code } = array as Error & Coded
    const { dtype, shape } = entry
    if (values.json)
      return `${json({ path, name, dtype, shape, offset, fileSize, error: { code, message } })}\n`
    const fields = { name, dtype, shape: shown(shape), offset: `${offset} bytes`, file: sizeText(fileSize) }
    return `${plain(path)}\n${pairs({ ...fields, error: message })}`
  }
  const { format, descr, nbytes, flags } = array
  // Only the caller says what is in a file without a header; it opens as what was meant.
  const { dtype, shape } = format === 'raw' ? array : entry
  const order = flags.C_CONTIGUOUS ? 'C' : flags.F_CONTIGUOUS ? 'F' : 'strided'
  if (values.json) {
    return `${json({ path, format, name, dtype, descr, shape, order, offset, nbytes, fileSize })}\n`
  }
  return `${plain(path)}\n${pairs({
    format,
    name,
    dtype: `${dtype} (${descr})`,
    shape: shown(shape),
    order,
    offset: `${offset} bytes`,
    data: sizeText(nbytes),
    file: sizeText(fileSize),
  })}`
}

async function head([path = '']: readonly string[], values: Values): Promise<void> {
  const array = await open(path, openOptions(values))
  const rows = integer('--rows', values.rows) ?? 5
  if (rows < 0) throw invalidArgValue('--rows', 'must not be below 0', values.rows)
  await show(array.ndim === 0 ? array : array.slice(slice(rows)), values, 1)
}

async function part([path = '', selection]: readonly string[], values: Values): Promise<void> {
  await show(selected(await open(path, openOptions(values)), selection), values, 0)
}

/** Prints elements; the first `whole` axes are never cut short. */
async function show(view: MappedView, { json: forPrograms }: Values, whole: number): Promise<void> {
  const { dtype, shape } = view
  if (!forPrograms) return print(`${dtype} ${shown(shape)}\n${elements(view, whole)}\n`)
  await print(`{"dtype":"${dtype}","shape":${json(shape)},"data":`)
  let text = ''
  for (const piece of jsonElements(view)) {
    text += piece
    if (text.length < 2 ** 16) continue
    await print(text)
    text = ''
  }
  await print(`${text}}\n`)
}

async function statistics([path = '', selection]: readonly string[], values: Values): Promise<void> {
  const view = selected(await open(path, openOptions(values)), selection)
  const { dtype, shape, size } = view
  const nonzero = await following('zeros', (work) => view.countNonzero(work))
  // Only floats can be NaN, which is not zero.
  const numbers = dtype.includes('float')
    ? await following('NaN', (work) => view.countNonzero({ skipNaN: true, ...work }))
    : nonzero
  const nan = nonzero - numbers
  const skipNaN = true
  const { min = null, max = null } =
    size === nan ? {} : await following('min, max', (work) => view.minmax({ skipNaN, ...work }))
  const mean = await following('mean', (work) => view.mean({ skipNaN, ...work }))
  const std = await following('std', (work) => view.std({ skipNaN, ...work }))
  const found = { elements: size, nan, zeros: size - nonzero }
  const ends = (as: (dtype: DType, value: number | bigint) => unknown, none: unknown) => ({
    min: min === null ? none : as(dtype, min),
    max: max === null ? none : as(dtype, max),
  })
  if (values.json) return print(`${json({ dtype, shape, ...found, ...ends(element, null), mean, std })}\n`)
  const rows = pairs({ ...found, ...ends(scalar, 'none'), mean, std })
  await print(`${dtype} ${shown(shape)}${nan > 0 ? ', NaN left out' : ''}\n${rows}`)
}

/** Aborts when somebody wants the program to end. */
function interrupted(): AbortSignal {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => stop.abort(signal))
  return stop.signal
}

async function convert(
  [path = '', target = '', selection]: readonly string[],
  values: Values,
): Promise<void> {
  const { format, order, overwrite } = values
  const view = selected(await open(path, openOptions(values)), selection)
  // What is wrong with them, saveAs says.
  const options = { format, order, overwrite, signal: interrupted() } as SaveOptions
  await following(`convert ${plain(target)}`, (work) => view.saveAs(target, { ...options, ...work }))
  const { size } = await stat(target)
  const { dtype, shape } = view
  if (values.json) return print(`${json({ path: target, dtype, shape, fileSize: size })}\n`)
  await print(`${plain(target)}: ${dtype} ${shown(shape)}, ${sizeText(size)}\n`)
}

async function checksum([path = '']: readonly string[], values: Values): Promise<void> {
  const block = integer('--block', values.block)
  // Of what is no array nothing could be verified.
  if (openOptions(values).format !== 'raw') await list(path)
  // They are of the file, whichever array it is opened as: one that takes no addresses.
  const array = await open(path, { format: 'raw', dtype: 'uint8', shape: [0] })
  const signal = interrupted()
  await following(`checksum ${plain(path)}`, (work) => array.checksum({ block, signal, ...work }))
  const sidecar = `${path}.blocksums`
  const { size } = await stat(sidecar)
  if (values.json) return print(`${json({ path: sidecar, fileSize: size })}\n`)
  await print(`${plain(sidecar)}: ${sizeText(size)}\n`)
}

async function verify([path = '']: readonly string[], values: Values): Promise<void> {
  const options = openOptions(values)
  const whole = options.format === 'raw' || values.name !== undefined
  const names = whole ? [values.name ?? ''] : (await list(path)).map(({ name }) => name)
  const found: Found[] = []
  for (const name of names) {
    try {
      const array = await open(path, { ...options, name: name || undefined, strict: true })
      const sums = await following(`verify ${plain(name || path)}`, (work) => verified(array, work))
      found.push({ name, ok: sums?.ok ?? true, ...(sums && { checksums: sums }) })
    } catch (error) {
      if (!isMmapError(error)) throw error
      const { code, message } = error
      found.push({ name, ok: false, code, message })
    }
  }
  const ok = found.every((one) => one.ok)
  process.exitCode = ok ? 0 : 1
  if (values.json) return print(`${json({ path, ok, arrays: found })}\n`)
  for (const one of found) {
    await print(
      `${plain(one.name || path)}: ${one.checksums ? sumsText(one.checksums) : (one.code ?? 'ok')}\n`,
    )
    if (one.code !== undefined) process.stderr.write(errorLine(one as Coded))
  }
}

/** What became of one array. */
interface Found extends Partial<Coded> {
  readonly name: string
  readonly ok: boolean
  readonly checksums?: Verified
}

/**
 * What makes an array that has opened a good one: every byte is as its checksum says, or where there are no checksums can be
 * read. Rejects with ERR_MAPPING_LOST and the like otherwise.
 */
async function verified(array: MmapArray, work: WorkOptions): Promise<Verified | undefined> {
  try {
    return await array.verify(work)
  } catch (error) {
    if (!isMmapError(error, 'ENOENT')) throw error
    await array.prefetch(work)
    return undefined
  } finally {
    array.close()
  }
}

function sumsText({ ok, block, blocks, damaged, bad }: Verified): string {
  const all = `${blocks} ${blocks === 1 ? 'block' : 'blocks'} of ${sizeText(block)}`
  if (ok) return `ok, ${all} as the checksums say`
  const lines = bad.map(({ index, start, stop, rows }) => {
    const range = ([from, to]: readonly [number, number]) => `${from} to ${to - 1}`
    const elements = start < stop ? `, elements ${range([start, stop])}` : ''
    return `  block ${index}, from byte ${index * block} on${elements}${rows && rows[0] < rows[1] ? `, rows ${range(rows)}` : ''}`
  })
  const more = damaged > bad.length ? [`  and ${damaged - bad.length} more`] : []
  return [`${damaged} of ${all} not as the checksums say`, ...lines, ...more].join('\n')
}

/** How the file is to be opened. Without a header it is raw, and only the caller knows what is in it. */
function openOptions({ name, dtype, shape, offset, strides }: Values): OpenOptions {
  if (dtype === undefined) {
    for (const [option, value] of Object.entries({ shape, offset, strides })) {
      if (value !== undefined)
        throw invalidArgValue(`--${option}`, 'is for files without a header; give --dtype', value)
    }
    return { name }
  }
  const raw = { shape: integers('--shape', shape), strides: integers('--strides', strides) }
  return { format: 'raw', name, dtype, offset: integer('--offset', offset), ...raw }
}

function integers(option: string, text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined
  const given = text.trim() === '' ? [] : text.split(',')
  if (given.every((one) => /^\s*-?\d+\s*$/.test(one))) return given.map(Number)
  throw invalidArgValue(option, 'must be integers, with commas between them', text)
}

function integer(option: string, text: string | undefined): number | undefined {
  const found = integers(option, text)
  if (found === undefined || found.length === 1) return found?.[0]
  throw invalidArgValue(option, 'must be one integer', text)
}

function selected<D extends DType>(array: MappedView<D>, text: string | undefined): MappedView<D> {
  return text === undefined || text.trim() === '' ? array : array.slice(...text.split(','))
}

/** Work whose progress is shown on a terminal, and nowhere else. */
async function following<T>(what: string, work: (options: WorkOptions) => Promise<T>): Promise<T> {
  const { stderr } = process
  if (!stderr.isTTY) return work({})
  const onProgress = (done: number, total: number) => {
    if (done < total) stderr.write(`\r${what} ${Math.floor((100 * done) / total)} %\x1b[K`)
  }
  try {
    return await work({ onProgress })
  } finally {
    stderr.write('\r\x1b[K')
  }
}

const shown = (shape: readonly number[]) => `[${shape.join(', ')}]`

/** Bytes, and about how many those are. */
function sizeText(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 6)
  const about = ['', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'][power]
  return power === 0 ? `${bytes} bytes` : `${bytes} bytes (${(bytes / 1024 ** power).toFixed(1)} ${about})`
}

/** A line for each field, their values below each other. */
function pairs(fields: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(fields).filter(([, value]) => value !== undefined)
  return table(rows.map(([key, value]) => [key, String(value)]))
    .replaceAll(/^/gm, '  ')
    .trimEnd()
    .concat('\n')
}

/** Rows of cells, in columns. */
function table(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(plain))
  const widths: number[] = []
  for (const row of cells) {
    for (const [n, { length }] of row.entries()) widths[n] = Math.max(widths[n] ?? 0, length)
  }
  const line = (row: readonly string[]) => row.map((cell, n) => cell.padEnd(widths[n] as number)).join('  ')
  return cells.map((row) => `${line(row).trimEnd()}\n`).join('')
}

/** Writes to standard output, and waits until it was taken. */
async function print(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()))
  })
}

interface Coded {
  readonly code: string
  readonly message: string
}

function errorLine({ code, message }: Coded): string {
  // What Node.js adds is about programs that have no --help.
  const text = code.startsWith('ERR_PARSE_ARGS') ? `${message.split('. ')[0]}; see --help` : message
  return `${plain(`mmap-ndarray: ${text.startsWith(code) ? text : `${code}: ${text}`}`)}\n`
}

/** The exit code that an error means, after it was said; throws what is a mistake of this program. */
function exitCodeOf(error: unknown): number {
  const { code, cause } = error as Coded & { cause?: unknown }
  if (typeof code !== 'string') throw error
  // Whoever read the output has had enough of it.
  if (code === 'EPIPE') return Number(process.exitCode ?? 0)
  process.stderr.write(errorLine(error as Coded))
  if (code === 'ABORT_ERR') return 128 + (constants.signals[cause as NodeJS.Signals] ?? 0)
  return /^ERR_(INVALID_ARG|OUT_OF_RANGE|PARSE_ARGS)/.test(code) ? 2 : 1
}

// The write that failed says so.
process.stdout.on('error', () => {})
main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = exitCodeOf(error)
})
