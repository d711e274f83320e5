/* SPDX-License-Identifier: MPL-2.0 */
/* The events of TLS handshakes, with what the failed ones teach. */
#include "host/event/lesson.h"
#include "host/flow/emit.h"
#include "host/flow/stream.h"

static const char *peer_name(enum side side)
{
    return side == SIDE_CLIENT ? "downstream" : "upstream";
}

/* What the client asked for, or what the origin is told. */
static struct soth_attr sni_attr(const struct flow *flow, enum side side)
{
    if (side == SIDE_CLIENT)
        return WORD_OR_ABSENT("sni", flow->sni);
    struct soth_span name = tls_origin_sni(flow);
    return name.n > 0 ? ATTR_TEXT("sni", name) : ABSENT;
}

/* What the peer of this handshake was offered: the client's own list, or what we offer the origin. */
static struct soth_attr alpn_attr(const struct flow *flow, enum side side)
{
    if (side == SIDE_ORIGIN)
        return WORD_OR_ABSENT("alpn_offered", alpn_for_origin(flow)->text);
    return WORD_OR_ABSENT("alpn_offered", flow->hello ? flow->hello->alpn_text : NULL);
}

static struct soth_attr ja3_attr(const struct flow *flow, enum side side)
{
    return WORD_OR_ABSENT("ja3", side == SIDE_CLIENT && flow->hello ? flow->hello->ja3 : NULL);
}

static struct soth_attr ja4_attr(const struct flow *flow, enum side side)
{
    return WORD_OR_ABSENT("ja4", side == SIDE_CLIENT && flow->hello ? flow->hello->ja4 : NULL);
}

static struct soth_attr verify_code_attr(int code)
{
    return NUMBER_IF(code != 0, "tls_verify_code", code < 0 ? -code : code);
}

/* What is known of the revocation of the origin's certificate, as four attributes. */
struct revocation_attrs {
    struct soth_attr decision, mode, present, status;
};

static struct revocation_attrs revocation_attrs(const struct flow *flow, enum side side, enum staple staple)
{
    static const char *const status[] = {NULL, "absent", "good", "revoked", "invalid"};
    uint32_t mode = flow->env->settings->revocation_policy_mode;
    bool on = side == SIDE_ORIGIN && mode != REVOCATION_OFF, known = on && staple != STAPLE_UNASKED;
    bool bad = staple >= STAPLE_REVOKED || (staple == STAPLE_ABSENT && mode == REVOCATION_ENFORCE);
    return (struct revocation_attrs){
        known ? ATTR_WORD("revocation_decision", !bad ? "accepted" : mode == REVOCATION_ENFORCE ? "refused" : "observed") : ABSENT,
        on ? ATTR_WORD("revocation_policy_mode", mode == REVOCATION_ENFORCE ? "enforce_staple" : "passive_observe") : ABSENT,
        known ? ATTR_BOOL("upstream_ocsp_staple_present", staple != STAPLE_ABSENT) : ABSENT,
        known ? ATTR_WORD("upstream_ocsp_staple_status", status[staple]) : ABSENT,
    };
}

/* A connection that a stream has made for itself is its connection's all the same. */
void emit_tls_started(struct flow *flow, enum side side)
{
    struct soth_attr attrs[] = {alpn_attr(flow, side), emit_exchange_attr(flow), ja3_attr(flow, side), ja4_attr(flow, side),
                                ATTR_WORD("peer", peer_name(side)), sni_attr(flow, side)};
    emit_event(family_connection(flow), SOTH_EV_TLS_HANDSHAKE_STARTED, attrs, COUNT(attrs));
}

void emit_tls_succeeded(struct flow *flow, enum side side, int cache_hit)
{
    struct session_info info;
    session_describe(leg_of(flow, side)->tls, &info);
    struct revocation_attrs revocation = revocation_attrs(flow, side, side == SIDE_ORIGIN && flow->staple ? (enum staple)flow->staple : info.staple);
    struct soth_attr attrs[] = {
        alpn_attr(flow, side),
        side == SIDE_CLIENT && cache_hit >= 0 ? ATTR_WORD("cert_cache_status", cache_hit ? "hit" : "miss") : ABSENT,
        WORD_OR_ABSENT("cipher", info.cipher),
        emit_exchange_attr(flow),
        ja3_attr(flow, side),
        ja4_attr(flow, side),
        WORD_OR_ABSENT("negotiated_alpn", info.alpn),
        ATTR_WORD("peer", peer_name(side)),
        ATTR_BOOL("resumed", info.resumed),
        revocation.decision,
        revocation.mode,
        sni_attr(flow, side),
        info.unverified ? ATTR_BOOL("tls_verified", false) : ABSENT,
        verify_code_attr(info.verify_code),
        WORD_OR_ABSENT("tls_version", info.version),
        revocation.present,
        revocation.status,
    };
    emit_event(family_connection(flow), SOTH_EV_TLS_HANDSHAKE_SUCCEEDED, attrs, COUNT(attrs));
}

