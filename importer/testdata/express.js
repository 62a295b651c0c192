// Makes express.json, with a Redis on its usual port:
//   npm install express@5 express-session@1.19 connect-redis@9 session-file-store@1.5 redis@5 && node express.js
const express = require('express')
const session = require('express-session')
const { RedisStore } = require('connect-redis')
const { createClient } = require('redis')
const FileStore = require('session-file-store')(session)
const fs = require('fs')
const os = require('os')
const path = require('path')

// visit returns the cookie of a session that one request made.
async function visit(store, maxAge) {
  const app = express()
  app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false, cookie: { maxAge } }))
  app.get('/', (req, res) => {
    Object.assign(req.session, { user_id: 42, name: 'ada', cart: [{ sku: 'é1', n: 2 }] })
    req.session.save(() => res.end('ok'))
  })
  const server = app.listen(0)
  await new Promise(resolve => server.on('listening', resolve))
  const response = await fetch(`http://127.0.0.1:${server.address().port}`)
  server.close()
  return response.headers.getSetCookie()[0].split(';')[0].slice('connect.sid='.length)
}

async function main() {
  const out = {}
  const client = await createClient().connect()
  for (const [name, maxAge] of [['connect-redis', 3600000], ['connect-redis without maxAge', undefined]]) {
    const cookie = await visit(new RedisStore({ client }), maxAge)
    const key = 'sess:' + decodeURIComponent(cookie).slice(2).split('.')[0]
    out[name] = { cookie, key, value: await client.get(key), ttl: await client.ttl(key) }
  }
  for (const [name, maxAge, options] of [
    ['session-file-store', 3600000, {}],
    ['session-file-store without maxAge', undefined, {}],
    ['session-file-store encrypted', 3600000, { secret: 's3cret pass phrase of length 32!' }]
  ]) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sessions-'))
    const cookie = await visit(new FileStore({ path: dir, logFn() {}, reapInterval: -1, ...options }), maxAge)
    const files = fs.readdirSync(dir).map(name => [name, fs.readFileSync(path.join(dir, name), 'utf8')])
    out[name] = { cookie, files: Object.fromEntries(files) }
  }
  fs.writeFileSync('express.json', JSON.stringify(out, null, 1) + '\n')
  process.exit(0)
}
main()
