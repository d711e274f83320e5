/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/grpc/ modules/coding/ modules/match/media.c modules/match/path.c sdk/testhost/ */
/* needs: CODING */
/* The module grpc: which exchanges are calls, what it publishes and in which order, gRPC-Web, what is broken, what a limit means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

#define CALL "POST /pkg.Svc/Get HTTP/1.1\nHost: a.test\nTE: trailers\nContent-Type: "
#define ANSWER "HTTP/1.1 200 OK\nContent-Type: "
#define UP(text_) {SOTH_TO_SERVER, TESTHOST_TEXT(text_)}
#define DOWN(text_) {SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}
/* what each event of the call says */
#define OF(n) "grpc_detection_mode=content_type grpc_event_sequence=" #n " "
#define WHOSE "grpc_method=Get grpc_service=pkg.Svc"

static unsigned check(const char *const *config, const struct testhost_case *c)
{
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    assert_non_null(host);
    unsigned faults = testhost_decoder(host, c);
    return testhost_free(host) + faults;
}

static void a_unary_call(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\3abc"), DOWN("\0\0\0\0\5hello")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc+proto\ngrpc-timeout: 1S\ngrpc-accept-encoding: gzip", .response = ANSWER "application/grpc",
        .steps = steps, .step_count = 2, .trailers = {NULL, "grpc-status: 0\ngrpc-message: fine\nx-more: 1"},
        .events = "grpc_request_headers content_type=application/grpc+proto grpc_accept_encoding=gzip " OF(1) WHOSE " grpc_timeout=1S\n"
                  "grpc_message compressed=false data=abc direction=client_to_server " OF(2) WHOSE " message_len=3 sequence_no=1\n"
                  "grpc_response_headers content_type=application/grpc " OF(3) WHOSE " status_code=200\n"
                  "grpc_message compressed=false data=hello direction=server_to_client " OF(4) WHOSE " message_len=5 sequence_no=1\n"
                  "grpc_response_trailers " OF(5) "grpc_message=fine grpc_method=Get grpc_service=pkg.Svc grpc_status=0 "
                  "names=grpc-status,grpc-message,x-more trailer_count=3\n"}), 0);
}

/* Both directions run on their own, either may end first. */
/* As much of a message as sinks want, and not more than there is; of a compressed one of what it was. */
static void samples(void **state)
{
    static const struct {
        uint64_t most;
        const char *data;
    } cases[] = {{0, ""}, {1, "data=h "}, {4, "data=hell "}, {5, "data=hello "}, {6, "data=hello "}, {UINT64_MAX, "data=hello "}};
    static const struct testhost_step steps[] = {DOWN("\0\0\0\0\5hello\1\0\0\0\15\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15")};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char plain[256], packed[256];
        struct testhost *host = testhost_new(&soth_mitm_module, NULL, NULL);
        assert_non_null(host);
        testhost_wanted(host, UINT64_C(1) << SOTH_EV_GRPC_MESSAGE, cases[i].most);
        snprintf(plain, sizeof plain, "grpc_message compressed=false %sdirection=server_to_client " OF(3) WHOSE " message_len=5 sequence_no=1\n",
                 cases[i].data);
        snprintf(packed, sizeof packed, "grpc_message compressed=true %sdecompressed_len=5 direction=server_to_client " OF(4) WHOSE
                 " message_len=13 sequence_no=2\n", cases[i].data);
        testhost_decoder(host, &(struct testhost_case){
            .request = CALL "application/grpc", .response = ANSWER "application/grpc\ngrpc-encoding: deflate", .steps = steps, .step_count = 1});
        assert_non_null(strstr(testhost_events(host), plain));
        assert_non_null(strstr(testhost_events(host), packed));
        assert_int_equal(testhost_free(host), 0);
    }
}

