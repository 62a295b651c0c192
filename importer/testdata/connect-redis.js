// Makes connect-redis.json of the connect-redis in node_modules, with a Redis on its usual port. In a folder for each:
//   npm install express@5 express-session@1.19 connect-redis@6 redis@3 && node connect-redis.js
//   npm install express@5 express-session@1.19 connect-redis@7 redis@4 && node connect-redis.js
//   npm install express@5 express-session@1.19 connect-redis@9 redis@5 && node connect-redis.js
// and what they print is joined into one file by hand.
const express = require('express')
const session = require('express-session')
const version = require('./node_modules/connect-redis/package.json').version
const connect = require('connect-redis')
const redis = require('redis')

// store returns a store of the version, and a function that reads a key.
async function store(prefix) {
  const client = redis.createClient()
  if (version.startsWith('6.')) {
    const RedisStore = connect(session)
    const read = cmd => key => new Promise((resolve, reject) => client[cmd](key, (e, v) => (e ? reject(e) : resolve(v))))
    return [new RedisStore({ client, prefix }), read('get'), read('ttl')]
  }
  await client.connect()
  const RedisStore = connect.RedisStore || connect.default
  return [new RedisStore({ client, prefix }), key => client.get(key), key => client.ttl(key)]
}

async function main() {
  const out = {}
  for (const [name, prefix, genid] of [
    ['usual', 'sess:', undefined],
    ['a genid of its own, no prefix', '', () => 'u:1/a+b.c=%2F é'.slice(0, 13)]
  ]) {
    const [s, get, ttl] = await store(prefix)
    const app = express()
    app.use(session({ store: s, secret: 'keyboard cat', resave: false, saveUninitialized: false, genid, cookie: { maxAge: 3600000 } }))
    let id
    app.get('/', (req, res) => {
      id = req.sessionID
      Object.assign(req.session, { user_id: 42, name: 'ada', cart: [{ sku: 'é1', n: 2 }] })
      req.session.save(() => res.end('ok'))
    })
    const server = app.listen(0)
    await new Promise(resolve => server.on('listening', resolve))
    const response = await fetch(`http://127.0.0.1:${server.address().port}`)
    server.close()
    const cookie = response.headers.getSetCookie()[0].split(';')[0].slice('connect.sid='.length)
    const key = prefix + id
    out[`connect-redis ${version}, ${name}`] = { cookie, prefix, key, value: await get(key), ttl: await ttl(key) }
  }
  console.log(JSON.stringify(out, null, 1))
  process.exit(0)
}
main()
