/*
 * @NAME@: a decoder of soth-mitm. It looks on while bodies of one content type are relayed, and publishes an event for every line of them.
 *
 * It is a TAP: it borrows the bytes, for the length of a call, and can neither change nor delay them. Lines come in pieces of any size, so
 * what is known of an unfinished line is kept in the state that the host holds for each exchange.
 */
#include <string.h>
#include <strings.h>

#include <soth/sdk.h>

/* One instance, shared by all workers. The host fills in what the option table names. */
struct @NAME@ {
    const char *content_type;
    const struct soth_host *host;
};

/* One exchange, zeroed when it begins. */
struct lines {
    uint64_t count;
    uint64_t length; /* of the line that has not ended yet */
};

static const struct soth_opt options[] = {
    SOTH_OPT_STRING_DEF(struct @NAME@, content_type, "text/plain", "responses of this type are read"),
    SOTH_OPT_END,
};

static int @NAME@_create(const struct soth_host *host, void *self)
{
    ((struct @NAME@ *)self)->host = host;
    return SOTH_OK;
}

/* Asked about every head; what it says no to costs nothing from then on. */
static int @NAME@_match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    const struct @NAME@ *decoder = self;
    size_t n = strlen(decoder->content_type);
    (void)flow;
    if (message->direction != SOTH_TO_CLIENT || message->coded) /* coded: compressed, and nobody before us changes that */
        return SOTH_WATCH_NO;
    for (uint32_t i = 0; i < message->field_count; i++) {
        const struct soth_field *field = &message->fields[i];
        if (field->name.n == 12 && strncasecmp(field->name.p, "Content-Type", 12) == 0)
            return field->value.n >= n && strncasecmp(field->value.p, decoder->content_type, n) == 0 ? SOTH_WATCH_BODY : SOTH_WATCH_NO;
    }
    return SOTH_WATCH_NO;
}

static void publish(struct @NAME@ *decoder, struct soth_flow *flow, struct lines *lines)
{
    decoder->host->emit(decoder, flow, SOTH_EV_STREAM_RECORD,
                        SOTH_ATTRS({"record_len", SOTH_U64(lines->length)}, {"sequence_no", SOTH_U64(++lines->count)}));
    lines->length = 0;
}

/* Some more bytes of the body; the last call has SOTH_CUR_END. */
static int @NAME@_data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct @NAME@ *decoder = self;
    struct lines *lines = decoder->host->flow_state(flow);
    if (!lines)
        return -SOTH_ENOMEM;
    for (size_t i = 0; i < cur->in.n; i++) {
        if (cur->in.p[i] == '\n')
            publish(decoder, flow, lines);
        else
            lines->length++;
    }
    if ((cur->flags & SOTH_CUR_END) && lines->length > 0)
        publish(decoder, flow, lines);
    return SOTH_CONTINUE;
}

SOTH_DECODER_MODULE(@NAME@, "1.0", "MIT",
    .doc = "an event for every line of a body",
    .options = options, .self_size = sizeof(struct @NAME@), .state_size = sizeof(struct lines),
    .create = @NAME@_create, .mode = SOTH_TAP, .stage = SOTH_STAGE_FRAME, .match = @NAME@_match, .data = @NAME@_data);