static void both_directions_at_once(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a"), DOWN("\0\0\0\0\1x"), UP("\0\0\0\0\1b\0\0"), DOWN("\0\0\0\0\2yz"), UP("\0\0\1c")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc", .response = ANSWER "application/grpc", .steps = steps, .step_count = 5,
        .trailers = {NULL, "grpc-status: 13"},
        .events = "grpc_request_headers content_type=application/grpc " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_headers content_type=application/grpc " OF(3) WHOSE " status_code=200\n"
                  "grpc_message compressed=false data=x direction=server_to_client " OF(4) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_message compressed=false data=b direction=client_to_server " OF(5) WHOSE " message_len=1 sequence_no=2\n"
                  "grpc_message compressed=false data=yz direction=server_to_client " OF(6) WHOSE " message_len=2 sequence_no=2\n"
                  "grpc_response_trailers " OF(7) WHOSE " grpc_status=13 names=grpc-status trailer_count=1\n"
                  "grpc_message compressed=false data=c direction=client_to_server " OF(8) WHOSE " message_len=1 sequence_no=3\n"}), 0);
}

static void trailers_only(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc", .response = ANSWER "application/grpc\ngrpc-status: 5\ngrpc-message: not%20found", .steps = steps,
        .step_count = 1,
        .events = "grpc_request_headers content_type=application/grpc " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_headers content_type=application/grpc " OF(3) "grpc_message=not%20found grpc_method=Get grpc_service=pkg.Svc "
                  "grpc_status=5 status_code=200 trailers_only=true\n"}), 0);
}

/* The head of a page of an error is told, its body is no messages. */
static void an_answer_that_is_not_grpc(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a"), DOWN("<html>")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc", .response = "HTTP/1.1 503 No\nContent-Type: text/html", .steps = steps, .step_count = 2,
        .events = "grpc_request_headers content_type=application/grpc " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_headers content_type=text/html " OF(3) WHOSE " status_code=503\n"}), 0);
}

/* python: gzip.compress(b"hello hello hello hello", 9, mtime=0) */
#define GZIPPED "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcbH\xcd\xc9\xc9W\xc8@'\x01\xe3Q=\x8d\x17\x00\x00\x00"

static void compressed_messages(void **state)
{
    static const struct testhost_step steps[] = {UP("\1\0\0\0\x1c" GZIPPED), DOWN("\1\0\0\0\3xyz\0\0\0\0\1p")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc\ngrpc-encoding: gzip", .response = ANSWER "application/grpc\ngrpc-encoding: snappy", .steps = steps,
        .step_count = 2,
        .events = "grpc_request_headers content_type=application/grpc grpc_detection_mode=content_type grpc_encoding=gzip grpc_event_sequence=1 " WHOSE "\n"
                  "grpc_message compressed=true data=hello hello hello hello decompressed_len=23 direction=client_to_server " OF(2) WHOSE
                  " message_len=28 sequence_no=1\n"
                  "grpc_response_headers content_type=application/grpc grpc_detection_mode=content_type grpc_encoding=snappy grpc_event_sequence=3 " WHOSE
                  " status_code=200\n"
                  "grpc_message compressed=true direction=server_to_client " OF(4) WHOSE " message_len=3 sequence_no=1\n"
                  "grpc_message compressed=false data=p direction=server_to_client " OF(5) WHOSE " message_len=1 sequence_no=2\n"}), 0);
}

static void other_messages_are_left_alone(void **state)
{
    static const char *const requests[] = {CALL "application/json", "POST / HTTP/1.1\nHost: a.test", CALL "application/grpcx",
                                           CALL "application/grpc\nContent-Encoding: gzip"};
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a"), DOWN("\0\0\0\0\1a")};
    struct testhost_case c = {.response = ANSWER "application/grpc", .steps = steps, .step_count = 2, .events = ""};
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        c.request = requests[i];
        assert_int_equal(check(NULL, &c), 0);
    }
    c.request = CALL "application/grpc-web";
    assert_int_equal(check((const char *[]){"grpc_web=false", NULL}, &c), 0);
}

