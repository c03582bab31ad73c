// A service: clients call, a server replies; the client of a server that is killed is told at
// once.
//
//     square serve       serves calls until no client is left
//     square 12          calls, and prints 144
//
// cc -o square square.c $(pkg-config --cflags --libs tombolo)

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tombolo.h"

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, tombolo_last_error());
    return 1;
}

static int serve(tombolo_segment *segment, const tombolo_service *squares) {
    tombolo_server *server;
    if (tombolo_server_open(segment, "squares", squares, &server) < 0)
        return fail("cannot open the service");
    printf("serving\n");
    fflush(stdout);
    for (;;) {
        tombolo_request *request;
        int result = tombolo_serve(server, TOMBOLO_FOREVER, &request);
        if (result == -EPIPE)
            break;
        if (result < 0)
            return fail("cannot take a call");
        int64_t number = 0;
        size_t length;
        const void *data = tombolo_request_data(request, &length);
        if (length != sizeof number) {
            tombolo_refuse(&request);
            continue;
        }
        memcpy(&number, data, sizeof number);
        number *= number;
        if (tombolo_reply(&request, &number, sizeof number) < 0)
            return fail("cannot reply");
    }
    return tombolo_server_close(&server) < 0 ? fail("cannot close") : 0;
}

static int call(tombolo_segment *segment, const tombolo_service *squares, int64_t number) {
    tombolo_client *client;
    if (tombolo_client_open(segment, "squares", squares, &client) < 0)
        return fail("cannot open the service");
    int64_t square;
    size_t length;
    if (tombolo_call(client, &number, sizeof number, &square, sizeof square, &length,
                     INT64_C(10000000000)) < 0)
        return fail("the call has failed");
    printf("%lld\n", (long long)square);
    return tombolo_client_close(&client) < 0 ? fail("cannot close") : 0;
}

int main(int argc, char **argv) {
    const char *name = getenv("TOMBOLO_SEGMENT");
    tombolo_service squares = {.struct_size = sizeof squares,
                               .capacity = 16,
                               .longest_request = sizeof(int64_t),
                               .longest_reply = sizeof(int64_t)};
    tombolo_segment *segment;
    if (tombolo_segment_open(name != NULL ? name : "example", NULL, &segment) < 0)
        return fail("cannot open the segment");
    int status = 2;
    if (argc != 2)
        fprintf(stderr, "usage: square serve | square NUMBER\n");
    else if (strcmp(argv[1], "serve") == 0)
        status = serve(segment, &squares);
    else
        status = call(segment, &squares, atoll(argv[1]));
    tombolo_segment_close(&segment);
    return status;
}
