/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The flow state machine as one table: which event is legal in which state for which protocol machine, and the state it leads to.
 * An illegal event never aborts: the caller counts it and closes the flow.
 */
#include "host/flow/stage.h"

#define IN(state) (1u << FLOW_##state)
#define NOWHERE 0u
#define BEFORE_HTTP (IN(TLS_STARTED) | IN(TLS_READY))
#define ANY (IN(ACCEPTED) | IN(CONNECT_PARSED) | IN(POLICY_DECIDED) | BEFORE_HTTP | IN(PROTOCOL_ACTIVE) | IN(STREAM_CLOSING))
#define STAY FLOW_STATE_COUNT

struct rule {
    uint16_t tunnel, http1, http2; /* states in which the event is legal, by machine; http2: of a connection and of a stream */
    enum flow_state next;   /* where it leads */
};

/* docs/testing/flow-fsm-transition-table.md shows this table with the reasons; tests/unit/test_fsm.c compares them. */
static const struct rule rules[SOTH_EV_COUNT] = {
    [SOTH_EV_CONNECT_RECEIVED] = {
        IN(ACCEPTED) | IN(PROTOCOL_ACTIVE), IN(ACCEPTED) | IN(PROTOCOL_ACTIVE), IN(ACCEPTED), FLOW_CONNECT_PARSED},
    [SOTH_EV_CONNECT_PARSE_FAILED] = {IN(ACCEPTED) | IN(PROTOCOL_ACTIVE), NOWHERE, NOWHERE, FLOW_STREAM_CLOSING},
    [SOTH_EV_CONNECT_DECISION] = {
        IN(CONNECT_PARSED) | IN(STREAM_CLOSING), IN(CONNECT_PARSED) | IN(STREAM_CLOSING), IN(CONNECT_PARSED) | IN(STREAM_CLOSING), FLOW_POLICY_DECIDED},
    [SOTH_EV_TLS_HANDSHAKE_STARTED] = {
        IN(POLICY_DECIDED) | BEFORE_HTTP, IN(PROTOCOL_ACTIVE), IN(POLICY_DECIDED) | BEFORE_HTTP | IN(PROTOCOL_ACTIVE), FLOW_TLS_STARTED},
    [SOTH_EV_TLS_HANDSHAKE_SUCCEEDED] = {BEFORE_HTTP, IN(PROTOCOL_ACTIVE), BEFORE_HTTP | IN(PROTOCOL_ACTIVE), FLOW_TLS_READY},
    [SOTH_EV_TLS_HANDSHAKE_FAILED] = {BEFORE_HTTP, IN(TLS_READY) | IN(PROTOCOL_ACTIVE), BEFORE_HTTP | IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_REQUEST_HEADERS] = {
        NOWHERE, IN(POLICY_DECIDED) | BEFORE_HTTP | IN(PROTOCOL_ACTIVE), IN(ACCEPTED) | IN(POLICY_DECIDED), FLOW_PROTOCOL_ACTIVE},
    [SOTH_EV_REQUEST_DECISION] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_REQUEST_BODY_CHUNK] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_REQUEST_TRAILERS] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_RESPONSE_DECISION] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_RESPONSE_HEADERS] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_RESPONSE_BODY_CHUNK] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_RESPONSE_TRAILERS] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_FRAME_DECISION] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_SSE_EVENT] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_STREAM_RECORD] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_PAYLOAD_SANITIZED] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_DECODER_STAGE_FAILED] = {NOWHERE, IN(PROTOCOL_ACTIVE), IN(PROTOCOL_ACTIVE), STAY},
    [SOTH_EV_BUDGET_DENIED] = {IN(POLICY_DECIDED) | IN(STREAM_CLOSING), IN(POLICY_DECIDED), IN(POLICY_DECIDED), STAY},
    [SOTH_EV_STREAM_CLOSED] = {ANY, ANY, ANY, FLOW_CLOSED},
};

/* Events that repeat inside an active protocol do not lead back; a further connect_received is the one that does. */
static bool leads_on(enum flow_state from, unsigned kind, enum flow_state next)
{
    if (next == STAY)
        return false;
    if (kind == SOTH_EV_CONNECT_RECEIVED)
        return true;
    return next > from;
}

bool fsm_knows(unsigned kind)
{
    return rules[kind].tunnel != NOWHERE || rules[kind].http1 != NOWHERE || rules[kind].http2 != NOWHERE;
}

bool fsm_event(enum flow_state *state, unsigned protocol, unsigned kind)
{
    const struct rule *rule = &rules[kind];
    unsigned legal = protocol == SOTH_PROTO_TUNNEL ? rule->tunnel : protocol == SOTH_PROTO_HTTP2 ? rule->http2 : rule->http1;
    if (!(legal & (1u << *state)))
        return false;
    if (leads_on(*state, kind, rule->next))
        *state = rule->next;
    return true;
}

static const char *const state_names[] = {
#define FLOW_STATE(NAME, text) [FLOW_##NAME] = text,
#include "host/flow/state.def"
#undef FLOW_STATE
};

const char *flow_state_name(enum flow_state state)
{
    return state < FLOW_STATE_COUNT ? state_names[state] : "";
}
