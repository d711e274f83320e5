/* SPDX-License-Identifier: MPL-2.0 */
/* Command line of the bench's streams: stream serve|sse|ws --port N ... Never runs longer than ten minutes. */
#include "stream.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"cert", 1, 0, 'C'}, {"key", 1, 0, 'k'}, {"ca", 1, 0, 'a'}, {"tls", 1, 0, 't'}, {"connect", 1, 0, 'c'},
        {"header", 1, 0, 'H'}, {"connections", 1, 0, 'n'}, {"rate", 1, 0, 'r'}, {"size", 1, 0, 'z'}, {"warmup", 1, 0, 'w'},
        {"seconds", 1, 0, 's'}, {"gzip", 0, 0, 'g'}, {"idle", 0, 0, 'i'}, {0}};
    struct stream_options o = {.sni = "localhost", .header = "localhost", .connections = 50, .rate = 20, .size = 200, .seconds = 1};

    for (int k; (k = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (k) {
        case 'p': o.port = atoi(optarg); break;
        case 'C': o.cert = optarg; break;
        case 'k': o.key = optarg; break;
        case 'a': o.ca = optarg; break;
        case 't': o.sni = optarg; break;
        case 'c': o.connect = optarg; break;
        case 'H': o.header = optarg; break;
        case 'n': o.connections = atoi(optarg); break;
        case 'r': o.rate = atof(optarg); break;
        case 'z': o.size = atoi(optarg); break;
        case 'w': o.warmup = atof(optarg); break;
        case 's': o.seconds = atof(optarg); break;
        case 'g': o.gzip = true; break;
        case 'i': o.idle = true; break;
        default: return 2;
        }
    const char *mode = optind + 1 == argc ? argv[optind] : "";
    if (o.port < 1 || o.connections < 1 || o.connections > 2000 || o.size < 1 || o.size > 4096 || o.rate <= 0 || o.seconds > 60) {
        fprintf(stderr, "stream: serve, sse or ws, with --port, at most 2000 --connections, 4096 --size, 60 --seconds\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1000);
    alarm(600);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(mode, "serve") == 0)
        return serve(&o);
    if (strcmp(mode, "sse") == 0 || strcmp(mode, "ws") == 0)
        return consume(&o, mode[0] == 'w');
    fprintf(stderr, "stream: serve, sse or ws?\n");
    return 2;
}
