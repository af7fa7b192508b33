/** Rows by index, rows by likeness, elements one by one. */
import { floors, mmapIo, numpy, ours, type Part, readSync, type Sizes } from '../case.js'

export const search = (sizes: Sizes): Part[] => [
  {
    title: 'Gathering and searching',
    about: 'All give the rows as new memory, and the same ten rows in the same order.',
    cases: [
      {
        name: 'take 20,000 random rows of 768 float32',
        file: 'float32',
        op: 'take',
        args: { k: 20_000 },
        contenders: [ours(), numpy(), ...floors(sizes), readSync(), mmapIo()],
        targets: { numpy: 1.8, floor: 0.8 },
      },
      {
        name: 'topk, k = 10, 384 float32 a row',
        file: 'matrix',
        op: 'topk',
        args: { k: 10 },
        contenders: [ours(), numpy(), ...floors(sizes), mmapIo()],
        targets: { numpy: 1.3, floor: 0.9 },
      },
      {
        name: 'a million get(i, j)',
        file: 'small',
        op: 'get',
        contenders: [
          ours(),
          { name: 'ndarray (scijs)', peer: 'scijs' },
          { name: '@stdlib/ndarray', peer: 'stdlib' },
        ],
        targets: { 'ndarray (scijs)': 0.5, '@stdlib/ndarray': 4 },
      },
    ],
  },
]
