/* Drives @NAME@ without the proxy. testhost.h, beside the sources that the Makefile names, says what else it can do. */
#include <testhost.h>

extern const struct soth_module soth_mitm_module;

int main(void)
{
    struct testhost *host = testhost_new(&soth_mitm_module, NULL, NULL);
    if (!host)
        return 1;
    /* whole, byte by byte, cut at every place, ended early: the events must be the same each time */
    const struct testhost_step steps[] = {{SOTH_TO_CLIENT, TESTHOST_TEXT("one\n\nthr")}, {SOTH_TO_CLIENT, TESTHOST_TEXT("ee\nend")}};
    testhost_decoder(host, &(struct testhost_case){
        .name = "lines", .response = "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8", .steps = steps, .step_count = 2,
        .events = "stream_record record_len=3 sequence_no=1\n"
                  "stream_record record_len=0 sequence_no=2\n"
                  "stream_record record_len=5 sequence_no=3\n"
                  "stream_record record_len=3 sequence_no=4\n"});
    testhost_decoder(host, &(struct testhost_case){
        .name = "another type", .response = "HTTP/1.1 200 OK\nContent-Type: image/png", .steps = steps, .step_count = 2, .events = ""});
    return testhost_free(host) ? 1 : 0;
}
