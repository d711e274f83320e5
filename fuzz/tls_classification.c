/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Any numbers go to tls_failure_classify: error (2 bytes, negated), alert received and sent (1 each, 255 = none), verify (2, negated),
 * errno (1), flags (1). What must hold: a reason, sentences that fit, "certain" only for an alert of a client about a certificate, and a
 * time-out whenever our deadline passed.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/tls/failure.h"

static int alert(uint8_t byte)
{
    return byte == 255 ? -1 : byte;
}

static void classify(const uint8_t *p)
{
    struct tls_failure out;
    const struct tls_facts facts = {
        .error = -(p[0] << 8 | p[1]),
        .alert_rx = alert(p[2]),
        .alert_tx = alert(p[3]),
        .verify_code = -(p[4] << 8 | p[5]),
        .sys_errno = p[6],
        .eof = p[7] & 1,
        .timeout = p[7] >> 1 & 1,
        .is_server = p[7] >> 2 & 1,
        .spoke_tls = p[7] >> 3 & 1,
    };
    memset(&out, 0xa5, sizeof out);
    tls_failure_classify(&facts, &out);
    MUST(out.reason > TLS_REASON_NONE && out.reason <= TLS_REASON_OTHER);
    MUST(memchr(out.raw, '\0', sizeof out.raw) && memchr(out.detail, '\0', sizeof out.detail));
    MUST(out.raw[0] && out.detail[0] && strlen(out.detail) < sizeof out.detail - 1);
    MUST(!facts.timeout || out.reason == TLS_REASON_TIMEOUT);
    MUST(facts.is_server || out.rejected_ca == REJECTED_NO);
    MUST(out.rejected_ca != REJECTED_CERTAIN || (facts.alert_rx >= 42 && facts.alert_rx <= 48));
    MUST(strcmp(tls_reason_name(out.reason), "none") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 8 <= size; at += 8)
        classify(data + at);
    return 0;
}
