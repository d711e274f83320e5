/* SPDX-License-Identifier: MPL-2.0 */
/* The page that shows the CA: its fingerprint to compare, its files to fetch, and what each client wants. No script, nothing from elsewhere. */
#include <string.h>

#include "host/flow/onboarding.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
    "<title>soth-mitm: certificate authority</title>\n"
    "<style>body{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "code,pre{font:14px monospace;background:#eee;overflow-wrap:anywhere}pre{padding:.6em;white-space:pre-wrap}"
    "dt{font-weight:bold;margin-top:1em}table{border-collapse:collapse}th{text-align:left;padding-right:1em;vertical-align:top}"
    ".files a{display:inline-block;margin:0 1em 1em 0;padding:.5em 1em;background:#246;color:#fff;text-decoration:none}</style></head><body>\n"
    "<h1>This proxy's certificate authority</h1>\n"
    "<p>You see this page because your traffic goes through <b>soth-mitm</b>. Whoever trusts the authority below lets this proxy read what it sends "
    "and receives over TLS. Trust it only when you know who runs the proxy, and compare the fingerprint with what he tells you: this page "
    "itself can be forged by anybody on the way.</p>\n"
    "<p class=\"files\"><a href=\"/cert.pem\">cert.pem</a><a href=\"/cert.crt\">cert.crt (DER)</a><a href=\"/cert.p12\">cert.p12 (no key)</a>"
    "<a href=\"/ca.crl\">ca.crl</a></p>\n"
    "<p>The certificates that it issues name a list of those that were revoked, <code>ca.crl</code>, for clients that insist on one. Nobody is on it.</p>\n";

static const char instructions[] =
    "<h2>How clients come to trust it</h2>\n<dl>\n"
    "<dt>Debian, Ubuntu, Alpine</dt><dd><pre>curl -x PROXY http://soth.mitm/cert.pem | sudo tee /usr/local/share/ca-certificates/soth-mitm.crt\n"
    "sudo update-ca-certificates</pre></dd>\n"
    "<dt>Fedora, RHEL</dt><dd><pre>curl -x PROXY http://soth.mitm/cert.pem | sudo tee /etc/pki/ca-trust/source/anchors/soth-mitm.crt\n"
    "sudo update-ca-trust</pre></dd>\n"
    "<dt>Arch</dt><dd><pre>curl -x PROXY -o soth-mitm.pem http://soth.mitm/cert.pem &amp;&amp; sudo trust anchor --store soth-mitm.pem</pre></dd>\n"
    "<dt>The machine that runs the proxy</dt><dd><pre>soth-mitm ca install\neval \"$(soth-mitm ca env)\"</pre></dd>\n"
    "<dt>macOS</dt><dd><pre>sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain cert.crt</pre></dd>\n"
    "<dt>Windows</dt><dd><pre>certutil -addstore -f Root cert.crt</pre></dd>\n"
    "<dt>iOS</dt><dd>Open cert.crt in Safari, install the profile in Settings, then switch it on in General, About, Certificate Trust Settings.</dd>\n"
    "<dt>Android</dt><dd>Settings, Security, Encryption and credentials, Install a certificate, CA certificate: cert.crt. Applications trust it only "
    "when they were built to.</dd>\n"
    "<dt>Firefox</dt><dd>Settings, Privacy and Security, Certificates, View Certificates, Authorities, Import: cert.pem, \"trust for websites\".</dd>\n"
    "<dt>Chromium, Chrome on Linux</dt><dd><pre>certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n soth-mitm -i cert.pem</pre></dd>\n"
    "<dt>curl</dt><dd><pre>curl --cacert cert.pem URL</pre></dd>\n"
    "<dt>Python</dt><dd><code>REQUESTS_CA_BUNDLE</code>, <code>SSL_CERT_FILE</code> or <code>PIP_CERT</code> name a file with the system's roots and "
    "this certificate.</dd>\n"
    "<dt>Node</dt><dd><pre>NODE_EXTRA_CA_CERTS=cert.pem node program.js</pre></dd>\n"
    "<dt>Java</dt><dd><pre>keytool -importcert -noprompt -cacerts -storepass changeit -alias soth-mitm -file cert.pem</pre></dd>\n"
    "<dt>Others</dt><dd>soth-mitm's trust guide (<code>docs/trust.md</code>) has more, and what to do about a client that insists on a certificate of its "
    "own.</dd>\n</dl>\n</body></html>\n";

static void escape(struct buffer *out, const char *text)
{
    static const struct {
        char c;
        const char *name;
    } special[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (; *text; text++) {
        size_t i = 0;
        while (i < sizeof special / sizeof *special && special[i].c != *text)
            i++;
        if (i < sizeof special / sizeof *special)
            buffer_append_text(out, special[i].name);
        else
            buffer_append(out, text, 1);
    }
}

static void row(struct buffer *out, const char *label, const char *text)
{
    buffer_append_text(out, "<tr><th>");
    buffer_append_text(out, label);
    buffer_append_text(out, "</th><td><code>");
    escape(out, text);
    buffer_append_text(out, "</code></td></tr>\n");
}

static void certificate(struct buffer *out, const struct ca_certificate *c)
{
    static const char *const titles[] = {"<h2>The certificate</h2>\n", "<h2>Its successor, which will take its place</h2>\n",
                                         "<h2>The one before, for a while</h2>\n"};
    char from[32], until[32];
    ca_time_text(c->not_before, from);
    ca_time_text(c->trusted_until, until);
    buffer_append_text(out, titles[c->role]);
    buffer_append_text(out, "<table>\n");
    row(out, "Subject", c->subject);
    row(out, "SHA-256", c->sha256);
    row(out, "Valid from", from);
    row(out, c->role == CA_PREVIOUS ? "Needed until" : "Valid until", until);
    buffer_append_text(out, "</table>\n");
}

void onboarding_page(struct buffer *out, const struct ca_certificates *list)
{
    buffer_append_text(out, head);
    for (size_t i = 0; i < list->n; i++)
        certificate(out, &list->v[i]);
    buffer_append_text(out, instructions);
}
