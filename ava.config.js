/** How ava runs the specs: each file in a process of its own, for what they do to a process is what they are about. */
export default {
  files: ['__test__/**/*.spec.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=@oxc-node/core/register', '--expose-gc'],
  workerThreads: false,
  timeout: '120s',
}
