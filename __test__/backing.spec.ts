/** Where the bytes live: what may be asked for and by whom, what is tried, and that every way is the same array. */
import { join } from 'node:path'
import test from 'ava'
import { type Backing, choose } from '../src/backing.js'
import { attachSync, create, createSync, type MmapArray, MmapError, openSync } from '../src/index.js'
import { fixture, folder, runScript } from './helpers.js'

const npy = fixture('npy', 'v2.npy')
const CHOICES = /'auto', 'external', 'shared', 'wasm', 'window'/

/** What a runtime says that does not have some backings. */
const taking = (refused: Partial<Record<Backing, string>>, tried: Backing[]) => (backing: Backing) => {
  tried.push(backing)
  const code = refused[backing]
  if (code) throw new MmapError(`no ${backing}`, { code: code as 'ERR_TOO_LARGE' })
  return `over ${backing}`
}
const NONE = 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM'
const LARGE = 'ERR_TOO_LARGE'
const decisions: [
  choice: 'auto' | Backing,
  refused: Partial<Record<Backing, string>>,
  tried: Backing[],
  chosen: Backing | RegExp,
][] = [
  ['auto', {}, ['external'], 'external'],
  // Electron.
  ['auto', { external: NONE }, ['external', 'wasm'], 'wasm'],
  // Larger than one memory there.
  ['auto', { external: NONE, wasm: LARGE }, ['external', 'wasm', 'window'], 'window'],
  // Electron on Windows.
  ['auto', { external: NONE, wasm: NONE }, ['external', 'wasm', 'window'], 'window'],
  // Node.js 20 with more than 4 GiB.
  ['auto', { external: LARGE, wasm: LARGE }, ['external', 'wasm', 'window'], 'window'],
  // The best that refused is the one to read about.
  ['auto', { external: LARGE, wasm: NONE, window: NONE }, ['external', 'wasm', 'window'], /no external/],
  // Not a matter of backing.
  ['auto', { external: 'ENOMEM' }, ['external'], /no external/],
  ['shared', { shared: NONE }, ['shared'], /no shared/],
  ['external', { external: LARGE }, ['external'], /no external/],
  ['wasm', {}, ['wasm'], 'wasm'],
  ['wasm', { wasm: LARGE }, ['wasm'], /no wasm/],
  ['window', {}, ['window'], 'window'],
]
for (const [choice, refused, order, chosen] of decisions) {
  test(`${choice} where these refuse: ${JSON.stringify(refused)}`, (t) => {
    const tried: Backing[] = []
    const take = () => choose(choice, taking(refused, tried))
    if (chosen instanceof RegExp) t.throws(take, { message: chosen })
    else t.deepEqual(take(), [chosen, `over ${chosen}`])
    t.deepEqual(tried, order)
  })
}

test('an array that outgrows what it has goes on from there, and never back', (t) => {
  const tried: Backing[] = []
  t.is(choose('auto', taking({ wasm: LARGE }, tried), 'wasm')[0], 'window')
  t.is(choose('auto', taking({}, tried), 'window')[0], 'window')
  t.throws(() => choose('external', taking({ external: LARGE }, tried), 'external'), {
    message: /no external/,
  })
  t.deepEqual(tried, ['wasm', 'window', 'window', 'external'])
})

test('an array says where it lives, also when it is closed', (t) => {
  const a = openSync(npy, { backing: 'external' })
  t.is(a.backing, 'external')
  a.close()
  t.is(a.backing, 'external')
})

test('create and attach take it as open does', async (t) => {
  const path = join(folder(t), 'a.npy')
  const a = createSync(path, [1, 2], { backing: 'external' })
  t.is(a.backing, 'external')
  const b = attachSync(a.toHandle(), { backing: 'external' })
  t.is(b.backing, 'external')
  const wrong = { code: 'ERR_INVALID_ARG_VALUE', message: CHOICES }
  t.throws(() => attachSync(a.toHandle(), { backing: 'disk' as 'auto' }), wrong)
  await t.throwsAsync(create(path, [1], { backing: 'disk' as 'auto' }), wrong)
  t.throws(() => attachSync(a.toHandle(), { mode: 'r' } as never), { code: 'ERR_INVALID_ARG_VALUE' })
  for (const each of [a, b]) each.close()
})

