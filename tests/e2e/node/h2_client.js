// SPDX-License-Identifier: MPL-2.0
// Node's http2 through a CONNECT by hand: arguments are proxy host, proxy port, host, port, requests at once; prints what came of them.
const http = require('http');
const http2 = require('http2');
const tls = require('tls');

const [proxyHost, proxyPort, host, port, many] = process.argv.slice(2);
http.request({host: proxyHost, port: proxyPort, method: 'CONNECT', path: `${host}:${port}`, headers: {host: `${host}:${port}`}}).on('connect', (answer, socket) => {
  if (answer.statusCode !== 200) throw new Error(`CONNECT: ${answer.statusCode}`);
  const createConnection = () => tls.connect({socket, servername: host, ALPNProtocols: ['h2']});
  const session = http2.connect(`https://${host}:${port}`, {createConnection});
  const got = {bytes: 0, trailers: 0, pushed: 0};
  session.on('stream', () => { got.pushed++; });
  let left = Number(many);
  for (let i = 0; i < Number(many); i++) {
    const stream = session.request({':path': '/echo', ':method': 'POST', 'x-number': i});
    stream.on('data', (d) => { got.bytes += d.length; });
    stream.on('close', () => {
      if (--left > 0) return;
      const last = session.request({':path': '/trailers'});
      last.on('trailers', (t) => { got.trailers = t['x-check']; });
      last.on('end', () => { console.log(JSON.stringify(got)); session.close(); });
      last.resume();
    });
    stream.end(Buffer.alloc(100000, 'n'));
  }
}).end();
