/**
 * Every block of the README and of docs/ is type-checked, runs, and prints what it says it prints; every link leads somewhere.
 *
 * A console block shows the command line at work on the files of the block of TypeScript before it.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { folder, root, run } from './helpers.js'

const pages = [
  'README.md',
  ...['docs', 'examples'].flatMap((name) => {
    const found = existsSync(join(root, name)) ? readdirSync(join(root, name)) : []
    return found.filter((file) => file.endsWith('.md')).map((file) => `${name}/${file}`)
  }),
]
const read = (page: string) => readFileSync(join(root, page), 'utf8')
// Those of the examples are what the examples print (examples.spec.ts), those of the benchmarks what a run of them printed.
const blocks = pages
  .filter((page) => !page.startsWith('examples/') && page !== 'docs/benchmarks.md')
  .flatMap((page) =>
    [...read(page).matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', code = ''], i) => ({
      page,
      language,
      code,
      file: `${page.replaceAll(/\W/g, '-')}-${i}.mts`,
    })),
  )
const oxc = import.meta.resolve('@oxc-node/core/register')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

test('blocks are of languages that are checked here, and some of each page', (t) => {
  for (const { page, language, code } of blocks) {
    t.true(['ts', 'sh', 'console', 'rust'].includes(language), `${page}: ${language} ${code}`)
  }
  t.is(blocks[0]?.page, 'README.md')
})

// Inside the project, so that the package's own name resolves to it, and not behind a link, which would lead elsewhere.
const home = join(root, 'target', `docs-${process.pid}`)
const bin = join(home, 'bin')
let problems = ''

test.before(async () => {
  mkdirSync(bin, { recursive: true })
  for (const { language, file, code } of blocks) if (language === 'ts') writeFileSync(join(home, file), code)
  const tsconfig = { extends: join(root, 'tsconfig.json'), include: ['*.mts'] }
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify(tsconfig))
  problems = (await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', home])).stdout
  writeFileSync(
    join(bin, 'mmap-ndarray'),
    `#!/bin/sh\nexec '${process.execPath}' '${root}/dist/cli.js' "$@"\n`,
  )
  chmodSync(join(bin, 'mmap-ndarray'), 0o755)
})
test.after.always(() => rmSync(home, { recursive: true, force: true }))

test('blocks of TypeScript have the types that they should', (t) => {
  t.is(problems, '')
})

for (const [i, { page, language, code, file }] of blocks.entries()) {
  const title = `${page}: ${code.split('\n')[0]} (${i})`
  if (language === 'sh') {
    test(title, (t) => {
      // CI runs the test command itself, which comes here; the demo has its own test.
      for (const command of code.trim().split(/ && |\n/)) {
        const [, script] = /^npm run (\S+)$/.exec(command) ?? []
        if (script !== undefined) t.truthy(manifest.scripts[script], command)
        else t.true(['npm ci', 'npm test'].includes(command), command)
      }
    })
  } else if (language === 'rust') {
    test(title, (t) => {
      const lib = readFileSync(join(root, 'crates/core/src/lib.rs'), 'utf8')
      t.true(lib.includes(`include_str!("../../../${page}")`), 'cargo test runs it')
    })
  } else if (language === 'ts') {
    test(title, async (t) => {
      const cwd = folder(t)
      const {
        code: status,
        stdout,
        stderr,
      } = await run(process.execPath, ['--import', oxc, join(home, file)], { cwd })
      t.is(status, 0, stderr)
      // What follows a console.log as a comment, up to the first colon or semicolon, is what it prints; in this order.
      let printed = stdout.replaceAll(/\s+/g, ' ')
      for (const [, comment = ''] of code.matchAll(/console\.log\(.*\)\s*\n?\s*\/\/ ([^:;\n]+)/g)) {
        const promise = comment.trim().replaceAll(/\s+/g, ' ')
        const at = printed.indexOf(promise)
        t.true(at >= 0, `promised ${promise}, printed ${printed}`)
        printed = printed.slice(at + promise.length)
      }
      if (process.platform === 'win32') return
      for (const next of blocks.slice(i + 1)) {
        if (next.page !== page || next.language !== 'console') break
        for (const [, command = '', output = ''] of next.code.matchAll(/^\$ (.*)\n((?:(?!\$ ).*\n)*)/gm)) {
          const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
          const ended = await run('sh', ['-c', command], { cwd, env })
          t.is(ended.stdout + ended.stderr, output, command)
        }
      }
    })
  }
}

test('every console block has a block of TypeScript before it', (t) => {
  for (const [i, { page, language, code }] of blocks.entries()) {
    const before = blocks[i - 1]
    if (language === 'console') t.true(before?.page === page && /^(ts|console)$/.test(before.language), code)
  }
  t.true(blocks.some(({ language }) => language === 'console'))
})

test('every link inside the project leads to a file, and to a heading of it', (t) => {
  const headings = (page: string) =>
    [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
      text
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    )
  for (const page of [...pages, 'CONTRIBUTING.md', 'SAFETY.md']) {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', heading] = target.split('#')
      const linked = path === '' ? page : join(dirname(page), path).replaceAll('\\', '/')
      t.true(existsSync(join(root, linked)), `${page} links to ${target}`)
      if (heading !== undefined) t.true(headings(linked).includes(heading), `${page} links to ${target}`)
    }
  }
})

test('the demo runs, and cleans up', async (t) => {
  const { code, stdout, stderr } = await run(process.execPath, ['--expose-gc', 'scripts/demo.mjs'], {
    cwd: root,
  })
  t.is(code, 0, stderr)
  t.regex(stdout, /All closed, all temporary files removed/)
  t.notRegex(stdout, /THE FILE CHANGED/)
})