/* The failure as policies with a signal hook get it. false: there is none. */
static bool ask_learners(struct flow *flow, enum side side, const struct tls_failure *failure, struct soth_span host, int alert,
                         struct soth_signal *signal)
{
    if (!(flow->env->hooks & SOTH_HOOK_SIGNAL))
        return false;
    *signal = (struct soth_signal){
        .size = sizeof *signal,
        .authoritative = 1,
        .flow_id = flow->source.flow_id,
        .peer = peer_name(side),
        .reason = tls_reason_name(failure->reason),
        .source = "native_authoritative",
        .provider = "soth-mitm",
        .rejected_ca = side == SIDE_CLIENT ? tls_rejected_name(failure->rejected_ca) : "",
        .host = host,
        .client = flow->source.client_addr,
        .alert = alert >= 0 ? (uint32_t)alert : UINT32_MAX,
        .port = flow->target.port,
        .raw_error = soth_span(failure->raw),
        .identity = soth_span("soth-mitm"),
        .detail = soth_span(failure->detail),
        .verify_code = (uint32_t)(failure->facts.verify_code < 0 ? -failure->facts.verify_code : failure->facts.verify_code),
        .lesson = signal->lesson,
    };
    flow->env->signal(flow->env->policy, signal);
    return signal->lesson->reason_code != NULL;
}

static void emit_audit(struct flow *flow, const struct soth_signal *signal)
{
    struct soth_attr attrs[LESSON_ATTRS];
    lesson_audit(signal, attrs);
    bus_emit(flow->env->bus, &flow->source, SOTH_EV_TLS_LEARNING_AUDIT, attrs, COUNT(attrs));
}

void emit_tls_failed(struct flow *flow, enum side side, const struct tls_failure *failure)
{
    struct tls_failure_counts counts = {0};
    struct soth_span host = flow->sni ? soth_span(flow->sni) : flow->source.server_host;
    tls_failure_stats_add(flow->env->failures, host, failure->reason, flow->env->bus->monotonic_ns, &counts);
    const struct tls_facts *f = &failure->facts;
    struct revocation_attrs revocation = revocation_attrs(flow, side, session_staple(leg_of(flow, side)->tls));
    int alert = f->alert_rx >= 0 ? f->alert_rx : f->alert_tx;
    const char *reason = tls_reason_name(failure->reason);
    struct soth_lesson lesson = {.size = sizeof lesson};
    struct soth_signal signal = {.lesson = &lesson};
    bool taught = ask_learners(flow, side, failure, host, alert, &signal);
    struct soth_attr attrs[] = {
        alpn_attr(flow, side),
        WORD_OR_ABSENT("detail", failure->detail),
        emit_exchange_attr(flow),
        ja3_attr(flow, side),
        ja4_attr(flow, side),
        ATTR_WORD("normalized_reason", reason),
        ATTR_WORD("peer", peer_name(side)),
        side == SIDE_CLIENT ? ATTR_WORD("peer_rejected_ca", tls_rejected_name(failure->rejected_ca)) : ABSENT,
        ATTR_WORD("provider_identity", "soth-mitm"),
        WORD_OR_ABSENT("raw_provider_error", failure->raw),
        revocation.decision,
        revocation.mode,
        sni_attr(flow, side),
        ATTR_WORD("source_confidence", "authoritative"),
        NUMBER_IF(alert >= 0, "tls_alert", alert),
        NUMBER_IF(f->sys_errno != 0, "tls_errno", f->sys_errno),
        ATTR_NUMBER("tls_failure_global_count", counts.global),
        ATTR_NUMBER("tls_failure_host_count", counts.host),
        ATTR_NUMBER("tls_failure_host_rolling_count", counts.host_rolling),
        ATTR_WORD("tls_failure_reason", reason),
        ATTR_NUMBER("tls_failure_reason_count", counts.reason),
        ATTR_WORD("tls_failure_source", "native_authoritative"),
        ATTR_NUMBER("tls_failure_source_count", counts.source),
        WORD_OR_ABSENT("tls_learning_decision", taught ? lesson_decision(&lesson) : NULL),
        WORD_OR_ABSENT("tls_learning_reason_code", lesson.reason_code),
        ATTR_WORD("tls_ops_provider", "soth-mitm"),
        verify_code_attr(f->verify_code),
        revocation.present,
        revocation.status,
    };
    emit_event(family_connection(flow), SOTH_EV_TLS_HANDSHAKE_FAILED, attrs, COUNT(attrs));
    if (taught)
        emit_audit(family_connection(flow), &signal);
}
