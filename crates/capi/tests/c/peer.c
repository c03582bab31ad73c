// One end of a channel in another process: what the tests drive.
//
//     peer SEGMENT send CHANNEL FORM COUNT    sends the numbers 0 to COUNT - 1
//     peer SEGMENT recv CHANNEL FORM COUNT    receives COUNT messages, and checks them
//     peer SEGMENT hold CHANNEL COUNT         takes COUNT messages, and waits to be killed
//     peer SEGMENT work CHANNEL               does jobs until nobody sends: tells the number of each
//     peer SEGMENT reserve CHANNEL COUNT      reserves COUNT places, and waits to be killed
//     peer SEGMENT interrupted CHANNEL        waits until SIGINT ends the wait
//     peer SEGMENT serve | call COUNT         the two ends of a service
//     peer SEGMENT serve-squares | ask-squares SERVICE COUNT
//                                             the two ends of one of elements
//
// FORM is "value", "place" or "batch". A message begins with its number.

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tombolo.h"

static _Noreturn void fail(const char *what, int result) {
    fprintf(stderr, "%s: %d (%s): %s\n", what, result, strerror(-result), tombolo_last_error());
    exit(1);
}

static int check(const char *what, int result) {
    if (result < 0)
        fail(what, result);
    return result;
}

static void say(const char *what) {
    puts(what);
    fflush(stdout);
}

#define BATCH 32

static size_t message_size(tombolo_sender *sender) {
    tombolo_status status = {.struct_size = sizeof status};
    check("status", tombolo_sender_status(sender, &status));
    return status.element_size;
}

static void send_all(tombolo_sender *sender, const char *form, uint64_t count) {
    size_t size = message_size(sender);
    unsigned char *bytes = calloc(BATCH, size);
    tombolo_bytes batch[BATCH];
    for (uint64_t n = 0; n < count;) {
        if (strcmp(form, "place") == 0) {
            tombolo_grant *grant;
            check("reserve", tombolo_reserve(sender, size, TOMBOLO_FOREVER, &grant));
            memcpy(tombolo_grant_data(grant, NULL), &n, sizeof n);
            check("commit", tombolo_grant_commit(&grant, size));
            n++;
        } else if (strcmp(form, "batch") == 0) {
            size_t many = count - n < BATCH ? (size_t)(count - n) : BATCH;
            for (size_t at = 0; at < many; at++) {
                uint64_t number = n + at;
                memcpy(bytes + at * size, &number, sizeof number);
                batch[at] = (tombolo_bytes){bytes + at * size, size};
            }
            n += (uint64_t)check("batch", tombolo_send_batch(sender, batch, many, TOMBOLO_FOREVER));
        } else {
            memcpy(bytes, &n, sizeof n);
            check("send", tombolo_send(sender, bytes, size, TOMBOLO_FOREVER));
            n++;
        }
    }
    free(bytes);
}

static void expect(const void *data, uint64_t n) {
    uint64_t number;
    memcpy(&number, data, sizeof number);
    if (number != n) {
        fprintf(stderr, "%" PRIu64 " came instead of %" PRIu64 "\n", number, n);
        exit(1);
    }
}

static void recv_all(tombolo_receiver *receiver, const char *form, uint64_t count) {
    tombolo_status status = {.struct_size = sizeof status};
    check("status", tombolo_receiver_status(receiver, &status));
    unsigned char *bytes = malloc(status.element_size);
    tombolo_batch *batch;
    check("batch", tombolo_batch_new(&batch));
    for (uint64_t n = 0; n < count;) {
        if (strcmp(form, "place") == 0) {
            tombolo_delivery *delivery;
            check("take", tombolo_take(receiver, TOMBOLO_FOREVER, &delivery));
            expect(tombolo_delivery_data(delivery, NULL), n);
            check("release", tombolo_delivery_release(&delivery));
            n++;
        } else if (strcmp(form, "batch") == 0) {
            int came = check("batch", tombolo_recv_batch(receiver, batch, BATCH, TOMBOLO_FOREVER));
            for (int at = 0; at < came; at++, n++)
                expect(tombolo_batch_get(batch, (size_t)at, NULL), n);
        } else {
            size_t length;
            check("recv", tombolo_recv(receiver, bytes, status.element_size, &length,
                                       TOMBOLO_FOREVER));
            expect(bytes, n);
            n++;
        }
    }
    tombolo_batch_free(&batch);
    free(bytes);
}

static tombolo_service squares(void) {
    return (tombolo_service){
        .struct_size = sizeof(tombolo_service),
        .request_size = sizeof(uint32_t), .request_align = _Alignof(uint32_t),
        .request_schema = "u32",
        .reply_size = sizeof(uint64_t), .reply_align = _Alignof(uint64_t), .reply_schema = "u64",
    };
}

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int is_stopped(void *context) {
    (void)context;
    return stopped;
}

