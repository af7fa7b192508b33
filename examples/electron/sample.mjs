// A volume to look at where there is no file at hand: waves between two points that move apart from layer to layer.

/**
 * Makes a .npy of float32, layer by layer, so that the window stays alive meanwhile.
 * @param {typeof import('mmap-ndarray').create} create
 * @param {string} path
 * @param {readonly [number, number, number]} shape
 */
export async function makeSample(create, path, shape) {
  const [layers, rows, columns] = shape
  const array = await create(path, { shape, dtype: 'float32' }, { overwrite: true })
  try {
    for (let z = 0; z < layers; z++) {
      const layer = new Float32Array(rows * columns)
      const apart = (columns * (z + 1)) / (3 * layers)
      for (let y = 0, i = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++, i++) {
          const left = Math.hypot(x - columns / 2 + apart, y - rows / 2)
          const right = Math.hypot(x - columns / 2 - apart, y - rows / 2)
          layer[i] = (Math.cos(left / 12) + Math.cos(right / 12)) * Math.exp(-(left + right) / (2 * columns))
        }
      }
      array.pick(z).assign(layer.length === 0 ? 0 : { data: layer, shape: [rows, columns] })
      await new Promise((resolve) => setImmediate(resolve))
    }
    await array.flush()
  } finally {
    array.close()
  }
}
