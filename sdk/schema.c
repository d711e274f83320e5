/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Prints the JSON Schema of the event log v2 (docs/testing/event-log-v2-contract.md) from the table of event kinds, so that the two
 * cannot differ. Runs when the project is built. Reads nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <soth/sdk.h>

struct kind {
    const char *name, *attributes, *text;
};

static const struct kind kinds[] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) {#name, attributes, text},
#include <soth/events.def>
#undef SOTH_EVENT
};

#define ENTRIES(array) (sizeof(array) / sizeof *(array))

/* Attributes that are more than text. What is in none of these lists is text of a peer or of the configuration. */
static const char numbers[] =
    " bytes bytes_from_client bytes_from_server bytes_in bytes_out content_length count decoded_bytes duration_ms exchange_no first_sequence_id generation header_bytes "
    "header_count last_sequence_id limit_value offset record_len sequence_no status_code tls_alert tls_errno tls_failure_global_count tls_failure_host_count "
    "tls_failure_host_rolling_count tls_failure_reason_count tls_failure_source_count tls_verify_code trailer_count ";
static const char booleans[] = " interim resumed override_force_tunnel override_disable_h2 override_skip_upstream_verify ";
static const struct {
    const char *name, *values;
} words[] = {
    {"action", "\"intercept\", \"tunnel\", \"block\", \"allow\", \"detached\", \"closed\""},
    {"authority_mismatch", "\"audit\", \"allow\""},
    {"cert_cache_status", "\"hit\", \"miss\""},
    {"direction", "\"client_to_server\", \"server_to_client\""},
    {"listener_mode", "\"explicit\", \"reverse\", \"transparent\", \"socks5\""},
    {"normalized_reason", "\"unknown_ca\", \"cert_validation\", \"handshake\", \"timeout\", \"eof_or_reset\", \"other\""},
    {"outcome", "\"applied\", \"refused\""},
    {"peer", "\"downstream\", \"upstream\""},
    {"peer_rejected_ca", "\"certain\", \"likely\", \"no\""},
    {"scheme", "\"http\", \"https\""},
    {"source_confidence", "\"authoritative\", \"inferred\""},
    {"tls_failure_reason", "\"unknown_ca\", \"cert_validation\", \"handshake\", \"timeout\", \"eof_or_reset\", \"other\""},
};

static int listed(const char *list, const char *name, size_t n)
{
    for (const char *at = list; (at = strstr(at, name)) != NULL; at++)
        if (at[-1] == ' ' && at[n] == ' ')
            return 1;
    return 0;
}

static const char *values_of(const char *name)
{
    for (size_t i = 0; i < ENTRIES(words); i++)
        if (strcmp(words[i].name, name) == 0)
            return words[i].values;
    return NULL;
}

static void print_attribute(const char *name, const char *separator)
{
    const char *values = values_of(name);
    printf("%s\n        \"%s\": ", separator, name);
    if (values)
        printf("{\"enum\": [%s]}", values);
    else if (listed(numbers, name, strlen(name)))
        printf("{\"$ref\": \"#/$defs/number\"}");
    else if (listed(booleans, name, strlen(name)))
        printf("{\"enum\": [\"true\", \"false\"]}");
    else
        printf("{\"$ref\": \"#/$defs/text\"},\n        \"%s_b64\": {\"$ref\": \"#/$defs/base64\"}", name);
}

static void print_kind(const struct kind *kind, const char *separator)
{
    char names[2048];
    const char *between = "";
    if (strlen(kind->attributes) >= sizeof names)
        exit(1);
    strcpy(names, kind->attributes);
    printf("%s\n    \"%s\": {\n      \"description\": \"%s\",\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n"
           "      \"properties\": {", separator, kind->name, kind->text);
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
        print_attribute(name, between);
        between = ",";
    }
    printf("\n      }\n    }");
}

