/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Prints the JSON Schema of an event log line from the table of event kinds (soth/events.def): one branch a kind with the attributes
 * that it may carry. Runs at build time.
 */
#include <stdio.h>

#include <soth/sdk.h>

struct kind {
    const char *name, *attributes, *text;
};

static const struct kind kinds[] = {
#define SOTH_EVENT(id, NAME, name, groups, attributes, text) {#name, attributes, text},
#include <soth/events.def>
#undef SOTH_EVENT
};

static void attributes(const char *list)
{
    const char *comma = "";
    while (*list) {
        int n = (int)strcspn(list, " ");
        if (n > 0)
            printf("%s\n            \"%.*s\": {\"type\": \"string\"},\n            \"%.*s_b64\": {\"type\": \"string\"}", comma, n, list, n, list);
        comma = ",";
        list += n;
        list += strspn(list, " ");
    }
}

static void branch(const struct kind *kind, int last)
{
    printf("    {\n      \"description\": \"%s\",\n      \"properties\": {\n        \"kind\": {\"const\": \"%s\"},\n", kind->text, kind->name);
    printf("        \"attributes\": {\n          \"type\": \"object\",\n          \"additionalProperties\": false,\n          \"properties\": {");
    attributes(kind->attributes);
    printf("\n          }\n        }\n      }\n    }%s\n", last ? "" : ",");
}

int main(void)
{
    static const char head[] =
        "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"soth-mitm event log v2\",\n  \"type\": \"object\",\n"
        "  \"additionalProperties\": false,\n"
        "  \"required\": [\"schema\", \"sequence_id\", \"flow_id\", \"flow_sequence_id\", \"kind\", \"protocol\", \"stream_key\", \"attributes\"],\n"
        "  \"properties\": {\n"
        "    \"schema\": {\"const\": \"soth-mitm-event-log-v2\"},\n"
        "    \"sequence_id\": {\"type\": \"integer\", \"minimum\": 1},\n"
        "    \"flow_id\": {\"type\": \"integer\", \"minimum\": 0},\n"
        "    \"flow_sequence_id\": {\"type\": \"integer\", \"minimum\": 1},\n"
        "    \"parent_flow_id\": {\"type\": \"integer\", \"minimum\": 1},\n"
        "    \"kind\": {\"type\": \"string\"},\n"
        "    \"protocol\": {\"enum\": [\"tunnel\", \"http1\", \"http2\", \"ws\", \"sse\", \"streamable_http\"]},\n"
        "    \"stream_key\": {\"type\": \"string\", \"minLength\": 1},\n"
        "    \"client_addr\": {\"type\": \"string\", \"minLength\": 1},\n"
        "    \"server_host\": {\"type\": \"string\", \"minLength\": 1},\n"
        "    \"server_port\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535},\n"
        "    \"attributes\": {\"type\": \"object\"},\n"
        "    \"monotonic_ns\": {\"type\": \"integer\", \"minimum\": 0},\n"
        "    \"unix_ms\": {\"type\": \"integer\", \"minimum\": 0},\n"
        "    \"run_id\": {\"type\": \"string\", \"pattern\": \"^[0-9a-f]{32}$\"}\n"
        "  },\n  \"oneOf\": [\n";
    size_t n = sizeof kinds / sizeof *kinds;
    fputs(head, stdout);
    for (size_t i = 0; i < n; i++)
        branch(&kinds[i], i + 1 == n);
    fputs("  ]\n}\n", stdout);
    return ferror(stdout) ? 1 : 0;
}