static void found_by_its_path(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a")};
    static const char *const config[] = {"path_patterns=[/pkg.*]", NULL};
    (void)state;
    assert_int_equal(check(config, &(struct testhost_case){
        .request = CALL "application/octet-stream", .response = ANSWER "application/octet-stream", .steps = steps, .step_count = 1,
        .events = "grpc_request_headers content_type=application/octet-stream grpc_detection_mode=path grpc_event_sequence=1 " WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server grpc_detection_mode=path grpc_event_sequence=2 " WHOSE
                  " message_len=1 sequence_no=1\n"
                  "grpc_response_headers content_type=application/octet-stream grpc_detection_mode=path grpc_event_sequence=3 " WHOSE
                  " status_code=200\n"}), 0);
}

static void web_in_bytes(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a"), DOWN("\0\0\0\0\1b\x80\0\0\0\x20grpc-status:0\r\ngrpc-message:ok\r\n")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc-web+proto", .response = ANSWER "application/grpc-web+proto", .steps = steps, .step_count = 2,
        .events = "grpc_request_headers content_type=application/grpc-web+proto " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_headers content_type=application/grpc-web+proto " OF(3) WHOSE " status_code=200\n"
                  "grpc_message compressed=false data=b direction=server_to_client " OF(4) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_trailers " OF(5) "grpc_message=ok grpc_method=Get grpc_service=pkg.Svc grpc_status=0 names=grpc-status,grpc-message "
                  "trailer_count=2\n"}), 0);
}

/* base64 of the same, each frame by itself, as servers write it */
static void web_in_text(void **state)
{
    static const struct testhost_step steps[] = {UP("AAAAAAFh"), DOWN("AAAAAAFiAAAAAAFj"), DOWN("gAAAAA9ncnBjLXN0YXR1czowDQo=")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc-web-text", .response = ANSWER "application/grpc-web-text+proto", .steps = steps, .step_count = 3,
        .events = "grpc_request_headers content_type=application/grpc-web-text " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_headers content_type=application/grpc-web-text+proto " OF(3) WHOSE " status_code=200\n"
                  "grpc_message compressed=false data=b direction=server_to_client " OF(4) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_message compressed=false data=c direction=server_to_client " OF(5) WHOSE " message_len=1 sequence_no=2\n"
                  "grpc_response_trailers " OF(6) WHOSE " grpc_status=0 names=grpc-status trailer_count=1\n"}), 0);
    static const struct testhost_step bad[] = {UP("AAAAAAFh!")};
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc-web-text", .steps = bad, .step_count = 1,
        .events = "grpc_request_headers content_type=application/grpc-web-text " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "failed invalid_base64\n"}), 0);
}

static void broken_framing(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\1a\7\0\0\0\1b"), DOWN("\0\0\0\0\1c\0\0\0\0\5d")};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc", .response = ANSWER "application/grpc", .steps = steps, .step_count = 2,
        .trailers = {NULL, "grpc-status: 0"},
        .events = "grpc_request_headers content_type=application/grpc " OF(1) WHOSE "\n"
                  "grpc_message compressed=false data=a direction=client_to_server " OF(2) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_malformed class=invalid_compressed_flag direction=client_to_server " OF(3) WHOSE " message_len=1 offset=6 sequence_no=2\n"
                  "grpc_response_headers content_type=application/grpc " OF(4) WHOSE " status_code=200\n"
                  "grpc_message compressed=false data=c direction=server_to_client " OF(5) WHOSE " message_len=1 sequence_no=1\n"
                  "grpc_response_trailers " OF(6) WHOSE " grpc_status=0 names=grpc-status trailer_count=1\n"
                  "grpc_malformed class=length_mismatch direction=server_to_client " OF(7) WHOSE " message_len=5 offset=12 sequence_no=2\n"}), 0);
    static const struct testhost_step prefix[] = {UP("\0\0\0")};
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = CALL "application/grpc", .steps = prefix, .step_count = 1,
        .events = "grpc_request_headers content_type=application/grpc " OF(1) WHOSE "\n"
                  "grpc_malformed class=truncated_prefix direction=client_to_server " OF(2) WHOSE " offset=3 sequence_no=1\n"}), 0);
}

