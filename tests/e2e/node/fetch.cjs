// SPDX-License-Identifier: MPL-2.0
// Node's fetch (undici) through the proxy of the environment: arguments are URLs; prints status and body of each.
// SOTH_AGENT=env takes EnvHttpProxyAgent, SOTH_AGENT=proxy takes ProxyAgent with HTTPS_PROXY.
'use strict';
const { EnvHttpProxyAgent, ProxyAgent, fetch } = require('undici');

async function main() {
  const dispatcher = process.env.SOTH_AGENT === 'proxy' ? new ProxyAgent(process.env.HTTPS_PROXY) : new EnvHttpProxyAgent();
  for (const url of process.argv.slice(2)) {
    const response = await fetch(url, { dispatcher });
    const body = Buffer.from(await response.arrayBuffer());
    console.log(response.status, body.length, JSON.stringify(body.subarray(0, 20).toString('latin1')));
  }
  await dispatcher.close();
}

main().catch((error) => {
  console.error(error, error.cause);
  process.exit(1);
});
