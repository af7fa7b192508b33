/** Each example runs, prints what examples/README.md shows, and leaves nothing behind. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { folder, root, run } from './helpers.js'

const readme = readFileSync(join(root, 'examples', 'README.md'), 'utf8')
const shown = new Map<string, string>()
for (const [, command = '', output = ''] of readme.matchAll(/^\$ node (\S+)\n((?:(?!\$ |```).*\n)*)/gm)) {
  shown.set(command, output)
}
const examples = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'))

test('every example is shown, and no other', (t) => {
  t.deepEqual([...shown.keys()].sort(), examples.map((name) => `examples/${name}`).sort())
})

for (const name of examples) {
  test(name, async (t) => {
    const oxc = import.meta.resolve('@oxc-node/core/register')
    const temp = folder(t)
    const env = { ...process.env, TMPDIR: temp, TEMP: temp, TMP: temp }
    const path = join(root, 'examples', name)
    const { code, stdout, stderr } = await run(process.execPath, ['--import', oxc, path], { cwd: temp, env })
    t.is(code, 0, stderr)
    t.is(stdout, shown.get(`examples/${name}`) as string)
    t.deepEqual(readdirSync(temp), [])
  })
}
