/** Every block of the README runs, and prints what it says it prints. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { folder, root, run } from './helpers.js'

const text = readFileSync(join(root, 'README.md'), 'utf8')
const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
  language,
  code,
}))
const oxc = import.meta.resolve('@oxc-node/core/register')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

test('there are blocks of TypeScript and of shell commands, and no others', (t) => {
  t.true(blocks.length >= 5)
  t.deepEqual([...new Set(blocks.map(({ language }) => language))].sort(), ['sh', 'ts'])
})

for (const [i, { language, code }] of blocks.entries()) {
  if (language === 'sh') {
    test(`block ${i}: ${code.trim()}`, (t) => {
      // CI runs the test command itself, which comes here; the demo has its own spec.
      for (const command of code.trim().split(' && ')) {
        const [, script] = /^npm run (\S+)$/.exec(command) ?? []
        if (script !== undefined) t.truthy(manifest.scripts[script], command)
        else t.true(['npm ci', 'npm test'].includes(command), command)
      }
    })
    continue
  }
  test(`block ${i}: ${code.split('\n')[0]}`, async (t) => {
    // Inside the project, so that the package's own name resolves to it.
    const home = join(root, '.cache', `readme-${process.pid}-${i}`)
    mkdirSync(home, { recursive: true })
    t.teardown(() => rmSync(home, { recursive: true, force: true }))
    writeFileSync(join(home, 'block.mts'), code)
    const tsconfig = { extends: join(root, 'tsconfig.json'), include: ['block.mts'] }
    writeFileSync(join(home, 'tsconfig.json'), JSON.stringify(tsconfig))
    const checked = await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', home])
    t.is(checked.code, 0, checked.stdout)
    const {
      code: status,
      stdout,
      stderr,
    } = await run(process.execPath, ['--import', oxc, join(home, 'block.mts')], {
      cwd: folder(t),
    })
    t.is(status, 0, stderr)
    // What follows a console.log as a comment, up to the first colon or semicolon, is what it prints; in this order.
    let printed = stdout.replaceAll(/\s+/g, ' ')
    for (const [, comment = ''] of code.matchAll(/console\.log\(.*\)\s*\n?\s*\/\/ ([^:;\n]+)/g)) {
      const promise = comment.trim().replaceAll(/\s+/g, ' ')
      const at = printed.indexOf(promise)
      t.true(at >= 0, `promised ${promise}, printed ${printed}`)
      printed = printed.slice(at + promise.length)
    }
  })
}

test('the demo runs, and cleans up', async (t) => {
  const { code, stdout, stderr } = await run(process.execPath, ['--expose-gc', 'scripts/demo.mjs'], {
    cwd: root,
  })
  t.is(code, 0, stderr)
  t.regex(stdout, /All closed, all temporary files removed/)
  t.notRegex(stdout, /THE FILE CHANGED/)
})
