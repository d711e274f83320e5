/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host's settings as typed values: one struct per mapping of soth-mitm.yaml, filled by the option tables in settings.c.
 * Field names are the keys. Durations are milliseconds, sizes are bytes. Immutable once loaded; shared by all threads.
 */
#ifndef HOST_CONF_SETTINGS_H
#define HOST_CONF_SETTINGS_H

#include <soth/sdk.h>

enum listen_mode { LISTEN_EXPLICIT, LISTEN_REVERSE };
enum host_header { HOST_HEADER_KEEP, HOST_HEADER_UPSTREAM };
enum parse_mode { PARSE_STRICT, PARSE_LENIENT };
enum cert_profile { CERT_MODERN, CERT_COMPAT };
enum sni_mode { SNI_REQUIRED, SNI_AUTO, SNI_DISABLED };
enum mismatch { MISMATCH_BLOCK, MISMATCH_AUDIT, MISMATCH_ALLOW };
enum tls_learning { LEARNING_OFF, LEARNING_OBSERVE, LEARNING_BYPASS };
enum upstream_http2 { UPSTREAM_HTTP2_MIRROR, UPSTREAM_HTTP2_ALWAYS, UPSTREAM_HTTP2_NEVER };
enum not_tls { NOT_TLS_TUNNEL, NOT_TLS_BLOCK };

struct settings_listen {
    const char *addr; /* IPv4, IPv6 (brackets allowed) or unix:/path */
    int64_t port;
    uint32_t mode; /* enum listen_mode */
    uint8_t tls;
    const char *cert_path; /* "" = a leaf for the SNI */
    const char *key_path;
    uint32_t host_header; /* enum host_header */
};

struct settings_ca {
    const char *cert_path; /* "" = the default place */
    const char *key_path;
    const char *key_passphrase_file; /* "" = keys are not encrypted */
    const char *common_name;
    const char *organization;
    int64_t leaf_cache_capacity; /* 0 = no cache */
    int64_t leaf_days;
    uint64_t rotate_after; /* ms, 0 = never */
};

struct settings_upstream { /* reverse_upstream */
    const char *host;      /* "" = none */
    int64_t port;
    uint8_t tls;
};

struct settings_block_response {
    int64_t status;
    const char *body; /* {reason}, {rule_id}, {host} are filled in */
    const char *content_type;
};

struct settings_client_cert { /* upstream_client_certs */
    const char *host_pattern, *cert_path, *key_path;
};

struct settings_cidr {
    struct soth_addr addr;
    uint32_t bits;
};

struct conf_node;

struct settings {
    struct soth_list listen; /* struct settings_listen */
    int64_t workers;         /* 0 = one per core */
    struct soth_strings modules_dir;
    const char *conf_d;
    const struct conf_node *document;     /* of soth-mitm.yaml, for messages */
    const struct conf_node *conf_d_given; /* the mapping that names conf_d, NULL: it is the default, which need not be there */
    struct settings_ca ca;
    uint8_t http2_enabled;
    uint64_t http2_max_header_list_size;
    int64_t http2_max_concurrent_streams;
    uint32_t upstream_http2;          /* enum upstream_http2 */
    uint32_t connect_parse_mode;      /* enum parse_mode */
    uint8_t strict_header_mode;
    uint64_t max_http_head_bytes;
    uint32_t tls_profile;             /* enum tls_profile of tls/session.h */
    int64_t min_rsa_bits;             /* 0 = the profile's */
    uint32_t upstream_sni_mode;       /* enum sni_mode */
    uint32_t downstream_cert_profile; /* enum cert_profile */
    const char *upstream_ca_file;
    uint8_t upstream_tls_insecure_skip_verify;
    struct soth_strings crl_files;       /* whole paths */
    uint8_t allow_keylog;
    uint32_t upstream_client_auth_mode;  /* enum client_auth of tls/session.h */
    struct soth_list upstream_client_certs; /* struct settings_client_cert */
    uint32_t revocation_policy_mode;     /* enum revocation of tls/session.h */
    struct settings_upstream reverse_upstream;
    uint32_t tls_learning;       /* enum tls_learning */
    uint64_t tls_bypass_ttl;
    uint32_t authority_mismatch; /* enum mismatch */
    uint32_t not_tls;            /* enum not_tls */
    struct soth_strings resolvers;
    uint64_t resolver_timeout;
    uint64_t resolver_cache_ttl;
    struct settings_block_response block_response;
    struct soth_strings allow_clients;
    struct soth_strings deny_upstreams;
    struct soth_strings redact_headers;
    struct soth_strings redact_keys;
    int64_t max_concurrent_flows;
    uint64_t upstream_connect_timeout;
    uint64_t tls_handshake_timeout;
    uint64_t idle_timeout;
    uint64_t hook_hang_timeout;
    uint64_t stream_stage_timeout;
    uint64_t response_header_timeout;
    uint64_t drain_timeout;

    /* derived by settings_load */
    struct settings_cidr *allow;
    size_t allow_count;
    struct settings_cidr *deny;
    size_t deny_count;
};

/* True when addr is inside one of the networks. IPv4-mapped IPv6 addresses count as IPv4. Pure. */
int settings_cidr_match(const struct settings_cidr *list, size_t n, const struct soth_addr *addr);

#endif
