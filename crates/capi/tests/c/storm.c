// A worker of the storm in python/tests/test_storm.py, which is killed at any moment:
//
//     storm SEGMENT ROLE CHANNEL FORM LIFE LOG
//
// ROLE is "produce", "consume", "subscribe", "ask" or "serve"; FORM is "value" or "place". The
// messages of a life are numbered from LIFE << 32 on. LOG says what it has done:
//
//     produce  how many sends have returned (a word)
//     ask      how many calls it has made, and how many of them were replied to and have failed
//              with their servers (three words)
//     others   two words for each message: its number, and 1 when it came, 2 when it was released

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tombolo.h"

#define WORDS 24

typedef struct {
    uint64_t words[WORDS];
} numbered;

static int log_fd;
static int is_bytes;

static void check(const char *what, int result) {
    if (result >= 0)
        return;
    fprintf(stderr, "in C: %s: %s: %s\n", what, strerror(-result), tombolo_last_error());
    exit(1);
}

static void note(const void *words, size_t length, off_t at) {
    ssize_t done = at < 0 ? write(log_fd, words, length) : pwrite(log_fd, words, length, at);
    if (done != (ssize_t)length)
        exit(1);
}

static void came(uint64_t number, uint64_t what) {
    uint64_t row[2] = {number, what};
    note(row, sizeof row, -1);
}

// How long the message of a number is.
static size_t length_of(uint64_t number) {
    return is_bytes ? 8 * (1 + number % WORDS) : sizeof(numbered);
}

static void fill(numbered *message, uint64_t number) {
    for (uint64_t at = 0; at < WORDS; at++)
        message->words[at] = number * (2 * at + 1);
}

static uint64_t number_of(const void *data, size_t length) {
    numbered read, wanted;
    memcpy(&read, data, length < sizeof read ? length : sizeof read);
    fill(&wanted, read.words[0]);
    if (length != length_of(read.words[0]) || memcmp(&read, &wanted, length) != 0) {
        fprintf(stderr, "in C: torn: %" PRIu64 ", %zu bytes\n", read.words[0], length);
        exit(1);
    }
    return read.words[0];
}

static void produce(tombolo_segment *segment, const char *channel, int in_place, uint64_t first) {
    tombolo_sender *sender;
    check("sender", tombolo_sender_open(segment, channel, NULL, &sender));
    for (uint64_t sent = 0;;) {
        numbered message;
        size_t length = length_of(first + sent);
        fill(&message, first + sent);
        if (in_place) {
            tombolo_grant *grant;
            check("reserve", tombolo_reserve(sender, length, TOMBOLO_FOREVER, &grant));
            memcpy(tombolo_grant_data(grant, NULL), &message, length);
            check("commit", tombolo_grant_commit(&grant, length));
        } else {
            check("send", tombolo_send(sender, &message, length, TOMBOLO_FOREVER));
        }
        sent++;
        note(&sent, sizeof sent, 0);
    }
}

static void consume(tombolo_segment *segment, const char *channel, int in_place, uint32_t flags) {
    tombolo_receiver *receiver;
    tombolo_channel wanted = {.struct_size = sizeof wanted, .flags = flags};
    check("receiver", tombolo_receiver_open(segment, channel, &wanted, &receiver));
    for (;;) {
        numbered message;
        size_t length;
        if (in_place) {
            tombolo_delivery *delivery;
            check("take", tombolo_take(receiver, TOMBOLO_FOREVER, &delivery));
            const void *data = tombolo_delivery_data(delivery, &length);
            uint64_t number = number_of(data, length);
            came(number, 1);
            check("release", tombolo_delivery_release(&delivery));
            came(number, 2);
        } else {
            check("recv", tombolo_recv(receiver, &message, sizeof message, &length,
                                       TOMBOLO_FOREVER));
            came(number_of(&message, length), 1);
        }
    }
}

static void ask(tombolo_segment *segment, const char *service, uint64_t first) {
    tombolo_client *client;
    check("client", tombolo_client_open(segment, service, NULL, &client));
    for (uint64_t done[3] = {0};;) {
        numbered request, reply;
        size_t length;
        uint64_t number = first + done[0]++;
        fill(&request, number);
        note(done, sizeof done, 0);
        int result = tombolo_call(client, &request, length_of(number), &reply, sizeof reply,
                                  &length, TOMBOLO_FOREVER);
        if (result == -EOWNERDEAD) {
            done[2]++;
        } else {
            check("call", result);
            if (number_of(&reply, length) != number + 1)
                exit(1);
            done[1]++;
        }
        note(done, sizeof done, 0);
    }
}

static void serve(tombolo_segment *segment, const char *service) {
    tombolo_server *server;
    check("server", tombolo_server_open(segment, service, NULL, &server));
    for (;;) {
        tombolo_request *request;
        numbered reply;
        size_t length;
        check("serve", tombolo_serve(server, TOMBOLO_FOREVER, &request));
        const void *data = tombolo_request_data(request, &length);
        uint64_t number = number_of(data, length);
        came(number, 1);
        fill(&reply, number + 1);
        check("reply", tombolo_reply(&request, &reply, length_of(number + 1)));
        came(number, 2);
    }
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    const char *role = argv[2], *channel = argv[3];
    int in_place = strcmp(argv[4], "place") == 0;
    uint64_t first = strtoull(argv[5], NULL, 10) << 32;
    log_fd = open(argv[6], O_WRONLY | O_CREAT | (role[0] == 'p' || role[0] == 'a' ? 0 : O_APPEND),
                  0600);
    if (log_fd < 0)
        return 2;
    tombolo_segment *segment;
    tombolo_options options = {.struct_size = sizeof options, .how = TOMBOLO_OPEN};
    tombolo_channel_info info = {.struct_size = sizeof info};
    check("open", tombolo_segment_open(argv[1], &options, &segment));
    check("inspect", tombolo_channel_inspect(segment, channel, &info));
    // Requests of any length begin with "bytes", too.
    is_bytes = strncmp(info.schema, "bytes", 5) == 0;
    if (strcmp(role, "produce") == 0)
        produce(segment, channel, in_place, first);
    else if (strcmp(role, "consume") == 0)
        consume(segment, channel, in_place, 0);
    else if (strcmp(role, "subscribe") == 0)
        consume(segment, channel, in_place, TOMBOLO_RELIABLE);
    else if (strcmp(role, "ask") == 0)
        ask(segment, channel, first);
    else if (strcmp(role, "serve") == 0)
        serve(segment, channel);
    return 2;
}
