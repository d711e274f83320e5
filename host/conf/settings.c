/* SPDX-License-Identifier: MPL-2.0 */
/* The option tables of soth-mitm.yaml: every key with its type, default, range and meaning. `soth-mitm config doc` prints them. */
#include "host/conf/settings.h"

#include "host/conf/load.h"

#define HOURS(n) ((int64_t)(n) * 3600 * 1000)
#define S struct settings

static const struct soth_opt listen_options[] = {
    SOTH_OPT_STRING_DEF(struct settings_listen, addr, "127.0.0.1", "IPv4 or IPv6 address ([::] takes both), or unix:/path"),
    SOTH_OPT_INT(struct settings_listen, port, "8080", 0, 65535, "TCP port, 0 = any free one"),
    SOTH_OPT_ENUM(struct settings_listen, mode, "explicit|reverse", "explicit",
                  "explicit: clients are told to use a proxy; reverse: in front of reverse_upstream"),
    SOTH_OPT_BOOL(struct settings_listen, tls, "false", "reverse: end TLS here, with a leaf for the SNI or the given certificate"),
    SOTH_OPT_PATH(struct settings_listen, cert_path, 0, "with tls: a certificate chain in PEM instead of leaves of our CA"),
    SOTH_OPT_PATH(struct settings_listen, key_path, 0, "its private key in PEM"),
    SOTH_OPT_ENUM(struct settings_listen, host_header, "keep|upstream", "keep", "reverse: send the client's Host, or the upstream's name"),
    SOTH_OPT_END,
};

static const struct soth_opt ca_options[] = {
    SOTH_OPT_PATH(struct settings_ca, cert_path, 0, "CA certificate in PEM; made at the first start when neither file is there"),
    SOTH_OPT_PATH(struct settings_ca, key_path, 0, "CA private key in PEM, readable by its owner only"),
    SOTH_OPT_PATH(struct settings_ca, key_passphrase_file, 0, "its first line opens the key; a new key is encrypted with it"),
    {"common_name", SOTH_OPT_T_STRING, 0, offsetof(struct settings_ca, common_name), "soth-mitm CA", 1, 64, NULL, NULL, 0,
     "of a new CA; a CA on disk keeps the subject it has"},
    {"organization", SOTH_OPT_T_STRING, 0, offsetof(struct settings_ca, organization), "soth-mitm", 1, 64, NULL, NULL, 0, "of a new CA"},
    SOTH_OPT_INT(struct settings_ca, leaf_cache_capacity, "1024", 0, 1000000, "leaf certificates kept ready, 0 = none"),
    SOTH_OPT_DURATION(struct settings_ca, rotate_after, "0", 0, HOURS(24 * 3650),
                      "age at which a successor takes the CA's place (docs/trust.md), 0 = never, else 24h or more"),
    SOTH_OPT_INT(struct settings_ca, leaf_days, "30", 3, 30, "validity of a leaf, two days of backdating included"),
    SOTH_OPT_END,
};

static const struct soth_opt upstream_options[] = {
    SOTH_OPT_STRING(struct settings_upstream, host, 0, "name or address of the origin"),
    SOTH_OPT_INT(struct settings_upstream, port, "80", 1, 65535, "its port"),
    SOTH_OPT_BOOL(struct settings_upstream, tls, "false", "speak TLS to it"),
    SOTH_OPT_END,
};

static const struct soth_opt client_cert_options[] = {
    SOTH_OPT_STRING(struct settings_client_cert, host_pattern, SOTH_REQUIRED, "hosts that are shown it, as *.example.com"),
    SOTH_OPT_PATH(struct settings_client_cert, cert_path, SOTH_REQUIRED, "certificate chain in PEM"),
    SOTH_OPT_PATH(struct settings_client_cert, key_path, SOTH_REQUIRED, "its private key in PEM, readable by its owner only"),
    SOTH_OPT_END,
};

