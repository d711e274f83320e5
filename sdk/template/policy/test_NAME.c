/* Drives @NAME@ without the proxy. testhost.h, beside the sources that the Makefile names, says what else it can do. */
#include <testhost.h>

extern const struct soth_module soth_mitm_module;

int main(void)
{
    const char *config[] = {"hosts=[blocked.test]", "header=X-Blocked", NULL};
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    if (!host)
        return 1;
    /* plainly, again and again, from several threads, with flows that go away: the answer must be the same each time */
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "blocked.test"}, SOTH_BLOCK);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "other.test"}, SOTH_ALLOW);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_REQUEST, .request = "GET / HTTP/1.1\nx-blocked: 1"}, SOTH_BLOCK);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_REQUEST, .request = "GET / HTTP/1.1\nX-Other: 1"}, SOTH_ALLOW);
    testhost_expect(host, testhost_count(host, "blocked") > 0, "what is blocked is counted");
    return testhost_free(host) ? 1 : 0;
}
