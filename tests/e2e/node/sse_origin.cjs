// SPDX-License-Identifier: MPL-2.0
// An origin like those of chat completions: node sse_origin.cjs [gzip|br|identity] [h2c]. Prints its port; each line on standard input lets one event go,
// the end of it ends the stream.
'use strict';
const http = require('http');
const http2 = require('http2');
const zlib = require('zlib');
const readline = require('readline');

const coding = process.argv[2] || 'identity';
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const server = (process.argv[3] === 'h2c' ? http2 : http).createServer(async (request, response) => {
  for await (const part of request) part.toString();
  const encoder = coding === 'gzip' ? zlib.createGzip() : coding === 'br' ? zlib.createBrotliCompress() : null;
  const head = { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' };
  response.writeHead(200, encoder ? { ...head, 'Content-Encoding': coding } : head);
  if (encoder) encoder.pipe(response);
  const out = encoder || response;
  const say = (text) => new Promise((done) => out.write(text, () => (encoder ? encoder.flush(done) : done())));
  let index = 0;
  for (;;) {
    const { done } = await lines.next();
    if (done) break;
    const chunk = { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: `word ${index++} \u00e9` } }] };
    await say(`data: ${JSON.stringify(chunk)}\n\n`);
  }
  await say('data: [DONE]\n\n');
  out.end(() => server.close());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
