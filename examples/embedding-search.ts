// Which of many texts is nearest to a question? Their embeddings lie in a file; none of them is ever loaded.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, open } from 'mmap-ndarray'

const TOPICS = ['birds', 'bread', 'boats', 'bells']
const ROWS = 20_000
const WIDTH = 256

/** Numbers from -0.5 to 0.5 that look random and are the same each time. */
let state = 1
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 32 - 0.5
}

const folder = mkdtempSync(join(tmpdir(), 'embedding-search-'))
try {
  // A model would make these: each text lies near the direction of its topic.
  const directions = TOPICS.map(() => Float32Array.from({ length: WIDTH }, random))
  const embed = (topic: number) => (directions[topic] as Float32Array).map((x) => x + 0.8 * random())

  const path = join(folder, 'embeddings.npy')
  const made = await create(path, { shape: [ROWS, WIDTH], dtype: 'float32' })
  for (let row = 0; row < ROWS; row++)
    made
      .pick(row)
      .toTypedArray()
      .set(embed(row % TOPICS.length))
  await made.flush()
  made.close()

  const embeddings = await open(path, { dtype: 'float32' })
  console.log(`${ROWS} embeddings of ${WIDTH} numbers, ${(embeddings.nbytes / 2 ** 20).toFixed(1)} MiB`)

  const question = embed(TOPICS.indexOf('boats'))
  const { indices, scores } = await embeddings.topk(question, 5, { metric: 'cosine' })
  for (const [place, row] of indices.entries()) {
    console.log(`  ${TOPICS[row % TOPICS.length]}, text ${row}: ${scores[place]?.toFixed(3)}`)
  }

  // The winners as a matrix of their own, to be handed to a model that ranks them again.
  const best = await embeddings.take(indices)
  console.log(`${best.shape.join(' x ')} in memory, the rest on the disk`)
  embeddings.close()
} finally {
  rmSync(folder, { recursive: true })
}