static void print_envelope(void)
{
    fputs("{\n"
          "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
          "  \"$id\": \"urn:soth-mitm:event-log:v2\",\n"
          "  \"title\": \"soth-mitm event log v2, one line\",\n"
          "  \"type\": \"object\",\n"
          "  \"additionalProperties\": false,\n"
          "  \"required\": [\"schema\", \"sequence_id\", \"flow_id\", \"flow_sequence_id\", \"kind\", \"protocol\", \"stream_key\", \"attributes\"],\n"
          "  \"dependentRequired\": {\n"
          "    \"monotonic_ns\": [\"unix_ms\", \"run_id\"],\n"
          "    \"unix_ms\": [\"monotonic_ns\", \"run_id\"],\n"
          "    \"run_id\": [\"monotonic_ns\", \"unix_ms\"]\n"
          "  },\n"
          "  \"properties\": {\n"
          "    \"schema\": {\"const\": \"soth-mitm-event-log-v2\"},\n"
          "    \"sequence_id\": {\"type\": \"integer\", \"minimum\": 1},\n"
          "    \"flow_id\": {\"type\": \"integer\", \"minimum\": 0},\n"
          "    \"flow_sequence_id\": {\"type\": \"integer\", \"minimum\": 1},\n"
          "    \"parent_flow_id\": {\"type\": \"integer\", \"minimum\": 1},\n", stdout);
    printf("    \"kind\": {\"enum\": [");
    for (size_t i = 0; i < ENTRIES(kinds); i++)
        printf("%s\"%s\"", i ? ", " : "", kinds[i].name);
    fputs("]},\n"
          "    \"protocol\": {\"enum\": [\"tunnel\", \"http1\", \"http2\", \"ws\", \"sse\", \"streamable_http\"]},\n"
          "    \"stream_key\": {\"type\": \"string\", \"pattern\": \"^(h2:[0-9]+|ws_turn:[0-9]+|sequence:[0-9]+|grpc:.*:[0-9]+|flow:[0-9]+:[0-9]+)$\"},\n"
          "    \"client_addr\": {\"type\": \"string\", \"pattern\": \"^([0-9.]+:[0-9]+|\\\\[[0-9a-f:.]+(%.+)?\\\\]:[0-9]+|unix:.*)$\"},\n"
          "    \"server_host\": {\"type\": \"string\", \"pattern\": \"^[^A-Z\\\\[\\\\]]*[^A-Z\\\\[\\\\].]$\"},\n"
          "    \"server_port\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535},\n"
          "    \"attributes\": {\"type\": \"object\"},\n"
          "    \"monotonic_ns\": {\"type\": \"integer\", \"minimum\": 0},\n"
          "    \"unix_ms\": {\"type\": \"integer\", \"minimum\": 0},\n"
          "    \"run_id\": {\"type\": \"string\", \"pattern\": \"^[0-9a-f]{32}$\"}\n"
          "  },\n", stdout);
}

int main(void)
{
    print_envelope();
    printf("  \"allOf\": [");
    for (size_t i = 0; i < ENTRIES(kinds); i++)
        printf("%s\n    {\"if\": {\"properties\": {\"kind\": {\"const\": \"%s\"}}}, \"then\": {\"properties\": {\"attributes\": {\"$ref\": "
               "\"#/$defs/%s\"}}}}", i ? "," : "", kinds[i].name, kinds[i].name);
    printf("\n  ],\n  \"$defs\": {\n"
           "    \"text\": {\"type\": \"string\", \"minLength\": 1},\n"
           "    \"number\": {\"type\": \"string\", \"pattern\": \"^(0|[1-9][0-9]*)$\"},\n"
           "    \"base64\": {\"type\": \"string\", \"pattern\": \"^[A-Za-z0-9+/]+={0,2}$\"}");
    for (size_t i = 0; i < ENTRIES(kinds); i++)
        print_kind(&kinds[i], ",");
    printf("\n  }\n}\n");
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