static void a_limit_detaches_or_closes(void **state)
{
    static const struct testhost_step steps[] = {UP("\0\0\0\0\4abcd\0\0\0\0\5abcde\0\0\0\0\1a")};
    struct testhost_case c = {.request = CALL "application/grpc", .steps = steps, .step_count = 1};
#define BEFORE \
    "grpc_request_headers content_type=application/grpc " OF(1) WHOSE "\n" \
    "grpc_message compressed=false data=abcd direction=client_to_server " OF(2) WHOSE " message_len=4 sequence_no=1\n" \
    "grpc_malformed class=message_too_large direction=client_to_server " OF(3) WHOSE " message_len=5 offset=9 sequence_no=2\n"
    (void)state;
    c.events = BEFORE "failed max_message_bytes\n";
    assert_int_equal(check((const char *[]){"max_message_bytes=4", NULL}, &c), 0);
    c.events = BEFORE "failed max_message_bytes close\n";
    assert_int_equal(check((const char *[]){"max_message_bytes=4", "on_overflow=close", NULL}, &c), 0);
}

/* A message that is too large when it is decompressed is found by whoever hears of what follows from it, and where it ends the exchange. */
static void a_limit_does_not_depend_on_who_listens(void **state)
{
    static const struct testhost_step steps[] = {DOWN("\1\0\0\0\14\x78\x9c\x4b\x4c\xa4\x3d\x00\x00\x7a\x47\x25\xe5")}; /* a hundred bytes */
    static const uint32_t kinds[] = {SOTH_EV_GRPC_MESSAGE, SOTH_EV_GRPC_MALFORMED, SOTH_EV_GRPC_RESPONSE_HEADERS, SOTH_EV_GRPC_RESPONSE_TRAILERS,
                                     SOTH_EV_DECODER_STAGE_FAILED};
    struct testhost_case c = {.request = CALL "application/grpc", .response = ANSWER "application/grpc\ngrpc-encoding: deflate", .steps = steps,
                              .step_count = 1, .trailers = {NULL, "grpc-status: 0"}, .leave_out = TESTHOST_FRAMES | TESTHOST_BLOCK};
    (void)state;
    for (unsigned on_overflow = 0; on_overflow < 2; on_overflow++)
        for (size_t i = 0; i <= sizeof kinds / sizeof *kinds; i++) {
            const bool nobody = i == sizeof kinds / sizeof *kinds;
            const char *config[] = {"max_message_bytes=99", on_overflow ? "on_overflow=close" : NULL, NULL};
            struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
            assert_non_null(host);
            testhost_wanted(host, nobody ? 0 : UINT64_C(1) << kinds[i], UINT64_MAX);
            assert_int_equal(testhost_decoder(host, &c), 0);
            const char *events = testhost_events(host);
            assert_int_equal(strstr(events, on_overflow ? "failed max_message_bytes close\n" : "failed max_message_bytes\n") != NULL, on_overflow || !nobody);
            assert_null(strstr(events, "grpc_response_trailers"));
            assert_null(strstr(events, "grpc_message "));
            assert_int_equal(testhost_free(host), 0);
        }
}

static void patterns_are_checked(void **state)
{
    (void)state;
    assert_null(testhost_new(&soth_mitm_module, (const char *[]){"path_patterns=[pkg.Svc]", NULL}, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call),
        cmocka_unit_test(samples),
        cmocka_unit_test(both_directions_at_once),
        cmocka_unit_test(trailers_only),
        cmocka_unit_test(an_answer_that_is_not_grpc),
        cmocka_unit_test(compressed_messages),
        cmocka_unit_test(other_messages_are_left_alone),
        cmocka_unit_test(found_by_its_path),
        cmocka_unit_test(web_in_bytes),
        cmocka_unit_test(web_in_text),
        cmocka_unit_test(broken_framing),
        cmocka_unit_test(a_limit_detaches_or_closes),
        cmocka_unit_test(a_limit_does_not_depend_on_who_listens),
        cmocka_unit_test(patterns_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
