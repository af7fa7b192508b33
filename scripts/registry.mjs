// A registry of a few packages on the loopback: what `npm install` asks for, and no more.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

const digest = (algorithm, bytes, encoding) => createHash(algorithm).update(bytes).digest(encoding)

/** Serves every tarball of `folder`; `requests` has the path of each request that was made. */
export async function serve(folder) {
  const [packages, tarballs, requests] = [new Map(), new Map(), []]
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname)
    requests.push(path)
    const tarball = tarballs.get(path)
    const found = tarball ?? packages.get(path.slice(1))
    response.writeHead(found ? 200 : 404, {
      'content-type': tarball ? 'application/octet-stream' : 'application/json',
    })
    response.end(tarball ?? JSON.stringify(found ?? { error: 'not found' }))
  })
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  const url = `http://127.0.0.1:${server.address().port}`
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.tgz'))) {
    const [file, bytes] = [join(folder, name), readFileSync(join(folder, name))]
    const text = execFileSync('tar', ['-xzOf', file, 'package/package.json'], { encoding: 'utf8' })
    const manifest = JSON.parse(text)
    tarballs.set(`/-/${name}`, bytes)
    manifest.dist = {
      tarball: `${url}/-/${name}`,
      integrity: `sha512-${digest('sha512', bytes, 'base64')}`,
      shasum: digest('sha1', bytes, 'hex'),
    }
    packages.set(manifest.name, {
      name: manifest.name,
      'dist-tags': { latest: manifest.version },
      versions: { [manifest.version]: manifest },
    })
  }
  return { url, requests, close: () => server.close() }
}
