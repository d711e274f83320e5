/* Drives @NAME@ without the proxy. testhost.h, beside the sources that the Makefile names, says what else it can do. */
#include <stdio.h>
#include <string.h>

#include <testhost.h>

extern const struct soth_module soth_mitm_module;

static int first_line_is(const char *path, const char *wanted)
{
    char line[256] = "";
    FILE *in = fopen(path, "r");
    int same = in && fgets(line, sizeof line, in) && strcmp(line, wanted) == 0;
    if (in)
        fclose(in);
    return same;
}

int main(void)
{
    const char *config[] = {"path=@NAME@.txt", NULL};
    remove("@NAME@.txt");
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    if (!host)
        return 1;
    /* one by one, in pairs, all at once: whatever it is given it must take */
    testhost_sink(host, "request_headers method=GET target=/\nresponse_headers status_code=200\n", 0);
    testhost_expect(host, first_line_is("@NAME@.txt", "request_headers a.test GET\n"), "the first line is the request");
    return testhost_free(host) ? 1 : 0;
}
