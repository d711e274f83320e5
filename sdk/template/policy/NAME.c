/*
 * @NAME@: a policy of soth-mitm. It blocks connections to some hosts, and requests that have a certain header field.
 *
 * The hooks run on the workers that relay traffic, several at once: they answer from what they have and never wait. A policy that must ask
 * somebody returns SOTH_PAUSE (sdk.md).
 */
#include <soth/sdk.h>

/* One instance, shared by all workers. The host fills in what the option table names; nothing changes it later. */
struct @NAME@ {
    struct soth_strings hosts;
    const char *header;
    const struct soth_host *host;
    int blocked; /* the number of a counter */
};

static const struct soth_opt options[] = {
    SOTH_OPT_STRINGS(struct @NAME@, hosts, "[]", "connections to these hosts are blocked"),
    SOTH_OPT_STRING(struct @NAME@, header, 0, "requests with this header field are blocked"),
    SOTH_OPT_END,
};

/* Rules that one key alone cannot say; `soth-mitm check` runs it too. */
static int @NAME@_check(const struct soth_host *host, void *self)
{
    const struct @NAME@ *policy = self;
    return policy->hosts.n == 0 && !*policy->header ? host->cfg_err(self, "hosts", "give hosts or header, else it blocks nothing") : SOTH_OK;
}

static int @NAME@_create(const struct soth_host *host, void *self)
{
    struct @NAME@ *policy = self;
    policy->host = host;
    policy->blocked = host->counter(self, "blocked", NULL, "connections and requests that were blocked");
    return SOTH_OK;
}

static int block(struct @NAME@ *policy, struct soth_decision *out, const char *rule)
{
    policy->host->count(policy, policy->blocked, 1);
    out->action = SOTH_BLOCK;
    out->reason = "rule";
    out->rule_id = soth_span(rule);
    return SOTH_DECIDED;
}

/* Asked once for each name of a connection: the target, and later SNI and Host when they differ. */
static int @NAME@_connect(void *self, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    struct @NAME@ *policy = self;
    (void)flow;
    for (size_t i = 0; i < policy->hosts.n; i++)
        if (soth_span_is(connect->host, policy->hosts.v[i]))
            return block(policy, out, "hosts");
    return SOTH_CONTINUE;
}

/* Asked for each request. */
static int @NAME@_request(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    struct @NAME@ *policy = self;
    (void)request;
    if (*policy->header && policy->host->hdr_get(flow, policy->header, 0).p)
        return block(policy, out, "header");
    return SOTH_CONTINUE;
}

SOTH_POLICY_MODULE(@NAME@, "1.0", "MIT",
    .doc = "blocks hosts, and requests with a header field",
    .options = options, .self_size = sizeof(struct @NAME@),
    .check = @NAME@_check, .create = @NAME@_create, .connect = @NAME@_connect, .request = @NAME@_request);
