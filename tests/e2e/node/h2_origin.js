// SPDX-License-Identifier: MPL-2.0
// An origin of HTTP/2 (and 1.1 where ALPN lets it), over TLS or in clear text. Prints its port, then one JSON line for each request that
// has come and for each end of one. node h2_origin.js '{"cert": F, "key": F, "http1": bool}'; without cert: h2c with prior knowledge, or
// with http1: HTTP/1.1 alone.
const http = require('http');
const http2 = require('http2');
const fs = require('fs');
const crypto = require('crypto');

const options = JSON.parse(process.argv[2]);
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const block = Buffer.alloc(1 << 16, 'the quick brown fox jumps over the lazy dog; ');
let requests = 0;

function send(res, left) {
  while (left > 0) {
    const piece = block.subarray(0, Math.min(left, block.length));
    left -= piece.length;
    if (!res.write(piece)) {
      res.once('drain', () => send(res, left));
      return;
    }
  }
  res.end();
}

const routes = {
  hello: (req, res) => res.end('hello over ' + req.httpVersion + '\n'),
  bytes: (req, res, n) => { res.setHeader('content-length', n); send(res, Number(n)); },
  stream: (req, res, n) => send(res, Number(n)),
  upload: (req, res) => {
    const sum = crypto.createHash('sha256');
    let size = 0;
    req.on('data', (d) => { size += d.length; sum.update(d); });
    req.on('end', () => res.end(JSON.stringify({size, sha256: sum.digest('hex'), trailers: req.trailers})));
  },
  echo: (req, res) => { res.writeHead(200); req.pipe(res); },
  trailers: (req, res) => {
    res.writeHead(200, {trailer: 'x-check'});
    res.write('body\n');
    res.addTrailers({'x-check': 'done', 'grpc-status': '0'});
    res.end();
  },
  early: (req, res) => { res.writeEarlyHints({link: '</a.css>; rel=preload'}); res.end('late\n'); },
  reset: (req, res, code) => { res.write('half'); setTimeout(() => req.stream.close(Number(code)), 20); },
  refuse: (req, res, n) => { // the first n of them
    if (++refused <= Number(n)) req.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    else res.end('taken\n');
  },
  goaway: (req, res) => { const session = req.stream.session; res.on('close', () => session.goaway()); res.end('bye\n'); },
  hold: () => {},
  head: (req, res) => res.end(JSON.stringify(req.headers) + '\n'),
  cut: (req, res) => { res.write('half'); setTimeout(() => (req.stream ? req.stream.session : req).destroy(), 20); },
};
let refused = 0;

function handle(req, res) {
  const number = ++requests;
  const [, name, arg] = req.url.split('?')[0].split('/');
  say({number, method: req.method, url: req.url, version: req.httpVersion, authority: req.headers[':authority'] || req.headers.host,
       session: req.stream ? sessions.get(req.stream.session) || sessions.get(req.stream.session.socket) : sessions.get(req.socket)});
  req.on('error', () => {});
  res.on('error', () => {});
  res.on('close', () => say({closed: number, code: req.stream ? req.stream.rstCode : 0}));
  (routes[name] || ((q, r) => { r.statusCode = 404; r.end('nothing\n'); }))(req, res, arg);
}

const sessions = new Map();
const settings = {settings: Object.assign({maxConcurrentStreams: 1000}, options.settings)};
const tls = options.cert && {cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key), allowHTTP1: options.http1 || false};
const server = tls ? http2.createSecureServer({...settings, ...tls}, handle)
  : options.http1 ? http.createServer(handle) : http2.createServer(settings, handle);
server.on(!options.http1 ? 'session' : tls ? 'secureConnection' : 'connection', (s) => { sessions.set(s, sessions.size + 1); s.on('error', () => {}); });
server.on('sessionError', () => {});
server.on('clientError', () => {});
server.listen(0, '127.0.0.1', () => say({port: server.address().port}));