const environments: [value: string | undefined, says: string][] = [
  ['', 'external external external'],
  ['auto', 'external external external'],
  ['external', 'external external external'],
  ['window', 'window external window'],
  ['disk', 'ERR_INVALID_ARG_VALUE external ERR_INVALID_ARG_VALUE'],
]
for (const [value, says] of environments) {
  test(`MMAP_NDARRAY_BACKING=${value}: is asked where no option says anything`, async (t) => {
    const script = `
      import { openSync } from 'mmap-ndarray'
      process.env.MMAP_NDARRAY_BACKING = process.argv[2]
      const said = (options) => {
        try { return openSync(process.argv[1], options).backing } catch (error) { return error.code }
      }
      console.log(said(), said({ backing: 'external' }), said({ shared: false }))`
    t.like(await runScript(script, npy, value ?? ''), { stdout: `${says}\n`, stderr: '', code: 0 })
  })
}

/** What asks for the buffer, and what does without. */
const asks: [name: string, work: string, asks: boolean, mode?: string][] = [
  ['nothing', '', false],
  ['what it is', 'a.shape, a.nbytes, a.toJSON(), a.backing, a.toHandle(), a.isStale()', false],
  ['views', "a.slice('::2').T, a.lo(5)", false],
  ['native work', 'a.sumSync(), a.slice(5).meanSync(), a.takeSync([1, 2])', false],
  ['a few elements', 'for (let i = 0; i < 16; i++) a.get(i)', false],
  ['close', 'a.close()', false],
  ['many elements', 'for (let i = 0; i < 17; i++) a.get(i)', true],
  ['data', 'a.data', true],
  ['data of a view', 'a.slice(5).data', true],
  ['a typed array', 'a.lo(5).toTypedArray()', true],
  ['the prospect of stores', '', true, 'r+'],
]
test('the buffer is made when something asks for it', async (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [2 ** 26], dtype: 'float32' }, { reserve: false }).close()
  const script = `
    import { openSync } from 'mmap-ndarray'
    // What the runtime allows is known from the first one.
    const first = openSync(${JSON.stringify(npy)})
    for (const [, work, , mode] of JSON.parse(process.argv[2])) {
      gc()
      const { external } = process.memoryUsage()
      const a = openSync(process.argv[1], { backing: 'external', mode: mode ?? 'r' })
      new Function('a', work)(a)
      console.log(process.memoryUsage().external - external >= 2 ** 28)
      a.close()
    }`
  const ended = await runScript(script, path, JSON.stringify(asks))
  t.like(ended, { stderr: '', code: 0 })
  const said = ended.stdout.trim().split('\n')
  t.deepEqual(
    asks.map(([name], i) => [name, said[i]]),
    asks.map(([name, , asks]) => [name, `${asks}`]),
  )
})

test('elements before and after the buffer is made are the same, stores in between as well', (t) => {
  for (const dtype of ['float64', 'int64', 'bool', 'float16', '>i2'] as const) {
    const path = join(folder(t), 'a.raw')
    const shape = [2 ** 24]
    const made = { shape, dtype: dtype === '>i2' ? 'int16' : dtype }
    createSync(path, made, { format: 'raw', reserve: false }).close()
    const [writer, a, b] = [{ mode: 'r+' } as const, {}, {}].map((more) =>
      openSync(path, { format: 'raw', dtype, shape, backing: 'external', ...more }),
    ) as [MmapArray, MmapArray, MmapArray]
    for (let i = 0; i < 50; i++) writer.set(i, (dtype === 'int64' ? BigInt(i) : i % 2) as never)
    const all = writer.hi(50).toArray() as unknown[]
    const seen = Array.from({ length: 50 }, (_, i) => a.get(i))
    t.deepEqual(seen as unknown[], all)
    t.is(b.get(49), all[49] as number)
    writer.set(49, writer.get(48) as never)
    t.deepEqual([b.get(49), a.get(49)] as unknown[], [all[48], all[48]])
    t.throws(() => b.get(2 ** 24), { code: 'ERR_OUT_OF_RANGE' })
    for (const each of [writer, a, b]) each.close()
    for (const each of [a, b]) t.throws(() => each.get(0), { code: 'ERR_CLOSED' })
  }
})

test('elements of a file that somebody else has made shorter are zeros, before the buffer is made as after', (t) => {
  const path = join(folder(t), 'a.npy')
  createSync(path, { shape: [2 ** 22], dtype: 'float64', fill: 7 }).close()
  const a = openSync(path, { backing: 'external' })
  const b = attachSync(a.toHandle(), { backing: 'external' })
  const writer = openSync(path, { mode: 'r+' })
  writer.resizeSync(1000)
  writer.close()
  b.refresh()
  const seen = () => [a.get(5), a.get(2_000_000)]
  t.deepEqual(seen(), [7, 0])
  t.is(a.data.length, 2 ** 22)
  t.deepEqual(seen(), [7, 0])
  for (const each of [b, a]) each.close()
})