static const struct soth_opt block_options[] = {
    SOTH_OPT_INT(struct settings_block_response, status, "403", 400, 599, "HTTP status of the answer to what a policy blocks"),
    SOTH_OPT_STRING_DEF(struct settings_block_response, body, "\"blocked by policy\\n\"", "its body; {reason}, {rule_id} and {host} are filled in"),
    SOTH_OPT_STRING_DEF(struct settings_block_response, content_type, "text/plain", "its media type"),
    SOTH_OPT_END,
};

const struct soth_opt settings_options[] = {
    SOTH_OPT_LIST(S, listen, listen_options, struct settings_listen, "where to listen; default is 127.0.0.1:8080, explicit"),
    SOTH_OPT_INT(S, workers, "0", 0, 256, "event loops, 0 = one per core"),
    {"modules_dir", SOTH_OPT_T_STRINGS, 0, offsetof(S, modules_dir), "", 0, 0, NULL, NULL, 0,
     "where modules are looked for, one place or several; default is $(pkglibdir)/modules"},
    {"conf_d", SOTH_OPT_T_PATH, 0, offsetof(S, conf_d), "", 0, 0, NULL, NULL, 0,
     "directory of the files that enable modules; default conf.d beside this file, if it is there"},
    SOTH_OPT_MAP(S, ca, ca_options, "the certificate authority that signs leaves"),
    SOTH_OPT_BOOL(S, http2_enabled, "true", "false: clients are not offered HTTP/2, and it is not taken from them"),
    SOTH_OPT_SIZE(S, http2_max_header_list_size, "65536", 1024, 1048576, "limit of the fields of one HTTP/2 head, as RFC 7541 4.1 counts"),
    SOTH_OPT_ENUM(S, connect_parse_mode, "strict|lenient", "strict", "how CONNECT targets are read"),
    SOTH_OPT_BOOL(S, strict_header_mode, "true", "false: repair what RFC 9112 allows to repair in responses"),
    SOTH_OPT_SIZE(S, max_http_head_bytes, "65536", 1024, 1048576, "limit of a request or response head"),
    SOTH_OPT_ENUM(S, upstream_http2, "mirror|always|never", "mirror",
                  "mirror: origins are offered HTTP/2 when the client offers it; always: also for other clients; never"),
    SOTH_OPT_ENUM(S, downstream_cert_profile, "modern|compat", "modern", "leaves with ECDSA P-256 or RSA-2048 keys"),
    SOTH_OPT_PATH(S, upstream_ca_file, 0, "CA certificates in PEM, trusted for origins besides the system's"),
    SOTH_OPT_BOOL(S, upstream_tls_insecure_skip_verify, "false", "true: certificates of origins are not verified"),
    SOTH_OPT_MAP(S, reverse_upstream, upstream_options, "the origin behind listeners of mode reverse"),
    SOTH_OPT_ENUM(S, tls_profile, "strict|default|compat", "default",
                  "what TLS we speak to clients and origins: strict is 1.3 alone; default 1.2 and 1.3, AEAD with forward secrecy; compat also CBC, static RSA, RSA-1024, SHA-1"),
    SOTH_OPT_INT(S, min_rsa_bits, "0", 0, 4096, "shortest RSA key in an origin's chain, 0 = the profile's (2048; compat 1024)"),
    SOTH_OPT_ENUM(S, tls_learning, "off|observe|bypass", "observe",
                  "what policy_tls_learning does with hosts whose clients refuse our certificates: nothing, count and tell, or tunnel them for a while"),
    SOTH_OPT_DURATION(S, tls_bypass_ttl, "15m", 1000, HOURS(24 * 30), "how long such a host is tunnelled"),
    SOTH_OPT_ENUM(S, upstream_sni_mode, "required|auto|disabled", "auto",
                  "server name told to origins: the client's, else the host's name; required: an address without one is refused; disabled: none"),
    SOTH_OPT_STRINGS(S, crl_files, "[]", "revocation lists in PEM or DER; certificates of their CAs are checked with them"),
    SOTH_OPT_BOOL(S, allow_keylog, "false", "true: SSLKEYLOGFILE is honoured: whoever can read that file can read all traffic"),
    SOTH_OPT_ENUM(S, upstream_client_auth_mode, "never|if_requested|required", "never",
                  "whether origins are shown a certificate of upstream_client_certs; required: they must ask for it"),
    SOTH_OPT_LIST(S, upstream_client_certs, client_cert_options, struct settings_client_cert, "certificates for origins that ask for one, the first that matches"),
    SOTH_OPT_ENUM(S, revocation_policy_mode, "off|passive_observe|enforce_staple", "passive_observe",
                  "OCSP responses stapled by origins: not asked for; told of in events; or required to be there and good"),
    SOTH_OPT_ENUM(S, authority_mismatch, "block|audit|allow", "block", "CONNECT target, SNI and Host name different hosts"),
    SOTH_OPT_ENUM(S, not_tls, "tunnel|block", "tunnel", "inside CONNECT, when the origin speaks first or the bytes are neither TLS nor HTTP"),
    SOTH_OPT_STRINGS(S, resolvers, "[]", "name servers, ADDR or ADDR:PORT, asked alone; default is the system's configuration"),
    SOTH_OPT_DURATION(S, resolver_timeout, "5s", 10, HOURS(1), "limit of a name look-up"),
    SOTH_OPT_DURATION(S, resolver_cache_ttl, "60s", 0, HOURS(24), "upper bound of caching a look-up, 0 = off"),
    SOTH_OPT_MAP(S, block_response, block_options, "the answer to what a policy blocks"),
    SOTH_OPT_STRINGS(S, allow_clients, "[127.0.0.0/8, \"::1\"]", "networks whose clients are served"),
    SOTH_OPT_STRINGS(S, deny_upstreams, "[169.254.0.0/16, \"fe80::/10\"]", "networks that are never connected to"),
    SOTH_OPT_STRINGS(S, redact_headers, "[]", "fields whose values never get into events, besides Authorization, Cookie, X-Api-Key and their like"),
    SOTH_OPT_STRINGS(S, redact_keys, "[]", "keys of JSON and forms whose values become asterisks in captured bodies, queries and messages"),
    SOTH_OPT_INT(S, max_concurrent_flows, "16384", 1, 10000000, "client connections at once; one more is answered 503"),
    SOTH_OPT_INT(S, http2_max_concurrent_streams, "128", 1, 100000, "streams that one HTTP/2 client may have open"),
    SOTH_OPT_DURATION(S, upstream_connect_timeout, "10s", 10, HOURS(1), "limit of connecting to an origin"),
    SOTH_OPT_DURATION(S, tls_handshake_timeout, "10s", 10, HOURS(1), "limit of a TLS handshake"),
    SOTH_OPT_DURATION(S, idle_timeout, "10m", 100, HOURS(24), "a connection on which nothing moves is ended"),
    SOTH_OPT_DURATION(S, hook_hang_timeout, "10s", 200, HOURS(1), "a module's hook that stays on its worker for longer ends the process"),
    SOTH_OPT_DURATION(S, stream_stage_timeout, "30s", 10, HOURS(24), "limit of reading a request head, and of an HTTP/2 client that takes nothing while bodies wait for its windows"),
    SOTH_OPT_DURATION(S, response_header_timeout, "10m", 10, HOURS(24), "limit of waiting for a response head"),
    SOTH_OPT_DURATION(S, drain_timeout, "30s", 0, HOURS(24), "after SIGTERM, flows may take this long to end"),
    SOTH_OPT_END,
};

/* The contract's keys whose features are not built yet. */
const char *const settings_absent[] = {
    "listen[].client_ca_file", "http3_passthrough", "route_mode", "upstream_http_proxy", "upstream_socks5_proxy", "process_attribution", "max_in_flight_bytes",
    "max_flow_body_buffer_bytes", "max_flow_decoder_buffer_bytes", "max_flow_event_backlog", NULL,
};
