// A callee in JavaScript, with nothing but Node: node callee.mjs PORT SERVICE whsec_…
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const [port, service, secret] = process.argv.slice(2)
const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
const answers = new Map() // by webhook-id: null while a call is at work, its answer once that is final
const running = new Map() // by webhook-id: what cancels a call

class Failed extends Error { // the result, and whether another attempt is useless
  constructor (result, isFinal) { super(); Object.assign(this, { result, isFinal }) }
}

function isSigned (headers, body) {
  const [id, at, signatures] = ['id', 'timestamp', 'signature'].map(name => headers[`webhook-${name}`] ?? '')
  if (!/^[0-9]{1,12}$/.test(at) || Math.abs(Date.now() / 1000 - Number(at)) > 300) return false
  const good = Buffer.from('v1,' + createHmac('sha256', key).update(`${id}.${at}.`).update(body).digest('base64'))
  return signatures.split(' ').map(one => Buffer.from(one))
    .filter(one => one.length === good.length && timingSafeEqual(one, good)).length > 0
}

// Returns [status, document, headers].
async function answer (headers, body) {
  if (!isSigned(headers, body)) return [401, { error: { error: 'not signed with the secret of this service, or not now' } }]
  let call
  try { call = JSON.parse(body) } catch { return [400, { error: { error: 'the body is not JSON' } }] }
  if (!call || !['jabba.call', 'jabba.cancel'].includes(call.type) || !Array.isArray(call.args)) return [400, { error: { error: 'the body is not a call' } }]
  if (call.service !== service) return [403, { error: { error: `only calls of ${service}` } }]
  const id = headers['webhook-id']
  if (call.type === 'jabba.cancel') {
    running.get(id)?.abort()
    return [200, { ok: { cancelled: running.has(id) } }]
  }
  const name = `${call.module}.${call.function}`
  if (!Object.hasOwn(functions, name)) return [404, { error: { error: 'unknown callback' } }]
  if (answers.has(id)) return answers.get(id) ?? [409, { error: { error: 'at work' } }, { 'retry-after': '1' }]
  answers.set(id, null)
  running.set(id, new AbortController())
  const said = await run(functions[name], id, call.args)
  running.delete(id)
  // Only what must not happen twice is kept; in production, in a database.
  if (said[1].ok || said[2]) answers.set(id, said); else answers.delete(id)
  return said
}

async function run (f, id, args) {
  try {
    return [200, { ok: await f({ id, cancelled: running.get(id).signal }, ...args) }]
  } catch (error) {
    if (error instanceof Failed) return [200, { error: error.result }, error.isFinal ? { 'jabba-retry': 'no' } : undefined]
    return [200, { raised: { error: `${error.name}: ${error.message}` } }]
  }
}

createServer(async (request, response) => {
  const chunks = []
  let size = 0
  for await (const chunk of request) if ((size += chunk.length) <= 2 << 20) chunks.push(chunk)
  const large = [413, { error: { error: 'more than 2 MiB' } }]
  const [status, document, headers] = size > 2 << 20 ? large : await answer(request.headers, Buffer.concat(chunks))
  response.writeHead(status, { 'content-type': 'application/json', 'jabba-answer': '1', ...headers })
  response.end(JSON.stringify(document))
}).listen(Number(port), '127.0.0.1')

// The functions of this service: they get the call and the arguments. Those of jabba.check are for tests.
const runs = new Map()
function count (id) { runs.set(id, (runs.get(id) ?? 0) + 1); return runs.get(id) }

const functions = {
  'invoices.charge': (call, order, amount) => ({ charged: amount }),
  'jabba.check.echo': (call, value) => ({ value, runs: count(call.id) }),
  'jabba.check.fail': (call, retry) => { throw new Failed({ runs: count(call.id) }, !retry) },
  'jabba.check.busy': async (call, seconds) => {
    await sleep(seconds * 1000, null, { signal: call.cancelled }).catch(() => {})
    return { cancelled: call.cancelled.aborted, runs: count(call.id) }
  }
}
