// Serves the npm package oidc-provider on loopback for one test. Its settings come as one line of JSON on
// stdin, and it ends when stdin does; the line that it prints once it listens says its port.
// The settings' fields are those of type settings in authserver.go.
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
if (!URL.parse) { // which the package needs: Node 22.1 has it, and late ones of 20
  say({ unfit: `node ${process.version} is older than the package needs` });
  process.exit(0);
}

const input = createInterface({ input: process.stdin });
const [line] = await once(input, 'line');
input.on('close', () => process.exit(0));
const settings = JSON.parse(line);
const { default: Provider } = await import(pathToFileURL(`${settings.package}/lib/index.js`).href);

// What the server must remember is in a file, so that it knows its tokens and users after a restart.
// One entry a key; an entry is {payload, until}, until in milliseconds, absent for never.
let entries = new Map();
try {
  entries = new Map(JSON.parse(readFileSync(settings.state, 'utf8')));
} catch (err) {
  if (err.code !== 'ENOENT') throw err;
}
function keep() {
  writeFileSync(`${settings.state}.new`, JSON.stringify([...entries]), { mode: 0o600 });
  renameSync(`${settings.state}.new`, settings.state);
}

class Adapter {
  constructor(model) { this.model = model; }

  at(id) { return `${this.model}:${id}`; }

  first(field, value) {
    for (const [key, { payload, until }] of entries) {
      if (key.startsWith(`${this.model}:`) && payload[field] === value && !(until <= Date.now())) return payload;
    }
    return undefined;
  }

  async upsert(id, payload, seconds) {
    entries.set(this.at(id), { payload, until: seconds ? Date.now() + seconds * 1000 : undefined });
    keep();
  }

  async find(id) {
    const entry = entries.get(this.at(id));
    return entry && !(entry.until <= Date.now()) ? structuredClone(entry.payload) : undefined;
  }

  async findByUid(uid) { return this.first('uid', uid); }

  async findByUserCode(code) { return this.first('userCode', code); }

  async consume(id) {
    entries.get(this.at(id)).payload.consumed = Math.floor(Date.now() / 1000);
    keep();
  }

  async destroy(id) {
    entries.delete(this.at(id));
    keep();
  }

  async revokeByGrantId(grant) {
    for (const [key, { payload }] of entries) {
      if (payload.grantId === grant) entries.delete(key);
    }
    keep();
  }
}

const server = createServer();
server.listen(settings.port, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address();
const issuer = `http://${settings.host}:${port}`;

const client = (about, more) => ({
  client_id: about.ID, client_secret: about.Secret, client_name: about.ID, redirect_uris: settings.redirects,
  grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], scope: settings.scopes.join(' '), ...more,
});

const provider = new Provider(issuer, {
  adapter: Adapter,
  clients: [
    client(settings.basic, { token_endpoint_auth_method: 'client_secret_basic' }),
    client(settings.post, { token_endpoint_auth_method: 'client_secret_post' }),
    client(settings.machine, {
      token_endpoint_auth_method: 'client_secret_basic', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    }),
  ],
  scopes: settings.scopes,
  claims: { email: ['email'] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.test` }) }),
  cookies: { keys: ['a key for tests'] },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
  },
  pkce: { required: () => true },
  issueRefreshToken: (ctx, about) => about.grantTypeAllowed('refresh_token'),
  expiresWithSession: () => false,
  rotateRefreshToken: () => settings.rotate,
  clockTolerance: 0,
  ttl: { AccessToken: settings.ttl, ClientCredentials: settings.ttl, RefreshToken: 86400, Grant: 86400, Session: 3600, Interaction: 600 },
});

// Where browsers may be sent back to: the test may add to it, so what the clients were registered with isn't asked.
provider.Client.prototype.redirectUriAllowed = (uri) => settings.redirects.includes(uri);

// What the test asked for: the next `times` token requests of a kind, or answers to authorization, go wrong.
const broken = { mode: '', times: 0, value: '' };
const counts = {};

function breaks(...modes) {
  if (!modes.includes(broken.mode) || broken.times === 0) return false;
  broken.times -= 1;
  return true;
}

async function control(ctx) {
  const asked = new URL(ctx.href);
  if (asked.searchParams.has('redirect')) {
    settings.redirects.push(asked.searchParams.get('redirect'));
  } else if (ctx.method === 'POST') {
    Object.assign(broken, { mode: asked.searchParams.get('mode'), times: Number(asked.searchParams.get('times')), value: asked.searchParams.get('value') });
  }
  ctx.body = counts;
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/control') return control(ctx);
  if (ctx.path === '/token' && ctx.method === 'POST') return token(ctx, next);
  await next();
  const to = ctx.response.get('location');
  if (!to?.includes('iss=')) return undefined;
  if (breaks('leave')) {
    server.close(); // before the browser has its answer, so that nobody gets through after it
    ctx.set('connection', 'close');
    ctx.res.on('finish', () => process.exit(0));
  } else if (breaks('iss', 'no iss')) {
    const changed = new URL(to);
    changed.searchParams.delete('iss');
    if (broken.mode === 'iss') changed.searchParams.set('iss', broken.value);
    ctx.set('location', changed.href);
  }
  return undefined;
});

async function token(ctx, next) {
  if (breaks('refuse')) {
    counts.refused = (counts.refused ?? 0) + 1;
    ctx.status = 503;
    return;
  }
  await next();
  const grant = ctx.oidc?.params?.grant_type ?? 'unknown';
  counts[grant] = (counts[grant] ?? 0) + 1;
  if (ctx.status !== 200) return;
  // From here on the server has done what it was asked, whatever it answers.
  if (breaks('fail')) {
    ctx.status = 500;
    ctx.body = 'an error after the fact';
  } else if (breaks('drop')) {
    ctx.respond = false;
    ctx.req.socket.destroy();
  } else if (breaks('delay')) {
    await pause(Number(broken.value));
  }
}

server.on('request', provider.callback());
say({ port });
