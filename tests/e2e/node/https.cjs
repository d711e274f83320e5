// SPDX-License-Identifier: MPL-2.0
// Node's own https with a CONNECT by hand: arguments are proxy host, proxy port, host, port, path; prints status and body.
'use strict';
const http = require('http');
const https = require('https');
const tls = require('tls');

const [proxyHost, proxyPort, host, port, path] = process.argv.slice(2);
http.request({ host: proxyHost, port: proxyPort, method: 'CONNECT', path: `${host}:${port}`, headers: { host: `${host}:${port}` } })
  .on('connect', (answer, socket) => {
    if (answer.statusCode !== 200) throw new Error(`CONNECT: ${answer.statusCode}`);
    const createConnection = () => tls.connect({ socket, servername: host });
    https.get({ host, port, path, createConnection }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        console.log(response.statusCode, Buffer.concat(parts).toString());
        socket.end();
      });
    });
  })
  .end();