static void wait_to_be_killed(void) {
    say("held");
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    const char *role = argv[2];
    tombolo_segment *segment;
    tombolo_options options = {.struct_size = sizeof options, .how = TOMBOLO_OPEN};
    check("open", tombolo_segment_open(argv[1], &options, &segment));
    if (strcmp(role, "serve") == 0 && argc == 4) {
        tombolo_server *server;
        check("server", tombolo_server_open(segment, "calls", NULL, &server));
        say("open");
        for (int n = 0; n < atoi(argv[3]); n++) {
            tombolo_request *request;
            size_t length;
            check("serve", tombolo_serve(server, TOMBOLO_FOREVER, &request));
            const char *data = tombolo_request_data(request, &length);
            char reply[64];
            for (size_t at = 0; at < length; at++)
                reply[at] = (char)(data[at] + 1);
            check("reply", tombolo_reply(&request, reply, length));
        }
        check("close", tombolo_server_close(&server));
    } else if (strcmp(role, "call") == 0 && argc == 4) {
        tombolo_client *client;
        check("client", tombolo_client_open(segment, "calls", NULL, &client));
        say("open");
        for (uint64_t n = 0; n < (uint64_t)atoi(argv[3]); n++) {
            uint64_t reply;
            size_t length;
            check("call", tombolo_call(client, &n, sizeof n, &reply, sizeof reply, &length,
                                       TOMBOLO_FOREVER));
            for (size_t at = 0; at < sizeof n; at++)
                if (((unsigned char *)&reply)[at] != (unsigned char)(((unsigned char *)&n)[at] + 1))
                    return 1;
        }
        check("close", tombolo_client_close(&client));
    } else if (strcmp(role, "serve-squares") == 0 && argc == 5) {
        tombolo_server *server;
        tombolo_service wanted = squares();
        check("server", tombolo_server_open(segment, argv[3], &wanted, &server));
        say("open");
        for (int n = 0; n < atoi(argv[4]); n++) {
            tombolo_request *request;
            uint32_t number;
            check("serve", tombolo_serve(server, TOMBOLO_FOREVER, &request));
            memcpy(&number, tombolo_request_data(request, NULL), sizeof number);
            uint64_t square = (uint64_t)number * number;
            check("reply", tombolo_reply(&request, &square, sizeof square));
        }
        check("close", tombolo_server_close(&server));
    } else if (strcmp(role, "ask-squares") == 0 && argc == 5) {
        tombolo_client *client;
        tombolo_service wanted = squares();
        check("client", tombolo_client_open(segment, argv[3], &wanted, &client));
        say("open");
        for (uint32_t n = 0; n < (uint32_t)atoi(argv[4]); n++) {
            uint64_t square;
            check("call", tombolo_call(client, &n, sizeof n, &square, sizeof square, NULL,
                                       TOMBOLO_FOREVER));
            if (square != (uint64_t)n * n)
                return 1;
        }
        check("close", tombolo_client_close(&client));
    } else if (argc < 4) {
        return 2;
    } else if (strcmp(role, "send") == 0 && argc == 6) {
        tombolo_sender *sender;
        check("sender", tombolo_sender_open(segment, argv[3], NULL, &sender));
        say("open");
        send_all(sender, argv[4], (uint64_t)atoll(argv[5]));
        check("close", tombolo_sender_close(&sender));
    } else if (strcmp(role, "reserve") == 0 && argc == 5) {
        tombolo_sender *sender;
        check("sender", tombolo_sender_open(segment, argv[3], NULL, &sender));
        for (int n = 0; n < atoi(argv[4]); n++) {
            tombolo_grant *grant;
            size_t size = message_size(sender);
            check("reserve", tombolo_reserve(sender, size, TOMBOLO_FOREVER, &grant));
            memset(tombolo_grant_data(grant, NULL), 0xee, size);
        }
        wait_to_be_killed();
    } else {
        tombolo_channel reliable = {.struct_size = sizeof reliable, .flags = TOMBOLO_RELIABLE};
        tombolo_receiver *receiver;
        check("receiver", tombolo_receiver_open(segment, argv[3], &reliable, &receiver));
        say("open");
        if (strcmp(role, "recv") == 0 && argc == 6) {
            recv_all(receiver, argv[4], (uint64_t)atoll(argv[5]));
        } else if (strcmp(role, "hold") == 0 && argc == 5) {
            for (int n = 0; n < atoi(argv[4]); n++) {
                tombolo_delivery *delivery;
                check("take", tombolo_take(receiver, TOMBOLO_FOREVER, &delivery));
            }
            wait_to_be_killed();
        } else if (strcmp(role, "work") == 0) {
            tombolo_delivery *job;
            int result;
            while ((result = tombolo_take(receiver, TOMBOLO_FOREVER, &job)) == 0) {
                uint64_t number;
                memcpy(&number, tombolo_delivery_data(job, NULL), sizeof number);
                printf("%" PRIu64 "\n", number);
                fflush(stdout);
                check("release", tombolo_delivery_release(&job));
            }
            if (result != -EPIPE)
                fail("take", result);
        } else if (strcmp(role, "interrupted") == 0) {
            struct sigaction action = {.sa_handler = stop};
            sigaction(SIGINT, &action, NULL);
            check("interrupt", tombolo_interrupt(is_stopped, NULL));
            say("waits");
            tombolo_delivery *delivery;
            int result = tombolo_take(receiver, TOMBOLO_FOREVER, &delivery);
            if (result != -EINTR)
                fail("it was not interrupted", result);
            check("interrupt", tombolo_interrupt(NULL, NULL));
        } else {
            return 2;
        }
        check("close", tombolo_receiver_close(&receiver));
    }
    check("close", tombolo_segment_close(&segment));
    return 0;
}
