// SPDX-License-Identifier: MPL-2.0
// A WebSocket of Node through the proxy of HTTPS_PROXY: `node websocket.cjs ws|undici URL`. Says a few things, waits for each to come back, prints what
// came as JSON, closes with 1000.
'use strict';
const http = require('http');
const tls = require('tls');

function tunnel(url) { // a TLS connection through a CONNECT of our own
  const proxy = new URL(process.env.HTTPS_PROXY);
  return new Promise((resolve, reject) => {
    const request = http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: url.host, headers: { Host: url.host } });
    request.on('connect', (response, socket) => resolve(tls.connect({ socket, servername: url.hostname })));
    request.on('error', reject);
    request.end();
  });
}

async function open(kind, url) {
  if (kind === 'undici') {
    const { ProxyAgent, WebSocket } = require('undici');
    return new WebSocket(url, { protocols: ['chat.v1'], dispatcher: new ProxyAgent(process.env.HTTPS_PROXY) });
  }
  const WebSocket = require('ws');
  const socket = await tunnel(new URL(url));
  return new WebSocket(url, ['chat.v1'], { createConnection: () => socket });
}

async function main() {
  const [kind, url] = process.argv.slice(2);
  const ws = await open(kind, url);
  const words = ['hello', 'ä€😀', 'x'.repeat(100000), ''];
  const came = [];
  ws.binaryType = 'arraybuffer';
  ws.onopen = () => ws.send(words[0]);
  ws.onerror = (error) => { console.error(error); process.exit(1); };
  ws.onmessage = (event) => {
    came.push(event.data.length <= 10 ? event.data : event.data.length);
    if (came.length < words.length) ws.send(words[came.length]);
    else ws.close(1000, 'enough');
  };
  ws.onclose = (event) => {
    console.log(JSON.stringify({ came, protocol: ws.protocol, extensions: ws.extensions, code: event.code }));
    process.exit(0);
  };
}

main();
