// SPDX-License-Identifier: MPL-2.0
// WebSockets over Node's http2 (RFC 8441), their frames by `ws`, in either role.
//   server '{"cert": F, "key": F, "connect": bool, "http1": bool, "http2": bool}': prints its port, then a JSON line for each request and each end.
//     Without `connect` extended CONNECT is not announced; with `http1` there is HTTP/1.1 with Upgrade, too, without `http2` that alone.
//   client PROXY_HOST PROXY_PORT HOST PORT: through a CONNECT by hand; says a few things, prints what came back.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');
const tls = require('tls');
const WebSocket = require('ws');

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');

function over(duplex, isServer) { // a WebSocket on a stream that is open
  const ws = new WebSocket(null, undefined, { autoPong: true });
  ws._isServer = isServer;
  ws.setSocket(duplex, Buffer.alloc(0), { allowSynchronousEvents: true, maxPayload: 0, skipUTF8Validation: false });
  ws.on('error', () => {});
  return ws;
}

const piece = Buffer.alloc(1 << 16, 'the quick brown fox jumps over the lazy dog; ');

function both(ws, size) { // sends so many bytes and takes as many, at once
  const sum = crypto.createHash('sha256');
  let got = 0, sent = 0;
  const finish = () => { if (got === size && sent === size) ws.send(JSON.stringify({ sha256: sum.digest('hex') })); };
  const send = () => {
    const part = piece.subarray(0, Math.min(piece.length, size - sent));
    ws.send(part, (error) => { sent += part.length; if (!error && sent < size) send(); else finish(); });
  };
  ws.on('message', (data) => { sum.update(data); got += data.length; finish(); });
  send();
}

function talk(ws, url, stream) {
  const [, name, arg] = url.split('?')[0].split('/');
  ws.on('close', (code, reason) => say({ ended: url, code, reason: reason.toString() }));
  if (name === 'both') return both(ws, Number(arg));
  if (name === 'pour') return both(ws, Number(arg));
  if (name === 'reset') return stream.close ? stream.close(Number(arg)) : stream.resetAndDestroy();
  if (name === 'cut') return (stream.session || stream).destroy();
  if (name === 'leave') return ws.close(4001, 'enough');
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
}

// It asks for /done?... when it is over; /wait keeps it from being loaded before.
const page = `<!doctype html><meta charset=utf-8><title>waiting</title><body><img src=/wait><script>
const words = ['one', 'two', 'x'.repeat(70000)];
let n = 0;
const ws = new WebSocket('wss://' + location.host + '/chat');
ws.onopen = () => ws.send(words[0]);
ws.onmessage = (e) => { if (e.data === words[n]) n++; if (n < words.length) ws.send(words[n]); else ws.close(4001, 'done'); };
ws.onclose = (e) => fetch('/done?' + n + '-' + e.code + '-' + e.wasClean);
</script></body>`;
const waiting = [];

function serveFile(stream, url) {
  if (url === '/wait') { waiting.push(stream); return; }
  for (const one of [stream, ...(url.startsWith('/done') ? waiting.splice(0) : [])]) {
    one.respond({ ':status': 200, 'content-type': 'text/html' });
    one.end(url === '/page' ? page : 'hello');
  }
}

function serve(options) {
  const settings = { enableConnectProtocol: options.connect, maxConcurrentStreams: 1000 };
  const secret = { cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) };
  const server = options.http2 === false ? https.createServer(secret) : http2.createSecureServer({ settings, ...secret, allowHTTP1: options.http1 || false });
  const upgrades = new WebSocket.Server({ noServer: true, handleProtocols: (offered) => [...offered][0] });
  server.on('stream', (stream, headers) => {
    const url = headers[':path'];
    say({ url, method: headers[':method'], protocol: headers[':protocol'] || '', key: headers['sec-websocket-key'] || '', version: '2' });
    stream.on('error', () => {});
    stream.on('close', () => say({ closed: url, rst: stream.rstCode }));
    if (headers[':method'] !== 'CONNECT') return serveFile(stream, url);
    if (url.startsWith('/refuse')) { stream.respond({ ':status': 403 }); stream.end('no'); return; }
    if (url.startsWith('/silent')) return;
    if (url.startsWith('/reset-first')) { stream.close(http2.constants.NGHTTP2_CANCEL); return; }
    stream.respond({ ':status': 200, ...(headers['sec-websocket-protocol'] ? { 'sec-websocket-protocol': headers['sec-websocket-protocol'].split(',')[0] } : {}) });
    talk(over(stream, true), url, stream);
  });
  server.on('upgrade', (request, socket, head) => {
    say({ url: request.url, method: request.method, protocol: request.headers.upgrade, key: request.headers['sec-websocket-key'], version: '1.1' });
    upgrades.handleUpgrade(request, socket, head, (ws) => talk(ws, request.url, socket));
  });
  server.on('sessionError', () => {});
  server.on('session', (s) => s.on('error', () => {}));
  server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
}

function ask(proxyHost, proxyPort, host, port) {
  const target = `${host}:${port}`;
  http.request({ host: proxyHost, port: proxyPort, method: 'CONNECT', path: target, headers: { host: target } }).on('connect', (answer, socket) => {
    const session = http2.connect(`https://${target}`, { createConnection: () => tls.connect({ socket, servername: host, ALPNProtocols: ['h2'] }) });
    session.on('remoteSettings', (settings) => {
      if (!settings.enableConnectProtocol) throw new Error('extended CONNECT is not announced');
      const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', ':scheme': 'https', ':authority': target,
                                       'sec-websocket-version': '13', 'sec-websocket-protocol': 'chat.v1' });
      stream.on('response', (headers) => {
        const words = ['hello', 'ä€😀', 'x'.repeat(100000), ''], came = [];
        const ws = over(stream, false);
        ws.on('message', (data) => {
          came.push(data.length <= 20 ? data.toString() : data.length);
          if (came.length < words.length) ws.send(words[came.length]);
          else ws.close(1000, 'enough');
        });
        ws.on('close', (code) => {
          say({ status: headers[':status'], protocol: headers['sec-websocket-protocol'], accept: headers['sec-websocket-accept'] || '', came, code });
          session.close();
        });
        ws.send(words[0]);
      });
    });
  }).end();
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'server') serve(JSON.parse(rest[0]));
else ask(...rest);
