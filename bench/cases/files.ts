/** What happens to files: creating, opening, writing to private copies. */
import {
  type Args,
  floor,
  mmapIo,
  numpy,
  ours,
  type Part,
  readFile,
  readSync,
  type Sizes,
  seed,
} from '../case.js'

/** One page in a thousand, in elements of float32. */
const STEP = 4096 * 250

export function files({ size }: Sizes): Part[] {
  const count = size / 4
  const many: Args = { times: 1000 }
  return [
    {
      title: 'Files',
      about:
        'Opening and the first write are the fastest of a thousand, the array anew each time (the seed: of two).',
      cases: [
        {
          name: 'create by shape, fill, flush',
          file: 'small',
          op: 'create',
          args: { count },
          contenders: [ours(), numpy(), floor(), seed(), readSync({ name: 'fs.writeSync' })],
          targets: { numpy: 1.2, floor: 0.9 },
        },
        {
          name: 'open, first element, close',
          file: 'float32',
          op: 'open',
          args: many,
          contenders: [ours(), numpy(), floor(), seed(), mmapIo(), readSync()],
          targets: { numpy: 2, floor: 0.33 },
        },
        {
          name: 'read all, first element',
          file: 'float32',
          op: 'open',
          args: { times: 1 },
          contenders: [ours(), readFile()],
        },
        {
          name: 'first copy-on-write write',
          file: 'float32',
          op: 'cow',
          args: many,
          contenders: [ours(), numpy(), floor(), seed(), mmapIo()],
          targets: { numpy: 1, floor: 0.5, seed: 50_000 },
        },
        {
          name: 'open, write to a page in a thousand, copy-on-write',
          file: 'float32',
          op: 'edit',
          args: { step: STEP, count },
          contenders: [ours(), numpy(), floor(), seed(), mmapIo()],
        },
        {
          name: 'open a sparse file of 10 GiB',
          file: 'sparse',
          op: 'openLarge',
          // Node.js 20 has no buffers that large.
          contenders: [
            ours({ mayFail: true }),
            numpy(),
            readFile({ mayFail: true }),
            mmapIo({ mayFail: true }),
          ],
        },
      ],
    },
  ]
}
